// Any bytes as a GGUF file: an error, or values and tensors that can be read, perhaps a vocabulary, and
// perhaps a model whose weights are loaded.
#include "formats/gguf.h"
#include "model/checkpoint.h"
#include "model/weights.h"
#include "text/vocabulary_files.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  auto gguf = heed::Gguf::parse(std::as_bytes(std::span(data, size)), "input");
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
  std::vector<heed::Gguf> files;
  files.push_back(std::move(*gguf));
  const auto checkpoint = heed::gguf_checkpoint(std::move(files));
  if (checkpoint.ok() && heed::check_tensors(*checkpoint).ok()) {
    for (const bool blocks : {true, false})
      read += heed::load_weights(*checkpoint, {.compute = heed::DType::kBF16, .blocks = blocks}).ok();
  }
  return read + document.ok() > 0 ? 0 : -1;
}
