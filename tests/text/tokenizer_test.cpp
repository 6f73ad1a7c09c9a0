#include "text/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>

#include "text/unicode.h"

namespace heed {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

Result<Tokenizer> load(const std::string& text) {
  const Result<Json> json = parse_json(text, "test.json");
  if (!json.ok()) return json.error();
  return Tokenizer::from_json(*json, "test.json");
}

// A tokenizer.json from its parts; `more` are further members.
std::string file(const std::string& model, const std::string& more = "") {
  return R"({"version":"1.0",)" + more + (more.empty() ? "" : ",") + R"("model":)" + model + "}";
}

Tokenizer made(const std::string& text) {
  Result<Tokenizer> tokenizer = load(text);
  EXPECT_TRUE(tokenizer.ok()) << (tokenizer.ok() ? "" : tokenizer.error().message);
  return std::move(tokenizer).value();
}

std::vector<int> ids(const Tokenizer& tokenizer, const std::string& text, EncodeOptions options = {}) {
  const Result<std::vector<int>> encoded = tokenizer.encode(text, options);
  EXPECT_TRUE(encoded.ok()) << (encoded.ok() ? "" : encoded.error().message);
  return encoded.ok() ? *encoded : std::vector<int>{-1};
}

// The words that a pre-tokenizer makes: every token text of a model that knows all of them.
std::vector<std::string> words(const std::string& pre_tokenizer, const std::string& text,
                               const std::vector<std::string>& known,
                               const std::string& normalizer = "null") {
  Json vocab = {{"[UNK]", 0}};
  for (const std::string& word : known) vocab.emplace(word, vocab.size());
  const Json model = {{"type", "WordLevel"}, {"vocab", vocab}, {"unk_token", "[UNK]"}};
  const Tokenizer tokenizer =
      made(file(to_text(model), R"("normalizer":)" + normalizer + R"(,"pre_tokenizer":)" + pre_tokenizer));
  std::vector<std::string> result;
  for (const int id : ids(tokenizer, text)) result.emplace_back(tokenizer.token_of(id));
  return result;
}

std::string split(const std::string& pattern, const std::string& behavior, bool invert = false) {
  return R"({"type":"Split","pattern":)" + pattern + R"(,"behavior":")" + behavior + R"(","invert":)" +
         (invert ? "true}" : "false}");
}

constexpr const char* kAbc = R"({"type":"BPE","vocab":{"a":0,"b":1,"c":2,"ab":3,"abc":4,"bc":5},
                                 "merges":["b c","a b","a bc"]})";

TEST(tokenizer, merges_take_the_lowest_rank_first) {
  const Tokenizer tokenizer = made(file(kAbc));
  EXPECT_THAT(ids(tokenizer, "abc"), ElementsAre(4));
  EXPECT_THAT(ids(tokenizer, "abab"), ElementsAre(3, 3));
  EXPECT_THAT(ids(tokenizer, "abbc"), ElementsAre(3, 5));
}

TEST(tokenizer, merges_may_be_pairs) {
  const Tokenizer tokenizer =
      made(file(R"({"type":"BPE","vocab":{"a":0," ":1,"a ":2},"merges":[["a"," "]]})"));
  EXPECT_THAT(ids(tokenizer, "a a"), ElementsAre(2, 0));
}

TEST(tokenizer, ignore_merges_takes_whole_words_from_the_vocabulary) {
  const Tokenizer tokenizer = made(
      file(R"({"type":"BPE","ignore_merges":true,"vocab":{"a":0,"b":1,"aab":2,"aa":3},"merges":["a a"]})"));
  EXPECT_THAT(ids(tokenizer, "aab"), ElementsAre(2));
  EXPECT_THAT(ids(tokenizer, "aaba"), ElementsAre(3, 1, 0));
}

TEST(tokenizer, unknown_characters_fuse_when_asked) {
  const auto with = [](const char* fuse) {
    return file(std::string(R"({"type":"BPE","unk_token":"?","fuse_unk":)") + fuse +
                R"(,"vocab":{"?":0,"a":1},"merges":[]})");
  };
  EXPECT_THAT(ids(made(with("true")), "xya"), ElementsAre(0, 1));
  EXPECT_THAT(ids(made(with("false")), "xya"), ElementsAre(0, 0, 1));
}

