// Answers of POST /v1/responses kept in memory: to be asked for again, cancelled, or gone on from.
//
// Within limits of number and bytes; the oldest make room, whether they have ended or not. One that is larger
// than the limit by itself is not kept. Safe from any thread.
#pragma once
#include <atomic>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>

#include "api/exchange.h"

namespace heed {

// An answer being made.
struct RunningResponse {
  std::atomic<bool> cancelled = false;  // by a client
  std::weak_ptr<Exchange> exchange;
};

struct StoredResponse {
  std::string object;     // JSON text: the response, as it began or as it ended
  std::string items;      // JSON text: the conversation's items; the answer's among them once it has ended
  bool complete = false;  // its items are a conversation to go on from
  std::shared_ptr<RunningResponse> running;  // null: it has ended
};

struct ResponseStoreLimits {
  int max_responses = 1024;
  int64_t max_bytes = int64_t{64} << 20;
};

class ResponseStore {
 public:
  explicit ResponseStore(ResponseStoreLimits limits = {}) : limits_(limits) {}

  void add(const std::string& id, StoredResponse response);
  // No effect on one that is gone meanwhile.
  void replace(const std::string& id, StoredResponse response);
  std::shared_ptr<const StoredResponse> find(const std::string& id) const;  // null: none
  bool remove(const std::string& id);

 private:
  struct Entry {
    std::string id;
    std::shared_ptr<const StoredResponse> response;
  };
  using Place = std::list<Entry>::iterator;
  void put(Place entry, StoredResponse response);
  void drop(Place entry);
  void make_room();

  const ResponseStoreLimits limits_;
  mutable std::mutex mutex_;
  std::list<Entry> entries_;                      // the oldest first; guarded by mutex_, as all below
  std::unordered_map<std::string, Place> by_id_;  // the same
  int64_t num_bytes_ = 0;
};

}  // namespace heed
