// Any bytes as a tokenizer.json: an error, or a tokenizer that encodes and decodes without trouble.
#include "base/json.h"
#include "text/tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto json = heed::parse_json({reinterpret_cast<const char*>(data), size}, "input");
  if (!json.ok()) return 0;
  const auto tokenizer = heed::Tokenizer::from_json(*json, "input");
  if (!tokenizer.ok()) return 0;
  for (const bool special : {false, true}) {
    const auto ids = tokenizer->encode("ab  A\u00e9 <x>\n12345 \xff</s>", {special, special});
    if (!ids.ok()) continue;
    const std::string text = tokenizer->decode(*ids, special);
    heed::StreamDecoder stream(*tokenizer, special);
    std::string streamed;
    for (const int id : *ids) streamed += stream.push(id);
    streamed += stream.finish();
    if (streamed != text) __builtin_trap();
  }
  return 0;
}
