#include "api/body.h"

#include <string>
#include <vector>

namespace heed {
namespace {

struct Size {
  int64_t values = 0;  // at least as many as there are
  int64_t work = 0;
};

// Counts without parsing: in valid JSON outside of strings, every colon is a member and every value is the
// text's first or follows a colon, a comma or a bracket.
class Sizing {
 public:
  Size measure(std::string_view text) {
    bool in_string = false;
    for (size_t i = 0; i < text.size(); ++i) {
      const char c = text[i];
      if (in_string && c == '\\') ++i;
      if (c == '"') in_string = !in_string;
      if (!in_string) count(c);
    }
    while (!open_.empty()) close();
    return size_;
  }

 private:
  void count(char c) {
    if (c == ',' || c == '[' || c == '{' || c == ':') ++size_.values;
    if (c == '[' || c == '{') open_.push_back(0);
    if (c == ':' && !open_.empty()) ++open_.back();
    if ((c == ']' || c == '}') && !open_.empty()) close();
  }
  void close() {
    size_.work += open_.back() * open_.back();
    open_.pop_back();
  }

  std::vector<int64_t> open_;  // members so far of the objects around
  Size size_;
};

}  // namespace

Result<OrderedJson> parse_within(std::string_view text, const std::string& what, BodyLimits& limits) {
  const Size size = Sizing().measure(text);
  limits.max_values -= size.values;
  limits.max_work -= size.work;
  if (limits.max_values < 0)
    return limit_reached(what + ": more than " + std::to_string(BodyLimits().max_values) + " JSON values");
  if (limits.max_work < 0)
    return limit_reached(what + ": JSON objects with too many members; about 10000 in all are accepted");
  return parse_ordered_json(text, what, limits.max_depth);
}

Result<OrderedJson> parse_body(std::string_view text, BodyLimits limits) {
  if (text.empty()) return invalid("the body is empty; a JSON object is expected");
  OrderedJson body = TRY(parse_within(text, "the body", limits));
  if (!body.is_object()) return invalid("the body is not a JSON object");
  return body;
}

}  // namespace heed
