// What the grammar tests ask of a grammar: whether it matches a text, byte by byte and as tokens.
#pragma once
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <string>

#include "grammar/matcher.h"
#include "tests/grammar/vocabulary.h"

namespace heed {

inline const TokenTrie& small_trie() {
  static const TokenTrie trie(small_vocabulary(), {0});
  return trie;
}

inline bool matches(const Grammar& grammar, std::string_view text) {
  MaskCache masks(grammar, small_trie());
  Matcher matcher(masks);
  return (text.empty() || matcher.accept_bytes(text)) && matcher.can_end();
}

inline bool matches_beginning(const Grammar& grammar, std::string_view text) {
  MaskCache masks(grammar, small_trie());
  return Matcher(masks).accept_bytes(text);
}

inline std::string error_of(const Result<Grammar>& grammar) {
  return grammar.ok() ? "no error" : grammar.error().message;
}

inline Result<Grammar> schema_grammar(std::string_view schema, const GrammarLimits& limits = {}) {
  return Grammar::from_json_schema(TRY(parse_ordered_json(schema, "schema")), limits);
}

inline bool has_bit(std::span<const uint32_t> mask, int token) {
  return (mask[static_cast<size_t>(token / 32)] >> (token % 32) & 1) != 0;
}

}  // namespace heed
