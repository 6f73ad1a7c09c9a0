#include "batches/file_store.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <filesystem>

#include "api/fields.h"
#include "base/file.h"
#include "batches/descriptor.h"
#include "batches/random_id.h"

namespace heed {
namespace {

constexpr int64_t kMaxFileRecordBytes = 64 << 10;
constexpr int64_t kMaxInteger = INT64_MAX;

const FieldTable<StoredFile>& file_record_fields() {
  static const FieldTable<StoredFile> table({
      field("id", text(100, 1), &StoredFile::id),
      field("made_ns", integer(0, kMaxInteger), &StoredFile::made_ns),
      field("bytes", integer(0, kMaxInteger), &StoredFile::bytes),
      field("filename", text(kMaxFileRecordBytes), &StoredFile::filename),
      field("purpose", text(100, 1), &StoredFile::purpose),
  });
  return table;
}

Status write_content(const std::string& path, std::string_view content) {
  const Descriptor file(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (file.fd() < 0) return system_error(path, errno);
  TRY(write_at(file, path, 0, content));
  return sync_file(file, path);
}

}  // namespace

int64_t now_ns() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::nanoseconds>(now).count();
}

OrderedJson file_object(const StoredFile& file) {
  return {{"id", file.id},           {"object", "file"},
          {"bytes", file.bytes},     {"created_at", file.made_ns / kSecond},
          {"expires_at", nullptr},   {"filename", file.filename},
          {"purpose", file.purpose}, {"status", "processed"}};
}

Result<FileStore> FileStore::open(const std::string& folder, const std::set<std::string>& in_use) {
  FileStore store(folder);
  std::set<std::string> contents;
  std::error_code error;
  std::filesystem::directory_iterator entries(folder, error);
  for (; !error && entries != std::filesystem::directory_iterator(); entries.increment(error)) {
    const std::string name = entries->path().filename().string();
    const std::string id = name.substr(0, name.find('.'));
    if (!is_random_id(kFilePrefix, id)) continue;  // nothing of ours
    if (name == id) contents.insert(id);
    if (name == id + std::string(kUnfinishedRecord)) ::unlink(entries->path().c_str());
    if (name == id + std::string(kRecord)) TRY(store.load(id));
  }
  if (error) return invalid(folder + ": " + error.message());
  for (const std::string& id : contents) {
    if (store.files_.find(id) == nullptr && in_use.count(id) == 0) store.discard(id);
  }
  std::set<std::string> lost;  // somebody has removed their contents
  for (const auto& [made_ns, file] : store.files_.by_age()) {
    if (contents.count(file.id) == 0) lost.insert(file.id);
  }
  for (const std::string& id : lost) TRY(store.remove(id));
  return store;
}

Status FileStore::load(const std::string& id) {
  const std::string path = this->path(id) + std::string(kRecord);
  const std::string bytes = TRY(read_file(path, kMaxFileRecordBytes));
  const OrderedJson record = TRY(parse_ordered_json(bytes, path));
  std::optional<ApiError> error;
  StoredFile file;
  read_fields(record, file_record_fields(), file, Place(error));
  if (error) return invalid(path + ": " + error->message);
  if (file.id != id) return invalid(path + ": the record of another file");
  total_bytes_ += file.bytes;
  files_.put(std::move(file));
  return {};
}

Status FileStore::save(StoredFile file) {
  file.made_ns = files_.next_ns(now_ns());
  const OrderedJson record = {{"id", file.id},
                              {"made_ns", file.made_ns},
                              {"bytes", file.bytes},
                              {"filename", file.filename},
                              {"purpose", file.purpose}};
  TRY(replace_file(path(file.id) + std::string(kRecord), to_text(record)));
  total_bytes_ += file.bytes;
  files_.put(std::move(file));
  return {};
}

Result<StoredFile> FileStore::add(const std::string& filename, const std::string& purpose,
                                  std::string_view content) {
  const std::string id = random_id(kFilePrefix);
  Status status = write_content(path(id), content);
  if (status.ok()) status = save({id, 0, std::ssize(content), filename, purpose});
  if (!status.ok()) {
    discard(id);
    return std::move(status).error();
  }
  return *files_.find(id);
}

Status FileStore::adopt(const std::string& id, const std::string& filename, const std::string& purpose) {
  if (files_.find(id) != nullptr) return {};
  std::error_code error;
  const auto bytes = static_cast<int64_t>(std::filesystem::file_size(path(id), error));
  if (error) return system_error(path(id), error.value());
  return save({id, 0, bytes, filename, purpose});
}

Status FileStore::remove(const std::string& id) {
  const StoredFile* file = files_.find(id);
  CHECK(file != nullptr, id);
  const std::string record = path(id) + std::string(kRecord);
  if (::unlink(record.c_str()) != 0) return system_error(record, errno);
  total_bytes_ -= file->bytes;
  files_.erase(id);
  TRY(sync_folder(folder_));
  discard(id);
  return {};
}

void FileStore::discard(const std::string& id) const { ::unlink(path(id).c_str()); }

std::string FileStore::path(const std::string& id) const {
  CHECK(is_random_id(kFilePrefix, id), id);
  return folder_ + "/" + id;
}

}  // namespace heed
