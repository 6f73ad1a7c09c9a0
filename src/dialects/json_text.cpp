#include "dialects/json_text.h"

namespace heed {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD

void append_utf8(uint32_t c, std::string& text) {
  const auto add = [&](uint32_t byte) { text += static_cast<char>(byte); };
  if (c < 0x80) {
    add(c);
  } else if (c < 0x800) {
    add(0xC0 | c >> 6), add(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    add(0xE0 | c >> 12), add(0x80 | (c >> 6 & 0x3F)), add(0x80 | (c & 0x3F));
  } else {
    add(0xF0 | c >> 18), add(0x80 | (c >> 12 & 0x3F)), add(0x80 | (c >> 6 & 0x3F)), add(0x80 | (c & 0x3F));
  }
}

int hex_value(char byte) {
  if (byte >= '0' && byte <= '9') return byte - '0';
  if (byte >= 'a' && byte <= 'f') return byte - 'a' + 10;
  if (byte >= 'A' && byte <= 'F') return byte - 'A' + 10;
  return -1;
}

// The letters behind a backslash that stand for one control character, and those characters.
constexpr std::string_view kLetters = "bfnrt";
constexpr std::string_view kControls = "\b\f\n\r\t";

}  // namespace

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

JsonExtent::Part JsonExtent::push(char byte) {
  if (in_string_) {
    if (escaped_) {
      escaped_ = false;
    } else if (byte == '\\') {
      escaped_ = true;
    } else if (byte == '"') {
      in_string_ = false;
      return depth_ == 0 ? Part::kLast : Part::kInside;
    }
    return Part::kInside;
  }
  if (byte == '}' || byte == ']') return close();
  if (depth_ == 0 && is_word_) {
    const bool ends =
        is_space(byte) || byte == ',' || byte == ':' || byte == '"' || byte == '{' || byte == '[';
    return ends ? Part::kBehind : Part::kInside;
  }
  if (byte == '"') {
    in_string_ = true;
  } else if (byte == '{' || byte == '[') {
    ++depth_;
  } else {
    is_word_ = depth_ == 0;
  }
  return Part::kInside;
}

JsonExtent::Part JsonExtent::close() {
  if (depth_ == 0) return Part::kBehind;
  return --depth_ == 0 ? Part::kLast : Part::kInside;
}

bool StringDecoder::push(char byte, std::string& text) {
  if (digits_left_ > 0) {
    push_digit(byte, text);
    return false;
  }
  if (escaped_) {
    escaped_ = false;
    push_escape(byte, text);
    return false;
  }
  if (byte == '\\') {
    escaped_ = true;
    return false;
  }
  drop_half(text);
  if (byte == quote_) return true;
  text += byte;
  return false;
}

void StringDecoder::push_escape(char byte, std::string& text) {
  if (byte == 'u' || byte == 'U' || byte == 'x') {
    digits_left_ = byte == 'u' ? 4 : byte == 'U' ? 8 : 2;
    value_ = 0;
    return;
  }
  drop_half(text);
  const size_t letter = kLetters.find(byte);
  if (letter != std::string_view::npos) {
    text += kControls[letter];
  } else {
    if (byte != '"' && byte != '\'' && byte != '\\' && byte != '/') text += '\\';
    text += byte;
  }
}

// A digit that is none ends the escape: what it says so far counts for nothing.
void StringDecoder::push_digit(char byte, std::string& text) {
  const int digit = hex_value(byte);
  if (digit < 0) {
    digits_left_ = 0;
    drop_half(text);
    text += kReplacement;
    if (byte != quote_ && byte != '\\') text += byte;
    return;
  }
  value_ = value_ << 4 | static_cast<uint32_t>(digit);
  if (--digits_left_ == 0) add(value_, text);
}

void StringDecoder::add(uint32_t code_point, std::string& text) {
  const bool is_second = code_point >= 0xDC00 && code_point <= 0xDFFF;
  if (is_second && first_half_ != 0) {
    append_utf8(0x10000 + ((first_half_ - 0xD800) << 10) + (code_point - 0xDC00), text);
    first_half_ = 0;
    return;
  }
  drop_half(text);
  if (code_point >= 0xD800 && code_point <= 0xDBFF) {
    first_half_ = code_point;
  } else if (is_second || code_point > 0x10FFFF) {
    text += kReplacement;
  } else {
    append_utf8(code_point, text);
  }
}

void StringDecoder::drop_half(std::string& text) {
  if (first_half_ != 0) text += kReplacement;
  first_half_ = 0;
}

void append_escaped(std::string& json, std::string_view text) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  for (const char byte : text) {
    const size_t control = kControls.find(byte);
    if (byte == '"' || byte == '\\') {
      json += '\\';
      json += byte;
    } else if (control != std::string_view::npos) {
      json += '\\';
      json += kLetters[control];
    } else if (static_cast<unsigned char>(byte) < 0x20) {
      json += "\\u00";
      json += kDigits[static_cast<size_t>(byte) >> 4];
      json += kDigits[static_cast<size_t>(byte) & 15];
    } else {
      json += byte;
    }
  }
}

std::string json_string(std::string_view text) {
  std::string json = "\"";
  append_escaped(json, text);
  json += '"';
  return json;
}

}  // namespace heed
