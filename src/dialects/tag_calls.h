// TagCallReader: calls in tags, with a tag for each parameter, whose values are text:
//
//   <tool_call>            region, which may hold several calls
//   <function=name>        name_open name name_close
//   <parameter=key>        key_open key key_close
//   value
//   </parameter>           value_ends
//   </function>            call_close
//   </tool_call>           region_close
//
// The values become JSON as the tool's schema says: strings are streamed; what may be something else is taken
// whole and read as JSON. Without a schema, text that reads as JSON is that.
#pragma once
#include <string>
#include <vector>

#include "dialects/call_reader.h"
#include "dialects/markers.h"
#include "dialects/tail.h"

namespace heed {

struct TagCalls {
  std::string name_open;  // empty: the name begins at once
  std::vector<std::string>
      name_closes;  // of which the first is written; also key_open and region_close may be
  std::string key_open, key_close;
  std::string value_open;
  std::vector<std::string> value_ends;  // the first is written; the tag behind a value also ends it
  std::string call_close;               // empty: region_close ends the call
  std::string region_close;
  bool has_line_breaks = false;  // one on either side of a value is not part of it
};

class TagCallReader final : public CallReader {
 public:
  // in_name: the marker that began the region was name_open.
  TagCallReader(const TagCalls& form, const ToolTypes& tools, bool in_name);
  Reading push(char byte, CallSink& sink) override;
  bool is_behind_call() const override { return place_ == Place::kBetween && has_call_; }

 private:
  enum class Place { kBetween, kName, kBody, kKey, kBeforeValue, kValue };
  Reading push_between(char byte);
  Reading push_name(char byte, CallSink& sink);
  Reading push_body(char byte, CallSink& sink);
  Reading push_key(char byte);
  Reading push_before_value(char byte);
  Reading push_value(char byte, CallSink& sink);
  Reading after_tag(std::string_view tag, CallSink& sink);
  void begin_value();
  void end_value(CallSink& sink);
  void end_call(CallSink& sink);
  bool is_streamed() const { return types_ == kString; }
  Reading go(Place place);

  const TagCalls& form_;
  const ToolTypes& tools_;
  MarkerScanner name_ends_, key_ends_, value_ends_;
  std::vector<TailText> between_texts_, body_texts_, value_open_texts_;
  Tail tail_;
  Place place_ = Place::kBetween;
  bool has_call_ = false;
  std::string name_, key_, value_;
  int types_ = 0;
  bool is_first_parameter_ = true;
  bool is_value_start_ = false;
};

}  // namespace heed
