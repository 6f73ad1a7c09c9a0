// Server-sent events, read from bytes as they arrive.
//
// Source: the HTML standard, section "Server-sent events" (parsing and interpreting an event stream). Only
// `data` and `event` are kept: `id` and `retry` have no use without reconnecting.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace heed {

struct StreamEvent {
  std::string name;  // empty: "message"
  std::string data;  // its lines joined by line feeds
};

class EventStream {
 public:
  explicit EventStream(int64_t max_event_bytes = 8 << 20) : max_event_bytes_(max_event_bytes) {}

  // Calls on_event for each event that is now complete, until it returns false. What events come out does not
  // depend on how the bytes were cut. Error (kLimit): an event or a line is too long; the stream is then
  // over.
  Status push(std::string_view bytes, const std::function<bool(const StreamEvent&)>& on_event);

 private:
  void take_line(std::string_view line);
  void take_field(std::string_view name, std::string_view value);

  int64_t max_event_bytes_;
  std::string line_;  // an unfinished one
  StreamEvent event_;
  bool has_data_ = false;
  bool after_return_ = false;  // the last byte was a carriage return: a line feed now belongs to it
  bool at_start_ = true;       // a byte order mark may come
};

}  // namespace heed
