#include "dialects/literal_calls.h"

#include <algorithm>

#include "dialects/named_calls.h"

namespace heed {
namespace {

bool is_quote(char byte) { return byte == '"' || byte == '\''; }
bool begins_name(char byte) {
  return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || byte == '_';
}

// The JSON of a bare word.
std::string json_of_word(std::string_view text) {
  const std::string_view word = trimmed(text);
  return json_of_text(word, word == "True" || word == "False" ? kBoolean : word == "None" ? kNull : 0);
}

}  // namespace

LiteralReader::LiteralReader(const LiteralCalls& form, const ToolTypes& tools, const std::string& tool)
    : form_(form), tools_(tools), tool_(tool), closers_(1, form.close), raw_end_({form.quote}) {
  if (form.quote.empty()) raw_end_ = MarkerScanner();
}

Reading LiteralReader::go(Place place) {
  place_ = place;
  return Reading::kMore;
}

Reading LiteralReader::push(char byte, std::string& json) {
  switch (place_) {
    case Place::kKey:
      return push_key(byte, json);
    case Place::kBareKey:
      return push_bare_key(byte, json);
    case Place::kQuotedKey:
      if (decoder_.push(byte, key_)) return go(Place::kSeparator);
      return key_.size() > kMaxNameBytes ? Reading::kNotMine : Reading::kMore;
    case Place::kSeparator:
      if (is_space(byte)) return Reading::kMore;
      if (byte != ':' && byte != '=') return Reading::kNotMine;
      end_key(json);
      return go(Place::kValue);
    case Place::kValue:
      return push_value(byte, json);
    case Place::kWord:
      return push_word(byte, json);
    case Place::kQuoted: {
      std::string text;
      const bool ends = decoder_.push(byte, text);
      append_escaped(json, text);
      if (!ends) return Reading::kMore;
      json += '"';
      return go(Place::kBehindValue);
    }
    case Place::kRaw:
      return push_raw(byte, json);
    case Place::kBehindValue:
      return push_behind_value(byte, json);
  }
  return Reading::kNotMine;
}

Reading LiteralReader::begin_quoted(char byte, Place place) {
  decoder_ = StringDecoder(byte);
  return go(place);
}

// Held bytes are the beginning of a raw quote, which begins a key like any other name.
Reading LiteralReader::push_key(char byte, std::string& json) {
  const bool in_quote = !raw_end_.held().empty();
  if (!in_quote && is_space(byte)) return Reading::kMore;
  if (!in_quote && byte == closers_.back()) return close(byte, json);
  key_.clear();
  is_key_raw_ = false;
  if (!in_quote && is_quote(byte)) return begin_quoted(byte, Place::kQuotedKey);
  if (!form_.quote.empty() && (in_quote || byte == form_.quote.front())) {
    if (raw_end_.push(byte, key_) < 0) return key_.empty() ? Reading::kMore : Reading::kNotMine;
    is_key_raw_ = true;
    return go(Place::kRaw);
  }
  place_ = Place::kBareKey;
  return push_bare_key(byte, json);
}

Reading LiteralReader::push_bare_key(char byte, std::string& json) {
  const char separator = closers_.size() == 1 ? form_.separator : ':';
  if (byte == separator) {
    key_ = std::string(trimmed(key_));
    if (key_.empty()) return Reading::kNotMine;
    end_key(json);
    return go(Place::kValue);
  }
  constexpr std::string_view kNeverInKeys = "{}[](),\"'";
  if (kNeverInKeys.find(byte) != std::string_view::npos) return Reading::kNotMine;
  key_ += byte;
  return key_.size() > kMaxNameBytes ? Reading::kNotMine : Reading::kMore;
}

void LiteralReader::end_key(std::string& json) {
  if (json.empty() && closers_.size() == 1 && is_first_) json += '{';
  if (!is_first_) json += ", ";
  is_first_ = false;
  json += json_string(key_) + ": ";
  types_ = form_.is_typed && closers_.size() == 1 ? tools_.types_of(tool_, key_) : kString;
}

// In an array the elements are told apart here, in an object by their keys.
void LiteralReader::begin_element(std::string& json) {
  if (closers_.back() != ']') return;
  if (!is_first_) json += ", ";
  is_first_ = false;
  types_ = kString;
}

Reading LiteralReader::push_value(char byte, std::string& json) {
  const bool in_quote = !raw_end_.held().empty();
  if (!in_quote && is_space(byte)) return Reading::kMore;
  if (!in_quote && byte == ']' && closers_.back() == ']') return close(byte, json);
  word_.clear();
  if (!form_.quote.empty() && (in_quote || byte == form_.quote.front())) {
    if (raw_end_.push(byte, word_) < 0) return word_.empty() ? Reading::kMore : Reading::kNotMine;
    begin_element(json);
    if (types_ == kString) json += '"';
    return go(Place::kRaw);
  }
  begin_element(json);
  if (byte == '{') return open('}', json);
  if (byte == '[') return open(']', json);
  if (is_quote(byte)) {
    json += '"';
    return begin_quoted(byte, Place::kQuoted);
  }
  place_ = Place::kWord;
  return push_word(byte, json);
}

Reading LiteralReader::push_word(char byte, std::string& json) {
  if (byte != ',' && byte != closers_.back()) {
    word_ += byte;
    return Reading::kMore;
  }
  json += json_of_word(word_);
  return push_behind_value(byte, json);
}

Reading LiteralReader::push_raw(char byte, std::string& json) {
  std::string& text = is_key_raw_ ? key_ : word_;
  const int end = raw_end_.push(byte, text);
  if (is_key_raw_) {
    if (end >= 0) is_key_raw_ = false, place_ = Place::kSeparator;
    return key_.size() > kMaxNameBytes ? Reading::kNotMine : Reading::kMore;
  }
  if (types_ == kString) {
    append_escaped(json, word_);
    word_.clear();
  }
  if (end < 0) return Reading::kMore;
  json += types_ == kString ? "\"" : json_of_text(word_, types_);
  return go(Place::kBehindValue);
}

Reading LiteralReader::push_behind_value(char byte, std::string& json) {
  place_ = Place::kBehindValue;
  if (is_space(byte)) return Reading::kMore;
  if (byte == closers_.back()) return close(byte, json);
  if (byte != ',') return Reading::kNotMine;
  return go(closers_.back() == ']' ? Place::kValue : Place::kKey);
}

Reading LiteralReader::open(char closer, std::string& json) {
  if (closers_.size() >= kMaxLiteralDepth) return Reading::kNotMine;
  closers_ += closer;
  is_first_ = true;
  json += closer == '}' ? '{' : '[';
  return go(closer == '}' ? Place::kKey : Place::kValue);
}

Reading LiteralReader::close(char byte, std::string& json) {
  const bool is_last = closers_.size() == 1;
  if (is_last && is_first_) json += '{';
  json += is_last ? '}' : byte;
  closers_.pop_back();
  is_first_ = false;
  if (is_last) return Reading::kDone;
  return go(Place::kBehindValue);
}

LiteralCallReader::LiteralCallReader(const LiteralCalls& form, const ToolTypes& tools)
    : form_(form),
      tools_(tools),
      tail_(form.tails),
      place_(form.is_list ? Place::kStart : Place::kBeforeName),
      before_name_texts_({{form.before_name}}) {
  if (!form.is_list) tail_ = Tail(before_name_texts_);
}

Reading LiteralCallReader::push(char byte, CallSink& sink) {
  switch (place_) {
    case Place::kStart:
      if (is_space(byte)) return Reading::kMore;
      if (byte != '[') return Reading::kNotMine;
      place_ = Place::kName;
      return Reading::kMore;
    case Place::kBeforeName:
      switch (tail_.push(byte)) {
        case Tail::Found::kNothingYet:
          return Reading::kMore;
        case Tail::Found::kOther:
          return Reading::kNotMine;
        case Tail::Found::kText:
          break;
      }
      place_ = Place::kName;
      return Reading::kMore;
    case Place::kName:
      return push_name(byte, sink);
    case Place::kArguments:
      return push_arguments(byte, sink);
    case Place::kBehindCall:
      return push_behind_call(byte, sink);
  }
  return Reading::kNotMine;
}

Reading LiteralCallReader::push_name(char byte, CallSink& sink) {
  if (name_.empty() && is_space(byte)) return Reading::kMore;
  if (byte != form_.open) {
    name_ += byte;
    const bool is_name = is_tool_name(name_) && (!form_.is_list || begins_name(name_.front()));
    return is_name ? Reading::kMore : Reading::kNotMine;
  }
  if (name_.empty() || (form_.is_list && !tools_.may_be(name_))) return Reading::kNotMine;
  has_begun_ = !form_.is_list;
  if (has_begun_) sink.begin(name_);
  json_.clear();
  arguments_ = std::make_unique<LiteralReader>(form_, tools_, name_);
  place_ = Place::kArguments;
  return Reading::kMore;
}

// Without a marker it takes a first argument's name, or none at all, to be certain of a call.
Reading LiteralCallReader::push_arguments(char byte, CallSink& sink) {
  const Reading reading = arguments_->push(byte, json_);
  if (reading == Reading::kNotMine) return reading;
  if (!json_.empty()) {
    if (!std::exchange(has_begun_, true)) sink.begin(name_);
    sink.arguments(std::exchange(json_, {}));
  }
  if (reading == Reading::kMore) return reading;
  sink.end();
  tail_ = Tail(form_.tails);
  place_ = Place::kBehindCall;
  return Reading::kMore;
}

Reading LiteralCallReader::push_behind_call(char byte, CallSink& sink) {
  if (form_.is_list && tail_.is_empty() && byte == ',') {
    name_.clear();
    place_ = Place::kName;
    return Reading::kMore;
  }
  switch (tail_.push(byte)) {
    case Tail::Found::kNothingYet:
      return Reading::kMore;
    case Tail::Found::kText:
      sink.settle();
      return Reading::kDone;
    case Tail::Found::kOther:
      break;
  }
  return Reading::kNotMine;
}

}  // namespace heed
