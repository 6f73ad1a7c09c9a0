// Any bytes as a safetensors file: an error, or tensors that can be read to their last byte.
#include <cstring>
#include <vector>

#include "formats/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  // In words, so that the bytes begin aligned as a map's do.
  std::vector<uint64_t> words((size + 7) / 8);
  if (size > 0) std::memcpy(words.data(), data, size);
  const auto file = heed::Safetensors::parse(std::as_bytes(std::span(words)).first(size), "input");
  if (!file.ok()) return 0;
  volatile unsigned sum = 0;  // volatile: the reads are the test
  for (const auto& [name, entry] : file->entries()) {
    for (const std::byte byte : file->bytes(entry)) sum = sum + static_cast<unsigned>(byte);
    const auto tensor = file->tensor(name);
    if (tensor.ok() && tensor->bytes() != std::ssize(file->bytes(entry))) __builtin_trap();
  }
  return 0;
}
