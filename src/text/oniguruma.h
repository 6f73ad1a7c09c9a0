// Translates a regular expression of Oniguruma (the syntax of tokenizer.json) to PCRE2's.
//
// What differs: \h is a hexadecimal digit, \w and \b know marks, (?m) is PCRE2's (?s), ^ and $ work per line,
// x{n,m}+ repeats x{n,m}, {,m} is {0,m}, character classes nest and intersect (&&), \p{Han} is the script
// alone. What is the same passes through; what is wrong is left for PCRE2 to refuse. Source: Oniguruma 6.9
// doc/RE and doc/UNICODE_PROPERTIES.
#pragma once
#include <string>
#include <string_view>

#include "base/result.h"

namespace heed {

// The pattern for pcre2_compile with PCRE2_UTF, PCRE2_UCP and PCRE2_MULTILINE.
Result<std::string> pcre_from_oniguruma(std::string_view pattern);

}  // namespace heed
