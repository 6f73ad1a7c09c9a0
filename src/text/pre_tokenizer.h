// The pre-tokenizer of a tokenizer.json: a text split into the words that the model then takes one by one.
//
// A chain of steps; nested Sequences are flattened. Source: tokenizers 0.22.1, tokenizers/src/pre_tokenizers
// and NormalizedString::split in tokenizer/normalizer.rs.
#pragma once
#include <string>
#include <variant>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "text/pattern.h"

namespace heed {

// A text in pieces: contiguous parts of `text`, none empty. A piece with a token is finished.
struct Piece {
  size_t begin, end;
  size_t origin_bytes = 0;  // of its leading bytes, those that stem from the input's first character
  int token = -1;
};
struct PieceList {
  std::string text;
  std::vector<Piece> pieces;

  std::string_view view(const Piece& piece) const {
    return std::string_view(text).substr(piece.begin, piece.end - piece.begin);
  }
};

enum class SplitBehavior { kRemoved, kIsolated, kMergedWithPrevious, kMergedWithNext, kContiguous };

struct PatternSplit {
  Pattern pattern;
  SplitBehavior behavior;
  bool invert;
};
// Splits on characters of a property, or on one character.
struct CharacterSplit {
  bool (*matches)(char32_t);  // null: equal to `character`
  char32_t character;
  SplitBehavior behavior;
};
struct WordsAndSymbols {};  // "Whitespace": keeps runs of \w and runs of what is neither \w nor space
struct ByteLevel {
  bool add_prefix_space;
  bool use_regex;
};
struct Metaspace {
  enum class Scheme { kFirst, kAlways, kNever };
  std::string replacement;  // one character
  Scheme scheme;
  bool split;
};
struct FixedLength {
  int64_t length;  // code points, at least 1
};

using PreTokenizerStep =
    std::variant<PatternSplit, CharacterSplit, WordsAndSymbols, ByteLevel, Metaspace, FixedLength>;

class PreTokenizer {
 public:
  // `json` null: no steps. `place` names it in errors.
  static Result<PreTokenizer> of(const Json& json, const std::string& place);
  Status apply(PieceList& list) const;

 private:
  std::vector<PreTokenizerStep> steps_;
};

// The fields of a Metaspace, which pre-tokenizer and decoder share.
Result<Metaspace> metaspace_of(const JsonFields& fields);

}  // namespace heed
