// UTF-8 and the Unicode properties that tokenizers ask for, with the answers of the Python tokenizers
// package.
//
// Text is UTF-8 in std::string. Except where a function says so it must be valid; invalid bytes then give
// U+FFFD of length 1, never undefined behaviour. Pure functions, safe on any thread.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace heed {

inline constexpr char32_t kReplacementCharacter = 0xFFFD;

struct CodePoint {
  char32_t value;
  int length;  // bytes, at least 1
};

CodePoint code_point_at(std::string_view text, size_t at);       // at < text.size()
CodePoint code_point_before(std::string_view text, size_t end);  // end > 0
int code_point_length(char32_t c);
void append_utf8(std::string& out, char32_t c);
int64_t count_code_points(std::string_view text);
bool is_valid_utf8(std::string_view text);

// Appends `bytes` to `out` as valid UTF-8: every maximal part of an ill-formed sequence becomes one U+FFFD
// (the WHATWG practice, Python's errors="replace"). With `more` to come, a sequence cut off at the end is
// left over. Returns the number of bytes used.
size_t repair_utf8(std::string_view bytes, bool more, std::string& out);

bool is_white_space(char32_t c);         // property White_Space
bool is_number(char32_t c);              // N
bool is_word(char32_t c);                // \w of Rust's regex crate
bool is_punctuation(char32_t c);         // P, or ASCII punctuation
bool is_nonspacing_mark(char32_t c);     // Mn
bool is_combining_mark(char32_t c);      // M
bool is_control_or_private(char32_t c);  // C except unassigned
bool is_bert_chinese(char32_t c);        // the blocks of ideographs that BertNormalizer sets apart
void append_lowercase(std::string& out, char32_t c);

// For regular expressions: the code point that PCRE2 shall see in place of c (mostly c itself).
char32_t pcre_stand_in(char32_t c);

struct NormalForm {
  bool compose = false;
  bool compatibility = false;
};
std::string normalize_unicode(std::string_view text, NormalForm form);

// The end of the extended grapheme cluster that starts at `begin` (< text.size()).
size_t grapheme_end(std::string_view text, size_t begin);

}  // namespace heed
