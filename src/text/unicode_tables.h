// Tables of what the Unicode versions at hand disagree about.
//
// The Python tokenizers package mixes Unicode 16 (Oniguruma, Rust's char and regex), Unicode 9 (its
// normalization crate) and about 7 (its category crate); utf8proc 2.8 knows Unicode 15 and PCRE2 10.42
// Unicode 14. The ids of a text must be those of the package, so unicode.cpp and regex.cpp correct the
// libraries with these tables.
#pragma once
#include <span>

namespace heed {

struct CodeRange {
  char32_t first, last;
};
struct SubstituteRange {
  char32_t first, last;
  char32_t substitute;  // same general category, same length in UTF-8
};

std::span<const SubstituteRange> newer_code_points();
std::span<const CodeRange> not_punctuation();
std::span<const CodeRange> not_nonspacing_mark();
std::span<const CodeRange> not_combining_mark();
std::span<const CodeRange> normalization_inert();

}  // namespace heed
