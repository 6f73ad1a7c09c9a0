// Real vocabularies against the ids that llama.cpp gives for texts that are hard to tokenise.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <sstream>

#include "base/file.h"
#include "text/vocabulary_files.h"

namespace heed {
namespace {

const std::filesystem::path kFolder = std::filesystem::path(HEED_SHARED_DIR) / "tokenizers";

// The texts of an .inp file: each ends before a line break and a line that separates it from the next.
std::vector<std::string> texts_of(const std::string& input) {
  const std::string separator = "\n__ggml_vocab_test__\n";
  std::vector<std::string> texts;
  size_t begin = 0;
  for (size_t end = input.find(separator); end != std::string::npos; end = input.find(separator, begin)) {
    texts.push_back(input.substr(begin, end - begin));
    begin = end + separator.size();
  }
  return texts;
}

// The ids of an .out file: one line a text.
std::vector<std::vector<int>> ids_of(const std::string& output) {
  std::vector<std::vector<int>> ids;
  std::istringstream lines(output);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream numbers(line);
    ids.emplace_back();
    for (int id = 0; numbers >> id;) ids.back().push_back(id);
  }
  return ids;
}

class VocabularyConformance : public testing::TestWithParam<const char*> {};

TEST_P(VocabularyConformance, every_text_has_the_expected_ids_and_comes_back) {
  const std::string path = kFolder / (std::string(GetParam()) + ".gguf");
  if (!file_exists(path)) GTEST_SKIP() << "no vocabulary at " << path;
  const auto tokenizer = load_tokenizer(path);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.error().message;
  const std::vector<std::string> texts = texts_of(*read_file(path + ".inp"));
  const std::vector<std::vector<int>> expected = ids_of(*read_file(path + ".out"));
  ASSERT_EQ(texts.size(), expected.size());
  ASSERT_GT(texts.size(), 40u);
  for (size_t i = 0; i < texts.size(); ++i) {
    const auto ids = tokenizer->encode(texts[i], {.add_special = false, .parse_special = false});
    ASSERT_TRUE(ids.ok()) << texts[i];
    EXPECT_EQ(*ids, expected[i]) << texts[i];
    // DeepSeek Coder adds letters such as "\u00fc" as tokens, which its decoder takes for bytes: so with the
    // reference.
    const bool is_lossy = GetParam() == std::string("deepseek-coder") && texts[i] == "F\u00fchrer";
    EXPECT_EQ(tokenizer->decode(*ids, false), is_lossy ? "F\ufffdhrer" : texts[i]);
  }
}

INSTANTIATE_TEST_SUITE_P(Gguf, VocabularyConformance,
                         testing::Values("deepseek-coder", "falcon", "gpt-2", "llama-spm", "starcoder"),
                         [](const auto& vocabulary) {
                           std::string name = vocabulary.param;
                           std::ranges::replace(name, '-', '_');
                           return name;
                         });

TEST(VocabularyFiles, control_tokens_in_the_text_are_tokens_only_where_asked_for) {
  const std::string path = kFolder / "llama-spm.gguf";
  if (!file_exists(path)) GTEST_SKIP() << "no vocabulary at " << path;
  const auto tokenizer = load_tokenizer(path);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.error().message;
  const auto ids = [&](const char* text, EncodeOptions options) { return *tokenizer->encode(text, options); };
  EXPECT_EQ(ids("</s>", {.add_special = false}), std::vector<int>({2}));
  EXPECT_EQ(ids("Hello", {}), std::vector<int>({1, 15043}));
  const std::vector<int> spelled = ids("</s>", {.add_special = false, .parse_special = false});
  EXPECT_EQ(std::ranges::count(spelled, 2), 0);
  EXPECT_EQ(tokenizer->decode(spelled), "</s>");
}

}  // namespace
}  // namespace heed
