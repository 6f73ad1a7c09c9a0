#include "text/jinja_print.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "text/jinja_macro.h"
#include "text/jinja_operators.h"
#include "text/jinja_unicode.h"

namespace heed::jinja {
namespace {

void append_escape(std::string& out, char32_t c) {
  char buffer[16];
  std::snprintf(buffer, sizeof buffer,
                c < 0x100     ? "\\x%02x"
                : c < 0x10000 ? "\\u%04x"
                              : "\\U%08x",
                static_cast<unsigned>(c));
  out += buffer;
}

// Writes values as Python's repr does.
class ReprWriter {
 public:
  explicit ReprWriter(Runtime& runtime) : runtime_(runtime) {}

  Status write(const Value& value) {
    TRY(runtime_.work());
    TRY(runtime_.deeper());
    TRY(runtime_.room_to_grow(out_));
    switch (value.kind()) {
      case Kind::kString:
        return write_text(value);
      case Kind::kList:
        return write_items(value.items(), "[", "]");
      case Kind::kTuple:
        return write_items(value.items(), "(", value.items().size() == 1 ? ",)" : ")");
      case Kind::kDict:
        return write_dict(value.get<DictObject>());
      case Kind::kView:
        return write_view(value.get<ViewObject>());
      case Kind::kNamespace:
        out_ += "<Namespace ";
        TRY(write(value.get<NamespaceObject>().attributes));
        out_ += '>';
        return {};
      default:
        return write_simple(value);
    }
  }
  std::string take() { return std::move(out_); }

 private:
  Status write_text(const Value& value) {
    TRY(runtime_.work_on(value.text()));
    TRY(runtime_.room(4 * static_cast<int64_t>(value.text().size())));
    out_ += value.markup() ? "Markup(" + text_repr(value.text()) + ")" : text_repr(value.text());
    return {};
  }

  Status write_items(const Values& items, const char* open, const char* close) {
    out_ += open;
    for (size_t i = 0; i < items.size(); ++i) {
      if (i > 0) out_ += ", ";
      TRY(write(items[i]));
    }
    out_ += close;
    return {};
  }

  Status write_dict(const DictObject& dict) {
    out_ += '{';
    for (size_t i = 0; i < dict.entries.size(); ++i) {
      if (i > 0) out_ += ", ";
      TRY(write(dict.entries[i].first));
      out_ += ": ";
      TRY(write(dict.entries[i].second));
    }
    out_ += '}';
    return {};
  }

  Status write_view(const ViewObject& view) {
    const char* name = view.view == View::kKeys     ? "dict_keys"
                       : view.view == View::kValues ? "dict_values"
                                                    : "dict_items";
    const auto& entries = view.dict.get<DictObject>().entries;
    out_ += std::string(name) + "([";
    for (size_t i = 0; i < entries.size(); ++i) {
      if (i > 0) out_ += ", ";
      if (view.view == View::kItems) out_ += '(';
      if (view.view != View::kValues) TRY(write(entries[i].first));
      if (view.view == View::kItems) out_ += ", ";
      if (view.view != View::kKeys) TRY(write(entries[i].second));
      if (view.view == View::kItems) out_ += ')';
    }
    out_ += "])";
    return {};
  }

  Status write_simple(const Value& value) {
    switch (value.kind()) {
      case Kind::kNone:
        out_ += "None";
        break;
      case Kind::kBool:
        out_ += value.as_int() != 0 ? "True" : "False";
        break;
      case Kind::kInt:
        out_ += std::to_string(value.as_int());
        break;
      case Kind::kFloat:
        out_ += float_repr(value.as_real());
        break;
      case Kind::kUndefined:
        out_ += "Undefined";
        break;
      case Kind::kRange:
        write_range(value.get<RangeObject>());
        break;
      case Kind::kMacro: {
        const std::string& name = value.get<MacroObject>().node->name;
        out_ += "<Macro " + (name.empty() ? "anonymous" : text_repr(name)) + ">";
        break;
      }
      default:
        return unsupported(std::string("a ") + type_name(value) + " has no text that is the same every time");
    }
    return {};
  }

  void write_range(const RangeObject& range) {
    out_ += "range(" + std::to_string(range.start) + ", " + std::to_string(range.stop);
    out_ += range.step == 1 ? ")" : ", " + std::to_string(range.step) + ")";
  }

