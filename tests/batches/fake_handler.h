// Handlers that stand for a server in the tests of batches, and a folder that goes away.
#pragma once
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <deque>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <mutex>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "api/exchange.h"
#include "base/json.h"

namespace heed {

class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "heed_batches_XXXXXX").string();
    CHECK(::mkdtemp(name.data()) != nullptr, name);
    path = name;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  std::string file(const std::string& name) const { return path + "/" + name; }
  std::string path;
};

inline void write_bytes(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

inline std::string read_bytes(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

inline std::vector<Json> read_lines(const std::string& path) {
  std::vector<Json> lines;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    auto json = parse_json(line, path);
    CHECK(json.ok(), json.error().message, line);
    lines.push_back(*std::move(json));
  }
  return lines;
}

inline std::string request_line(const std::string& custom_id, const std::string& prompt) {
  return to_text(Json{{"custom_id", custom_id},
                      {"method", "POST"},
                      {"url", "/v1/completions"},
                      {"body", {{"prompt", prompt}}}}) +
         "\n";
}
inline std::string requests(int count) {
  std::string lines;
  for (int i = 0; i < count; ++i) lines += request_line("r" + std::to_string(i), std::to_string(i));
  return lines;
}

// Answers on the caller's thread, in a way of the test's.
class InlineHandler : public ApiHandler {
 public:
  using Answer = std::function<void(const ApiRequest&, Responder&)>;
  explicit InlineHandler(Answer answer) : answer_(std::move(answer)) {}
  std::shared_ptr<Exchange> handle(ApiRequest request, std::shared_ptr<Responder> responder) override {
    answer_(request, *responder);
    return nullptr;
  }

 private:
  Answer answer_;
};

inline std::string echo(const ApiRequest& request) {
  const auto body = parse_json(request.body, "body");
  return to_text(Json{{"path", request.path}, {"echo", body.ok() ? *body : Json()}});
}

// Answers on threads of its own, in any order; can be held up, and counts what is under way at once.
class ThreadedHandler : public ApiHandler {
 public:
  // `before` is called on the answering thread before each answer, with the number of answers given so far.
  explicit ThreadedHandler(int threads, std::function<void(int)> before = nullptr)
      : before_(std::move(before)) {
    for (int i = 0; i < threads; ++i) threads_.emplace_back([this] { work(); });
  }
  ~ThreadedHandler() override {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    changed_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }
  ThreadedHandler(const ThreadedHandler&) = delete;
  ThreadedHandler& operator=(const ThreadedHandler&) = delete;

  std::shared_ptr<Exchange> handle(ApiRequest request, std::shared_ptr<Responder> responder) override {
    auto job = std::make_shared<Job>(*this, std::move(request), std::move(responder));
    const std::lock_guard lock(mutex_);
    most_ = std::max(most_, ++under_way_);
    waiting_.push_back(job);
    ++accepted_;
    changed_.notify_all();
    return job;
  }

  // Answers so many more; the others wait, or are cancelled. -1: all.
  void allow(int answers) {
    const std::lock_guard lock(mutex_);
    allowed_ = answers;
    changed_.notify_all();
  }
  void wait_accepted(int requests) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return accepted_ >= requests; });
  }
  int most_at_once() const {
    const std::lock_guard lock(mutex_);
    return most_;
  }
  int accepted() const {
    const std::lock_guard lock(mutex_);
    return accepted_;
  }
  int cancelled() const {
    const std::lock_guard lock(mutex_);
    return cancelled_;
  }

 private:
  struct Job : Exchange {
    Job(ThreadedHandler& owner, ApiRequest r, std::shared_ptr<Responder> to)
        : handler(owner), request(std::move(r)), responder(std::move(to)) {}
    void cancel() override { handler.cancel(*this); }
    ThreadedHandler& handler;
    ApiRequest request;
    std::shared_ptr<Responder> responder;
    bool ended = false;
  };

  void cancel(Job& job) {
    std::unique_lock lock(mutex_);
    if (std::exchange(job.ended, true)) return;
    ++cancelled_;
    --under_way_;
    lock.unlock();
    job.responder->reply(200, "application/json", R"({"cut":"short"})", {});
  }

  void work() {
    std::unique_lock lock(mutex_);
    for (;;) {
      changed_.wait(lock, [&] { return stopping_ || (!waiting_.empty() && allowed_ != 0); });
      if (stopping_) return;
      const std::shared_ptr<Job> job = std::move(waiting_.front());
      waiting_.pop_front();
      if (std::exchange(job->ended, true)) continue;
      if (allowed_ > 0) --allowed_;
      const int number = answered_++;
      lock.unlock();
      if (before_) before_(number);
      lock.lock();
      --under_way_;
      lock.unlock();
      job->responder->reply(200, "application/json", echo(job->request), {});
      lock.lock();
    }
  }

  std::function<void(int)> before_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::shared_ptr<Job>> waiting_;
  std::vector<std::thread> threads_;
  int under_way_ = 0, most_ = 0, accepted_ = 0, answered_ = 0, cancelled_ = 0;
  int allowed_ = -1;
  bool stopping_ = false;
};

}  // namespace heed
