// JSON schema (draft 2020-12, the part that can be decided while a text is written) to a grammar of JSON
// texts.
#pragma once
#include "grammar/grammar.h"

namespace heed::grammar {

Result<Grammar> compile_json_schema(const OrderedJson& schema, const GrammarLimits& limits);

}  // namespace heed::grammar
