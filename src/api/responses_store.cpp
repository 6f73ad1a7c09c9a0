#include "api/responses_store.h"

#include <iterator>
#include <utility>

namespace heed {
namespace {

int64_t bytes_of(const StoredResponse& response) {
  constexpr int64_t kOverhead = 512;  // ids, nodes, pointers
  return std::ssize(response.object) + std::ssize(response.items) + kOverhead;
}

}  // namespace

void ResponseStore::put(Place entry, StoredResponse response) {
  if (entry->response) num_bytes_ -= bytes_of(*entry->response);
  entry->response = std::make_shared<const StoredResponse>(std::move(response));
  num_bytes_ += bytes_of(*entry->response);
}

void ResponseStore::drop(Place entry) {
  num_bytes_ -= bytes_of(*entry->response);
  by_id_.erase(entry->id);
  entries_.erase(entry);
}

void ResponseStore::make_room() {
  while (!entries_.empty() &&
         (std::ssize(entries_) > limits_.max_responses || num_bytes_ > limits_.max_bytes)) {
    drop(entries_.begin());
  }
}

void ResponseStore::add(const std::string& id, StoredResponse response) {
  const std::lock_guard lock(mutex_);
  if (bytes_of(response) > limits_.max_bytes || by_id_.contains(id)) return;
  const auto entry = entries_.insert(entries_.end(), {.id = id, .response = nullptr});
  by_id_[id] = entry;
  put(entry, std::move(response));
  make_room();
}

void ResponseStore::replace(const std::string& id, StoredResponse response) {
  const std::lock_guard lock(mutex_);
  const auto found = by_id_.find(id);
  if (found == by_id_.end()) return;
  if (bytes_of(response) > limits_.max_bytes) return drop(found->second);
  put(found->second, std::move(response));
  make_room();
}

std::shared_ptr<const StoredResponse> ResponseStore::find(const std::string& id) const {
  const std::lock_guard lock(mutex_);
  const auto found = by_id_.find(id);
  return found == by_id_.end() ? nullptr : found->second->response;
}

bool ResponseStore::remove(const std::string& id) {
  const std::lock_guard lock(mutex_);
  const auto found = by_id_.find(id);
  if (found == by_id_.end()) return false;
  drop(found->second);
  return true;
}

}  // namespace heed
