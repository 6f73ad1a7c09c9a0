// Matcher: one answer on its way through a grammar, token by token.
//
//   const Grammar grammar = TRY(Grammar::from_json_schema(schema));
//   MaskCache masks(grammar, trie);          // shared by all requests with this grammar and tokenizer
//   Matcher matcher(masks);                  // one a request
//   matcher.fill_mask(mask);                 // before each token: the tokens that may come
//   matcher.accept(token);                   // after it was drawn
//   matcher.rollback(2);                     // the last two were drafts and turned out wrong
#pragma once
#include <cstdint>
#include <deque>
#include <list>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "grammar/grammar.h"
#include "grammar/recognizer.h"
#include "grammar/token_trie.h"

namespace heed {

// Masks that cost much to find, by what they depend on: the states an answer is in and the part of its stack
// that a token can look at. Thread-safe. Keeps references to the grammar and the trie.
class MaskCache {
 public:
  MaskCache(const Grammar& grammar, const TokenTrie& trie, int64_t max_bytes = int64_t{16} << 20)
      : grammar_(grammar), trie_(trie), max_bytes_(max_bytes) {}

  const Grammar& grammar() const { return grammar_; }
  const TokenTrie& trie() const { return trie_; }

  // Copies the mask of a place in a text, if it is known.
  bool find(const grammar::Recognizer& place, std::span<uint32_t> mask);
  // Keeps the mask of a place; `trace` is what finding it looked at.
  void keep(const grammar::Recognizer& place, const grammar::Recognizer::Trace& trace,
            std::span<const uint32_t> mask);
  int size() const;

 private:
  struct Entry {
    uint64_t head = 0;  // hash of the items
    std::vector<int32_t>
        key;  // the items, then the callers of each consulted frame, frames numbered as they turn up
    int32_t depth_gain = 0;  // how much deeper than the place the walk went
    std::vector<uint32_t> mask;
  };

  const Grammar& grammar_;
  const TokenTrie& trie_;
  int64_t max_bytes_;
  mutable std::mutex mutex_;
  std::list<Entry> entries_;  // last used first
  std::unordered_multimap<uint64_t, std::list<Entry>::iterator> by_head_;
  int64_t num_bytes_ = 0;
};

class Matcher {
 public:
  // max_rollback: how many tokens can be undone; older ones cost no memory.
  explicit Matcher(MaskCache& masks, int max_rollback = 256);

  // Sets the bit of each token that may come next (bit token % 32 of word token / 32) and clears all others,
  // end tokens' bits included: they are set where the answer may end. The mask has at least mask_words()
  // words. False if no token may come: the vocabulary cannot spell what the grammar asks for.
  bool fill_mask(std::span<uint32_t> mask);

  // Takes a token, an end token included where the answer may end. False, and nothing changes, if it is not
  // allowed.
  bool accept(int32_t token);
  // Takes text, which counts as one token for rollback.
  bool accept_bytes(std::string_view text);
  // Undoes the last `tokens` accepted ones exactly; at most num_undoable().
  void rollback(int tokens);
  int num_undoable() const { return static_cast<int>(sizes_.size()); }

  bool can_end() const { return ended_ || recognizer_.can_end(); }
  bool must_end() const { return ended_ || (recognizer_.can_end() && !recognizer_.can_continue()); }
  bool has_ended() const { return ended_; }  // an end token was accepted

  // The text that must follow, at most max_bytes of it and whole code points only; empty where there is a
  // choice.
  std::string forced_text(int max_bytes = 256);

  int64_t num_bytes() const { return recognizer_.num_bytes(); }

 private:
  bool push(std::string_view text);
  void remember(int64_t size_before);
  void walk(const TokenTrie::Trie& trie, std::span<const grammar::Recognizer::Item> items,
            std::span<uint32_t> mask);
  void find_mask(std::span<uint32_t> mask);

  MaskCache* masks_;
  grammar::Recognizer recognizer_;
  size_t max_rollback_;
  std::deque<int64_t> sizes_;  // the recognizer's size before each token that can be undone
  bool ended_ = false;
  int64_t bytes_at_last_forget_ = 0;
  int64_t nodes_walked_ = 0;
};

}  // namespace heed
