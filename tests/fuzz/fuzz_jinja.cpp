// Fuzz target: any bytes as a chat template, parsed and rendered within small limits.
#include <cstddef>
#include <cstdint>
#include <string>

#include "text/chat_template.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const heed::OrderedJson variables = {
      {"messages",
       {{{"role", "user"}, {"content", "Hi \u00e9"}}, {{"role", "assistant"}, {"content", nullptr}}}},
      {"tools", {{{"name", "f"}, {"parameters", {{"a", 1}, {"b", 2.5}}}}}},
      {"add_generation_prompt", true},
      {"bos_token", "<s>"},
      {"n", 7},
      {"l", {3, 1, 2}},
      {"s", "Hello World"}};
  const std::string source(reinterpret_cast<const char*>(data), size);
  const auto parsed = heed::ChatTemplate::parse(source, "fuzz");
  if (!parsed.ok()) return 0;
  const heed::TemplateLimits limits{.max_steps = 20'000,
                                    .max_depth = 50,
                                    .max_output_bytes = 1 << 16,
                                    .max_memory_bytes = 1 << 20,
                                    .now = 0};
  const auto text = parsed->render(variables, limits);
  return text.ok() && text->size() > (1 << 16) ? -1 : 0;
}