TEST(tokenizer, bytes_stand_in_for_unknown_characters) {
  const Tokenizer tokenizer = made(file(
      R"({"type":"BPE","byte_fallback":true,"unk_token":"?","vocab":{"?":0,"a":1,"<0xC3>":2,"<0xA9>":3},"merges":[]})",
      R"("decoder":{"type":"ByteFallback"})"));
  EXPECT_THAT(ids(tokenizer, "a\u00e9"), ElementsAre(1, 2, 3));
  EXPECT_THAT(ids(tokenizer, "\u00e8"), ElementsAre(0)) << "one of its bytes has no token";
  EXPECT_EQ(tokenizer.decode(std::vector<int>{1, 2, 3, 1}),
            "a\u00e9"
            "a");
  EXPECT_EQ(tokenizer.decode(std::vector<int>{2, 1}),
            "\uFFFD"
            "a");
}

TEST(tokenizer, subword_prefix_and_word_suffix_are_part_of_the_symbols) {
  const Tokenizer tokenizer =
      made(file(R"({"type":"BPE","continuing_subword_prefix":"##","end_of_word_suffix":"</w>",
                    "vocab":{"a":0,"##b":1,"##b</w>":2,"ab":3,"a</w>":4},"merges":["a ##b"]})",
                R"("decoder":{"type":"BPEDecoder","suffix":"</w>"})"));
  EXPECT_THAT(ids(tokenizer, "abb"), ElementsAre(3, 2));
  EXPECT_THAT(ids(tokenizer, "a"), ElementsAre(4));
  EXPECT_EQ(tokenizer.decode(std::vector<int>{4, 4}), "a a");
}

TEST(tokenizer, unigram_takes_the_most_probable_split) {
  const Tokenizer tokenizer = made(
      file(R"({"type":"Unigram","unk_id":0,"vocab":[["<unk>",0],["a",-2],["b",-2],["ab",-3],["aba",-9]]})"));
  EXPECT_THAT(ids(tokenizer, "aba"), ElementsAre(3, 1));
  EXPECT_THAT(ids(tokenizer, "axxb"), ElementsAre(1, 0, 2))
      << "neighbouring unknown characters are one token";
}

TEST(tokenizer, wordpiece_takes_the_longest_beginning) {
  const Tokenizer tokenizer = made(file(
      R"({"type":"WordPiece","unk_token":"[UNK]","continuing_subword_prefix":"##","max_input_chars_per_word":6,
          "vocab":{"[UNK]":0,"un":1,"##aff":2,"##able":3,"u":4}})",
      R"("decoder":{"type":"WordPiece","prefix":"##","cleanup":true})"));
  EXPECT_THAT(ids(tokenizer, "unaff"), ElementsAre(1, 2));
  EXPECT_THAT(ids(tokenizer, "unx"), ElementsAre(0));
  EXPECT_THAT(ids(tokenizer, "unaffable"), ElementsAre(0)) << "longer than max_input_chars_per_word";
  EXPECT_EQ(tokenizer.decode(std::vector<int>{1, 2, 4}), "unaff u");
}

TEST(tokenizer, split_has_five_behaviors) {
  const std::vector<std::string> known = {"the",    "final",  "countdown", "-",         "the-",
                                          "final-", "-final", "--",        "-countdown"};
  const std::string text = "the-final--countdown";
  const std::string dash = R"({"String":"-"})";
  EXPECT_THAT(words(split(dash, "Removed"), text, known), ElementsAre("the", "final", "countdown"));
  EXPECT_THAT(words(split(dash, "Isolated"), text, known),
              ElementsAre("the", "-", "final", "-", "-", "countdown"));
  EXPECT_THAT(words(split(dash, "MergedWithPrevious"), text, known),
              ElementsAre("the-", "final-", "-", "countdown"));
  EXPECT_THAT(words(split(dash, "MergedWithNext"), text, known),
              ElementsAre("the", "-final", "-", "-countdown"));
  EXPECT_THAT(words(split(dash, "Contiguous"), text, known),
              ElementsAre("the", "-", "final", "--", "countdown"));
  EXPECT_THAT(words(split(dash, "Removed", true), text, known), ElementsAre("-", "-", "-"));
}

