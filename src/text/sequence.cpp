#include "text/sequence.h"

namespace heed {
namespace {

constexpr int kMaxDepth = 32;

Status walk(const Json& json, const std::string& place, const char* members,
            const std::function<Status(const JsonFields&)>& visit, int depth) {
  if (depth > kMaxDepth) return limit_reached(place.substr(0, 40) + "...: Sequences nested too deep");
  const JsonFields fields = TRY(JsonFields::of(json, place));
  const std::string type = TRY(fields.text("type"));
  if (type != "Sequence") return visit(fields);
  const Json* list = TRY(fields.array(members));
  for (size_t i = 0; i < list->size(); ++i) {
    TRY(walk((*list)[i], place + "." + members + "[" + std::to_string(i) + "]", members, visit, depth + 1));
  }
  return {};
}

}  // namespace

Status for_each_in_sequence(const Json& json, const std::string& place, const char* members,
                            const std::function<Status(const JsonFields&)>& visit) {
  if (json.is_null()) return {};
  return walk(json, place, members, visit, 0);
}

}  // namespace heed
