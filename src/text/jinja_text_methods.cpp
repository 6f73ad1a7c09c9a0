#include <algorithm>

#include "text/jinja_builtins.h"
#include "text/jinja_format.h"
#include "text/jinja_operators.h"
#include "text/jinja_print.h"
#include "text/jinja_text.h"
#include "text/jinja_unicode.h"

namespace heed::jinja {
namespace {

template <std::string (*change)(std::string_view)>
Result<Value> changed(Runtime& runtime, Arguments& arguments) {
  TRY(charge_text(runtime, arguments.self.text(), 3));
  return runtime.text(change(arguments.self.text()), arguments.self.markup());
}

template <bool left, bool right>
Result<Value> stripped(Runtime& runtime, Arguments& arguments) {
  return strip_text(runtime, arguments.self, arguments[0], left, right);
}

// Pieces of the text as a list of their own.
Result<Value> list_of(Runtime& runtime, const Value& self, const std::vector<std::string_view>& parts) {
  TRY(charge_text(runtime, self.text(), 2));
  Values items;
  items.reserve(parts.size());
  for (const std::string_view part : parts) items.push_back(runtime.text(std::string(part), self.markup()));
  return runtime.list(std::move(items));
}

Status split_at_space(std::string_view text, int64_t most, Pieces& parts) {
  std::string_view rest = strip(text, nullptr, true, false);
  while (!rest.empty()) {
    if (most >= 0 && static_cast<int64_t>(parts.list.size()) == most) {
      TRY(parts.add(strip(rest, nullptr, false, true)));
      break;
    }
    size_t end = 0;
    for (size_t next = 0; next < rest.size(); end = next) {
      if (is_space(next_code_point(rest, next))) break;
    }
    TRY(parts.add(rest.substr(0, end)));
    rest = strip(rest.substr(end), nullptr, true, false);
  }
  return {};
}

Status split_from_right_at_space(std::string_view text, int64_t most, Pieces& parts) {
  std::string_view rest = strip(text, nullptr, false, true);
  while (!rest.empty()) {
    if (most >= 0 && static_cast<int64_t>(parts.list.size()) == most) {
      TRY(parts.add(strip(rest, nullptr, true, false)));
      break;
    }
    size_t start = rest.size();
    for (size_t next = start; next > 0; start = next) {
      if (is_space(previous_code_point(rest, next))) break;
    }
    TRY(parts.add(rest.substr(start)));
    rest = strip(rest.substr(0, start), nullptr, false, true);
  }
  std::reverse(parts.list.begin(), parts.list.end());
  return {};
}

Status split_at(std::string_view text, std::string_view separator, int64_t most, Pieces& parts) {
  size_t start = 0;
  while (most < 0 || static_cast<int64_t>(parts.list.size()) < most) {
    const size_t found = find_text(text, separator, start);
    if (found == std::string_view::npos) break;
    TRY(parts.add(text.substr(start, found - start)));
    start = found + separator.size();
  }
  TRY(parts.add(text.substr(start)));
  return {};
}

// On reversed bytes, so that the search stays linear from the right too.
Status split_from_right_at(std::string_view text, std::string_view separator, int64_t most, Pieces& parts) {
  const std::string reversed(text.rbegin(), text.rend());
  const std::string wanted(separator.rbegin(), separator.rend());
  TRY(split_at(reversed, wanted, most, parts));
  size_t end = text.size();
  for (std::string_view& part : parts.list) {
    part = text.substr(end - part.size(), part.size());
    end -= std::min(end, part.size() + separator.size());
  }
  std::reverse(parts.list.begin(), parts.list.end());
  return {};
}

Result<Value> split_text(Runtime& runtime, Arguments& arguments, bool from_right) {
  const std::string_view text = arguments.self.text();
  const int64_t most = arguments.given(1) ? TRY(integer_argument(arguments[1], "maxsplit")) : -1;
  TRY(charge_text(runtime, text, 3));
  Pieces parts{runtime};
  if (!arguments.given(0) || arguments[0].is_none()) {
    TRY(from_right ? split_from_right_at_space(text, most, parts) : split_at_space(text, most, parts));
  } else {
    const std::string separator = TRY(text_argument(arguments[0], "sep"));
    if (separator.empty()) return invalid("empty separator");
    TRY(from_right ? split_from_right_at(text, separator, most, parts)
                   : split_at(text, separator, most, parts));
  }
  return list_of(runtime, arguments.self, parts.list);
}
Result<Value> split(Runtime& runtime, Arguments& arguments) { return split_text(runtime, arguments, false); }
Result<Value> rsplit(Runtime& runtime, Arguments& arguments) { return split_text(runtime, arguments, true); }

Result<Value> splitlines(Runtime& runtime, Arguments& arguments) {
  TRY(charge_text(runtime, arguments.self.text(), 1));
  Pieces parts{runtime};
  TRY(parts.add_lines(arguments.self.text(), flag_argument(arguments[0], false)));
  return list_of(runtime, arguments.self, parts.list);
}

Result<Value> partition_text(Runtime& runtime, Arguments& arguments, bool from_right) {
  const std::string separator = TRY(text_argument(arguments[0], "sep"));
  if (separator.empty()) return invalid("empty separator");
  const std::string& text = arguments.self.text();
  TRY(charge_text(runtime, text, 2));
  Pieces pieces{runtime};
  TRY(from_right ? split_from_right_at(text, separator, 1, pieces) : split_at(text, separator, 1, pieces));
  const auto& parts = pieces.list;
  const bool found = parts.size() == 2;
  const std::string_view before = found || !from_right ? parts[0] : std::string_view();
  const std::string_view after = found ? parts[1] : from_right ? parts[0] : std::string_view();
  const bool markup = arguments.self.markup();
  return runtime.tuple({runtime.text(std::string(before), markup),
                        runtime.text(found ? separator : "", markup),
                        runtime.text(std::string(after), markup)});
}
Result<Value> partition(Runtime& runtime, Arguments& arguments) {
  return partition_text(runtime, arguments, false);
}
Result<Value> rpartition(Runtime& runtime, Arguments& arguments) {
  return partition_text(runtime, arguments, true);
}

Result<Value> join_text(Runtime& runtime, Arguments& arguments) {
  const bool markup = arguments.self.markup();
  const std::string& separator = arguments.self.text();
  const Value iterator = TRY(iterate(runtime, arguments[0]));
  std::string out;
  Value element;
  bool more = false;
  while (TRY(advance(runtime, iterator, element))) {
    if (more) out += separator;
    more = true;
    if (!element.is_string()) return type_error("strings to join", element);
    TRY(charge_text(runtime, element.text(), 5));
    out += markup && !element.markup() ? escape_html(element.text()) : element.text();
    TRY(runtime.room_to_grow(out));
    TRY(runtime.room(2 * static_cast<int64_t>(separator.size())));
    TRY(runtime.work_on(separator));
  }
  return runtime.text(std::move(out), markup);
}

Result<Value> replace_argument(Runtime& runtime, Arguments& arguments) {
  std::string old = TRY(text_argument(arguments[0], "old"));
  std::string replacement = TRY(text_argument(arguments[1], "new"));
  const int64_t count = arguments.given(2) ? TRY(integer_argument(arguments[2], "count")) : -1;
  const bool markup = arguments.self.markup();
  if (markup && !arguments[0].markup()) old = escape_html(old);
  if (markup && !arguments[1].markup()) replacement = escape_html(replacement);
  return runtime.text(TRY(replace_text(runtime, arguments.self.text(), old, replacement, count)), markup);
}

// The part of the text between the code points `start` and `end` of the arguments, and how many come before
// it.
struct Window {
  std::string_view text;
  int64_t start = 0;
  bool valid = true;  // false: start is behind the end
};

Result<Window> window(Runtime& runtime, const Arguments& arguments) {
  const std::string& text = arguments.self.text();
  TRY(charge_text(runtime, text, 0));
  const int64_t size = text_length(arguments.self);
  const auto bound = [&](size_t i, int64_t otherwise) -> Result<int64_t> {
    if (!arguments.given(i) || arguments[i].is_none()) return otherwise;
    const int64_t at = TRY(integer_argument(arguments[i], "a bound"));
    return at < 0 ? std::max<int64_t>(0, at + size) : at;
  };
  const int64_t start = TRY(bound(1, 0));
  const int64_t end = std::min(TRY(bound(2, size)), size);
  if (start > end) return Window{.text = {}, .start = start, .valid = false};
  const size_t from = byte_of(text, start);
  const std::string_view rest = std::string_view(text).substr(from);
  return Window{.text = rest.substr(0, byte_of(rest, end - start)), .start = start, .valid = true};
}

Result<int64_t> find_in(Runtime& runtime, Arguments& arguments, bool from_right) {
  const Window view = TRY(window(runtime, arguments));
  const std::string wanted = TRY(text_argument(arguments[0], "sub"));
  if (!view.valid) return int64_t{-1};
  size_t found = find_text(view.text, wanted);
  if (from_right && found != std::string_view::npos) {
    TRY(charge_text(runtime, view.text, 1));
    const std::string reversed(view.text.rbegin(), view.text.rend());
    const std::string mirrored(wanted.rbegin(), wanted.rend());
    found = view.text.size() - wanted.size() - find_text(reversed, mirrored);
  }
  if (found == std::string_view::npos) return int64_t{-1};
  return view.start + count_code_points(view.text.substr(0, found));
}

template <bool from_right, bool must_be_there>
Result<Value> find(Runtime& runtime, Arguments& arguments) {
  const int64_t found = TRY(find_in(runtime, arguments, from_right));
  if (must_be_there && found < 0) return invalid("substring not found");
  return Value::integer(found);
}

Result<Value> count_text(Runtime& runtime, Arguments& arguments) {
  const Window view = TRY(window(runtime, arguments));
  const std::string wanted = TRY(text_argument(arguments[0], "sub"));
  if (!view.valid) return Value::integer(0);
  if (wanted.empty()) return Value::integer(count_code_points(view.text) + 1);
  int64_t times = 0;
  for (size_t at = find_text(view.text, wanted); at != std::string_view::npos; ++times) {
    at = find_text(view.text, wanted, at + wanted.size());
  }
  TRY(runtime.work(times));
  return Value::integer(times);
}

template <bool at_end>
Result<Value> affixed(Runtime& runtime, Arguments& arguments) {
  const Window view = TRY(window(runtime, arguments));
  Values affixes;
  if (arguments[0].is(Kind::kTuple)) {
    affixes = arguments[0].items();
  } else {
    affixes.push_back(arguments[0]);
  }
  for (const Value& affix : affixes) {
    if (!affix.is_string()) return type_error("a string or a tuple of strings", affix);
    TRY(runtime.work_on(affix.text()));
    const std::string_view wanted = affix.text();
    if (view.valid && (at_end ? view.text.ends_with(wanted) : view.text.starts_with(wanted)))
      return Value::boolean(true);
  }
  return Value::boolean(false);
}

template <bool at_end>
Result<Value> without_affix(Runtime& runtime, Arguments& arguments) {
  const std::string affix = TRY(text_argument(arguments[0], "an affix"));
  std::string_view text = arguments.self.text();
  TRY(charge_text(runtime, text, 1));
  if (at_end && text.ends_with(affix)) text.remove_suffix(affix.size());
  if (!at_end && text.starts_with(affix)) text.remove_prefix(affix.size());
  return runtime.text(std::string(text), arguments.self.markup());
}

template <Padding padding>
Result<Value> padded(Runtime& runtime, Arguments& arguments) {
  const int64_t width = TRY(integer_argument(arguments[0], "width"));
  const std::string fill = arguments.given(1) ? TRY(text_argument(arguments[1], "fillchar")) : " ";
  if (count_code_points(fill) != 1) return invalid("the fill character must be exactly one character long");
  return pad_text(runtime, arguments.self, width, fill, padding);
}

Result<Value> zfill(Runtime& runtime, Arguments& arguments) {
  const int64_t width = TRY(integer_argument(arguments[0], "width"));
  const std::string& text = arguments.self.text();
  const bool sign = text.starts_with('-') || text.starts_with('+');
  const int64_t missing = std::max<int64_t>(0, width - text_length(arguments.self));
  TRY(charge_text(runtime, text, 1));
  TRY(runtime.room(missing));
  std::string out = sign ? text.substr(0, 1) : "";
  out.append(static_cast<size_t>(missing), '0');
  out.append(text, sign ? 1 : 0);
  return runtime.text(std::move(out), arguments.self.markup());
}

Result<Value> expandtabs(Runtime& runtime, Arguments& arguments) {
  const int64_t width = arguments.given(0) ? TRY(integer_argument(arguments[0], "tabsize")) : 8;
  const std::string& text = arguments.self.text();
  TRY(charge_text(runtime, text, 1));
  std::string out;
  int64_t column = 0;
  for (size_t at = 0; at < text.size();) {
    const char32_t c = next_code_point(text, at);
    if (c != '\t') {
      append_code_point(out, c);
      column = c == '\n' || c == '\r' ? 0 : column + 1;
      continue;
    }
    const int64_t fill = width > 0 ? width - column % width : 0;
    TRY(runtime.room(static_cast<int64_t>(out.size()) + fill));
    TRY(runtime.work(1 + fill / 64));
    out.append(static_cast<size_t>(fill), ' ');
    column += fill;
  }
  return runtime.text(std::move(out), arguments.self.markup());
}

Result<Value> format_map(Runtime& runtime, Arguments& arguments) {
  if (arguments.positional.size() != 1 || !arguments.named.empty())
    return invalid("format_map takes one mapping");
  if (!arguments[0].is_dict()) return type_error("a mapping", arguments[0]);
  Arguments named;
  named.self = arguments.self;
  for (const auto& [key, value] : arguments[0].get<DictObject>().entries) {
    TRY(runtime.work());
    if (key.is_string()) named.named.emplace_back(key.text(), value);
  }
  return format_braces(runtime, named);
}

}  // namespace

Builtins text_methods() {
  static constexpr Builtin kMethods[] = {
      {"upper", "", changed<to_upper>},
      {"lower", "", changed<to_lower>},
      {"title", "", changed<to_title>},
      {"capitalize", "", changed<to_capitalized>},
      {"swapcase", "", changed<to_swapped>},
      {"casefold", "", changed<to_folded>},
      {"strip", "/chars?", stripped<true, true>},
      {"lstrip", "/chars?", stripped<true, false>},
      {"rstrip", "/chars?", stripped<false, true>},
      {"split", "sep? maxsplit?", split},
      {"rsplit", "sep? maxsplit?", rsplit},
      {"splitlines", "keepends?", splitlines},
      {"partition", "/sep", partition},
      {"rpartition", "/sep", rpartition},
      {"join", "/iterable", join_text},
      {"replace", "/old new count?", replace_argument},
      {"find", "/sub start? end?", find<false, false>},
      {"rfind", "/sub start? end?", find<true, false>},
      {"index", "/sub start? end?", find<false, true>},
      {"rindex", "/sub start? end?", find<true, true>},
      {"count", "/sub start? end?", count_text},
      {"startswith", "/prefix start? end?", affixed<false>},
      {"endswith", "/suffix start? end?", affixed<true>},
      {"removeprefix", "/prefix", without_affix<false>},
      {"removesuffix", "/suffix", without_affix<true>},
      {"center", "/width fillchar?", padded<Padding::kBoth>},
      {"ljust", "/width fillchar?", padded<Padding::kRight>},
      {"rjust", "/width fillchar?", padded<Padding::kLeft>},
      {"zfill", "/width", zfill},
      {"expandtabs", "tabsize?", expandtabs},
      {"format", "*", format_braces},
      {"format_map", "*", format_map},
  };
  return kMethods;
}

}  // namespace heed::jinja
