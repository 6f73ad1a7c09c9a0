// Files: whole reads with a limit, and read-only memory maps that own their mapping.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"

namespace heed {

bool file_exists(const std::string& path);
bool is_directory(const std::string& path);

// The bytes of a regular file; an error that names it if it is missing, unreadable or longer than max_bytes.
Result<std::string> read_file(const std::string& path, int64_t max_bytes = int64_t{1} << 30);
Status write_file(const std::string& path, std::string_view bytes);

// A file that is written front to back. An error says what the system did.
class NewFile {
 public:
  static Result<NewFile> create(const std::string& path);  // or emptied
  NewFile(NewFile&& other) noexcept;
  NewFile& operator=(NewFile&&) = delete;
  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;
  ~NewFile();

  Status write(const void* bytes, int64_t count);
  Status finish();  // it is on the disk then

 private:
  NewFile(std::string path, int descriptor) : path_(std::move(path)), descriptor_(descriptor) {}
  std::string path_;
  int descriptor_;
};

// A read-only map of a whole regular file. Pages are read when first touched.
class MappedFile {
 public:
  static Result<MappedFile> open(const std::string& path);
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile();

  std::span<const std::byte> bytes() const { return {static_cast<const std::byte*>(data_), size_}; }

 private:
  MappedFile(void* data, size_t size) : data_(data), size_(size) {}
  void* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace heed
