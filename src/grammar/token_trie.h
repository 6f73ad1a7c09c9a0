// TokenTrie: the tokens of a vocabulary arranged by their bytes, to find all that a grammar allows in one
// walk.
//
// Built once a tokenizer; immutable, to be shared by all matchers on any threads.
//
// A *plain* token consists of whole code points that a JSON string may hold as they are: no quote, no
// backslash, no control character, no part of a code point. They are nine of ten tokens, and inside a string
// they are all alike but for their length; so there is a second trie without them, and a ready mask of those
// of each length.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace heed {

class TokenTrie {
 public:
  static constexpr int kMaxPlainLength = 256;  // in code points; longer tokens are not plain

  // A node is a prefix of tokens; nodes are in depth-first order, the root (the empty prefix) is left out.
  struct Node {
    uint8_t byte;
    uint16_t depth;       // bytes of the prefix, 1 and up
    int32_t end;          // the node behind the last one below this
    int32_t first_token;  // in tokens_of's array
  };
  struct Trie {
    std::vector<Node> nodes;  // and one behind the last, for its first_token
    std::vector<int32_t> tokens;
    int size() const { return static_cast<int>(nodes.size()) - 1; }
    const Node& node(int i) const { return nodes[static_cast<size_t>(i)]; }
    std::span<const int32_t> tokens_of(int i) const {
      return {tokens.data() + node(i).first_token,
              static_cast<size_t>(node(i + 1).first_token - node(i).first_token)};
    }
  };

  // The bytes of each token by id; empty for tokens that never stand for text (special ones), which no
  // grammar allows. `end_tokens` are the ids that end an answer. Tokens of more than kMaxTokenBytes are never
  // allowed.
  explicit TokenTrie(std::vector<std::string> token_bytes, const std::vector<int32_t>& end_tokens = {});
  static constexpr int kMaxTokenBytes = 1024;

  int vocabulary_size() const { return static_cast<int>(token_bytes_.size()); }
  int mask_words() const { return (vocabulary_size() + 31) / 32; }
  std::string_view bytes_of(int32_t token) const { return token_bytes_[static_cast<size_t>(token)]; }
  std::span<const int32_t> end_tokens() const { return end_tokens_; }
  bool is_end_token(int32_t token) const;

  const Trie& all() const { return all_; }
  const Trie& not_plain() const { return not_plain_; }
  // The plain tokens of at most so many code points.
  std::span<const uint32_t> plain_mask(int32_t max_length) const;
  int longest_token() const { return longest_token_; }  // in bytes
  int longest_plain() const { return static_cast<int>(plain_masks_.size()) - 1; }

 private:
  std::vector<std::string> token_bytes_;
  std::vector<int32_t> end_tokens_;
  int longest_token_ = 0;
  Trie all_;
  Trie not_plain_;
  std::vector<std::vector<uint32_t>> plain_masks_;  // by greatest length in code points, from 0
};

}  // namespace heed
