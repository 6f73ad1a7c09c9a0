#include "grammar/regex.h"

#include "tests/grammar/matching.h"

namespace heed::regex_test {
namespace {

struct Case {
  const char* pattern;
  std::vector<std::string> accepted;
  std::vector<std::string> refused;
};

TEST(Regex, whole_texts_match) {
  const std::vector<Case> cases = {
      {"abc", {"abc"}, {"", "ab", "abcd", "xabc"}},
      {"", {""}, {"a"}},
      {"^abc$", {"abc"}, {"ab", "abcd"}},
      {"a|bc|", {"a", "bc", ""}, {"b", "abc"}},
      {"(a|b)*c", {"c", "abac"}, {"ab", "ca"}},
      {"a{2,3}b{2}c{1,}d{0}", {"aabbc", "aaabbccc"}, {"abbc", "aaaabbc", "aabbcd", "aabc"}},
      {"a{,2}", {"a{,2}"}, {"aa", ""}},
      {"x{a}", {"x{a}"}, {"x"}},
      {"a+?b*?c??", {"a", "aabbc"}, {"", "b"}},
      {".", {"a", "é", "日", "😀", "\t"}, {"\n", "\r", "ab", "", "\xE2\x80\xA8", "\xC3", "\xFF"}},
      {"[a-c_]+", {"a", "cab_"}, {"d", ""}},
      {"[^a-c]", {"d", "é", "\n"}, {"a", "c", "dd"}},
      {"[]", {}, {"", "a"}},
      {"[^]", {"a", "\n"}, {""}},
      {"[a-]+[-z]", {"a-z", "--"}, {"b"}},
      {"[\\]\\\\]+", {"]\\"}, {"["}},
      {"\\d{3}-\\D", {"123-x", "000-é"}, {"12a-x", "123-4", "١٢٣-x"}},
      {"\\w+\\W", {"a_9 ", "Z!"}, {"é!", "ab"}},
      {"\\s\\S", {" a", "\ta", "\xC2\xA0z"}, {"  ", "ab"}},
      {"[\\d\\s]+", {"1 2"}, {"a"}},
      {"\\x41\\u00e9\\u{1F600}\\uD83D\\uDE00\\cA", {"Aé😀😀\x01"}, {"A"}},
      {"\\.\\*\\/\\-\\$\\^\\{", {".*/-$^{"}, {""}},
      {"[à-ü]+", {"éà"}, {"e", "ÿ"}},
      {"[\\u0080-\\uFFFF]", {"é", "ह", "\xEF\xBF\xBF"}, {"a", "😀", "\xED\xA0\x80"}},
      {"(?:ab)+(?<year>\\d{4})(?P<x>y)", {"ab2024y", "abab1999y"}, {"2024y"}},
      {"(a$|b)", {"a", "b"}, {"ab"}},
      {"(a$)b|c^d", {}, {"ab", "cd", "a", "c"}},
      {"((a?)*)*", {"", "aaa"}, {"b"}},
      {"(a|a)*(a|a)*b", {"aaaaaab", "b"}, {"aaa"}},
  };
  for (const Case& c : cases) {
    const Result<Grammar> grammar = Grammar::from_regex(c.pattern);
    if (c.accepted.empty()) {
      EXPECT_FALSE(grammar.ok()) << c.pattern << " matches nothing, which is an error";
      continue;
    }
    ASSERT_TRUE(grammar.ok()) << c.pattern << ": " << error_of(grammar);
    for (const std::string& text : c.accepted)
      EXPECT_TRUE(matches(*grammar, text)) << c.pattern << " with " << text;
    for (const std::string& text : c.refused)
      EXPECT_FALSE(matches(*grammar, text)) << c.pattern << " with " << text;
  }
}

TEST(Regex, what_no_automaton_matches_is_refused_by_name) {
  const std::vector<std::pair<const char*, const char*>> cases = {
      {"a(?=b)", "look-ahead"},
      {"a(?!b)", "look-ahead"},
      {"(?<=a)b", "look-behind"},
      {"(?<!a)b", "look-behind"},
      {"(a)\\1", "back-references"},
      {"\\k<x>", "back-ref"},
      {"(?P=x)", "back-ref"},
      {"\\bword", "word boundaries"},
      {"\\p{L}", "Unicode prop"},
      {"(?i)a", "flags"},
      {"a++", "possessive"},
      {"(?>a)", "atomic"},
      {"(a", "without its )"},
      {"a)", "unmatched"},
      {"[a", "without its ]"},
      {"*a", "without something"},
      {"a**", "behind a quant"},
      {"a{3,2}", "out of order"},
      {"[z-a]", "out of order"},
      {"[\\d-z]", "out of order"},
      {"\\q", "unknown escape"},
      {"\\", "not expected"},
      {"\\x4", "hexadecimal"},
      {"\\uD800", "surrogate"},
      {"^*", "behind an anchor"},
      {"a\xFF", "not UTF-8"},
      {"\\u{110000}", "past the last"},
      {"(?<x", "name"},
  };
  for (const auto& [pattern, message] : cases) {
    const Result<Grammar> grammar = Grammar::from_regex(pattern);
    ASSERT_FALSE(grammar.ok()) << pattern;
    EXPECT_THAT(error_of(grammar), testing::HasSubstr(message)) << pattern;
  }
}

TEST(Regex, a_search_may_have_anything_around_it) {
  for (const auto& [pattern, accepted, refused] :
       std::vector<Case>{{"b+", {"b", "abc", "xbbx\n"}, {"", "ac"}},
                         {"^b", {"b", "bcd"}, {"ab", ""}},
                         {"b$", {"ab", "b"}, {"ba"}},
                         {"^a|b$", {"ax", "xb", "a"}, {"xay", "bx"}},
                         {"", {"", "x"}, {}}}) {
    const std::string schema = to_text(Json{{"type", "string"}, {"pattern", pattern}});
    const Result<Grammar> grammar = schema_grammar(schema);
    ASSERT_TRUE(grammar.ok()) << error_of(grammar);
    for (const std::string& text : accepted)
      EXPECT_TRUE(matches(*grammar, to_text(Json(text)))) << pattern << text;
    for (const std::string& text : refused)
      EXPECT_FALSE(matches(*grammar, to_text(Json(text)))) << pattern << text;
  }
}

}  // namespace
}  // namespace heed::regex_test
