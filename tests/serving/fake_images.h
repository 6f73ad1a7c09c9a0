// Pictures that need no decoder: a file "WxH" is one of that size, as bright as it is wide. A fetcher that
// waits where it is told to.
#pragma once
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <string>
#include <vector>

#include "serving/image_loader.h"

namespace heed {

// A small model that sees, with a tokenizer of bytes and a template that shows pictures of users.
inline const std::string kSeeing = std::string(HEED_SOURCE_DIR) + "/tests/golden/gemma4_vision";

// Threads wait at it until it opens.
class Gate {
 public:
  void wait() {
    std::unique_lock lock(mutex_);
    ++waiting_;
    changed_.notify_all();
    changed_.wait(lock, [&] { return open_; });
    --waiting_;
  }
  void open() {
    const std::lock_guard lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }
  void wait_for(int threads) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return waiting_ >= threads; });
  }
  int waiting() {
    const std::lock_guard lock(mutex_);
    return waiting_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int waiting_ = 0;
  bool open_ = false;
};

// "data:WxH", "data:image/png;base64,WxH" and "https://host/WxH" give "WxH"; "https://slow/WxH" waits at
// `slow` first; "https://none/..." does not answer.
struct FakeImages {
  Gate slow;
  std::atomic<int> fetched = 0, decoded = 0;
  std::mutex mutex;
  std::vector<int> budgets;  // of each picture that was prepared; guarded by mutex

  ImageTools tools() {
    return {.fetch = [this](std::string_view reference) { return fetch(std::string(reference)); },
            .decode = [this](std::string_view file) { return decode(std::string(file)); },
            .prepare = [this](const ImagePrep& prep, const Image& image) { return prepare(prep, image); }};
  }

 private:
  Result<std::string> fetch(const std::string& reference) {
    ++fetched;
    if (reference.starts_with("data:")) return reference.substr(reference.find_last_of(":,") + 1);
    if (reference.starts_with("https://none/")) return limit_reached("none: timed out");
    if (!reference.starts_with("https://")) return invalid("'" + reference + "' is not a URL");
    if (reference.starts_with("https://slow/")) slow.wait();
    return reference.substr(reference.rfind('/') + 1);
  }
  Result<Image> decode(const std::string& file) {
    ++decoded;
    const size_t x = file.find('x');
    if (x == std::string::npos) return invalid("not a picture: JPEG, PNG, WebP and GIF are accepted");
    const int width = std::stoi(file.substr(0, x));
    const int height = std::stoi(file.substr(x + 1));
    if (width * height > 10'000) return limit_reached("the picture is too large");
    return Image{.width = width, .height = height};
  }
  // A soft token for each pixel, as far as the budget goes.
  Result<ImagePatches> prepare(const ImagePrep& prep, const Image& image) {
    const std::lock_guard lock(mutex);
    budgets.push_back(prep.max_soft_tokens);
    const int count = std::min(image.width * image.height, prep.max_soft_tokens);
    ImagePatches patches{.grid = {.columns = count * prep.pool, .rows = prep.pool, .soft_tokens = count}};
    patches.bytes.resize(static_cast<size_t>(patches.grid.patches()) * prep.patch * prep.patch * 3,
                         static_cast<uint8_t>(40 * image.width));
    return patches;
  }
};

}  // namespace heed
