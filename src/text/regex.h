// Regular expressions of tokenizer.json: Oniguruma syntax (oniguruma.h), run by PCRE2 with its JIT compiler.
//
// Matches are those of Oniguruma 6.9 with Unicode 16. Immutable after compile; find_all is safe from several
// threads. A search that needs more steps or memory than the limits is an error (kLimit), never a hang.
#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

struct pcre2_real_code_8;

namespace heed {

struct ByteSpan {  // [begin, end) of a text
  size_t begin, end;
};

class Regex {
 public:
  // An error names the pattern and what PCRE2 says of it.
  static Result<Regex> compile(std::string_view pattern);

  // Appends all matches in `text` (valid UTF-8), left to right. They do not overlap; one may be empty, but
  // not at the end of the match before it.
  Status find_all(std::string_view text, std::vector<ByteSpan>& matches) const;

 private:
  struct Free {
    void operator()(pcre2_real_code_8* code) const;
  };
  Regex(std::string pattern, pcre2_real_code_8* code) : pattern_(std::move(pattern)), code_(code) {}

  std::string pattern_;
  std::unique_ptr<pcre2_real_code_8, Free> code_;
};

}  // namespace heed
