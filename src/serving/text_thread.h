// The thread that turns the engine's events into text, so that the engine's own does nothing but run steps.
#pragma once
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "engine/engine.h"
#include "serving/answers.h"

namespace heed {

class TextThread {
 public:
  TextThread();
  // Whatever was submitted has ended: the engine goes first.
  ~TextThread();

  // Submits one engine request for each choice; all events go to `answers`. If one is refused, so are all.
  // `admitted`: it came before refuse_new(), by enter().
  Result<std::vector<uint64_t>> submit(Engine& engine, std::vector<Request> requests,
                                       const std::shared_ptr<Answers>& answers, bool admitted);
  // Something that will submit a request later is under way, until leave().
  Status enter();
  void leave();
  void refuse_new();
  // False if something is still under way after so many seconds.
  bool wait_idle(double seconds);
  int under_way() const;

 private:
  struct Heard {
    std::shared_ptr<Answers> answers;
    int choice;
    Event event;
  };
  void run();

  mutable std::mutex mutex_;
  std::condition_variable wake_, idle_;
  std::deque<Heard> heard_;  // guarded by mutex_, as all below
  int under_way_ = 0;        // requests of the engine, and of those who entered
  bool refusing_ = false, stopping_ = false;
  std::thread thread_;
};

}  // namespace heed