TEST(tokenizer, patterns_have_oniguruma_meanings) {
  const auto regex = [](const std::string& pattern) { return to_text(Json{{"Regex", pattern}}); };
  EXPECT_THAT(words(split(regex("\\h+"), "Removed", true), "xyz1f", {"1f"}), ElementsAre("1f"));
  EXPECT_THAT(words(split(regex("[a-z&&[^b]]+"), "Removed", true), "aba", {"a"}), ElementsAre("a", "a"));
  EXPECT_THAT(words(split(regex("\\p{N}{1,2}+"), "Removed", true), "12345", {"12345"}), ElementsAre("12345"));
  EXPECT_THAT(words(split(regex("\\w+"), "Removed", true), "e\u0301!", {"e\u0301"}), ElementsAre("e\u0301"));
  EXPECT_THAT(words(split(regex("^b"), "Isolated"), "a\nb", {"a\n", "b"}), ElementsAre("a\n", "b"));
  EXPECT_THAT(words(split(regex("\\p{L}+"), "Removed", true), "\U0001E030", {"\U0001E030"}),
              ElementsAre("\U0001E030"))
      << "a letter since Unicode 15";
}

TEST(tokenizer, a_trailing_run_is_found_where_it_begins_and_after_a_match) {
  const std::string pre = split(to_text(Json{{"Regex", "\\s+$"}}), "Isolated");
  EXPECT_THAT(words(pre, "a  b  ", {"a  b", "  "}), ElementsAre("a  b", "  "));
  EXPECT_THAT(words(pre, " \n ", {" ", "\n", " \n "}), ElementsAre(" \n "));
}

TEST(tokenizer, metaspace_prepends_as_its_scheme_says) {
  const auto metaspace = [](const std::string& scheme) {
    return R"({"type":"Metaspace","replacement":"▁","prepend_scheme":")" + scheme + R"(","split":true})";
  };
  const std::vector<std::string> known = {"a", "▁a", "▁b"};
  EXPECT_THAT(words(metaspace("always"), "a b", known), ElementsAre("▁a", "▁b"));
  EXPECT_THAT(words(metaspace("never"), "a b", known), ElementsAre("a", "▁b"));
  EXPECT_THAT(words(metaspace("first"), "a b", known), ElementsAre("▁a", "▁b"));
  const std::string strip = R"({"type":"Strip","strip_left":true,"strip_right":false})";
  EXPECT_THAT(words(metaspace("first"), " a b", known, strip), ElementsAre("a", "▁b"))
      << "the first piece is not at the input's beginning";
}

TEST(tokenizer, normalizers_run_in_order) {
  const std::string normalizer = R"({"type":"Sequence","normalizers":[{"type":"NFD"},{"type":"StripAccents"},
      {"type":"Lowercase"},{"type":"Replace","pattern":{"Regex":"\\s+"},"content":"_"},{"type":"Prepend","prepend":">"}]})";
  EXPECT_THAT(words("null", "\u00c9 \t A", {">e_a"}, normalizer), ElementsAre(">e_a"));
}

TEST(tokenizer, added_tokens_take_space_and_respect_words) {
  const std::string added = R"("added_tokens":[
      {"id":3,"content":"<s>","special":true,"normalized":false},
      {"id":4,"content":"<m>","lstrip":true,"rstrip":true,"normalized":false},
      {"id":5,"content":"ab","single_word":true,"normalized":false}])";
  const Tokenizer tokenizer = made(file(R"({"type":"BPE","vocab":{"a":0,"b":1," ":2},"merges":[]})", added));
  EXPECT_THAT(ids(tokenizer, "a <m> b"), ElementsAre(0, 4, 1));
  EXPECT_THAT(ids(tokenizer, "ab aab"), ElementsAre(5, 2, 0, 0, 1));
  EXPECT_THAT(ids(tokenizer, "a<s>"), ElementsAre(0, 3));
  EXPECT_THAT(ids(tokenizer, "a<s>", {.parse_special = false}), ElementsAre(0))
      << "no token for its characters";
  EXPECT_TRUE(tokenizer.is_special(3));
  EXPECT_FALSE(tokenizer.is_special(4));
  EXPECT_EQ(tokenizer.vocab_size(), 6);
  EXPECT_EQ(tokenizer.id_of("<m>"), 4);
  EXPECT_EQ(tokenizer.token_of(5), "ab");
  EXPECT_EQ(tokenizer.token_of(99), "");
}

