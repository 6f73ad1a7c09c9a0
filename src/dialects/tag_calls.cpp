#include "dialects/tag_calls.h"

#include "dialects/named_calls.h"

namespace heed {
namespace {

std::vector<TailText> present(std::vector<TailText> texts) {
  std::erase_if(texts, [](const TailText& one) { return one.text.empty(); });
  return texts;
}

std::vector<std::string> ends_of_name(const TagCalls& form) {
  std::vector<std::string> ends = form.name_closes;
  if (form.name_open.empty()) ends.insert(ends.end(), {form.key_open, form.region_close});
  return ends;
}

std::vector<std::string> ends_of_value(const TagCalls& form) {
  std::vector<std::string> ends = form.value_ends;
  if (form.has_line_breaks) ends.insert(ends.end(), {"\n" + form.key_open, "\n" + form.call_close});
  return ends;
}

}  // namespace

TagCallReader::TagCallReader(const TagCalls& form, const ToolTypes& tools, bool in_name)
    : form_(form),
      tools_(tools),
      name_ends_(ends_of_name(form)),
      key_ends_({form.key_close}),
      value_ends_(ends_of_value(form)),
      between_texts_(present({{form.name_open, TailText::Then::kNextCall}, {form.region_close}})),
      body_texts_(present({{form.key_open}, {form.call_close}, {form.region_close}})),
      value_open_texts_(present({{form.value_open}})),
      tail_(between_texts_) {
  if (in_name || form.name_open.empty()) place_ = Place::kName;
}

Reading TagCallReader::go(Place place) {
  place_ = place;
  return Reading::kMore;
}

Reading TagCallReader::push(char byte, CallSink& sink) {
  switch (place_) {
    case Place::kBetween:
      return push_between(byte);
    case Place::kName:
      return push_name(byte, sink);
    case Place::kBody:
      return push_body(byte, sink);
    case Place::kKey:
      return push_key(byte);
    case Place::kBeforeValue:
      return push_before_value(byte);
    case Place::kValue:
      return push_value(byte, sink);
  }
  return Reading::kNotMine;
}

Reading TagCallReader::push_between(char byte) {
  switch (tail_.push(byte)) {
    case Tail::Found::kNothingYet:
      return Reading::kMore;
    case Tail::Found::kOther:
      return Reading::kNotMine;
    case Tail::Found::kText:
      break;
  }
  if (tail_.then() == TailText::Then::kDone) return has_call_ ? Reading::kDone : Reading::kNotMine;
  return go(Place::kName);
}

Reading TagCallReader::push_name(char byte, CallSink& sink) {
  if (name_.empty() && is_space(byte) && name_ends_.held().empty()) return Reading::kMore;
  const int end = name_ends_.push(byte, name_);
  if (end < 0) return name_.size() > kMaxNameBytes ? Reading::kNotMine : Reading::kMore;
  name_ = std::string(trimmed(name_));
  if (!is_tool_name(name_)) return Reading::kNotMine;
  sink.begin(name_);
  sink.arguments("{");
  is_first_parameter_ = true;
  tail_ = Tail(body_texts_);
  const bool is_close = static_cast<size_t>(end) < form_.name_closes.size();
  return is_close ? go(Place::kBody) : after_tag(name_ends_.markers()[static_cast<size_t>(end)], sink);
}

Reading TagCallReader::push_body(char byte, CallSink& sink) {
  switch (tail_.push(byte)) {
    case Tail::Found::kNothingYet:
      return Reading::kMore;
    case Tail::Found::kOther:
      return Reading::kNotMine;
    case Tail::Found::kText:
      break;
  }
  return after_tag(tail_.text(), sink);
}

// Behind a tag within a call: another parameter, or the end.
Reading TagCallReader::after_tag(std::string_view tag, CallSink& sink) {
  if (tag.ends_with(form_.key_open)) {
    key_.clear();
    return go(Place::kKey);
  }
  const bool ends_call = !form_.call_close.empty() && tag.ends_with(form_.call_close);
  const bool ends_region = tag.ends_with(form_.region_close);
  if (!ends_call && !ends_region) {
    tail_ = Tail(body_texts_);
    return go(Place::kBody);
  }
  end_call(sink);
  return ends_region ? Reading::kDone : Reading::kMore;
}

void TagCallReader::end_call(CallSink& sink) {
  sink.arguments("}");
  sink.end();
  has_call_ = true;
  name_.clear();
  tail_ = Tail(between_texts_);
  place_ = Place::kBetween;
}

Reading TagCallReader::push_key(char byte) {
  if (key_ends_.push(byte, key_) < 0) return key_.size() > kMaxNameBytes ? Reading::kNotMine : Reading::kMore;
  key_ = std::string(trimmed(key_));
  tail_ = Tail(value_open_texts_);
  place_ = Place::kBeforeValue;
  if (form_.value_open.empty()) begin_value();
  return Reading::kMore;
}

Reading TagCallReader::push_before_value(char byte) {
  switch (tail_.push(byte)) {
    case Tail::Found::kNothingYet:
      return Reading::kMore;
    case Tail::Found::kOther:
      return Reading::kNotMine;
    case Tail::Found::kText:
      break;
  }
  begin_value();
  return Reading::kMore;
}

void TagCallReader::begin_value() {
  place_ = Place::kValue;
  value_.clear();
  is_value_start_ = true;
  types_ = tools_.types_of(name_, key_);
}

Reading TagCallReader::push_value(char byte, CallSink& sink) {
  if (is_value_start_) {
    std::string start = is_first_parameter_ ? "" : ", ";
    start += json_string(key_) + (is_streamed() ? ": \"" : ": ");
    sink.arguments(start);
    is_first_parameter_ = false;
  }
  if (std::exchange(is_value_start_, false) && form_.has_line_breaks && byte == '\n') return Reading::kMore;
  const int end = value_ends_.push(byte, value_);
  if (is_streamed() && !value_.empty()) {
    std::string json;
    append_escaped(json, value_);
    sink.arguments(json);
    value_.clear();
  }
  if (end < 0) return Reading::kMore;
  end_value(sink);
  return after_tag(value_ends_.markers()[static_cast<size_t>(end)], sink);
}

void TagCallReader::end_value(CallSink& sink) {
  sink.arguments(is_streamed() ? std::string("\"") : json_of_text(value_, types_));
  value_.clear();
}

}  // namespace heed
