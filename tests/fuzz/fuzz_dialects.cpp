// Fuzz target: an answer in one of the forms, cut at random, reads as it does whole. The first byte picks the
// forms of tools and reasoning, the second how it begins and is cut.
#include <cstddef>
#include <cstdint>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "dialects/dialect.h"

namespace {

// What all deltas say, put together.
struct Heard {
  std::string reasoning, content;
  std::vector<std::string> calls;

  void add(const heed::MessageDelta& delta) {
    reasoning += delta.reasoning;
    content += delta.content;
    for (const heed::ToolCallDelta& call : delta.tool_calls) {
      if (!call.name.empty()) calls.push_back(call.name + " ");
      CHECK(call.index == static_cast<int>(calls.size()) - 1, call.index);
      calls.back() += call.arguments;
    }
  }
  bool operator==(const Heard&) const = default;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const std::vector<std::string> tool_forms = heed::tool_form_names();
  static const std::vector<std::string> reasoning_forms = heed::reasoning_form_names();
  static const heed::OrderedJson tools =
      heed::OrderedJson::parse(R"([{"type": "function", "function": {"name": "f",
      "parameters": {"properties": {"a": {"type": "string"}, "b": {"type": ["integer", "array"]}}}}}])");
  if (size < 2) return 0;
  const std::string& tool_form = tool_forms[data[0] % tool_forms.size()];
  const std::string& reasoning_form = reasoning_forms[data[0] / tool_forms.size() % reasoning_forms.size()];
  const heed::Dialect dialect = heed::choose_dialect("", tool_form, reasoning_form).value();
  const heed::MessageParserOptions options{
      .tools = true, .begins_in_reasoning = data[1] % 2 != 0, .tool_list = data[1] % 4 < 2 ? tools : nullptr};
  const std::string_view text(reinterpret_cast<const char*>(data) + 2, size - 2);

  Heard whole;
  heed::MessageParser parser(dialect, options);
  whole.add(parser.push(text));
  whole.add(parser.finish());
  CHECK(parser.num_tool_calls() == static_cast<int>(whole.calls.size()));

  std::mt19937 random(data[1]);
  Heard pieces;
  heed::MessageParser other(dialect, options);
  for (size_t at = 0; at < text.size();) {
    const size_t length = 1 + random() % (1 + random() % 16);
    pieces.add(other.push(text.substr(at, length)));
    at += length;
  }
  pieces.add(other.finish());
  CHECK(whole == pieces, tool_form, reasoning_form);
  return 0;
}