TEST(tokenizer, the_template_goes_around_the_text) {
  const std::string post = R"("post_processor":{"type":"TemplateProcessing",
      "single":[{"SpecialToken":{"id":"<s>","type_id":0}},{"Sequence":{"id":"A","type_id":0}}],"pair":[],
      "special_tokens":{"<s>":{"id":"<s>","ids":[7],"tokens":["<s>"]}}})";
  const Tokenizer tokenizer = made(file(kAbc, post));
  EXPECT_THAT(ids(tokenizer, "c"), ElementsAre(7, 2));
  EXPECT_THAT(ids(tokenizer, "c", {.add_special = false}), ElementsAre(2));
}

TEST(tokenizer, invalid_utf8_counts_as_replacement_characters) {
  const Tokenizer tokenizer = made(file(R"({"type":"BPE","vocab":{"a":0,"\ufffd":1},"merges":[]})"));
  EXPECT_THAT(ids(tokenizer,
                  "a\xFF"
                  "a"),
              ElementsAre(0, 1, 0));
  EXPECT_THAT(ids(tokenizer,
                  "\xE2\x96"
                  "a"),
              ElementsAre(1, 0))
      << "one for a cut-off sequence";
  EXPECT_THAT(ids(tokenizer, "\xED\xA0\x80"), ElementsAre(1, 1, 1)) << "a surrogate has no valid beginning";
}

// A byte-level model whose tokens cut through characters: a smile is F0 9F 98 80.
Tokenizer byte_level() {
  return made(file(R"({"type":"BPE","vocab":{"ðŁ":0,"ĺĢ":1,"a":2,"ð":3,"Ł":4,"ĺ":5,"Ģ":6},"merges":[]})",
                   R"("decoder":{"type":"ByteLevel"})"));
}

TEST(stream_decoder, half_a_character_waits_for_its_rest) {
  const Tokenizer tokenizer = byte_level();
  StreamDecoder stream(tokenizer);
  EXPECT_EQ(stream.push(2), "a");
  EXPECT_EQ(stream.push(0), "");
  EXPECT_EQ(stream.push(1), "\U0001F600");
  EXPECT_EQ(stream.push(0), "");
  EXPECT_EQ(stream.finish(), "\uFFFD");
}

TEST(stream_decoder, the_parts_are_the_whole_for_every_decoder) {
  const std::string vocab =
      R"({"type":"BPE","vocab":{"▁":0,"▁a":1,"b":2,"<0xC3>":3,"<0xA9>":4,"##c":5,"ðŁ":6,"ĺĢ":7,
                                "a</w>":8,"|":9," ":10,".":11},"merges":[]})";
  const std::string replace = R"({"type":"Replace","pattern":{"String":"▁"},"content":" "})";
  const std::string strip = R"({"type":"Strip","content":" ","start":1,"stop":2})";
  const std::string tail = R"({"type":"ByteFallback"},{"type":"Fuse"},)";
  const std::vector<std::string> kinds = {
      "null",
      R"({"type":"ByteLevel"})",
      R"({"type":"Metaspace","replacement":"▁","prepend_scheme":"always"})",
      R"({"type":"WordPiece","prefix":"##","cleanup":true})",
      R"({"type":"BPEDecoder","suffix":"</w>"})",
      R"({"type":"CTC","pad_token":"b","word_delimiter_token":"|","cleanup":true})",
      strip,
      R"({"type":"Sequence","decoders":[)" + replace + "," + tail + strip + "]}",
      R"({"type":"Sequence","decoders":[)" + tail + replace + "," + strip + "]}",
      R"({"type":"Sequence","decoders":[{"type":"ByteLevel"},)" + replace + "]}"};
  uint32_t state = 12345;  // the seed
  for (const std::string& kind : kinds) {
    const Tokenizer tokenizer = made(file(vocab, R"("decoder":)" + kind));
    for (int round = 0; round < 200; ++round) {
      std::vector<int> tokens;
      for (int i = 0; i < round % 12; ++i)
        tokens.push_back(static_cast<int>((state = state * 1664525 + 1013904223) >> 16) % 12);
      StreamDecoder stream(tokenizer);
      std::string text;
      for (const int id : tokens) {
        const std::string part = stream.push(id);
        EXPECT_TRUE(is_valid_utf8(part)) << kind;
        text += part;
      }
      EXPECT_EQ(text + stream.finish(), tokenizer.decode(tokens)) << kind << " seed 12345";
    }
  }
}

