#include "grammar/matcher.h"

#include "tests/grammar/matching.h"

namespace heed {
namespace {

// Grammars of all kinds: counted strings, escapes, recursion, ambiguity, left recursion, parallel readings.
std::vector<Grammar> grammars() {
  std::vector<Grammar> result;
  for (
      const char* schema : {
          R"({})",
          R"({"type": "object"})",
          R"({"type": "string", "minLength": 2, "maxLength": 5})",
          R"({"type": "array", "items": {"type": "string", "maxLength": 3}, "minItems": 1, "maxItems": 3})",
          R"({"type": "object", "properties": {"name": {"type": "string"}, "value": {"type": "number"},
               "a": {"type": "integer", "minimum": -12, "maximum": 340}}, "required": ["value"]})",
          R"({"type": "object", "properties": {"name": {"type": "string", "pattern": "^(ab|é)+$"}},
               "additionalProperties": false})",
          R"({"$ref": "#/$defs/n", "$defs": {"n": {"type": "object", "properties": {"next": {"$ref": "#/$defs/n"}},
               "additionalProperties": false}}})",
          R"({"anyOf": [{"type": "string", "pattern": "a.c"}, {"type": "string", "maxLength": 4},
               {"enum": ["日本", "a\"b\\c\n", null, 1.0, {"a": [1, true]}]}]})",
          R"({"type": "string", "format": "date-time"})",
      }) {
    Result<Grammar> grammar = schema_grammar(schema);
    EXPECT_TRUE(grammar.ok()) << schema << error_of(grammar);
    if (grammar.ok()) result.push_back(std::move(*grammar));
  }
  for (const char* text : {"root ::= root root | [a-c] | \"(\" root \")\"",
                           "root ::= x | y\nx ::= [a-z]* \"1\"\ny ::= [a-c]* \"2\"",
                           "root ::= \"a\" root \"b\" | ", "root ::= [^\"]{0,4} \",\" .*"}) {
    Result<Grammar> grammar = Grammar::from_ebnf(text);
    EXPECT_TRUE(grammar.ok()) << text << error_of(grammar);
    if (grammar.ok()) result.push_back(std::move(*grammar));
  }
  return result;
}

std::vector<uint32_t> mask_of(Matcher& matcher, const TokenTrie& trie) {
  std::vector<uint32_t> mask(static_cast<size_t>(trie.mask_words()), 0xFFFFFFFFu);
  matcher.fill_mask(mask);
  return mask;
}

int draw(std::span<const uint32_t> mask, int vocabulary_size, std::mt19937& random) {
  std::vector<int> allowed;
  for (int token = 0; token < vocabulary_size; ++token) {
    if (has_bit(mask, token)) allowed.push_back(token);
  }
  return allowed.empty() ? -1 : allowed[random() % allowed.size()];
}

TEST(Matcher, masks_hold_exactly_the_tokens_that_are_accepted) {
  std::mt19937 random(17);
  const TokenTrie& trie = small_trie();
  int masks_checked = 0;
  for (const Grammar& grammar : grammars()) {
    MaskCache masks(grammar, trie);
    for (int walk = 0; walk < 6; ++walk) {
      Matcher matcher(masks);
      for (int step = 0; step < 40; ++step, ++masks_checked) {
        const std::vector<uint32_t> mask = mask_of(matcher, trie);
        for (int token = 0; token < trie.vocabulary_size(); ++token) {
          const bool accepted = matcher.accept(token);
          ASSERT_EQ(has_bit(mask, token), accepted) << "token " << token << " " << trie.bytes_of(token);
          if (accepted) matcher.rollback(1);
        }
        const int token = draw(mask, trie.vocabulary_size(), random);
        ASSERT_TRUE(token >= 0) << "a dead end";
        ASSERT_TRUE(matcher.accept(token));
        if (matcher.has_ended()) break;
      }
    }
  }
  EXPECT_GT(masks_checked, 1000);
}