  Runtime& runtime_;
  std::string out_;
};

// Writes values as json.dumps does.
class JsonWriter {
 public:
  JsonWriter(Runtime& runtime, const JsonStyle& style) : runtime_(runtime), style_(style) {}

  Status write(const Value& value, int level) {
    TRY(runtime_.work());
    TRY(runtime_.deeper());
    TRY(runtime_.room_to_grow(out_));
    switch (value.kind()) {
      case Kind::kNone:
        out_ += "null";
        return {};
      case Kind::kBool:
        out_ += value.as_int() != 0 ? "true" : "false";
        return {};
      case Kind::kInt:
        out_ += std::to_string(value.as_int());
        return {};
      case Kind::kFloat:
        out_ += number(value.as_real());
        return {};
      case Kind::kString:
        return write_text(value.text());
      case Kind::kList:
      case Kind::kTuple:
        return write_items(value.items(), level);
      case Kind::kDict:
        return write_dict(value.get<DictObject>(), level);
      default:
        return invalid(std::string("object of type ") + type_name(value) + " is not JSON serializable");
    }
  }
  std::string take() { return std::move(out_); }

 private:
  static std::string number(double value) {
    if (std::isnan(value)) return "NaN";
    if (std::isinf(value)) return value > 0 ? "Infinity" : "-Infinity";
    return float_repr(value);
  }

  Status new_line(int level) {
    if (!style_.indent) return {};
    out_ += '\n';
    for (int i = 0; i < level; ++i) {
      TRY(runtime_.work_on(*style_.indent));
      TRY(runtime_.room_to_grow(out_));
      out_ += *style_.indent;
    }
    return {};
  }

  Status write_items(const Values& items, int level) {
    if (items.empty()) {
      out_ += "[]";
      return {};
    }
    out_ += '[';
    for (size_t i = 0; i < items.size(); ++i) {
      if (i > 0) out_ += style_.item_separator;
      TRY(new_line(level + 1));
      TRY(write(items[i], level + 1));
    }
    TRY(new_line(level));
    out_ += ']';
    return {};
  }

  Result<std::string> key_text(const Value& key) {
    switch (key.kind()) {
      case Kind::kString:
        return key.text();
      case Kind::kNone:
        return std::string("null");
      case Kind::kBool:
        return std::string(key.as_int() != 0 ? "true" : "false");
      case Kind::kInt:
        return std::to_string(key.as_int());
      case Kind::kFloat:
        return number(key.as_real());
      default:
        return type_error("a string, number or none as a key", key);
    }
  }

  // The entries in the order to write them: pointers into the dict, sorted by key if asked for.
  Result<std::vector<const std::pair<Value, Value>*>> ordered(const DictObject& dict) {
    std::vector<const std::pair<Value, Value>*> entries;
    for (const auto& entry : dict.entries) entries.push_back(&entry);
    if (!style_.sort_keys) return entries;
    const bool texts =
        std::all_of(entries.begin(), entries.end(), [](const auto* e) { return e->first.is_string(); });
    const bool numbers =
        std::all_of(entries.begin(), entries.end(), [](const auto* e) { return e->first.is_number(); });
    if (!texts && !numbers && entries.size() > 1) return invalid("no order between the keys to sort");
    std::stable_sort(entries.begin(), entries.end(), [texts](const auto* a, const auto* b) {
      return texts ? a->first.text() < b->first.text() : order_of_numbers(a->first, b->first) == -1;
    });
    return entries;
  }

  Status write_dict(const DictObject& dict, int level) {
    if (dict.entries.empty()) {
      out_ += "{}";
      return {};
    }
    out_ += '{';
    bool first = true;
    for (const auto* entry : TRY(ordered(dict))) {
      if (!first) out_ += style_.item_separator;
      first = false;
      TRY(new_line(level + 1));
      const std::string key = TRY(key_text(entry->first));
      TRY(write_text(key));
      out_ += style_.key_separator;
      TRY(write(entry->second, level + 1));
    }
    TRY(new_line(level));
    out_ += '}';
    return {};
  }

  void write_utf16(char32_t c) {
    char buffer[8];
    std::snprintf(buffer, sizeof buffer, "\\u%04x", static_cast<unsigned>(c & 0xffff));
    out_ += buffer;
  }

