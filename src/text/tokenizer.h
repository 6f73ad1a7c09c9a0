// Tokenizers as Hugging Face's tokenizer.json describes them: text to token ids and back.
//
// The ids and texts are those of the Python package tokenizers 0.22.1, tested against it
// (tools/tokenizer_diff.py). Models: BPE, Unigram, WordPiece, WordLevel, with every normalizer,
// pre-tokenizer, post-processor and decoder that the package has but UnicodeScripts. "truncation" and
// "padding" are ignored. A tokenizer is immutable once loaded; its const methods are safe from several
// threads.
#pragma once
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace heed {

struct EncodeOptions {
  bool add_special = true;    // what the post-processor adds, such as the token of the beginning
  bool parse_special = true;  // the text of a special token in the input becomes that token
};

struct TokenizerParts;
class DecoderStream;

class Tokenizer {
 public:
  // From the content of a tokenizer.json; `what` names it in errors.
  static Result<Tokenizer> from_json(const Json& tokenizer_json, const std::string& what);
  static Result<Tokenizer> load_json(const std::string& path);

  Tokenizer(Tokenizer&& other) noexcept;
  Tokenizer& operator=(Tokenizer&& other) noexcept;
  ~Tokenizer();

  // Ill-formed UTF-8 counts as U+FFFD (unicode.h: repair_utf8). Near-linear in the text.
  Result<std::vector<int>> encode(std::string_view text, EncodeOptions options = {}) const;

  // Unknown ids are passed over, and special tokens with `skip_special`.
  std::string decode(std::span<const int> ids, bool skip_special = true) const;

  int vocab_size() const;                                  // one past the largest id
  std::optional<int> id_of(std::string_view token) const;  // of the vocabulary or an added token
  std::string_view token_of(int id) const;                 // its text as in the vocabulary; empty if unknown
  bool is_special(int id) const;
  // The bytes that a token stands for in the midst of a text, not necessarily whole characters; the text of a
  // special token; empty if unknown.
  std::string bytes_of(int id) const;

 private:
  friend class StreamDecoder;
  explicit Tokenizer(std::unique_ptr<const TokenizerParts> parts);
  std::unique_ptr<const TokenizerParts> parts_;
};

// Decodes ids as they come. What push and finish return, put together, is decode() of all the ids; each is
// valid UTF-8, never half a character. Borrows the tokenizer, which may be moved meanwhile but not destroyed.
class StreamDecoder {
 public:
  explicit StreamDecoder(const Tokenizer& tokenizer, bool skip_special = true);
  StreamDecoder(StreamDecoder&& other) noexcept;
  StreamDecoder& operator=(StreamDecoder&& other) noexcept;
  ~StreamDecoder();

  std::string push(int id);
  std::string finish();  // the rest; afterwards nothing may be pushed

 private:
  const TokenizerParts* parts_;
  bool skip_special_;
  std::unique_ptr<DecoderStream> stream_;
};

}  // namespace heed
