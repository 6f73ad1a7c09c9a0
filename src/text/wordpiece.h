// WordPiece and WordLevel: a word as its longest known beginnings, or as one token.
//
// Immutable once built; encode is safe from several threads.
// Source: tokenizers 0.22.1, tokenizers/src/models/wordpiece and wordlevel.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/json_fields.h"
#include "text/vocabulary.h"

namespace heed {

class WordPiece {
 public:
  static Result<WordPiece> of(const JsonFields& fields);

  const Vocabulary& vocabulary() const { return vocabulary_; }
  Status encode(std::string_view word, std::vector<int>& ids) const;

 private:
  Vocabulary vocabulary_;
  std::string unknown_;
  std::string prefix_;  // of every piece but the first
  int64_t max_characters_ = 0;
  size_t longest_ = 0;  // bytes of the longest token
};

class WordLevel {
 public:
  static Result<WordLevel> of(const JsonFields& fields);

  const Vocabulary& vocabulary() const { return vocabulary_; }
  Status encode(std::string_view word, std::vector<int>& ids) const;

 private:
  Vocabulary vocabulary_;
  std::string unknown_;
};

}  // namespace heed
