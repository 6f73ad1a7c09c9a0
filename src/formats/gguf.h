// GGUF files, version 2 and 3, little-endian: keys with typed values, and tensors over one block of bytes,
// mapped.
//
// Everything is checked at open: every length and count against the bytes that are left before anything is
// allocated, repeated keys and names, types, alignment, and each tensor's place in the file. Strings are
// views into the file and are not checked to be UTF-8; they live as long as the Gguf they came from. Source:
// github.com/ggml-org/ggml, docs/gguf.md.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/file.h"
#include "base/result.h"
#include "tensor/tensor.h"

namespace heed {

// The numbers are those of the file.
enum class GgufType : uint32_t {
  kUint8,
  kInt8,
  kUint16,
  kInt16,
  kUint32,
  kInt32,
  kFloat32,
  kBool,
  kString,
  kArray,
  kUint64,
  kInt64,
  kFloat64,
};
std::string_view name_of(GgufType type);

struct GgufArray {
  GgufType element = GgufType::kUint8;
  int64_t count = 0;
  std::span<const std::byte> packed;    // numbers and bools, not aligned
  std::vector<std::string_view> texts;  // where the elements are strings
  std::vector<GgufArray> arrays;        // where they are arrays
};

struct GgufValue {
  GgufType type = GgufType::kUint8;
  // Every integer that fits is an int64_t; a larger one is a uint64_t. Floats of both widths are doubles.
  std::variant<int64_t, uint64_t, double, bool, std::string_view, GgufArray> held;
};

// How a tensor's elements are stored: in blocks of so many elements and bytes ("Q4_K": 256 in 144).
struct GgmlType {
  uint32_t number;
  std::string_view name;
  int64_t block_elements;
  int64_t block_bytes;
};

// The element type that holds it in memory, for those that there are.
std::optional<DType> dtype_of(const GgmlType& type);

struct GgufTensor {
  const GgmlType* type = nullptr;
  std::vector<int64_t> sizes;  // innermost first, the reverse of a safetensors shape; at most 4
  int64_t begin = 0;           // bytes from the start of the file
  int64_t end = 0;
};

class Gguf {
 public:
  // Errors name the file, and the key or tensor where it is one's fault.
  static Result<Gguf> open(const std::string& path);
  // The same on bytes in memory (which must outlive the result); `name` stands for the path in errors.
  static Result<Gguf> parse(std::span<const std::byte> bytes, const std::string& name);

  const std::string& path() const { return path_; }
  int version() const { return version_; }
  const std::map<std::string, GgufValue, std::less<>>& values() const { return values_; }
  const std::map<std::string, GgufTensor, std::less<>>& tensors() const { return tensors_; }
  std::span<const std::byte> bytes(const GgufTensor& tensor) const;
  // A read-only view of a tensor whose type DType knows, outermost dimension first; a scalar is shown as [1].
  Result<Tensor> tensor(std::string_view name) const;

  // The value of a key; an error that names the key if it is missing or of another type.
  bool has(std::string_view key) const { return values_.contains(key); }
  Result<std::string_view> text(std::string_view key) const;
  Result<int64_t> integer(std::string_view key) const;
  Result<double> number(std::string_view key) const;  // a float or an integer
  Result<bool> boolean(std::string_view key) const;
  Result<std::span<const std::string_view>> texts(std::string_view key) const;
  Result<std::vector<int64_t>> integers(std::string_view key) const;  // or bools
  Result<std::vector<float>> floats(std::string_view key) const;      // of float32, float64 or integers

 private:
  Status read();
  Result<const GgufValue*> find(std::string_view key) const;
  Result<const GgufArray*> array(std::string_view key) const;
  Error other_type(std::string_view key, std::string_view wanted) const;

  std::string path_;
  int version_ = 0;
  std::vector<MappedFile> file_;  // one, or none when parsed from memory
  std::span<const std::byte> bytes_;
  std::map<std::string, GgufValue, std::less<>> values_;
  std::map<std::string, GgufTensor, std::less<>> tensors_;
};

}  // namespace heed
