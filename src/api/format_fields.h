// The fields that say what an answer's text must be: OpenAI's response_format, and vLLM's
// structured_outputs and guided_json, guided_regex, guided_choice, guided_grammar. One at most.
#pragma once
#include <optional>
#include <string>

#include "api/fields.h"
#include "serving/answer.h"

namespace heed {

struct FormatFields {
  OutputFormat format;
  std::string given_by;  // the field; empty: none
};

// `max_bytes`: of a schema, expression or grammar, or of all choices.
FieldTable<FormatFields> format_table(int64_t max_bytes);

}  // namespace heed