TEST(Matcher, cached_masks_are_those_that_a_fresh_matcher_finds) {
  std::mt19937 random(18);
  const TokenTrie& trie = small_trie();
  int cached = 0;
  for (const Grammar& grammar : grammars()) {
    MaskCache masks(grammar, trie);
    for (int walk = 0; walk < 20; ++walk) {
      Matcher matcher(masks);
      std::string text;
      for (int step = 0; step < 30; ++step) {
        const std::vector<uint32_t> mask = mask_of(matcher, trie);
        MaskCache no_masks(grammar, trie);
        Matcher fresh(no_masks);
        ASSERT_TRUE(text.empty() || fresh.accept_bytes(text)) << text;
        ASSERT_EQ(mask, mask_of(fresh, trie)) << "after " << text;
        const int token = draw(mask, trie.vocabulary_size(), random);
        ASSERT_TRUE(matcher.accept(token));
        if (matcher.has_ended()) break;
        text += trie.bytes_of(token);
      }
    }
    cached += masks.size();
  }
  EXPECT_GT(cached, 10) << "the test never met the cache";
}

TEST(Matcher, rollback_restores_every_mask) {
  std::mt19937 random(19);
  const TokenTrie& trie = small_trie();
  for (const Grammar& grammar : grammars()) {
    MaskCache masks(grammar, trie);
    Matcher matcher(masks, 50);
    std::vector<std::vector<uint32_t>> history = {mask_of(matcher, trie)};
    for (int step = 0; step < 400; ++step) {
      const int token = draw(history.back(), trie.vocabulary_size(), random);
      if (random() % 4 != 0 && token >= 0) {
        ASSERT_TRUE(matcher.accept(token));
        history.push_back(mask_of(matcher, trie));
      }
      const bool is_over = token < 0;
      if (is_over || random() % 4 == 0) {
        const int back = static_cast<int>(random() % static_cast<unsigned>(matcher.num_undoable() + 1));
        matcher.rollback(back);
        history.resize(history.size() - static_cast<size_t>(back));
        ASSERT_EQ(history.back(), mask_of(matcher, trie));
      }
      if (is_over && matcher.has_ended() && matcher.num_undoable() > 0) {
        matcher.rollback(1);
        history.pop_back();
      }
    }
  }
}

TEST(Matcher, end_tokens_are_allowed_where_the_answer_may_end_and_nothing_after) {
  const Result<Grammar> grammar = Grammar::from_regex("ab?");
  ASSERT_TRUE(grammar.ok());
  MaskCache masks(*grammar, small_trie());
  Matcher matcher(masks);
  EXPECT_FALSE(matcher.accept(0));
  EXPECT_TRUE(matcher.accept_bytes("a"));
  EXPECT_TRUE(has_bit(mask_of(matcher, small_trie()), 0));
  EXPECT_TRUE(matcher.can_end());
  EXPECT_FALSE(matcher.must_end());
  EXPECT_TRUE(matcher.accept_bytes("b"));
  EXPECT_TRUE(matcher.must_end());
  EXPECT_TRUE(matcher.accept(0));
  EXPECT_TRUE(matcher.has_ended());
  EXPECT_FALSE(matcher.accept(0));
  EXPECT_FALSE(matcher.accept_bytes("b"));
  EXPECT_FALSE(matcher.accept(-1));
  EXPECT_FALSE(matcher.accept(1 << 30));
  matcher.rollback(2);
  EXPECT_FALSE(matcher.has_ended());
  EXPECT_TRUE(matcher.accept_bytes("b"));
}

TEST(Matcher, refused_text_changes_nothing) {
  const Result<Grammar> grammar = schema_grammar(R"({"type": "object"})");
  ASSERT_TRUE(grammar.ok());
  MaskCache masks(*grammar, small_trie());
  Matcher matcher(masks);
  ASSERT_TRUE(matcher.accept_bytes("{\"a\": [1"));
  const std::vector<uint32_t> before = mask_of(matcher, small_trie());
  EXPECT_FALSE(matcher.accept_bytes(", 2], \"b\" :"));
  EXPECT_FALSE(matcher.accept_bytes(""));
  EXPECT_EQ(before, mask_of(matcher, small_trie()));
  EXPECT_EQ(matcher.num_undoable(), 1);
}

TEST(Matcher, forced_text_is_what_the_grammar_leaves_no_choice_about) {
  const Result<Grammar> grammar = schema_grammar(
      R"({"type": "object", "properties": {"né": {"const": "x"}}, "required": ["né"], "additionalProperties": false})");
  ASSERT_TRUE(grammar.ok()) << error_of(grammar);
  MaskCache masks(*grammar, small_trie());
  Matcher matcher(masks);
  EXPECT_EQ(matcher.forced_text(), "{");
  ASSERT_TRUE(matcher.accept_bytes("{\""));
  EXPECT_EQ(matcher.forced_text(), "né\":");
  EXPECT_EQ(matcher.forced_text(2), "n") << "no part of a character";
  ASSERT_TRUE(matcher.accept_bytes("né\":\"x\"}"));
  EXPECT_EQ(matcher.forced_text(), "");
}