TEST(stream_decoder, a_tokenizer_may_move_meanwhile) {
  Tokenizer tokenizer = byte_level();
  StreamDecoder stream(tokenizer);
  stream.push(0);
  const Tokenizer moved = std::move(tokenizer);
  EXPECT_EQ(stream.push(1), "\U0001F600");
}

struct Wrong {
  std::string text;
  std::string names;  // what the error must say
};

TEST(tokenizer, wrong_files_are_errors_of_one_line) {
  const std::string model = R"("model":{"type":"BPE","vocab":{"a":0},"merges":[]}})";
  const std::vector<Wrong> cases = {
      {"", "JSON"},
      {R"({"model":{"vocab":{"a":)", "JSON"},
      {"[]", "object"},
      {"{}", "model"},
      {R"({"model":7})", "model"},
      {R"({"model":{"type":"Magic"}})", "Magic"},
      {R"({"model":{"type":"BPE","merges":[]}})", "vocab"},
      {R"({"model":{"type":"BPE","vocab":[],"merges":[]}})", "vocab"},
      {R"({"model":{"type":"BPE","vocab":{"a":-1},"merges":[]}})", "\"a\""},
      {R"({"model":{"type":"BPE","vocab":{"a":1099511627776},"merges":[]}})", "1099511627776"},
      {R"({"model":{"type":"BPE","vocab":{"a":18446744073709551615},"merges":[]}})", "16777215"},
      {R"({"model":{"type":"BPE","vocab":{"a":1.5},"merges":[]}})", "1.5"},
      {R"({"model":{"type":"BPE","vocab":{"a":1,"b":1},"merges":[]}})", "same id 1"},
      {R"({"model":{"type":"BPE","vocab":{"a":1},"merges":["a b"]}})", "merges[0]: \"b\""},
      {R"({"model":{"type":"BPE","vocab":{"a":1,"b":2},"merges":["a b"]}})", "\"ab\""},
      {R"({"model":{"type":"BPE","vocab":{"a":1},"merges":["a a a"]}})", "merges[0]"},
      {R"({"model":{"type":"BPE","vocab":{"a":1},"merges":[["a"]]}})", "merges[0]"},
      {R"({"model":{"type":"BPE","vocab":{"a":1},"merges":{}}})", "merges"},
      {R"({"model":{"type":"BPE","vocab":{"a":1},"merges":[],"fuse_unk":"yes"}})", "fuse_unk"},
      {R"({"model":{"type":"BPE","vocab":{},"merges":[],"continuing_subword_prefix":3}})", "subword_prefix"},
      {R"({"model":{"type":"Unigram","vocab":[["a"]]}})", "vocab[0]"},
      {R"({"model":{"type":"Unigram","vocab":[["a",0]],"unk_id":1}})", "unk_id"},
      {R"({"model":{"type":"WordPiece","vocab":{},"unk_token":"x","continuing_subword_prefix":"",
                 "max_input_chars_per_word":-5}})",
       "max_input_chars_per_word"},
      {R"({"normalizer":{"type":"Magic"},)" + model, "Magic"},
      {R"({"normalizer":[],)" + model, "normalizer"},
      {R"({"normalizer":{"type":"Precompiled","precompiled_charsmap":"/////w=="},)" + model, "charsmap"},
      {R"({"normalizer":{"type":"Replace","pattern":{"Regex":"("},"content":""},)" + model, "\"(\""},
      {R"({"pre_tokenizer":{"type":"Split","pattern":{"Regex":"[a\n"},"behavior":"Removed"},)" + model, "]"},
      {R"({"pre_tokenizer":{"type":"Split","pattern":{"Regex":"\\p{Nonsense}"},"behavior":"Removed"},)" +
           model,
       "Nonsense"},
      {R"({"pre_tokenizer":{"type":"Split","pattern":"a","behavior":"Removed"},)" + model, "pattern"},
      {R"({"pre_tokenizer":{"type":"Split","pattern":{"String":"a"},"behavior":"Gone"},)" + model,
       "behavior"},
      {R"({"pre_tokenizer":{"type":"Sequence","pretokenizers":[{"type":"Magic"}]},)" + model,
       "pre_tokenizer.pretokenizers[0]"},
      {R"({"pre_tokenizer":{"type":"Metaspace","replacement":"ab"},)" + model, "replacement"},
      {R"({"post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"x"}}],
                 "special_tokens":{}},)" +
           model,
       "special_tokens has no x"},
      {R"({"post_processor":{"type":"TemplateProcessing","single":[{"Sequence":{"id":"B"}}],
                 "special_tokens":{}},)" +
           model,
       "id"},
      {R"({"post_processor":{"type":"BertProcessing","cls":["a"],"sep":["b",1]},)" + model, "cls"},
      {R"({"decoder":{"type":"Magic"},)" + model, "Magic"},
      {R"({"decoder":{"type":"Strip","content":" ","start":-1,"stop":0},)" + model, "start"},
      {R"({"added_tokens":{},)" + model, "added_tokens"},
      {R"({"added_tokens":[{"content":"x","id":-1}],)" + model, "added_tokens[0].id"},
      {R"({"added_tokens":[{"id":1}],)" + model, "content"}};
  for (const Wrong& wrong : cases) {
    const Result<Tokenizer> tokenizer = load(wrong.text);
    ASSERT_FALSE(tokenizer.ok()) << wrong.text;
    EXPECT_THAT(tokenizer.error().message, HasSubstr("test.json"));
    EXPECT_THAT(tokenizer.error().message, HasSubstr(wrong.names));
    EXPECT_THAT(tokenizer.error().message, Not(HasSubstr("\n")));
  }
}

