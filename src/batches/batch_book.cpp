#include "batches/batch_book.h"

#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <set>
#include <utility>

#include "base/file.h"
#include "batches/random_id.h"

namespace heed {
namespace {

constexpr int64_t kMaxBatchBytes = 4 << 20;

Status make_folder(const std::string& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error) return invalid(path + ": " + error.message());
  return {};
}

}  // namespace

Result<std::unique_ptr<BatchBook>> BatchBook::open(const std::string& folder, BatchService::Log log) {
  std::unique_ptr<BatchBook> book(new BatchBook(folder, std::move(log)));
  TRY(make_folder(folder + "/files"));
  TRY(make_folder(folder + "/batches"));
  book->lock_ = TRY(open_locked(folder + "/lock"));
  TRY(book->load());
  std::set<std::string> in_use;
  for (const auto& [made_ns, batch] : book->batches_.by_age()) {
    if (is_final(batch.record.status)) continue;
    in_use.insert(batch.record.output_file_id);
    in_use.insert(batch.record.error_file_id);
  }
  book->files_ = TRY(FileStore::open(folder + "/files", in_use));
  return book;
}

Status BatchBook::load() {
  std::error_code error;
  std::filesystem::directory_iterator entries(folder_ + "/batches", error);
  for (; !error && entries != std::filesystem::directory_iterator(); entries.increment(error)) {
    const std::string name = entries->path().filename().string();
    const std::string id = name.substr(0, name.find('.'));
    if (!is_random_id(kBatchPrefix, id)) continue;  // nothing of ours
    if (name == id + std::string(kUnfinishedRecord)) ::unlink(entries->path().c_str());
    if (name != id + std::string(kRecord)) continue;
    const std::string text = TRY(read_file(path(id), kMaxBatchBytes));
    BatchRecord record = TRY(read_record(text, path(id)));
    if (record.id != id) return invalid(path(id) + ": the record of another batch");
    batches_.put({id, record.made_ns, std::move(record)});
  }
  if (error) return invalid(folder_ + "/batches: " + error.message());
  return {};
}

std::string BatchBook::path(const std::string& id) const {
  CHECK(is_random_id(kBatchPrefix, id), id);
  return folder_ + "/batches/" + id + std::string(kRecord);
}

Status BatchBook::save(LiveBatch& batch, const BatchRecord& next) {
  TRY(replace_file(path(batch.id), record_text(next)));
  const bool is_news = next.status != batch.record.status;
  batch.record = next;
  if (is_news) log(batch.id + ": " + status_name(next.status));
  changed.notify_all();
  return {};
}

Status BatchBook::add(const BatchRecord& record) {
  TRY(replace_file(path(record.id), record_text(record)));
  batches_.put({record.id, record.made_ns, record});
  log(record.id + ": " + status_name(record.status));
  changed.notify_all();
  return {};
}

Status BatchBook::forget(const std::string& id) {
  if (::unlink(path(id).c_str()) != 0) return system_error(path(id), errno);
  batches_.erase(id);
  return sync_folder(folder_ + "/batches");
}

void BatchBook::log(const std::string& line) const {
  if (log_) log_(line);
}

}  // namespace heed
