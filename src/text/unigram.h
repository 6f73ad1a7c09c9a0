// Unigram language model: the split of a word into tokens with the greatest sum of log probabilities
// (Viterbi).
//
// Immutable once built; encode is safe from several threads, and linear in the word.
// Source: Kudo 2018 (arXiv 1804.10959); tokenizers 0.22.1, tokenizers/src/models/unigram.
#pragma once
#include <array>
#include <optional>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/json_fields.h"
#include "text/regex.h"
#include "text/trie.h"
#include "text/vocabulary.h"

namespace heed {

class Unigram {
 public:
  // Reads vocab (an array of [token, log probability]), unk_id and byte_fallback.
  static Result<Unigram> of(const JsonFields& fields);

  const Vocabulary& vocabulary() const { return vocabulary_; }
  Status encode(std::string_view word, std::vector<int>& ids) const;

 private:
  struct Step {  // the best way to reach a place of the word
    double score = 0;
    int id = 0;
    size_t begin = kNone;
  };
  static constexpr size_t kNone = SIZE_MAX;

  Status find_best(std::string_view word, std::vector<Step>& best) const;
  Status add_piece(std::string_view piece, std::vector<int>& ids) const;

  Vocabulary vocabulary_;
  std::vector<double> scores_;  // by id
  Trie trie_;                   // entries: ids
  double unknown_score_ = 0;
  std::optional<int> unknown_;
  bool byte_fallback_ = false;
  std::array<int, 256> byte_ids_{};
};

}  // namespace heed
