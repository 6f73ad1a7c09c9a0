// The normalizer of a tokenizer.json: text rewritten before it is split.
//
// A chain of steps; nested Sequences are flattened. Source: tokenizers 0.22.1, tokenizers/src/normalizers.
#pragma once
#include <string>
#include <variant>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "text/charsmap.h"
#include "text/pattern.h"
#include "text/unicode.h"

namespace heed {

struct Lowercase {};
struct StripAccents {};
struct NmtCleaning {};
struct ByteLevelNormalizer {};
struct StripEnds {
  bool left, right;
};
struct Replace {
  Pattern pattern;
  std::string content;
};
struct Prepend {
  std::string text;
};
struct BertCleaning {
  bool clean_text, handle_chinese_chars, strip_accents, lowercase;
};

using NormalizerStep = std::variant<NormalForm, Lowercase, StripAccents, NmtCleaning, ByteLevelNormalizer,
                                    StripEnds, Replace, Prepend, BertCleaning, Charsmap>;

// A text on its way, and how many of its leading bytes stem from the first character of the input.
// Metaspace's scheme "first" asks for it: it prepends where a piece begins at the input's beginning.
struct NormalizedText {
  std::string text;
  size_t origin_bytes = 0;
};

class Normalizer {
 public:
  // `json` null: no steps. `place` names it in errors.
  static Result<Normalizer> of(const Json& json, const std::string& place);

  bool empty() const { return steps_.empty(); }
  Status apply(NormalizedText& normalized) const;

 private:
  std::vector<NormalizerStep> steps_;
};

}  // namespace heed
