#include "text/jinja_text.h"

#include <algorithm>
#include <charconv>

#include "text/jinja_operators.h"
#include "text/jinja_print.h"
#include "text/jinja_unicode.h"

namespace heed::jinja {
namespace {

// Text without what stands between `open` and the next `close`.
std::string without(std::string_view text, std::string_view open, std::string_view close) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const size_t start = find_text(text, open, at);
    const size_t end = start == std::string_view::npos ? start : find_text(text, close, start);
    if (end == std::string_view::npos) return out.append(text.substr(at));
    out += text.substr(at, start - at);
    at = end + close.size();
  }
  return out;
}

}  // namespace

Status charge_text(Runtime& runtime, std::string_view text, int64_t growth) {
  const auto size = static_cast<int64_t>(text.size());
  TRY(runtime.work(1 + size / 8));
  return runtime.room(size * growth);
}

Result<Value> strip_text(Runtime& runtime, const Value& text, const Value& chars, bool left, bool right) {
  const bool all_space = chars.is_missing() || chars.is_none();
  if (chars.is_undefined()) return undefined_error(chars);
  if (!all_space && !chars.is_string()) return type_error("a string of characters to strip", chars);
  const std::string_view kept = strip(text.text(), all_space ? nullptr : &chars.text(), left, right);
  const auto dropped = static_cast<int64_t>(text.text().size() - kept.size());
  TRY(runtime.work(all_space ? dropped / 64
                             : (dropped + 1) * (static_cast<int64_t>(chars.text().size()) / 64 + 1) / 8));
  TRY(charge_text(runtime, kept, 1));
  return runtime.text(std::string(kept), text.markup());
}

Result<std::string> replace_text(Runtime& runtime, std::string_view text, std::string_view old,
                                 std::string_view replacement, int64_t count) {
  TRY(charge_text(runtime, text, 1));
  std::string out;
  size_t at = 0;
  size_t from = 0;
  while (count != 0) {
    const size_t found = find_text(text, old, from);
    if (found == std::string_view::npos) break;
    TRY(runtime.work());
    TRY(runtime.room(2 * static_cast<int64_t>(replacement.size())));
    TRY(runtime.work_on(replacement));
    out += text.substr(at, found - at);
    out += replacement;
    TRY(runtime.room_to_grow(out));
    at = found + old.size();
    from = at;
    if (count > 0) --count;
    if (!old.empty()) continue;
    if (from >= text.size()) break;
    next_code_point(text, from);
  }
  out += text.substr(std::min(at, text.size()));
  return out;
}

Result<Value> pad_text(Runtime& runtime, const Value& text, int64_t width, std::string_view fill,
                       Padding padding) {
  const int64_t missing = std::max<int64_t>(0, width - text_length(text));
  TRY(charge_text(runtime, text.text(), 1));
  TRY(runtime.room_for(missing, static_cast<int64_t>(fill.size())));
  TRY(runtime.work(missing / 64));
  const auto filled = [&fill](int64_t count) {
    std::string out;
    for (int64_t i = 0; i < count; ++i) out += fill;
    return out;
  };
  // Python puts the odd one left where both the fill and the width are odd.
  int64_t left = padding == Padding::kLeft ? missing : 0;
  if (padding == Padding::kBoth) left = missing / 2 + (missing & width & 1);
  return runtime.text(filled(left) + text.text() + filled(missing - left), text.markup());
}

Status Pieces::add(std::string_view piece) {
  constexpr int64_t kBytes = sizeof(TextObject) + sizeof(Value) + 3 * sizeof(std::string_view);
  list.push_back(piece);
  TRY(runtime.work());
  return runtime.room_for(static_cast<int64_t>(list.size()), kBytes);
}

Status Pieces::add_lines(std::string_view text, bool keep_ends) {
  size_t start = 0;
  for (size_t at = 0; at < text.size();) {
    const size_t end = at;
    const char32_t c = next_code_point(text, at);
    if (!is_line_break(c)) continue;
    if (c == '\r' && at < text.size() && text[at] == '\n') ++at;
    TRY(add(text.substr(start, (keep_ends ? at : end) - start)));
    start = at;
  }
  return start < text.size() ? add(text.substr(start)) : Status();
}

std::string strip_tags(std::string_view text) {
  const std::string plain = without(without(text, "<!--", "-->"), "<", ">");
  std::string out;
  bool space = false;
  for (size_t at = 0; at < plain.size();) {
    const char32_t c = next_code_point(plain, at);
    if (is_space(c)) {
      space = true;
      continue;
    }
    if (space && !out.empty()) out += ' ';
    space = false;
    append_code_point(out, c);
  }
  return out;
}

std::string unescape_html(std::string_view text) {
  static constexpr std::pair<std::string_view, std::string_view> kNamed[] = {
      {"amp", "&"}, {"lt", "<"}, {"gt", ">"}, {"quot", "\""}, {"apos", "'"}, {"nbsp", "\u00a0"}};
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const size_t end = text[at] == '&' ? text.substr(0, at + 12).find(';', at) : std::string_view::npos;
    if (end == std::string_view::npos) {
      out += text[at++];
      continue;
    }
    const std::string_view name = text.substr(at + 1, end - at - 1);
    const auto* named =
        std::find_if(std::begin(kNamed), std::end(kNamed), [name](const auto& e) { return e.first == name; });
    const bool hexadecimal = name.starts_with("#x") || name.starts_with("#X");
    uint32_t code = 0;
    const size_t digits = hexadecimal ? 2 : 1;
    const bool numbered =
        name.starts_with('#') && name.size() > digits &&
        std::from_chars(name.data() + digits, name.data() + name.size(), code, hexadecimal ? 16 : 10).ptr ==
            name.data() + name.size();
    if (named != std::end(kNamed)) {
      out += named->second;
    } else if (numbered && code > 0 && code <= 0x10ffff && (code < 0xd800 || code > 0xdfff)) {
      append_code_point(out, code);
    } else {
      out += text.substr(at, end + 1 - at);
    }
    at = end + 1;
  }
  return out;
}

}  // namespace heed::jinja
