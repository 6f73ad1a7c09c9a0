#include "text/unicode.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <vector>

#include "base/check.h"
#include "text/unicode_tables.h"

namespace heed {
namespace {

bool contains(std::span<const CodeRange> ranges, char32_t c) {
  const auto after =
      std::upper_bound(ranges.begin(), ranges.end(), c,
                       [](char32_t value, const CodeRange& range) { return value < range.first; });
  return after != ranges.begin() && c <= std::prev(after)->last;
}

utf8proc_category_t category(char32_t c) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(pcre_stand_in(c)));
}

bool is_ascii_punctuation(char32_t c) {
  return (c >= '!' && c <= '/') || (c >= ':' && c <= '@') || (c >= '[' && c <= '`') || (c >= '{' && c <= '~');
}

// The length of the well-formed sequence at the start of `bytes` in `length`, else that of its ill-formed
// maximal part. `cut` says that the part is the beginning of a well-formed sequence, ended by the end of the
// bytes.
struct Sequence {
  int length;
  bool valid;
  bool cut;
};

Sequence first_sequence(std::string_view bytes) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(bytes[i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return {1, true, false};
  int length = 0;
  unsigned char low =
      0x80;  // bounds of the second byte: no overlong forms, surrogates or values past U+10FFFF
  unsigned char high = 0xBF;
  if (lead >= 0xC2 && lead <= 0xDF) length = 2;
  if (lead >= 0xE0 && lead <= 0xEF) length = 3;
  if (lead >= 0xF0 && lead <= 0xF4) length = 4;
  if (lead == 0xE0) low = 0xA0;
  if (lead == 0xED) high = 0x9F;
  if (lead == 0xF0) low = 0x90;
  if (lead == 0xF4) high = 0x8F;
  if (length == 0) return {1, false, false};
  for (int i = 1; i < length; ++i) {
    if (static_cast<size_t>(i) == bytes.size()) return {i, false, true};
    if (byte(i) < low || byte(i) > high) return {i, false, false};
    low = 0x80;
    high = 0xBF;
  }
  return {length, true, false};
}

}  // namespace

CodePoint code_point_at(std::string_view text, size_t at) {
  const auto lead = static_cast<unsigned char>(text[at]);
  if (lead < 0x80) return {lead, 1};
  const Sequence sequence = first_sequence(text.substr(at));
  if (!sequence.valid) return {kReplacementCharacter, 1};
  char32_t value = lead & (0xFF >> (sequence.length + 1));
  for (int i = 1; i < sequence.length; ++i)
    value = value << 6 | (static_cast<unsigned char>(text[at + i]) & 0x3F);
  return {value, sequence.length};
}

CodePoint code_point_before(std::string_view text, size_t end) {
  for (size_t length = 1; length <= 4 && length <= end; ++length) {
    if ((static_cast<unsigned char>(text[end - length]) & 0xC0) == 0x80) continue;
    const CodePoint c = code_point_at(text, end - length);
    if (static_cast<size_t>(c.length) == length) return c;
    break;
  }
  return {kReplacementCharacter, 1};
}

int code_point_length(char32_t c) { return c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4; }

void append_utf8(std::string& out, char32_t c) {
  if (c < 0x80) {
    out += static_cast<char>(c);
    return;
  }
  const int length = code_point_length(c);
  const unsigned lead = length == 2 ? 0xC0 : length == 3 ? 0xE0 : 0xF0;
  out += static_cast<char>(lead | c >> (6 * (length - 1)));
  for (int i = length - 2; i >= 0; --i) out += static_cast<char>(0x80 | ((c >> (6 * i)) & 0x3F));
}

int64_t count_code_points(std::string_view text) {
  return std::count_if(text.begin(), text.end(), [](char byte) { return (byte & 0xC0) != 0x80; });
}

bool is_valid_utf8(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const Sequence sequence = first_sequence(text.substr(i));
    if (!sequence.valid) return false;
    i += sequence.length;
  }
  return true;
}

size_t repair_utf8(std::string_view bytes, bool more, std::string& out) {
  size_t begin = 0;  // of the valid text not yet copied
  size_t i = 0;
  while (i < bytes.size()) {
    const Sequence sequence = first_sequence(bytes.substr(i));
    if (!sequence.valid) {
      out.append(bytes.substr(begin, i - begin));
      begin = i;
      if (more && sequence.cut) return i;
      append_utf8(out, kReplacementCharacter);
      begin += sequence.length;
    }
    i += sequence.length;
  }
  out.append(bytes.substr(begin));
  return bytes.size();
}

