// Files that clients upload and batches write, in one folder, surviving a restart.
//
//   <id>        the content
//   <id>.json   its name, purpose and age: written, and removed, in one step; without it there is no file
//
// Not safe for several threads at once. Errors: kLimit where the disk is full.
#pragma once
#include <cstdint>
#include <set>
#include <string>
#include <string_view>

#include "base/json.h"
#include "base/result.h"
#include "batches/shelf.h"

namespace heed {

inline constexpr std::string_view kFilePrefix = "file-";

struct StoredFile {
  std::string id;
  int64_t made_ns = 0;  // since 1970
  int64_t bytes = 0;
  std::string filename;  // as the client has it; never a path of ours
  std::string purpose;
};
OrderedJson file_object(const StoredFile& file);  // OpenAI's "file"

class FileStore {
 public:
  // Removes what uploads cut short by a crash have left; contents whose id is in `in_use` are kept.
  static Result<FileStore> open(const std::string& folder, const std::set<std::string>& in_use);

  Result<StoredFile> add(const std::string& filename, const std::string& purpose, std::string_view content);
  // Makes a file of the content that stands at path(id), which is synced. Nothing happens if it is one.
  Status adopt(const std::string& id, const std::string& filename, const std::string& purpose);
  Status remove(const std::string& id);
  // Removes a content that was not made a file.
  void discard(const std::string& id) const;

  std::string path(const std::string& id) const;
  Shelf<StoredFile>& files() { return files_; }
  int64_t total_bytes() const { return total_bytes_; }

 private:
  explicit FileStore(std::string folder) : folder_(std::move(folder)) {}
  Status load(const std::string& id);
  Status save(StoredFile file);

  std::string folder_;
  Shelf<StoredFile> files_;
  int64_t total_bytes_ = 0;
};

// Nanoseconds since 1970.
int64_t now_ns();
inline constexpr int64_t kSecond = 1'000'000'000;

}  // namespace heed
