// What the connections of one server share. IO thread only, but for what says otherwise.
#pragma once
#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/thread_pool.hpp>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <unordered_set>
#include <utility>

#include "api/exchange.h"
#include "server/keys.h"
#include "server/outbox.h"
#include "server/server.h"

namespace heed::http {

class Connection;

// How many connections there are, and a way to wait until there are none. Any thread.
class ConnectionCount {
 public:
  void add(int change) {
    const std::lock_guard lock(mutex_);
    count_ += change;
    if (count_ == 0) none_.notify_all();
  }
  int value() const {
    const std::lock_guard lock(mutex_);
    return count_;
  }
  bool wait_for_none(std::chrono::duration<double> patience) {
    std::unique_lock lock(mutex_);
    return none_.wait_for(lock, patience, [this] { return count_ == 0; });
  }

 private:
  mutable std::mutex mutex_;
  std::condition_variable none_;
  int count_ = 0;
};

struct Hub {
  Hub(ServerOptions server_options, ApiHandler& api, std::unique_ptr<boost::asio::ssl::context> tls_context)
      : options(std::move(server_options)),
        keys(options.api_keys),
        handler(api),
        tls(std::move(tls_context)),
        workers(static_cast<size_t>(options.worker_threads)) {}

  const ServerOptions options;
  const KeyCheck keys;
  ApiHandler& handler;
  const std::unique_ptr<boost::asio::ssl::context> tls;

  std::unordered_set<Connection*> connections;
  ConnectionCount count;               // of `connections`, for other threads
  std::atomic<int64_t> body_bytes{0};  // of all bodies that no handler has taken yet; any thread
  bool draining = false;
  bool aborting = false;
  std::mt19937_64 random{std::random_device{}()};  // for request ids, which are names and no secrets

  // Declared after what their destruction still needs: the frames of suspended coroutines die with `io`.
  boost::asio::io_context io{1};
  std::shared_ptr<Doorbell> doorbell;
  boost::asio::thread_pool workers;

  void log(const std::string& line) const {
    if (options.log) options.log(line);
  }
};

// A share of Hub::body_bytes, given back when it is destroyed.
class BodyShare {
 public:
  explicit BodyShare(std::atomic<int64_t>& all) : all_(&all) {}
  BodyShare(BodyShare&& other) noexcept : all_(other.all_), bytes_(std::exchange(other.bytes_, 0)) {}
  BodyShare& operator=(BodyShare&&) = delete;
  BodyShare(const BodyShare&) = delete;
  BodyShare& operator=(const BodyShare&) = delete;
  ~BodyShare() { give_back(); }

  void give_back() { *all_ -= std::exchange(bytes_, 0); }
  // Grows to `bytes`; false where all shares together would exceed `limit`.
  bool grow_to(int64_t bytes, int64_t limit) {
    *all_ += bytes - bytes_;
    bytes_ = bytes;
    return *all_ <= limit;
  }

 private:
  std::atomic<int64_t>* all_;
  int64_t bytes_ = 0;
};

}  // namespace heed::http
