#include "serving/text_thread.h"

namespace heed {

TextThread::TextThread() : thread_([this] { run(); }) {}

TextThread::~TextThread() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

Status TextThread::enter() {
  const std::lock_guard lock(mutex_);
  if (refusing_) return stopped("the server is shutting down");
  ++under_way_;
  return {};
}

void TextThread::leave() {
  const std::lock_guard lock(mutex_);
  if (--under_way_ == 0) idle_.notify_all();
}

Result<std::vector<uint64_t>> TextThread::submit(Engine& engine, std::vector<Request> requests,
                                                 const std::shared_ptr<Answers>& answers, bool admitted) {
  std::vector<uint64_t> ids;
  for (Request& request : requests) {
    const int choice = static_cast<int>(ids.size());
    request.on_event = [this, answers, choice](const Event& event) {
      const std::lock_guard lock(mutex_);
      heard_.push_back({answers, choice, event});
      if (heard_.size() == 1) wake_.notify_one();
    };
    {
      const std::lock_guard lock(mutex_);
      if (refusing_ && !admitted) return stopped("the server is shutting down");
      ++under_way_;
    }
    auto id = engine.submit(std::move(request));
    if (id.ok()) {
      ids.push_back(*id);
      continue;
    }
    {
      const std::lock_guard lock(mutex_);
      --under_way_;
      heard_.push_back({answers, -1, {}});
      wake_.notify_one();
    }
    for (const uint64_t submitted : ids) engine.cancel(submitted);
    return std::move(id).error();
  }
  return ids;
}

void TextThread::refuse_new() {
  const std::lock_guard lock(mutex_);
  refusing_ = true;
}

bool TextThread::wait_idle(double seconds) {
  std::unique_lock lock(mutex_);
  return idle_.wait_for(lock, std::chrono::duration<double>(seconds), [&] { return under_way_ == 0; });
}

int TextThread::under_way() const {
  const std::lock_guard lock(mutex_);
  return under_way_;
}

void TextThread::run() {
  std::deque<Heard> batch;
  std::unique_lock lock(mutex_);
  for (;;) {
    wake_.wait(lock, [&] { return stopping_ || !heard_.empty(); });
    if (heard_.empty()) return;
    batch.swap(heard_);
    lock.unlock();
    int ended = 0;
    for (const Heard& heard : batch) {
      if (heard.choice < 0) {
        heard.answers->abandon();
        continue;
      }
      heard.answers->hear(heard.choice, heard.event);
      if (heard.event.finish) ++ended;
    }
    batch.clear();
    lock.lock();
    under_way_ -= ended;
    if (under_way_ == 0) idle_.notify_all();
  }
}

}  // namespace heed
