// The added tokens of a tokenizer.json: texts that become one token wherever they stand, before the model
// sees them.
//
// Those with normalized=false are looked for in the text as given, the others in the normalized text (and
// normalized themselves). Of several that begin at a place the longest counts. Immutable once built. Source:
// tokenizers 0.22.1, tokenizers/src/tokenizer/added_vocabulary.rs.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "text/normalizer.h"
#include "text/pre_tokenizer.h"
#include "text/trie.h"
#include "text/vocabulary.h"

namespace heed {

class AddedTokens {
 public:
  // `json`: the array "added_tokens" or null. A token that the vocabulary lacks gets the next free id, as the
  // reference gives it, whatever the file says.
  static Result<AddedTokens> of(const Json& json, const Vocabulary& vocabulary, const Normalizer& normalizer);

  // Splits `text` at the tokens to be found as given; then normalizes the rest and splits it at the others.
  // Special tokens are found only with `parse_special`.
  Result<PieceList> split(std::string text, const Normalizer& normalizer, bool parse_special) const;

  std::optional<int> find(std::string_view content) const;
  const std::string* text(int id) const;  // null: not added
  bool is_special(std::string_view content) const;
  int end_id() const { return end_id_; }  // one past the largest id; 0 without tokens

 private:
  struct Token {
    std::string content;
    bool single_word = false, lstrip = false, rstrip = false, normalized = false, special = false;
    bool operator==(const Token&) const = default;
  };
  struct Set {  // tokens that are looked for together
    Trie trie;
    std::vector<int> ids;  // by entry of the trie
  };

  static Result<Token> token_of(const Json& json, const std::string& place);
  void add(const Token& token, const Vocabulary& vocabulary, std::vector<Token>& plain);
  Status build_sets(const std::vector<Token>& tokens, const Normalizer& normalizer);
  void split_at(const Set& set, bool parse_special, const Piece& piece, std::string_view text,
                std::vector<Piece>& pieces) const;

  std::unordered_map<std::string, int> ids_;
  std::unordered_map<int, Token> tokens_;
  std::unordered_map<std::string, bool> specials_;  // the contents of special tokens; all true
  Set given_, normalized_;
  int end_id_ = 0;
};

}  // namespace heed
