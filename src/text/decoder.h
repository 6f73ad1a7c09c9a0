// The decoder of a tokenizer.json: token texts back to text, as a stream.
//
// Every step takes token texts one by one and passes on what is settled; what later tokens may still change
// (half a UTF-8 character, a run of byte tokens, trailing spaces to strip) waits. Decoding a whole list is
// the same stream run to its end, so that both give the same text. Source: tokenizers 0.22.1,
// tokenizers/src/decoders.
#pragma once
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "text/normalizer.h"
#include "text/pre_tokenizer.h"

namespace heed {

struct JoinWithSpaces {};  // where a tokenizer.json has no decoder
struct ByteLevelDecoder {};
struct ByteFallback {};
struct Fuse {};
struct StripDecoder {
  std::string content;  // one character
  int64_t start, stop;  // how many of it go at the begin and end
};
struct MetaspaceDecoder {
  std::string replacement;
  bool drops_first;
};
struct WordPieceDecoder {
  std::string prefix;
  bool cleanup;
};
struct BpeDecoder {
  std::string suffix;
};
struct CtcDecoder {
  std::string pad, delimiter;
  bool cleanup;
};

using DecoderStep = std::variant<JoinWithSpaces, ByteLevelDecoder, ByteFallback, Fuse, Replace, StripDecoder,
                                 MetaspaceDecoder, WordPieceDecoder, BpeDecoder, CtcDecoder>;

class Decoder {
 public:
  // `json` null: tokens joined with spaces. `place` names it in errors.
  static Result<Decoder> of(const Json& json, const std::string& place);

  // The bytes that a token stands for in the midst of a text; not necessarily whole characters.
  std::string bytes_within_text(std::string_view token) const;

 private:
  friend class DecoderStream;
  void plan();

  struct PlannedStep {
    DecoderStep what;
    bool one_token = false;  // a Fuse before it has made one token of all, which arrives in parts
    bool waits = false;      // a Fuse or ByteLevel that must gather all, because a later step takes no parts
  };
  std::vector<PlannedStep> steps_;
};

// One decoding. Borrows the decoder.
class DecoderStream {
 public:
  explicit DecoderStream(const Decoder& decoder) : decoder_(&decoder), states_(decoder.steps_.size()) {}

  // Appends to `out` the text that is settled now. Call finish once, last.
  void push(std::string_view token, std::string& out) { pass(0, std::string(token), out); }
  void finish(std::string& out);

 private:
  struct State {
    std::string held;
    bool started = false;  // a token has arrived
    int64_t stripped = 0;  // StripDecoder: characters gone from the begin
    bool begun = false;    // StripDecoder: something else has come
    int64_t trailing = 0;  // StripDecoder: characters that may yet be the end
  };
  struct Take;
  struct End;
  void pass(size_t step, std::string token, std::string& out);

  const Decoder* decoder_;
  std::vector<State> states_;
};

}  // namespace heed