bool is_white_space(char32_t c) {
  if (c < 0x80) return c == ' ' || (c >= 9 && c <= 13);
  return c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 ||
         c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

bool is_number(char32_t c) {
  if (c < 0x80) return c >= '0' && c <= '9';
  const utf8proc_category_t kind = category(c);
  return kind == UTF8PROC_CATEGORY_ND || kind == UTF8PROC_CATEGORY_NL || kind == UTF8PROC_CATEGORY_NO;
}

bool is_word(char32_t c) {
  if (c < 0x80) return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_';
  const utf8proc_category_t kind = category(c);
  if (kind >= UTF8PROC_CATEGORY_LU && kind <= UTF8PROC_CATEGORY_NL)
    return true;  // L, M, Nd and Nl are neighbours
  if (kind == UTF8PROC_CATEGORY_PC || c == 0x200C || c == 0x200D) return true;  // joiners
  return (c >= 0x24B6 && c <= 0x24E9) || (c >= 0x1F130 && c <= 0x1F149) || (c >= 0x1F150 && c <= 0x1F169) ||
         (c >= 0x1F170 && c <= 0x1F189);  // letters in circles and squares: symbols that count as alphabetic
}

bool is_punctuation(char32_t c) {
  if (c < 0x80) return is_ascii_punctuation(c);
  if (c == 0x166D || c == 0x111C9) return true;  // other categories in later versions of Unicode
  const auto kind = utf8proc_category(static_cast<utf8proc_int32_t>(c));
  return kind >= UTF8PROC_CATEGORY_PC && kind <= UTF8PROC_CATEGORY_PO && !contains(not_punctuation(), c);
}

bool is_nonspacing_mark(char32_t c) {
  if (c < 0x300) return false;
  if (c == 0x1734) return true;
  return utf8proc_category(static_cast<utf8proc_int32_t>(c)) == UTF8PROC_CATEGORY_MN &&
         !contains(not_nonspacing_mark(), c);
}

bool is_combining_mark(char32_t c) {
  if (c < 0x300) return false;
  if (c == 0x1CF2 || c == 0x1CF3) return true;
  const auto kind = utf8proc_category(static_cast<utf8proc_int32_t>(c));
  return kind >= UTF8PROC_CATEGORY_MN && kind <= UTF8PROC_CATEGORY_ME && !contains(not_combining_mark(), c);
}

bool is_control_or_private(char32_t c) {
  if (c < 0x80) return c < 0x20 || c == 0x7F;
  if ((c >= 0x890 && c <= 0x891) || c == 0x8E2 || c == 0x110CD || (c >= 0x13430 && c <= 0x1343F))
    return false;
  const auto kind = utf8proc_category(static_cast<utf8proc_int32_t>(c));
  return kind >= UTF8PROC_CATEGORY_CC && kind <= UTF8PROC_CATEGORY_CO;
}

bool is_bert_chinese(char32_t c) {
  return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) || (c >= 0x20000 && c <= 0x2A6DF) ||
         (c >= 0x2A700 && c <= 0x2B73F) || (c >= 0x2B740 && c <= 0x2B81F) || (c >= 0x2B920 && c <= 0x2CEAF) ||
         (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x2F800 && c <= 0x2FA1F);
}

void append_lowercase(std::string& out, char32_t c) {
  if (c == 0x130) {  // the one letter whose lower case is two code points
    out += "i\xCC\x87";
    return;
  }
  struct Pair {
    char32_t upper, lower;
  };
  static constexpr std::array<Pair, 5> kSinceUnicode16 = {
      {{0x1C89, 0x1C8A}, {0xA7CB, 0x264}, {0xA7CC, 0xA7CD}, {0xA7DA, 0xA7DB}, {0xA7DC, 0x19B}}};
  for (const Pair& pair : kSinceUnicode16) {
    if (c == pair.upper) return append_utf8(out, pair.lower);
  }
  if (c >= 0x10D50 && c <= 0x10D65) return append_utf8(out, c + 0x20);
  append_utf8(out, static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c))));
}

