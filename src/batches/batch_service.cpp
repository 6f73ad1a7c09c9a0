#include "batches/batch_service.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <utility>

#include "api/fields.h"
#include "base/file.h"
#include "batches/batch_book.h"
#include "batches/batch_worker.h"
#include "batches/random_id.h"
#include "batches/task_thread.h"

namespace heed {
namespace {

using Answer = BatchService::Answer;
using Parameters = BatchService::Parameters;

constexpr int kMaxMetadata = 16;
constexpr size_t kMaxMetadataKey = 64;
constexpr size_t kMaxMetadataValue = 512;
constexpr int kMaxFilesInPage = 10'000;
constexpr int kMaxBatchesInPage = 100;

ApiError refusal(std::string message, std::string param, int status = 400) {
  return {.status = status, .message = std::move(message), .param = std::move(param)};
}

// Without the path: where the server keeps its data is its own business.
ApiError storage_error(const Error& error) {
  if (error.code == ErrorCode::kLimit) {
    return {.status = 507,
            .message = "the server's disk is full; files that are no longer needed can be deleted",
            .type = "server_error",
            .code = "storage_full"};
  }
  return {.status = 500,
          .message = "the server cannot read or write its data",
          .type = "server_error",
          .code = "storage_error"};
}

ApiError no_file(const std::string& id) {
  return not_found_error("there is no file '" + id.substr(0, 64) + "'", "file_not_found");
}
ApiError no_batch(const std::string& id) {
  return not_found_error("there is no batch '" + id.substr(0, 64) + "'", "batch_not_found");
}

struct NewBatch {
  std::string input_file_id;
  std::string endpoint;
  std::string completion_window;
  OrderedJson metadata = nullptr;
};

void take_metadata(NewBatch& batch, const OrderedJson& value, const Place& place) {
  if (value.size() > kMaxMetadata) {
    return place.fail("'metadata' may have at most " + std::to_string(kMaxMetadata) + " members");
  }
  for (const auto& [key, text] : value.items()) {
    if (key.size() > kMaxMetadataKey || !text.is_string() ||
        text.get_ref<const std::string&>().size() > kMaxMetadataValue) {
      return place.fail("'metadata' must have strings of at most " + std::to_string(kMaxMetadataValue) +
                        " bytes under names of at most " + std::to_string(kMaxMetadataKey));
    }
  }
  batch.metadata = value;
}

const FieldTable<NewBatch>& new_batch_fields() {
  static const FieldTable<NewBatch> table({
      field("input_file_id", text(100, 1), &NewBatch::input_file_id),
      field("endpoint", one_of(LineRules().endpoints), &NewBatch::endpoint),
      field("completion_window", one_of({"24h"}), &NewBatch::completion_window),
      field<NewBatch>("metadata", object(), take_metadata),
      refused("output_expires_after", "files stay until they are deleted"),
  });
  return table;
}

std::optional<ApiError> read_new_batch(const OrderedJson& body, NewBatch& batch) {
  std::optional<ApiError> error;
  read_fields(body, new_batch_fields(), batch, Place(error));
  if (error) return error;
  const std::pair<const char*, const std::string*> needed[] = {
      {"input_file_id", &batch.input_file_id},
      {"endpoint", &batch.endpoint},
      {"completion_window", &batch.completion_window}};
  for (const auto& [name, value] : needed) {
    if (value->empty()) return refusal("'" + std::string(name) + "' is missing", name);
  }
  return std::nullopt;
}

// after, limit and order of a list; `others`: further parameters, the caller's business.
std::optional<ApiError> read_page(const Parameters& query, int max_limit, PageQuery& page,
                                  const std::vector<std::string>& others) {
  for (const auto& [name, value] : query) {
    if (name == "after") {
      page.after = value;
    } else if (name == "limit") {
      const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), page.limit);
      if (error != std::errc() || end != value.data() + value.size() || page.limit < 1 ||
          page.limit > max_limit) {
        return refusal("'limit' must be an integer from 1 to " + std::to_string(max_limit), "limit");
      }
    } else if (name == "order") {
      if (value != "asc" && value != "desc") return refusal("'order' must be asc or desc", "order");
      page.oldest_first = value == "asc";
    } else if (std::find(others.begin(), others.end(), name) == others.end()) {
      return refusal("there is no parameter '" + name.substr(0, 64) + "'; there are after, limit, order" +
                         (others.empty() ? "" : ", " + others.front()),
                     name.substr(0, 64));
    }
  }
  return std::nullopt;
}

template <class T>
Answer list_object(const std::optional<Page<T>>& page, OrderedJson (*object_of)(const T&)) {
  if (!page) return refusal("'after' must be an id of this list", "after");
  OrderedJson data = OrderedJson::array();
  for (const T* item : page->items) data.push_back(object_of(*item));
  const bool empty = page->items.empty();
  return OrderedJson{{"object", "list"},
                     {"data", std::move(data)},
                     {"first_id", empty ? OrderedJson(nullptr) : OrderedJson(page->items.front()->id)},
                     {"last_id", empty ? OrderedJson(nullptr) : OrderedJson(page->items.back()->id)},
                     {"has_more", page->has_more}};
}

