// Streams text up to the first stop string, which never shows, not even in part.
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace heed {

class StopStrings {
 public:
  // Empty strings among `stops` are left out.
  explicit StopStrings(std::vector<std::string> stops);

  // Takes more text; returns what is safe to show. Text that may be the beginning of a stop string is held
  // back.
  std::string push(std::string_view text);
  // No more text comes: what was held back, unless a stop string was found.
  std::string finish();
  bool stopped() const { return matched_ >= 0; }
  // The one found, of those that begin first the one given first; empty if none was.
  std::string_view matched() const {
    return stopped() ? std::string_view(stops_[static_cast<size_t>(matched_)]) : "";
  }

 private:
  std::vector<std::string> stops_;
  std::string held_;
  int matched_ = -1;
};

}  // namespace heed
