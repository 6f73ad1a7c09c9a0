// Pieces of JSON text that come byte by byte: where a value ends, what a string in quotes says, and how a
// text is written as a string.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace heed {

inline bool is_space(char byte) { return byte == ' ' || byte == '\n' || byte == '\r' || byte == '\t'; }
std::string_view trimmed(std::string_view text);

// Follows one value by its quotes and brackets, without keeping it; what is no JSON passes as well.
class JsonExtent {
 public:
  enum class Part {
    kInside,  // the byte belongs to the value
    kLast,    // and ends it
    kBehind,  // the value, a number or a word, has ended before it
  };
  Part push(char byte);

 private:
  Part close();

  int64_t depth_ = 0;
  bool in_string_ = false;
  bool escaped_ = false;
  bool is_word_ = false;
};

// What a string says, from behind its opening quote on: JSON's escapes and Python's. Halves of surrogate
// pairs become U+FFFD; a backslash before anything else stays.
class StringDecoder {
 public:
  explicit StringDecoder(char quote = '"') : quote_(quote) {}
  // Appends what has become certain. True: this byte was the closing quote.
  bool push(char byte, std::string& text);

 private:
  void push_escape(char byte, std::string& text);
  void push_digit(char byte, std::string& text);
  void add(uint32_t code_point, std::string& text);
  void drop_half(std::string& text);

  char quote_;
  bool escaped_ = false;
  int digits_left_ = 0;
  uint32_t value_ = 0;
  uint32_t first_half_ = 0;  // of a surrogate pair
};

// Appends text as it stands within the quotes of a JSON string.
void append_escaped(std::string& json, std::string_view text);
std::string json_string(std::string_view text);

}  // namespace heed
