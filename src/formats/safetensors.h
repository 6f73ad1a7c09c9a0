// safetensors files: a JSON header of named tensors over one block of bytes, mapped and checked before use.
//
// Layout: 8 bytes little-endian header length, the header, then the data; each tensor's `data_offsets` are
// relative to the data. Everything is checked at open: lengths, known dtypes, shape times size against the
// offsets, alignment, overlap, holes, order. A tensor handed out always lies wholly inside the file. Source:
// github.com/huggingface/safetensors, README "Format".
#pragma once
#include <map>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/result.h"
#include "tensor/tensor.h"

namespace heed {

struct SafetensorsEntry {
  std::string dtype;           // as in the file: "F32", "BF16", "F16", "I64", "F8_E4M3", ...
  std::vector<int64_t> shape;  // may be empty: a scalar
  int64_t begin = 0;           // bytes from the start of the file
  int64_t end = 0;
};

class Safetensors {
 public:
  // Errors name the file, and the tensor where it is one tensor's fault.
  static Result<Safetensors> open(const std::string& path);
  // The same checks on bytes in memory (which must outlive the result); `name` stands for the path in errors.
  static Result<Safetensors> parse(std::span<const std::byte> bytes, const std::string& name);

  const std::string& path() const { return path_; }
  const std::map<std::string, SafetensorsEntry>& entries() const { return entries_; }
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  std::span<const std::byte> bytes(const SafetensorsEntry& entry) const;

  // A read-only view of a tensor of rank <= 4 with a dtype that DType knows; a scalar is shown as [1].
  Result<Tensor> tensor(const std::string& name) const;

 private:
  std::string path_;
  std::vector<MappedFile> file_;  // one, or none when parsed from memory
  std::span<const std::byte> bytes_;
  std::map<std::string, SafetensorsEntry> entries_;
  std::map<std::string, std::string> metadata_;
};

struct NamedTensor {
  std::string name;
  Tensor tensor;  // contiguous
};

// Writes the tensors by falling element size, those of one size in the order given: so each lies aligned, as
// the data begins at a multiple of 8 bytes (the header is padded). A name given twice is an error.
Status write_safetensors(const std::string& path, const std::vector<NamedTensor>& tensors);

}  // namespace heed
