#include "client/event_stream.h"

#include <utility>

namespace heed {

Status EventStream::push(std::string_view bytes, const std::function<bool(const StreamEvent&)>& on_event) {
  while (!bytes.empty()) {
    if (after_return_ && bytes[0] == '\n') bytes.remove_prefix(1);
    after_return_ = false;
    const size_t end = bytes.find_first_of("\r\n");
    line_ += bytes.substr(0, end);
    if (static_cast<int64_t>(line_.size() + event_.data.size()) > max_event_bytes_) {
      return limit_reached("an event of the stream is longer than " + std::to_string(max_event_bytes_) +
                           " bytes");
    }
    if (end == std::string_view::npos) return {};
    after_return_ = bytes[end] == '\r';
    bytes.remove_prefix(end + 1);
    const std::string line = std::exchange(line_, {});
    if (!line.empty()) {
      take_line(line);
      continue;
    }
    const StreamEvent event = std::exchange(event_, {});
    if (std::exchange(has_data_, false) && !on_event(event)) return {};
  }
  return {};
}

void EventStream::take_line(std::string_view line) {
  if (at_start_ && line.starts_with("\xef\xbb\xbf")) line.remove_prefix(3);
  at_start_ = false;
  const size_t colon = line.find(':');
  if (colon == 0) return;  // a comment
  std::string_view value = colon == std::string_view::npos ? "" : line.substr(colon + 1);
  if (value.starts_with(' ')) value.remove_prefix(1);
  take_field(line.substr(0, colon), value);
}

void EventStream::take_field(std::string_view name, std::string_view value) {
  if (name == "event") event_.name = value;
  if (name != "data") return;
  if (has_data_) event_.data += '\n';
  event_.data += value;
  has_data_ = true;
}

}  // namespace heed
