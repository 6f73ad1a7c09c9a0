#include "dialects/named_calls.h"

#include <algorithm>

namespace heed {
namespace {

constexpr std::string_view kDeepSeekSeparator = "<｜tool▁sep｜>";

std::string_view before(std::string_view text, std::string_view mark) {
  const size_t at = text.find(mark);
  return at == std::string_view::npos ? std::string_view() : text.substr(0, at);
}

}  // namespace

bool is_tool_name(std::string_view name) {
  const auto is_allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-' || c == '.';
  };
  return !name.empty() && name.size() <= kMaxNameBytes && std::all_of(name.begin(), name.end(), is_allowed);
}

std::string_view mistral_name(std::string_view header) {
  const std::string_view whole = trimmed(header);
  if (whole.find('[') == std::string_view::npos) return whole;
  return whole.ends_with("[ARGS]") ? trimmed(before(whole, "[")) : std::string_view();
}

std::string_view deepseek_name(std::string_view header) {
  const std::string_view first = before(header, kDeepSeekSeparator);
  if (first.empty()) return {};
  const std::string_view second = trimmed(header.substr(first.size() + kDeepSeekSeparator.size()));
  return second.empty() ? trimmed(first) : trimmed(before(second, "\n"));
}

std::string_view kimi_name(std::string_view header) {
  std::string_view name = trimmed(before(header, "<|tool_call_argument_begin|>"));
  if (name.starts_with("functions.")) name.remove_prefix(10);
  const size_t index = name.rfind(':');
  return index == std::string_view::npos ? name : name.substr(0, index);
}

std::string_view functionary_name(std::string_view header) { return trimmed(before(header, ">")); }

std::string_view harmony_name(std::string_view header) {
  if (!trimmed(header).ends_with("<|message|>")) return {};
  return header.substr(0, header.find_first_of(" <"));
}

Reading NamedCallReader::push(char byte, CallSink& sink) {
  switch (place_) {
    case Place::kBetween:
      return push_between(byte);
    case Place::kHeader:
      return push_header(byte, sink);
    case Place::kArguments:
      break;
  }
  const JsonExtent::Part part = extent_.push(byte);
  sink.arguments({&byte, 1});
  if (part == JsonExtent::Part::kLast) {
    sink.end();
    has_call_ = true;
    place_ = Place::kBetween;
  }
  return Reading::kMore;
}

Reading NamedCallReader::push_between(char byte) {
  switch (tail_.push(byte)) {
    case Tail::Found::kNothingYet:
      return Reading::kMore;
    case Tail::Found::kOther:
      return Reading::kNotMine;
    case Tail::Found::kText:
      break;
  }
  if (tail_.then() == TailText::Then::kDone) return has_call_ ? Reading::kDone : Reading::kNotMine;
  if (tail_.then() == TailText::Then::kNextCall) {
    header_.clear();
    place_ = Place::kHeader;
  }
  return Reading::kMore;
}

Reading NamedCallReader::push_header(char byte, CallSink& sink) {
  if (byte != '{') {
    header_ += byte;
    return header_.size() > kMaxHeaderBytes ? Reading::kNotMine : Reading::kMore;
  }
  const std::string name(form_.name_in(header_));
  if (!is_tool_name(name)) return Reading::kNotMine;
  sink.begin(name);
  extent_ = JsonExtent();
  place_ = Place::kArguments;
  return push(byte, sink);
}

}  // namespace heed
