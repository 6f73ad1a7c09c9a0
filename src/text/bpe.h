// Byte pair encoding: a word as characters, and then the pair of lowest rank merged until none is left.
//
// Immutable once built; encode is safe from several threads. A word of n characters takes O(n log n).
// Source: Sennrich et al. 2016 (arXiv 1508.07909); tokenizers 0.22.1, tokenizers/src/models/bpe.
#pragma once
#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/json_fields.h"
#include "text/pair_map.h"
#include "text/vocabulary.h"

namespace heed {

// What encoding needs beside the model: buffers, and the words met so far. One per text.
class BpeWorkspace;

class Bpe {
 public:
  // Reads vocab, merges (as "a b" or as ["a", "b"]) and the options of a model of type BPE. Dropout is for
  // training and ignored.
  static Result<Bpe> of(const JsonFields& fields);

  const Vocabulary& vocabulary() const { return vocabulary_; }
  Status encode(std::string_view word, BpeWorkspace& workspace, std::vector<int>& ids) const;

 private:
  Status read_merges(const Json& merges);
  Status add_merge(std::string_view left, std::string_view right, size_t rank);
  Status start(std::string_view word, BpeWorkspace& workspace) const;
  std::optional<int> id_of_character(std::string_view word, size_t at, size_t length,
                                     std::string& buffer) const;
  void merge(BpeWorkspace& workspace) const;

  Vocabulary vocabulary_;
  PairMap merges_;
  std::optional<std::string> unknown_;
  std::string prefix_;  // of every character of a word but the first
  std::string suffix_;  // of the last character of a word
  bool fuse_unknown_ = false;
  bool byte_fallback_ = false;
  bool ignore_merges_ = false;
  std::array<int, 256> byte_ids_{};  // of the tokens <0x00> to <0xFF>; -1: none
  std::vector<int> low_ids_;         // of the characters below U+0800, where no prefix or suffix is in play
};

class BpeWorkspace {
 public:
  explicit BpeWorkspace(size_t text_bytes);  // of the whole text: a longer one gets a larger cache

 private:
  friend class Bpe;
  struct Symbol {
    int id;
    int previous, next;  // -1: none
    bool alive;
  };
  struct Merge {
    int rank;
    int position;
    int id;
  };
  // Words of up to kMaxCachedBytes, by hash; a newer word takes the place of an older one.
  struct CachedWord {
    std::string word;
    std::vector<int> ids;
  };
  static constexpr size_t kMaxCachedBytes = 64;

  std::vector<Symbol> symbols_;
  std::vector<Merge> queue_;
  std::string buffer_;
  std::vector<CachedWord> cache_;
};

}  // namespace heed
