// Renders chat templates for tools/chat_template_diff.py: JSON lines {"template", "variables"} in, {"text"}
// or
// {"error"} out, one for one. A template that equals the one before is parsed only once.
#include <iostream>
#include <optional>
#include <string>

#include "base/json.h"
#include "text/chat_template.h"

namespace {

constexpr int64_t kNow = 1'754'006'400;  // the time strftime_now shows; the oracle has the same

heed::Result<std::string> render(const std::string& line) {
  static std::string source;
  static std::optional<heed::Result<heed::ChatTemplate>> parsed;
  const heed::OrderedJson request = TRY(heed::parse_ordered_json(line, "request"));
  const auto& wanted = request.at("template").get_ref<const std::string&>();
  if (!parsed || wanted != source) {
    source = wanted;
    parsed.emplace(heed::ChatTemplate::parse(source, "template"));
  }
  if (!parsed->ok()) return parsed->error();
  heed::TemplateLimits limits;
  limits.now = kNow;
  return (*parsed)->render(request.at("variables"), limits);
}

}  // namespace

int main() {
  std::string line;
  while (std::getline(std::cin, line)) {
    const auto text = render(line);
    const heed::OrderedJson answer =
        text.ok() ? heed::OrderedJson{{"text", *text}} : heed::OrderedJson{{"error", text.error().message}};
    std::cout << heed::to_text(answer) << "\n";
  }
  return 0;
}
