// Requests to an engine, and what becomes of them.
#pragma once
#include <future>
#include <latch>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "tests/engine/goldens.h"

namespace heed {

#ifdef HEED_SANITIZED
inline constexpr bool kSanitized = true;  // many times slower: fewer requests
#else
inline constexpr bool kSanitized = false;
#endif

// Collects the events of one request.
struct Listener {
  std::vector<int> ids;
  std::vector<Event> events;
  std::promise<Finish> promise;
  std::function<void(const Event&)> callback() {
    return [this](const Event& event) {
      if (event.id >= 0) ids.push_back(event.id);
      events.push_back(event);
      if (event.finish) promise.set_value(*event.finish);
    };
  }
};

inline std::unique_ptr<Engine> start(const std::string& folder, EngineOptions options) {
  options.runner.dtype = "float32";
  return Engine::start(open_checkpoint(folder).value(), options).value();
}

struct Ask {
  std::vector<int> prompt;
  int max_tokens = 16;
  float temperature = 0;
  uint64_t seed = 0;
  std::vector<RequestImage> images = {};
};

inline std::vector<std::vector<int>> run_all(Engine& engine, const std::vector<Ask>& asks,
                                             bool reversed = false) {
  std::vector<Listener> listeners(asks.size());
  std::latch submitted(
      1);  // the first answer waits for it: they all run together, however slow the machine is
  for (size_t n = 0; n < asks.size(); ++n) {
    const size_t i = reversed ? asks.size() - 1 - n : n;
    const auto on_event = [&submitted, listen = listeners[i].callback()](const Event& event) {
      submitted.wait();
      listen(event);
    };
    Request r{.prompt = asks[i].prompt,
              .images = asks[i].images,
              .sampling = {.temperature = asks[i].temperature, .seed = asks[i].seed},
              .max_tokens = asks[i].max_tokens,
              .on_event = on_event};
    const Result<uint64_t> id = engine.submit(std::move(r));
    EXPECT_TRUE(id.ok()) << id.error().message;
    if (!id.ok()) listeners[i].promise.set_value(Finish::kCancelled);
  }
  submitted.count_down();
  std::vector<std::vector<int>> all;
  for (Listener& listener : listeners) {
    EXPECT_EQ(listener.promise.get_future().get(), Finish::kLength);
    all.push_back(listener.ids);
  }
  return all;
}

}  // namespace heed
