// Writes the bytes of GGUF files, good and bad, for tests.
#pragma once
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "formats/gguf.h"

namespace heed {

template <class T>
std::string raw(T value) {
  std::string bytes(sizeof value, '\0');
  std::memcpy(bytes.data(), &value, sizeof value);
  return bytes;
}

inline std::string gguf_text(std::string_view text) {
  return raw(static_cast<uint64_t>(text.size())) + std::string(text);
}

inline std::string gguf_type(GgufType type) { return raw(static_cast<uint32_t>(type)); }

// The header of an array; its elements follow.
inline std::string gguf_array(GgufType element, uint64_t count) { return gguf_type(element) + raw(count); }

struct GgufBytes {
  uint32_t version = 3;
  std::vector<std::string> values;   // key, type and value each
  std::vector<std::string> tensors;  // name, sizes, type and offset each
  std::string data;

  GgufBytes& key(std::string_view name, GgufType type, std::string_view value) {
    values.push_back(gguf_text(name) + gguf_type(type) + std::string(value));
    return *this;
  }
  GgufBytes& key(std::string_view name, std::string_view text) {
    return key(name, GgufType::kString, gguf_text(text));
  }
  GgufBytes& key(std::string_view name, const std::vector<std::string>& texts) {
    std::string bytes = gguf_array(GgufType::kString, texts.size());
    for (const std::string& text : texts) bytes += gguf_text(text);
    return key(name, GgufType::kArray, bytes);
  }
  template <class T>
  GgufBytes& numbers(std::string_view name, GgufType element, const std::vector<T>& elements) {
    std::string bytes = gguf_array(element, elements.size());
    for (const T element_value : elements) bytes += raw(element_value);
    return key(name, GgufType::kArray, bytes);
  }
  GgufBytes& tensor(std::string_view name, const std::vector<uint64_t>& sizes, uint32_t type,
                    uint64_t offset) {
    std::string bytes = gguf_text(name) + raw(static_cast<uint32_t>(sizes.size()));
    for (const uint64_t size : sizes) bytes += raw(size);
    tensors.push_back(bytes + raw(type) + raw(offset));
    return *this;
  }

  std::string bytes(size_t alignment = 32) const {
    std::string file = "GGUF" + raw(version) + raw(uint64_t{tensors.size()}) + raw(uint64_t{values.size()});
    for (const std::string& value : values) file += value;
    for (const std::string& tensor_bytes : tensors) file += tensor_bytes;
    if (!tensors.empty()) file.resize((file.size() + alignment - 1) / alignment * alignment);
    return file + data;
  }
};

}  // namespace heed