TEST(tokenizer, deeply_nested_sequences_are_an_error) {
  Json nested = {{"type", "NFC"}};
  for (int i = 0; i < 1000; ++i)
    nested = {{"type", "Sequence"}, {"normalizers", Json::array({std::move(nested)})}};
  Json json = *parse_json(file(kAbc), "test.json");
  json["normalizer"] = std::move(nested);
  const Result<Tokenizer> tokenizer = Tokenizer::from_json(json, "test.json");
  ASSERT_FALSE(tokenizer.ok());
  EXPECT_THAT(tokenizer.error().message, HasSubstr("nested too deep"));
}

// A quadratic step would take minutes on these texts.
TEST(tokenizer, long_runs_take_about_linear_time) {
  constexpr size_t kBytes = 1 << 20;
  const Tokenizer bpe =
      made(file(R"({"type":"BPE","vocab":{"a":0,"aa":1,"aaaa":2," ":3,"b":4},"merges":["a a","aa aa"]})",
                R"("pre_tokenizer":)" + split(R"({"Regex":"\\s+$"})", "Isolated")));
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(ids(bpe, std::string(kBytes, 'a')).size(), kBytes / 4);
  EXPECT_EQ(ids(bpe, std::string(kBytes, ' ') + "b").size(), kBytes + 1);
  std::string marks = "a";
  while (marks.size() < kBytes) marks += "\u0301\u0316";
  EXPECT_EQ(normalize_unicode(marks, {}).size(), marks.size());
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
  EXPECT_LT(seconds.count(), 60) << "in a Debug build with sanitizers some seconds";
}

}  // namespace
}  // namespace heed
