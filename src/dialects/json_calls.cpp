#include "dialects/json_calls.h"

#include <utility>

namespace heed {
namespace {

bool is_name_key(std::string_view key) { return key == "name" || key == "tool_name" || key == "function"; }
bool is_arguments_key(std::string_view key) { return key == "arguments" || key == "parameters"; }
bool is_other_key(std::string_view key) { return key == "type" || key == "id" || key == "tool_call_id"; }

}  // namespace

Reading JsonCallReader::go(Place place) {
  place_ = place;
  return Reading::kMore;
}

Reading JsonCallReader::push(char byte, CallSink& sink) {
  switch (place_) {
    case Place::kBetween:
    case Place::kBehindCall:
      return push_between(byte, sink);
    case Place::kMember:
      if (is_space(byte)) return Reading::kMore;
      if (byte == '}') return end_object(sink);
      if (byte != '"') return Reading::kNotMine;
      key_.clear();
      decoder_ = StringDecoder();
      return go(Place::kKey);
    case Place::kKey:
      if (decoder_.push(byte, key_)) return end_of_key();
      return key_.size() > kMaxNameBytes ? Reading::kNotMine : Reading::kMore;
    case Place::kColon:
      if (is_space(byte)) return Reading::kMore;
      return byte == ':' ? go(Place::kValue) : Reading::kNotMine;
    case Place::kValue:
      return is_space(byte) ? Reading::kMore : begin_value(byte, sink);
    case Place::kName:
      return push_name(byte, sink);
    case Place::kArguments:
      return push_arguments(byte, sink);
    case Place::kUnwrapped:
      return push_unwrapped(byte, sink);
    case Place::kOther:
      return push_other(byte, sink);
    case Place::kBehindMember:
      return push_behind_member(byte, sink);
  }
  return Reading::kNotMine;
}

Reading JsonCallReader::push_between(char byte, CallSink& sink) {
  if (tail_.is_empty()) {
    if (byte == '{') return begin_object();
    if (byte == '[' && !in_array_ && !has_call_) {
      in_array_ = true;
      return Reading::kMore;
    }
    // A call has ended: superfluous brackets, and what stands between two calls.
    if (has_call_ && (byte == ']' || byte == '}')) {
      sink.settle();
      if (!in_array_ || byte == '}' || !form_.tails.empty()) return Reading::kMore;
      return Reading::kDone;
    }
    if (has_call_ && (byte == ',' || byte == ';')) return Reading::kMore;
  }
  switch (tail_.push(byte)) {
    case Tail::Found::kNothingYet:
      return Reading::kMore;
    case Tail::Found::kText:
      return has_call_ ? Reading::kDone : Reading::kNotMine;
    case Tail::Found::kOther:
      break;
  }
  return Reading::kNotMine;
}

Reading JsonCallReader::begin_object() {
  name_.clear();
  early_.clear();
  has_name_ = has_arguments_ = has_begun_ = has_written_ = false;
  return go(Place::kMember);
}

Reading JsonCallReader::end_of_key() {
  if (form_.name_is_key) {
    if (has_begun_ || key_.empty()) return Reading::kNotMine;
    name_ = key_;
    has_name_ = true;
    return go(Place::kColon);
  }
  if (form_.is_bare && !is_name_key(key_) && !is_arguments_key(key_) && !is_other_key(key_))
    return Reading::kNotMine;
  return go(Place::kColon);
}

Reading JsonCallReader::begin_value(char byte, CallSink& sink) {
  if (!form_.name_is_key && !has_name_ && byte == '"' && is_name_key(key_)) {
    decoder_ = StringDecoder();
    return go(Place::kName);
  }
  if (!has_arguments_ && (form_.name_is_key || is_arguments_key(key_))) return begin_arguments(byte, sink);
  if (!form_.name_is_key && !has_name_ && key_ == "name") return Reading::kNotMine;
  extent_ = JsonExtent();
  place_ = Place::kOther;
  return push_other(byte, sink);
}

Reading JsonCallReader::begin_arguments(char byte, CallSink& sink) {
  if (byte == '"') {
    has_arguments_ = true;
    decoder_ = StringDecoder();
    return go(Place::kUnwrapped);
  }
  extent_ = JsonExtent();
  if (byte == 'n') {  // null: none
    place_ = Place::kOther;
    return push_other(byte, sink);
  }
  if (byte != '{') return Reading::kNotMine;
  has_arguments_ = true;
  place_ = Place::kArguments;
  return push_arguments(byte, sink);
}

Reading JsonCallReader::push_name(char byte, CallSink& sink) {
  if (!decoder_.push(byte, name_)) {
    return name_.size() > kMaxNameBytes ? Reading::kNotMine : Reading::kMore;
  }
  if (name_.empty() || (form_.is_bare && !tools_.may_be(name_))) return Reading::kNotMine;
  has_name_ = true;
  if (has_arguments_) add_arguments(std::exchange(early_, {}), sink);
  return go(Place::kBehindMember);
}

// False: too much in front of the name.
bool JsonCallReader::add_arguments(std::string_view json, CallSink& sink) {
  if (!has_name_) {
    early_ += json;
    return early_.size() <= kMaxEarlyBytes;
  }
  if (!std::exchange(has_begun_, true)) sink.begin(name_);
  if (json.empty()) return true;
  has_written_ = true;
  sink.arguments(json);
  return true;
}

Reading JsonCallReader::push_arguments(char byte, CallSink& sink) {
  const JsonExtent::Part part = extent_.push(byte);
  if (!add_arguments({&byte, 1}, sink)) return Reading::kNotMine;
  if (part == JsonExtent::Part::kLast) place_ = Place::kBehindMember;
  return Reading::kMore;
}

Reading JsonCallReader::push_unwrapped(char byte, CallSink& sink) {
  std::string text;
  const bool ends = decoder_.push(byte, text);
  if (!add_arguments(text, sink)) return Reading::kNotMine;
  if (ends) place_ = Place::kBehindMember;
  return Reading::kMore;
}

Reading JsonCallReader::push_other(char byte, CallSink& sink) {
  const JsonExtent::Part part = extent_.push(byte);
  if (part == JsonExtent::Part::kInside) return Reading::kMore;
  place_ = Place::kBehindMember;
  return part == JsonExtent::Part::kLast ? Reading::kMore : push_behind_member(byte, sink);
}

Reading JsonCallReader::push_behind_member(char byte, CallSink& sink) {
  if (is_space(byte)) return Reading::kMore;
  if (byte == ',') return go(Place::kMember);
  return byte == '}' ? end_object(sink) : Reading::kNotMine;
}

Reading JsonCallReader::end_object(CallSink& sink) {
  if (!has_name_ || (form_.is_bare && !has_arguments_)) return Reading::kNotMine;
  add_arguments({}, sink);
  if (!has_written_) sink.arguments("{}");
  sink.end();
  has_call_ = true;
  return go(Place::kBehindCall);
}

}  // namespace heed