OrderedJson live_object(const LiveBatch& batch) { return batch_object(batch.record); }

// Text without control characters, in UTF-8.
bool is_plain_name(const std::string& name, int max_bytes) {
  if (name.empty() || std::ssize(name) > max_bytes) return false;
  if (std::any_of(name.begin(), name.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; }))
    return false;
  const auto read_back =
      parse_json(to_text(Json(name)), "name");  // what is not UTF-8 has become something else
  return read_back.ok() && *read_back == name;
}

}  // namespace

struct BatchService::Parts {
  BatchLimits limits;
  std::unique_ptr<BatchBook> book;
  // Destroyed from the last: first no more requests, then no more work.
  std::optional<BatchWorker> worker;
  std::optional<TaskThread> tasks;
};

BatchService::BatchService(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
BatchService::~BatchService() = default;

Result<std::unique_ptr<BatchService>> BatchService::open(const std::string& folder, ApiHandler& api,
                                                         const BatchLimits& limits, Log log) {
  auto parts = std::make_unique<Parts>();
  parts->limits = limits;
  parts->book = TRY(BatchBook::open(folder, std::move(log)));
  parts->worker.emplace(*parts->book, api, parts->limits);
  parts->tasks.emplace(limits.max_waiting, limits.max_waiting_bytes);
  return std::unique_ptr<BatchService>(new BatchService(std::move(parts)));
}

void BatchService::stop() { parts_->worker.reset(); }

bool BatchService::post(int64_t bytes, std::function<void()> task) {
  return parts_->tasks->post(bytes, std::move(task));
}

const BatchLimits& BatchService::limits() const { return parts_->limits; }

Answer BatchService::upload(const std::vector<FormPart>& form) {
  const FormPart* file = nullptr;
  const FormPart* purpose = nullptr;
  for (const FormPart& part : form) {
    if (part.name != "file" && part.name != "purpose") {
      return refusal("the form field '" + part.name + "' is not known; there are file and purpose",
                     part.name);
    }
    const FormPart*& place = part.name == "file" ? file : purpose;
    if (place != nullptr) return refusal("the form has '" + part.name + "' twice", part.name);
    place = &part;
  }
  if (purpose == nullptr) return refusal("the form field 'purpose' is missing: batch", "purpose");
  if (purpose->content != "batch") return refusal("'purpose' must be batch", "purpose");
  if (file == nullptr) return refusal("the form field 'file' is missing", "file");
  const BatchLimits& limits = parts_->limits;
  const std::string filename = file->filename.value_or("");
  if (!is_plain_name(filename, limits.max_filename_bytes)) {
    return refusal("the file's name must be 1 to " + std::to_string(limits.max_filename_bytes) +
                       " bytes of text without control characters",
                   "file");
  }
  if (std::ssize(file->content) > limits.max_file_bytes) {
    return refusal("the file is longer than " + std::to_string(limits.max_file_bytes) + " bytes", "file",
                   413);
  }
  const std::lock_guard lock(parts_->book->mutex);
  FileStore& files = parts_->book->files();
  if (files.files().size() >= limits.max_files ||
      files.total_bytes() + std::ssize(file->content) > limits.max_total_bytes) {
    return ApiError{.status = 507,
                    .message = "the server keeps at most " + std::to_string(limits.max_files) +
                               " files of together " + std::to_string(limits.max_total_bytes) +
                               " bytes; some must be deleted first",
                    .type = "server_error",
                    .code = "storage_full"};
  }
  const auto stored = files.add(filename, "batch", file->content);
  if (stored.ok()) return file_object(*stored);
  parts_->book->log("upload: " + stored.error().message);
  return storage_error(stored.error());
}

Answer BatchService::list_files(const Parameters& query) {
  PageQuery page{.limit = kMaxFilesInPage};
  if (auto error = read_page(query, kMaxFilesInPage, page, {"purpose"})) return *std::move(error);
  const auto purpose = query.find("purpose");
  const std::lock_guard lock(parts_->book->mutex);
  return list_object<StoredFile>(
      parts_->book->files().files().page(
          page, [&](const StoredFile& f) { return purpose == query.end() || f.purpose == purpose->second; }),
      file_object);
}

Answer BatchService::file(const std::string& id) {
  const std::lock_guard lock(parts_->book->mutex);
  const StoredFile* found = parts_->book->files().files().find(id);
  if (found == nullptr) return no_file(id);
  return file_object(*found);
}

std::variant<std::string, ApiError> BatchService::content(const std::string& id) {
  std::string path;
  {
    const std::lock_guard lock(parts_->book->mutex);
    FileStore& files = parts_->book->files();
    const StoredFile* found = files.files().find(id);
    if (found == nullptr) return no_file(id);
    if (found->bytes > parts_->limits.max_download_bytes) {
      return refusal("the file is longer than the " + std::to_string(parts_->limits.max_download_bytes) +
                         " bytes that are sent; it can be taken from the server's data folder",
                     "file_id");
    }
    path = files.path(id);
  }
  auto bytes = read_file(path, parts_->limits.max_download_bytes);
  if (bytes.ok()) return *std::move(bytes);
  if (bytes.error().code == ErrorCode::kNotFound) return no_file(id);  // deleted meanwhile
  return storage_error(invalid(bytes.error().message));
}

Answer BatchService::remove_file(const std::string& id) {
  const std::lock_guard lock(parts_->book->mutex);
  FileStore& files = parts_->book->files();
  if (files.files().find(id) == nullptr) return no_file(id);
  for (const auto& [made_ns, batch] : parts_->book->batches().by_age()) {
    const BatchRecord& record = batch.record;
    if (is_final(record.status)) continue;
    if (id == record.input_file_id || id == record.output_file_id || id == record.error_file_id) {
      return refusal("the file is in use by " + batch.id + ", which has not ended", "file_id", 409);
    }
  }
  const Status removed = files.remove(id);
  if (removed.ok()) return OrderedJson{{"id", id}, {"object", "file"}, {"deleted", true}};
  parts_->book->log(id + ": " + removed.error().message);
  return storage_error(removed.error());
}

Answer BatchService::create_batch(const OrderedJson& body) {
  NewBatch wanted;
  if (auto error = read_new_batch(body, wanted)) return *std::move(error);
  BatchBook& book = *parts_->book;
  const std::lock_guard lock(book.mutex);
  const StoredFile* input = book.files().files().find(wanted.input_file_id);
  if (input == nullptr || input->purpose != "batch") {
    return refusal("'input_file_id' must be the id of an uploaded file with the purpose batch",
                   "input_file_id");
  }
  int open = 0;
  std::string oldest_ended;
  for (const auto& [made_ns, batch] : book.batches().by_age()) {
    const bool ended = is_final(batch.record.status);
    open += ended ? 0 : 1;
    if (ended && oldest_ended.empty()) oldest_ended = batch.id;
  }
  if (open >= parts_->limits.max_open_batches) {
    return api_error(busy("there are " + std::to_string(open) + " batches that have not ended, at most " +
                          std::to_string(parts_->limits.max_open_batches) + " are taken"));
  }
  Status saved;
  if (book.batches().size() >= parts_->limits.max_batches && !oldest_ended.empty()) {
    saved = book.forget(oldest_ended);
  }
  BatchRecord record;
  record.id = random_id(kBatchPrefix);
  record.made_ns = book.batches().next_ns(now_ns());
  record.endpoint = wanted.endpoint;
  record.input_file_id = wanted.input_file_id;
  record.output_file_id = random_id(kFilePrefix);
  record.error_file_id = random_id(kFilePrefix);
  record.metadata = std::move(wanted.metadata);
  record.window_seconds = parts_->limits.window_seconds;
  record.set(BatchStatus::kValidating);
  if (saved.ok()) saved = book.add(record);
  if (saved.ok()) return batch_object(record);
  book.log(record.id + ": " + saved.error().message);
  return storage_error(saved.error());
}

Answer BatchService::list_batches(const Parameters& query) {
  PageQuery page;
  if (auto error = read_page(query, kMaxBatchesInPage, page, {})) return *std::move(error);
  const std::lock_guard lock(parts_->book->mutex);
  return list_object<LiveBatch>(parts_->book->batches().page(page, [](const LiveBatch&) { return true; }),
                                live_object);
}

Answer BatchService::batch(const std::string& id) {
  const std::lock_guard lock(parts_->book->mutex);
  const LiveBatch* found = parts_->book->batches().find(id);
  if (found == nullptr) return no_batch(id);
  return batch_object(found->record);
}

Answer BatchService::cancel_batch(const std::string& id) {
  BatchBook& book = *parts_->book;
  const std::lock_guard lock(book.mutex);
  LiveBatch* batch = book.batches().find(id);
  if (batch == nullptr) return no_batch(id);
  const BatchStatus status = batch->record.status;
  if (status == BatchStatus::kCancelling) return batch_object(batch->record);
  if (status != BatchStatus::kValidating && status != BatchStatus::kInProgress) {
    return refusal("the batch is " + std::string(status_name(status)) + " and cannot be cancelled any more",
                   "batch_id", 409);
  }
  BatchRecord next = batch->record;
  next.set(BatchStatus::kCancelling);
  const Status saved = book.save(*batch, next);
  if (!saved.ok()) {
    book.log(id + ": " + saved.error().message);
    return storage_error(saved.error());
  }
  batch->not_before = {};
  batch->stop.request_stop();
  return batch_object(batch->record);
}

}  // namespace heed
