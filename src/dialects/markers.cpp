#include "dialects/markers.h"

#include <algorithm>

namespace heed {

int MarkerScanner::push(char byte, std::string& text) {
  held_ += byte;
  size_t start = 0;  // of what may still become a marker
  for (; start < held_.size(); ++start) {
    const std::string_view rest = std::string_view(held_).substr(start);
    const auto marker = std::find_if(markers_.begin(), markers_.end(), [&](const std::string& candidate) {
      return candidate.starts_with(rest);
    });
    if (marker == markers_.end()) continue;
    text.append(held_, 0, start);
    if (marker->size() == rest.size()) {
      held_.clear();
      return static_cast<int>(marker - markers_.begin());
    }
    held_.erase(0, start);
    return -1;
  }
  text += held_;
  held_.clear();
  return -1;
}

}  // namespace heed