TEST(Matcher, memory_follows_the_nesting_and_not_the_length) {
  const Result<Grammar> grammar = schema_grammar(R"({"type": "array", "items": {"type": "object"}})");
  ASSERT_TRUE(grammar.ok());
  MaskCache masks(*grammar, small_trie());
  Matcher matcher(masks, 16);
  ASSERT_TRUE(matcher.accept_bytes("[{}"));
  for (int i = 0; i < 20'000; ++i) {
    ASSERT_TRUE(matcher.accept_bytes(",{\"a\":[1,2,{\"b\":\"c\"}]}"));
    ASSERT_LT(matcher.num_bytes(), 256 * 1024) << i;
  }
  ASSERT_TRUE(matcher.accept_bytes("]"));
  EXPECT_TRUE(matcher.must_end());
  matcher.rollback(16);
  EXPECT_TRUE(matcher.accept_bytes("]"));
}

TEST(Matcher, nesting_stops_where_it_can_still_be_closed) {
  GrammarLimits limits;
  limits.max_depth = 20;
  const Result<Grammar> grammar = Grammar::json_object(limits);
  ASSERT_TRUE(grammar.ok()) << error_of(grammar);
  MaskCache masks(*grammar, small_trie());
  Matcher matcher(masks);
  ASSERT_TRUE(matcher.accept_bytes("{\"a\":"));
  int depth = 0;
  while (depth < 100 && matcher.accept_bytes("[")) ++depth;
  EXPECT_GT(depth, 5);
  EXPECT_LT(depth, 30);
  std::mt19937 random(20);
  for (int step = 0; step < 3000 && !matcher.has_ended(); ++step) {
    const std::vector<uint32_t> mask = mask_of(matcher, small_trie());
    const int token = draw(mask, small_trie().vocabulary_size(), random);
    ASSERT_TRUE(token >= 0) << "a dead end";
    for (int other = 0; other < small_trie().vocabulary_size(); ++other) {
      const bool accepted = matcher.accept(other);
      ASSERT_EQ(has_bit(mask, other), accepted);
      if (accepted) matcher.rollback(1);
    }
    ASSERT_TRUE(matcher.accept(token));
  }
}

TEST(Matcher, an_ambiguous_grammar_stays_within_its_bounds) {
  const Result<Grammar> grammar = Grammar::from_ebnf("root ::= root root | root root root | \"a\"");
  ASSERT_TRUE(grammar.ok());
  MaskCache masks(*grammar, small_trie());
  Matcher matcher(masks);
  for (int i = 0; i < 300; ++i) ASSERT_TRUE(matcher.accept_bytes("a"));
  EXPECT_TRUE(matcher.can_end());
  EXPECT_LT(matcher.num_bytes(), 64 << 20);
}

TEST(TokenTrie, special_and_end_tokens_are_not_text) {
  const TokenTrie trie({"a", "", "b", "</s>", "a"}, {3, 77, -1});
  const Result<Grammar> grammar = Grammar::from_regex("(a|b|</s>)*");
  ASSERT_TRUE(grammar.ok());
  MaskCache masks(*grammar, trie);
  Matcher matcher(masks);
  std::vector<uint32_t> mask(1);
  EXPECT_TRUE(matcher.fill_mask(mask));
  EXPECT_EQ(mask[0], 0b11101u);
}

TEST(TokenTrie, a_vocabulary_that_cannot_spell_the_grammar_is_noticed) {
  const TokenTrie trie({"a", "b"});
  const Result<Grammar> grammar = Grammar::from_regex("ac");
  ASSERT_TRUE(grammar.ok());
  MaskCache masks(*grammar, trie);
  Matcher matcher(masks);
  std::vector<uint32_t> mask(1);
  EXPECT_TRUE(matcher.fill_mask(mask));
  ASSERT_TRUE(matcher.accept(0));
  EXPECT_FALSE(matcher.fill_mask(mask));
}

}  // namespace
}  // namespace heed
