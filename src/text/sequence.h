// Walks the components of one part of a tokenizer.json, which is null, one component, or nested Sequences of
// them.
#pragma once
#include <functional>
#include <string>

#include "base/json.h"
#include "base/result.h"
#include "text/json_fields.h"

namespace heed {

// Calls `visit` for every component that is no Sequence, in order. `members`: the Sequence's member with its
// list. An error names the component as "<place>.<members>[i]".
Status for_each_in_sequence(const Json& json, const std::string& place, const char* members,
                            const std::function<Status(const JsonFields&)>& visit);

}  // namespace heed
