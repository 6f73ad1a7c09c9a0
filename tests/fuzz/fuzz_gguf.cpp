// Any bytes as a GGUF file: an error, or values and tensors that can be read, and perhaps a vocabulary.
#include "formats/gguf.h"
#include "text/vocabulary_files.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto gguf = heed::Gguf::parse(std::as_bytes(std::span(data, size)), "input");
  if (!gguf.ok()) return 0;
  size_t read = 0;
  for (const auto& [key, value] : gguf->values()) {
    read += gguf->text(key).ok() + gguf->integer(key).ok() + gguf->number(key).ok() + gguf->boolean(key).ok();
    read += gguf->texts(key).ok() + gguf->integers(key).ok() + gguf->floats(key).ok();
  }
  for (const auto& [name, tensor] : gguf->tensors()) {
    for (const std::byte byte : gguf->bytes(tensor)) read += static_cast<size_t>(byte);
  }
  const auto document = heed::tokenizer_json_of_gguf(*gguf);
  return read + document.ok() > 0 ? 0 : -1;
}
