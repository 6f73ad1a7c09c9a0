// The post-processor of a tokenizer.json: the tokens that go around a text's own, such as that of its
// beginning.
//
// One text at a time; templates for pairs are not used. Source: tokenizers 0.22.1, tokenizers/src/processors.
#pragma once
#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "text/json_fields.h"

namespace heed {

class PostProcessor {
 public:
  // `json` null: the text's tokens alone. `place` names it in errors.
  static Result<PostProcessor> of(const Json& json, const std::string& place);

  std::vector<int> apply(std::vector<int> ids, bool add_special) const;

 private:
  struct Part {
    bool is_text;
    std::vector<int> ids;  // of a special token
  };
  Status add(const JsonFields& fields);
  Status add_template(const JsonFields& fields);
  Status add_pair(const JsonFields& fields);

  std::vector<Part> parts_;  // empty: the text alone
};

}  // namespace heed
