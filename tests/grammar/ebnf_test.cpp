#include "grammar/ebnf.h"

#include <gmock/gmock.h>

#include "tests/grammar/matching.h"

namespace heed {
namespace {

struct Case {
  const char* text;
  std::vector<std::string> accepted;
  std::vector<std::string> refused;
};

TEST(Ebnf, grammars_match) {
  const std::vector<Case> cases = {
      {"root ::= \"a\" b? # comment\n  b ::= 'b' | [c-e]{2,3}",
       {"a", "ab", "acde", "acc"},
       {"ac", "abb", ""}},
      {"root::=(\"x\"|y)+y::=\"y\"", {"x", "yx"}, {"", "z"}},
      {"root ::= [^\\n\\]]* \"\\n\" \"\\x41\\u00e9\\U0001F600\"", {"ab\nAé😀"}, {"]\nAé😀"}},
      {"root ::= . . ", {"ab", "é\n"}, {"a", "\xC3\xC3"}},
      {"root ::= expr\nexpr ::= expr \"+\" term | term\nterm ::= [0-9]+ | \"(\" expr \")\"",
       {"1", "1+2+3", "((1+2)+3)+4"},
       {"", "1+", "(1", "1+)"}},
      {"root ::= root root | \"a\"", {"a", "aaaaaaa"}, {"", "b"}},
      {"root ::= \"a\" root \"b\" | ", {"", "ab", "aaabbb"}, {"a", "aab", "ba"}},
      {"root ::= a b c\na ::= \"\"|\"x\"\nb ::= a a\nc ::= b | \"y\"",
       {"", "x", "xxxxx", "xxxy", "y"},
       {"yx", "xxxxxx"}},
      {"root ::= list\nlist ::= item | item \",\" list\nitem ::= [a-z]+", {"a", "a,b,cd"}, {"a,", ",a"}},
      {"root ::= a\na ::= b | \"x\"\nb ::= a | a \"y\"", {"x", "xy", "xyyy"}, {"y", ""}},
      {"root ::= (\"a\"?)* \"b\"", {"b", "aab"}, {"a"}},
      {"root ::= x{3}\nx ::= \"a\" | \"aa\"", {"aaa", "aaaaa", "aaaaaa"}, {"aa", "aaaaaaa"}},
      {"root ::= \"a\"* dead | \"b\"\ndead ::= \"d\" dead", {"b"}, {"a", "ad"}},
  };
  for (const Case& c : cases) {
    const Result<Grammar> grammar = Grammar::from_ebnf(c.text);
    ASSERT_TRUE(grammar.ok()) << c.text << ": " << error_of(grammar);
    for (const std::string& text : c.accepted)
      EXPECT_TRUE(matches(*grammar, text)) << c.text << " with " << text;
    for (const std::string& text : c.refused)
      EXPECT_FALSE(matches(*grammar, text)) << c.text << " with " << text;
  }
}

TEST(Ebnf, errors_say_what_is_wrong) {
  const std::vector<std::pair<const char*, const char*>> cases = {
      {"", "no rule \"root\""},
      {"a ::= \"x\"", "no rule \"root\""},
      {"root ::= a", "\"a\" is used but not"},
      {"root = \"a\"", "expected ::="},
      {"root ::= \"a", "closing quote"},
      {"root ::= [a", "without its ]"},
      {"root ::= (\"a\"", "its )"},
      {"root ::= \"a\" )", "the name of a rule"},
      {"root ::= \"a\"{x}", "expected {m}"},
      {"root ::= (=\"a\")", "look-ahead"},
      {"root ::= \"\\q\"", "unknown escape"},
      {"root ::= [z-a]", "out of order"},
      {"root ::= \"a\"\nroot ::= \"b\"", "defined twice"},
      {"root ::= root \"a\"", "no finite text"},
      {"root ::= \"\\U00110000\"", "past the last"},
      {"root ::= \"\\uD800\"", "surrogate"},
      {"root ::= Tag(a)", "macros"},
  };
  for (const auto& [text, message] : cases) {
    const Result<Grammar> grammar = Grammar::from_ebnf(text);
    ASSERT_FALSE(grammar.ok()) << text;
    EXPECT_THAT(error_of(grammar), testing::HasSubstr(message)) << text;
  }
}

TEST(Choice, one_of_the_texts_and_nothing_else) {
  const std::vector<std::string> texts = {"yes", "no", "yes please", "日本", ""};
  const Result<Grammar> grammar = Grammar::from_choice(texts);
  ASSERT_TRUE(grammar.ok()) << error_of(grammar);
  for (const std::string& text : texts) EXPECT_TRUE(matches(*grammar, text)) << text;
  for (const char* text : {"ye", "yes ", "nope", "日", "\xE6"}) EXPECT_FALSE(matches(*grammar, text)) << text;
  EXPECT_FALSE(Grammar::from_choice({}).ok());
  EXPECT_FALSE(Grammar::from_choice(std::vector<std::string>{"\xFF"}).ok());
}

}  // namespace
}  // namespace heed
