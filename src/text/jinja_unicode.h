// Python's view of text: code points, their classes and their case, over UTF-8.
//
// All functions take valid UTF-8; on other bytes they are safe but the result is unspecified.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace heed::jinja {

bool is_valid_utf8(std::string_view text);
int64_t count_code_points(std::string_view text);
// The code point that starts at byte `at`, which moves behind it.
char32_t next_code_point(std::string_view text, size_t& at);
// The code point that ends before byte `at`, which moves to its start.
char32_t previous_code_point(std::string_view text, size_t& at);
void append_code_point(std::string& out, char32_t code_point);
// The byte where code point `index` starts; text.size() where the text is shorter.
size_t byte_of(std::string_view text, int64_t index);

// The classes behind str.isspace, isalpha, ... of one character.
bool is_space(char32_t c);
bool is_alpha(char32_t c);
bool is_decimal(char32_t c);
bool is_digit(char32_t c);
bool is_numeric(char32_t c);
bool is_upper(char32_t c);
bool is_lower(char32_t c);
bool is_title(char32_t c);
bool is_cased(char32_t c);
bool is_printable(char32_t c);
bool is_word(char32_t c);  // \w of Python's re

std::string to_upper(std::string_view text);
std::string to_lower(std::string_view text);
std::string to_title(std::string_view text);        // str.title
std::string to_capitalized(std::string_view text);  // str.capitalize
std::string to_swapped(std::string_view text);      // str.swapcase
std::string to_folded(std::string_view text);       // str.casefold

// `text` without the characters of `chars` (white space where null) at its start and end.
std::string_view strip(std::string_view text, const std::string* chars, bool left, bool right);
inline std::string_view strip(std::string_view text) { return strip(text, nullptr, true, true); }
// The text's lines, as str.splitlines splits them.
bool is_line_break(char32_t c);
// Where `needle` is in `text` at or after byte `from`; npos if nowhere. Linear time.
size_t find_text(std::string_view text, std::string_view needle, size_t from = 0);

}  // namespace heed::jinja