  void write_character(char32_t c) {
    static constexpr std::string_view kEscaped = "\"\\\n\r\t\f\b";
    static constexpr std::string_view kEscapes = "\"\\nrtfb";
    const size_t found = c < 0x80 ? kEscaped.find(static_cast<char>(c)) : std::string_view::npos;
    if (found != std::string_view::npos) {
      out_ += '\\';
      out_ += kEscapes[found];
    } else if (c >= 0x10000 && style_.ascii_only) {
      write_utf16(0xd800 + ((c - 0x10000) >> 10));
      write_utf16(0xdc00 + ((c - 0x10000) & 0x3ff));
    } else if (c < 0x20 || (style_.ascii_only && c > 0x7e)) {
      write_utf16(c);
    } else {
      append_code_point(out_, c);
    }
  }

  Status write_text(const std::string& text) {
    TRY(runtime_.work_on(text));
    TRY(runtime_.room(6 * static_cast<int64_t>(text.size())));
    out_ += '"';
    for (size_t at = 0; at < text.size();) write_character(next_code_point(text, at));
    out_ += '"';
    return {};
  }

  Runtime& runtime_;
  const JsonStyle& style_;
  std::string out_;
};

}  // namespace

// The shortest digits that read back as the same number, with an exponent where Python uses one.
std::string float_repr(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  std::array<char, 64> buffer;
  const auto written =
      std::to_chars(buffer.data(), buffer.data() + buffer.size(), value, std::chars_format::scientific);
  const std::string_view shortest(buffer.data(), static_cast<size_t>(written.ptr - buffer.data()));
  const size_t mark = shortest.find('e');
  const int exponent = std::atoi(std::string(shortest.substr(mark + 1)).c_str());
  std::string out(shortest.starts_with('-') ? "-" : "");
  std::string digits;
  for (const char c : shortest.substr(0, mark)) {
    if (c >= '0' && c <= '9') digits += c;
  }
  const auto count = static_cast<int>(digits.size());
  if (exponent < -4 || exponent >= 16) {
    out += digits[0];
    if (count > 1) out += "." + digits.substr(1);
    const int magnitude = std::abs(exponent);
    return out + (exponent < 0 ? "e-" : "e+") + (magnitude < 10 ? "0" : "") + std::to_string(magnitude);
  }
  if (exponent < 0) return out + "0." + std::string(static_cast<size_t>(-exponent - 1), '0') + digits;
  if (count <= exponent + 1)
    return out + digits + std::string(static_cast<size_t>(exponent + 1 - count), '0') + ".0";
  const auto whole = static_cast<size_t>(exponent) + 1;
  return out + digits.substr(0, whole) + "." + digits.substr(whole);
}

std::string text_repr(std::string_view text, bool ascii_only) {
  const bool double_quotes =
      text.find('\'') != std::string_view::npos && text.find('"') == std::string_view::npos;
  const char quote = double_quotes ? '"' : '\'';
  std::string out(1, quote);
  for (size_t at = 0; at < text.size();) {
    const char32_t c = next_code_point(text, at);
    if (c == static_cast<char32_t>(quote) || c == '\\') {
      out += '\\';
      out += static_cast<char>(c);
    } else if (c == '\n' || c == '\r' || c == '\t') {
      out += c == '\n' ? "\\n" : c == '\r' ? "\\r" : "\\t";
    } else if (!is_printable(c) || (ascii_only && c > 0x7e)) {
      append_escape(out, c);
    } else {
      append_code_point(out, c);
    }
  }
  return out + quote;
}

std::string escape_html(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '\'':
        out += "&#39;";
        break;
      case '"':
        out += "&#34;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

Result<std::string> to_repr(Runtime& runtime, const Value& value) {
  ReprWriter writer(runtime);
  TRY(writer.write(value));
  return writer.take();
}

Result<std::string> to_text(Runtime& runtime, const Value& value) {
  if (value.is_string()) {
    TRY(runtime.work_on(value.text()));
    TRY(runtime.room(static_cast<int64_t>(value.text().size())));
    return value.text();
  }
  if (value.is_undefined()) return std::string();
  return to_repr(runtime, value);
}

Result<std::string> to_json(Runtime& runtime, const Value& value, const JsonStyle& style) {
  JsonWriter writer(runtime, style);
  TRY(writer.write(value, 0));
  return writer.take();
}

}  // namespace heed::jinja
