// MarkerScanner: finds markers in a text that comes byte by byte, and lets through what is certainly none.
#pragma once
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace heed {

class MarkerScanner {
 public:
  // No marker may be the beginning of another.
  explicit MarkerScanner(std::vector<std::string> markers = {}) : markers_(std::move(markers)) {}

  // Appends to `text` what can no longer be part of a marker. Returns the index of the marker that this byte
  // completes, or -1. At most the longest marker is held back, and examined again when it turns out not to
  // be.
  int push(char byte, std::string& text);

  const std::string& held() const { return held_; }
  std::string take_held() { return std::exchange(held_, {}); }
  const std::vector<std::string>& markers() const { return markers_; }

 private:
  std::vector<std::string> markers_;
  std::string held_;
};

}  // namespace heed