char32_t pcre_stand_in(char32_t c) {
  if (c < 0x897 || (c >= 0x3200 && c < 0xA7CB) || (c >= 0xAC00 && c <= 0xFFFF)) return c;
  const std::span<const SubstituteRange> ranges = newer_code_points();
  const auto after =
      std::upper_bound(ranges.begin(), ranges.end(), c,
                       [](char32_t value, const SubstituteRange& range) { return value < range.first; });
  if (after == ranges.begin() || c > std::prev(after)->last) return c;
  return std::prev(after)->substitute;
}

size_t grapheme_end(std::string_view text, size_t begin) {
  utf8proc_int32_t state = 0;
  CodePoint previous = code_point_at(text, begin);
  size_t end = begin + previous.length;
  while (end < text.size()) {
    const CodePoint next = code_point_at(text, end);
    if (utf8proc_grapheme_break_stateful(static_cast<utf8proc_int32_t>(previous.value),
                                         static_cast<utf8proc_int32_t>(next.value), &state)) {
      break;
    }
    previous = next;
    end += next.length;
  }
  return end;
}

namespace {

int combining_class(utf8proc_int32_t c) { return utf8proc_get_property(c)->combining_class; }

// Normalizes the code points gathered in `points`, none of them inert, and appends them to `out`.
// utf8proc reorders marks by insertion, which takes a square of steps on a long run; so they are sorted here.
void append_normalized(std::string& out, std::vector<utf8proc_int32_t>& points, NormalForm form) {
  for (size_t i = 0; i < points.size();) {
    size_t end = i;
    while (end < points.size() && combining_class(points[end]) != 0) ++end;
    std::stable_sort(points.begin() + static_cast<std::ptrdiff_t>(i),
                     points.begin() + static_cast<std::ptrdiff_t>(end),
                     [](auto a, auto b) { return combining_class(a) < combining_class(b); });
    i = end + 1;
  }
  auto size = static_cast<utf8proc_ssize_t>(points.size());
  if (form.compose && size > 0) {
    size = utf8proc_normalize_utf32(points.data(), size,
                                    static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
    CHECK(size >= 0, size);
  }
  for (utf8proc_ssize_t i = 0; i < size; ++i)
    append_utf8(out, static_cast<char32_t>(points[static_cast<size_t>(i)]));
  points.clear();
}

void decompose(char32_t c, NormalForm form, std::vector<utf8proc_int32_t>& points) {
  constexpr int kLongestDecomposition = 32;  // U+FDFA has 18
  utf8proc_int32_t parts[kLongestDecomposition];
  const int options = UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | (form.compatibility ? UTF8PROC_COMPAT : 0);
  const utf8proc_ssize_t count =
      utf8proc_decompose_char(static_cast<utf8proc_int32_t>(c), parts, kLongestDecomposition,
                              static_cast<utf8proc_option_t>(options), nullptr);
  CHECK(count >= 0 && count <= kLongestDecomposition, count);
  points.insert(points.end(), parts, parts + count);
}

}  // namespace

std::string normalize_unicode(std::string_view text, NormalForm form) {
  // Below these bounds nothing decomposes, and nothing composes or reorders either.
  const char32_t first_affected = form.compatibility ? 0xA0 : form.compose ? 0x300 : 0xC0;
  const unsigned char affected_lead = first_affected == 0x300 ? 0xCC : first_affected == 0xC0 ? 0xC3 : 0xC2;
  const bool unaffected = std::none_of(
      text.begin(), text.end(), [&](char byte) { return static_cast<unsigned char>(byte) >= affected_lead; });
  if (unaffected) return std::string(text);

  std::string out;
  out.reserve(text.size());
  std::vector<utf8proc_int32_t> points;
  for (size_t i = 0; i < text.size();) {
    const CodePoint c = code_point_at(text, i);
    i += c.length;
    // No composition reaches over an inert code point, nor over an ASCII character that no mark follows.
    const bool next_is_plain = i < text.size() && static_cast<unsigned char>(text[i]) < 0x80;
    if (contains(normalization_inert(), c.value)) {
      append_normalized(out, points, form);
      append_utf8(out, c.value);
    } else if (c.value < 0x80 && next_is_plain) {
      append_normalized(out, points, form);
      out += static_cast<char>(c.value);
    } else {
      decompose(c.value, form, points);
    }
  }
  append_normalized(out, points, form);
  return out;
}

}  // namespace heed
