#include "text/vocabulary_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "base/file.h"
#include "tests/formats/gguf_bytes.h"
#include "tests/formats/sentencepiece_bytes.h"
#include "text/split_patterns.h"

namespace heed {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

Result<Json> document_of(const GgufBytes& file) {
  const std::string bytes = file.bytes();
  const auto gguf = Gguf::parse(std::as_bytes(std::span(bytes)), "v.gguf");
  if (!gguf.ok()) return gguf.error();
  return tokenizer_json_of_gguf(*gguf);
}

template <class T>
std::string error_of(const Result<T>& result) {
  return result.ok() ? "accepted" : result.error().message;
}

std::vector<std::string> merges_in(const Json& document) {
  std::vector<std::string> merges;
  for (const Json& merge : document["model"]["merges"]) {
    merges.push_back(merge[0].get<std::string>() + "+" + merge[1].get<std::string>());
  }
  return merges;
}

std::vector<std::string> added_in(const Json& document, bool special) {
  std::vector<std::string> contents;
  for (const Json& token : document["added_tokens"]) {
    if (token["special"] == special) contents.push_back(token["content"]);
  }
  return contents;
}

std::vector<std::string> types_in(const Json& parts) {
  std::vector<std::string> types;
  for (const Json& part : parts) types.push_back(part["type"]);
  return types;
}

constexpr int32_t kNormal = 1, kUnknown = 2, kControl = 3, kUserDefined = 4;

// <unk> <s> </s> a b c ab bc abc <|x|> ▁: a chain in which each score decides.
GgufBytes llama_vocabulary() {
  GgufBytes file;
  file.key("tokenizer.ggml.model", "llama");
  file.key("tokenizer.ggml.tokens", std::vector<std::string>{"<unk>", "<s>", "</s>", "a", "b", "c", "ab",
                                                             "bc", "abc", "<|x|>", "\u2581"});
  file.numbers("tokenizer.ggml.scores", GgufType::kFloat32,
               std::vector<float>{0, 0, 0, -9, -9, -9, -2, -1, -3, 0, -9});
  file.numbers("tokenizer.ggml.token_type", GgufType::kInt32,
               std::vector<int32_t>{kUnknown, kControl, kControl, kNormal, kNormal, kNormal, kNormal, kNormal,
                                    kNormal, kUserDefined, kNormal});
  return file;
}

GgufBytes gpt2_vocabulary(const char* pre) {
  GgufBytes file;
  file.key("tokenizer.ggml.model", "gpt2").key("tokenizer.ggml.pre", pre);
  file.key("tokenizer.ggml.tokens", std::vector<std::string>{"a", "b", "ab", "<end>", "", "<tool>"});
  file.numbers("tokenizer.ggml.token_type", GgufType::kInt32,
               std::vector<int32_t>{kNormal, kNormal, kNormal, kControl, kNormal, kUserDefined});
  file.key("tokenizer.ggml.merges", std::vector<std::string>{"a b"});
  return file;
}

TEST(VocabularyFiles, merges_of_a_llama_vocabulary_follow_the_scores) {
  const auto document = document_of(llama_vocabulary());
  ASSERT_TRUE(document.ok()) << document.error().message;
  EXPECT_THAT(merges_in(*document), ElementsAre("b+c", "a+b", "ab+c", "a+bc"));
  EXPECT_EQ((*document)["model"]["vocab"]["abc"], 8);
  EXPECT_EQ((*document)["model"]["unk_token"], "<unk>");
  EXPECT_EQ((*document)["model"]["byte_fallback"], false);
}

TEST(VocabularyFiles, special_and_user_defined_pieces_are_cut_out_and_never_merged) {
  GgufBytes file;
  file.key("tokenizer.ggml.model", "llama");
  file.key("tokenizer.ggml.tokens", std::vector<std::string>{"<unk>", "<s>", "<", "s>", "s", ">", "ss"});
  file.numbers("tokenizer.ggml.scores", GgufType::kFloat32, std::vector<float>(7, 0));
  file.numbers("tokenizer.ggml.token_type", GgufType::kInt32,
               std::vector<int32_t>{kUnknown, kControl, kNormal, kNormal, kNormal, kNormal, kUserDefined});
  const auto document = document_of(file);
  ASSERT_TRUE(document.ok()) << document.error().message;
  EXPECT_THAT(merges_in(*document), ElementsAre("s+>"));
  EXPECT_THAT(added_in(*document, true), ElementsAre("<unk>", "<s>"));
  EXPECT_THAT(added_in(*document, false), ElementsAre("ss"));
}

TEST(VocabularyFiles, a_llama_vocabulary_puts_bos_and_a_space_before_the_text_unless_told_otherwise) {
  auto document = document_of(llama_vocabulary());
  ASSERT_TRUE(document.ok()) << document.error().message;
  const Json& single = (*document)["post_processor"]["single"];
  ASSERT_EQ(single.size(), 2u);
  EXPECT_EQ(single[0]["SpecialToken"]["id"], "<s>");
  EXPECT_EQ(single[1]["Sequence"]["id"], "A");
  EXPECT_EQ((*document)["post_processor"]["special_tokens"]["<s>"]["ids"], Json::array({1}));
  EXPECT_THAT(types_in((*document)["normalizer"]["normalizers"]), ElementsAre("Prepend", "Replace"));
  EXPECT_THAT(types_in((*document)["decoder"]["decoders"]), ElementsAre("Replace", "Fuse", "Strip"));

  GgufBytes other = llama_vocabulary();
  other.key("tokenizer.ggml.add_bos_token", GgufType::kBool, std::string(1, '\0'));
  other.key("tokenizer.ggml.add_eos_token", GgufType::kBool, "\1");
  other.key("tokenizer.ggml.add_space_prefix", GgufType::kBool, std::string(1, '\0'));
  document = document_of(other);
  ASSERT_TRUE(document.ok()) << document.error().message;
  EXPECT_EQ((*document)["post_processor"]["single"][1]["SpecialToken"]["id"], "</s>");
  EXPECT_EQ((*document)["post_processor"]["pair"].size(), 4u);
  EXPECT_THAT(types_in((*document)["normalizer"]["normalizers"]), ElementsAre("Replace"));
  EXPECT_THAT(types_in((*document)["decoder"]["decoders"]), ElementsAre("Replace", "Fuse"));
}

TEST(VocabularyFiles, byte_tokens_switch_byte_fallback_on) {
  GgufBytes file;
  std::vector<std::string> tokens = {"<unk>", "<s>"};
  for (int byte = 0; byte < 256; ++byte) tokens.push_back(byte_piece(byte));
  std::vector<int32_t> types(tokens.size(), 6);
  types[0] = kUnknown;
  types[1] = kControl;
  file.key("tokenizer.ggml.model", "llama").key("tokenizer.ggml.tokens", tokens);
  file.numbers("tokenizer.ggml.scores", GgufType::kFloat32, std::vector<float>(tokens.size(), 0));
  file.numbers("tokenizer.ggml.token_type", GgufType::kInt32, types);
  const auto document = document_of(file);
  ASSERT_TRUE(document.ok()) << document.error().message;
  EXPECT_EQ((*document)["model"]["byte_fallback"], true);
  EXPECT_THAT(types_in((*document)["decoder"]["decoders"]),
              ElementsAre("Replace", "ByteFallback", "Fuse", "Strip"));
}

TEST(VocabularyFiles, a_gpt2_vocabulary_is_split_by_the_patterns_of_its_name) {
  const auto document = document_of(gpt2_vocabulary("starcoder"));
  ASSERT_TRUE(document.ok()) << document.error().message;
  const Json& parts = (*document)["pre_tokenizer"]["pretokenizers"];
  EXPECT_THAT(types_in(parts), ElementsAre("Split", "Split", "ByteLevel"));
  EXPECT_EQ(parts[0]["pattern"]["Regex"], "\\p{N}");
  EXPECT_EQ((*document)["decoder"]["type"], "ByteLevel");
  EXPECT_TRUE((*document)["normalizer"].is_null());
  EXPECT_TRUE((*document)["post_processor"].is_null());
  EXPECT_EQ((*document)["model"]["ignore_merges"], false);
  EXPECT_THAT(merges_in(*document), ElementsAre("a+b"));
  EXPECT_EQ((*document)["model"]["vocab"]["[EMPTY_4]"], 4);
  EXPECT_THAT(added_in(*document, true), ElementsAre("<end>"));
  EXPECT_THAT(added_in(*document, false), ElementsAre("<tool>"));
}

TEST(VocabularyFiles, llama_3_vocabularies_add_bos_and_keep_whole_words) {
  GgufBytes file = gpt2_vocabulary("llama-bpe");
  EXPECT_THAT(error_of(document_of(file)), HasSubstr("tokenizer.ggml.bos_token_id names none"));
  file.key("tokenizer.ggml.bos_token_id", GgufType::kUint32, raw(uint32_t{3}));
  const auto document = document_of(file);
  ASSERT_TRUE(document.ok()) << document.error().message;
  EXPECT_EQ((*document)["post_processor"]["single"][0]["SpecialToken"]["id"], "<end>");
  EXPECT_EQ((*document)["model"]["ignore_merges"], true);
}

TEST(VocabularyFiles, without_types_the_tokens_named_by_id_are_special) {
  GgufBytes file;
  file.key("tokenizer.ggml.model", "gpt2")
      .key("tokenizer.ggml.tokens", std::vector<std::string>{"a", "<end>"});
  file.key("tokenizer.ggml.merges", std::vector<std::string>{});
  file.key("tokenizer.ggml.eos_token_id", GgufType::kUint32, raw(uint32_t{1}));
  file.key("tokenizer.ggml.padding_token_id", GgufType::kUint32, raw(UINT32_MAX));
  const auto document = document_of(file);
  ASSERT_TRUE(document.ok()) << document.error().message;
  EXPECT_THAT(added_in(*document, true), ElementsAre("<end>"));
}

TEST(VocabularyFiles, a_bert_vocabulary_becomes_word_pieces) {
  GgufBytes file;
  file.key("tokenizer.ggml.model", "bert");
  file.key("tokenizer.ggml.tokens",
           std::vector<std::string>{"[UNK]", "[CLS]", "[SEP]", "\u2581run", "ning", "\u2581ning"});
  file.numbers("tokenizer.ggml.token_type", GgufType::kInt32,
               std::vector<int32_t>{kControl, kControl, kControl, kNormal, kNormal, kNormal});
  file.key("tokenizer.ggml.unknown_token_id", GgufType::kUint32, raw(uint32_t{0}));
  file.key("tokenizer.ggml.bos_token_id", GgufType::kUint32, raw(uint32_t{1}));
  file.key("tokenizer.ggml.seperator_token_id", GgufType::kUint32, raw(uint32_t{2}));
  const auto document = document_of(file);
  ASSERT_TRUE(document.ok()) << document.error().message;
  const Json expected = {{"[UNK]", 0}, {"[CLS]", 1}, {"[SEP]", 2}, {"run", 3}, {"##ning", 4}, {"ning", 5}};
  EXPECT_EQ((*document)["model"]["vocab"], expected);
  EXPECT_EQ((*document)["model"]["unk_token"], "[UNK]");
  EXPECT_EQ((*document)["normalizer"]["lowercase"], true);
  EXPECT_EQ((*document)["post_processor"]["single"][2]["SpecialToken"]["id"], "[SEP]");
}

// As llama.cpp writes Gemma 4's: merges of characters, byte tokens, tokens of line breaks, no pre-tokenizer.
GgufBytes gemma4_vocabulary() {
  std::vector<std::string> tokens = {"<pad>", "<eos>", "<bos>", "<unk>", "<|channel>"};
  std::vector<int32_t> types = {kControl, kControl, kControl, kControl, kUserDefined};
  for (int byte = 0; byte < 256; ++byte) {
    tokens.push_back(byte_piece(byte));
    types.push_back(static_cast<int32_t>(PieceType::kByte));
  }
  for (const char* text : {"\n", "\n\n", "\n\n\n", "\u2581", "a", "b", "ab", "\u2581a", "\u2581ab"}) {
    tokens.emplace_back(text);
    types.push_back(kNormal);
  }
  GgufBytes file;
  file.key("tokenizer.ggml.model", "gemma4").key("tokenizer.ggml.tokens", tokens);
  file.numbers("tokenizer.ggml.scores", GgufType::kFloat32, std::vector<float>(tokens.size(), -1000));
  file.numbers("tokenizer.ggml.token_type", GgufType::kInt32, types);
  file.key("tokenizer.ggml.merges",
           std::vector<std::string>{"\n \n", "\n\n \n", "\u2581 a", "a b", "\u2581a b"});
  file.key("tokenizer.ggml.bos_token_id", GgufType::kUint32, raw(uint32_t{2}));
  file.key("tokenizer.ggml.eos_token_id", GgufType::kUint32, raw(uint32_t{1}));
  file.key("tokenizer.ggml.unknown_token_id", GgufType::kUint32, raw(uint32_t{3}));
  file.key("tokenizer.ggml.add_space_prefix", GgufType::kBool, std::string(1, '\0'));
  file.key("tokenizer.ggml.add_bos_token", GgufType::kBool, std::string(1, '\0'));
  return file;
}

// The ids are those of the tokenizers package for a tokenizer.json of Gemma's form with these tokens.
TEST(VocabularyFiles, a_gemma4_vocabulary_merges_characters_and_always_adds_bos) {
  const auto document = document_of(gemma4_vocabulary());
  ASSERT_TRUE(document.ok()) << document.error().message;
  const auto tokenizer = Tokenizer::from_json(*document, "v.gguf");
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.error().message;
  const std::pair<const char*, std::vector<int>> cases[] = {
      {"ab a b", {2, 267, 268, 264, 266}},
      {"a\n\n\n\nb", {2, 265, 262, 262, 266}},
      {" ab", {2, 269}},
      {"b\na\n\n\n", {2, 266, 261, 265, 263}},
      {"\u00e9<|channel>a  a", {2, 200, 174, 4, 265, 264, 268}}};
  for (const auto& [text, ids] : cases) {
    EXPECT_EQ(tokenizer->encode(text).value(), ids) << text;
    EXPECT_EQ(tokenizer->decode(ids), text);
  }
  GgufBytes without = gemma4_vocabulary();
  std::erase_if(without.values, [](const std::string& value) { return value.find(".merges") != value.npos; });
  EXPECT_THAT(error_of(document_of(without)), HasSubstr("\"tokenizer.ggml.merges\" is missing"));
}

TEST(VocabularyFiles, what_cannot_be_read_is_named_with_what_can) {
  const auto of_model = [](const char* model) {
    GgufBytes file;
    file.key("tokenizer.ggml.model", model);
    return error_of(document_of(file));
  };
  EXPECT_EQ(of_model("rwkv"), "v.gguf: vocabulary model \"rwkv\", known are llama, gemma4, t5, gpt2, bert");
  EXPECT_THAT(error_of(document_of(GgufBytes())), HasSubstr("key \"tokenizer.ggml.model\" is missing"));
  EXPECT_THAT(error_of(document_of(gpt2_vocabulary("kimi-k2"))),
              HasSubstr("pre-tokenizer \"kimi-k2\", known are default, gpt-2"));
  EXPECT_THAT(of_model("llama"), HasSubstr("\"tokenizer.ggml.scores\" is missing"));
  EXPECT_THAT(of_model("bert"), HasSubstr("\"tokenizer.ggml.tokens\" is missing"));
}

TEST(VocabularyFiles, broken_vocabularies_are_errors) {
  const auto with = [](const std::vector<std::string>& tokens, const std::vector<int32_t>& types,
                       const std::vector<std::string>& merges) {
    GgufBytes file;
    file.key("tokenizer.ggml.model", "gpt2").key("tokenizer.ggml.tokens", tokens);
    file.numbers("tokenizer.ggml.token_type", GgufType::kInt32, types).key("tokenizer.ggml.merges", merges);
    return error_of(document_of(file));
  };
  EXPECT_THAT(with({"a", "a"}, {1, 1}, {}), HasSubstr("token 1: \"a\" appears twice"));
  EXPECT_THAT(with({"a", "b\xff"}, {1, 1}, {}), HasSubstr("token 1 is not UTF-8"));
  EXPECT_THAT(with({"a", "b"}, {1}, {}), HasSubstr("2 tokens, but 1 types and 2 scores"));
  EXPECT_THAT(with({}, {}, {}), HasSubstr("the vocabulary is empty"));
  for (const char* merge : {"ab", "", " ", "a ", " a"}) {
    EXPECT_THAT(with({"a"}, {1}, {merge}), HasSubstr("is not two parts with a space between")) << merge;
  }
  GgufBytes scores = llama_vocabulary();
  scores.values[2] = GgufBytes()
                         .numbers("tokenizer.ggml.scores", GgufType::kFloat32, std::vector<float>(11, 1e31f))
                         .values[0];
  EXPECT_THAT(error_of(document_of(scores)), HasSubstr("token 0: its score is not a finite number"));
  GgufBytes flags = llama_vocabulary();
  flags.key("tokenizer.ggml.add_bos_token", GgufType::kUint8, "\1");
  EXPECT_THAT(error_of(document_of(flags)),
              HasSubstr("\"tokenizer.ggml.add_bos_token\" is uint8, not a bool"));
  GgufBytes bytes = llama_vocabulary();
  bytes.values[3] = GgufBytes()
                        .numbers("tokenizer.ggml.token_type", GgufType::kInt32, std::vector<int32_t>(11, 6))
                        .values[0];
  EXPECT_THAT(error_of(document_of(bytes)), HasSubstr("the byte token <0x00> is missing"));
}

SentencePieceModel small_model(SentencePieceModel::Kind kind) {
  SentencePieceModel model;
  model.kind = kind;
  model.pieces = {{"<unk>", 0, PieceType::kUnknown},        {"<s>", 0, PieceType::kControl},
                  {"</s>", 0, PieceType::kControl},         {"\u2581", -1, PieceType::kNormal},
                  {"\u2581\u2581", -2, PieceType::kNormal}, {"\u2581\u2581\u2581", -2, PieceType::kNormal}};
  return model;
}

TEST(VocabularyFiles, merges_of_equal_score_go_by_falling_length) {
  const auto document = tokenizer_json_of_sentencepiece(small_model(SentencePieceModel::Kind::kBpe), {}, "m");
  ASSERT_TRUE(document.ok()) << document.error().message;
  EXPECT_THAT(merges_in(*document),
              ElementsAre("\u2581\u2581+\u2581", "\u2581+\u2581\u2581", "\u2581+\u2581"));
  EXPECT_TRUE((*document)["post_processor"].is_null());
}

TEST(VocabularyFiles, a_unigram_model_keeps_its_scores_and_normaliser) {
  SentencePieceModel model = small_model(SentencePieceModel::Kind::kUnigram);
  for (const auto& [bytes, text] :
       {std::pair("M", "TQ=="), {"Ma", "TWE="}, {"Man", "TWFu"}, {"\xff\xff\xffM", "////TQ=="}}) {
    model.precompiled_charsmap = bytes;
    const auto document = tokenizer_json_of_sentencepiece(model, {false, true}, "m");
    ASSERT_TRUE(document.ok()) << document.error().message;
    const Json& normalizers = (*document)["normalizer"]["normalizers"];
    EXPECT_THAT(types_in(normalizers), ElementsAre("Precompiled", "Strip", "Replace", "Prepend", "Replace"));
    EXPECT_EQ(normalizers[0]["precompiled_charsmap"], text);
    EXPECT_EQ((*document)["model"]["type"], "Unigram");
    EXPECT_EQ((*document)["model"]["unk_id"], 0);
    EXPECT_EQ((*document)["model"]["vocab"][4], Json::array({"\u2581\u2581", -2.0}));
    EXPECT_EQ((*document)["post_processor"]["single"][1]["SpecialToken"]["id"], "</s>");
  }
}

TEST(VocabularyFiles, sentencepiece_models_that_cannot_be_turned_are_errors) {
  const auto error = [](const SentencePieceModel& model, SentencePieceOptions options = {}) {
    return error_of(tokenizer_json_of_sentencepiece(model, options, "m"));
  };
  EXPECT_THAT(error(small_model(SentencePieceModel::Kind::kWord)),
              HasSubstr("m: a SentencePiece model of words"));
  SentencePieceModel model = small_model(SentencePieceModel::Kind::kBpe);
  model.treat_whitespace_as_suffix = true;
  EXPECT_THAT(error(model), HasSubstr("treat_whitespace_as_suffix"));
  model = small_model(SentencePieceModel::Kind::kBpe);
  model.bos_id = -1;
  EXPECT_THAT(error(model, {true, false}),
              HasSubstr("m: a bos token is to be added, but the vocabulary has none"));
  model.pieces[3].text = "\xc0\x80";
  EXPECT_THAT(error(model), HasSubstr("m: token 3 is not UTF-8"));
  model.pieces[3].text = std::string(1025, 'a');
  EXPECT_THAT(error(model), HasSubstr("is longer than 1024 bytes"));
}

TEST(VocabularyFiles, every_split_pattern_has_a_name_once) {
  std::string names = known_split_patterns() + ",";
  for (size_t begin = 0; begin < names.size();) {
    const size_t end = names.find(',', begin);
    const std::string name = names.substr(begin, end - begin);
    ASSERT_NE(find_split_patterns(name), nullptr) << name;
    EXPECT_FALSE(find_split_patterns(name)->patterns.empty()) << name;
    EXPECT_EQ((", " + names).find(", " + name + ","), (", " + names).rfind(", " + name + ",")) << name;
    begin = end + 2;
  }
  EXPECT_EQ(find_split_patterns("gpt"), nullptr);
}

class VocabularyFolder : public testing::Test {
 protected:
  VocabularyFolder() {
    folder_ =
        std::filesystem::path(testing::TempDir()) /
        ("heed_vocabulary_" + std::string(testing::UnitTest::GetInstance()->current_test_info()->name()));
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
  }
  void write(const std::string& name, const std::string& bytes) {
    ASSERT_TRUE(write_file(folder_ / name, bytes).ok());
  }
  std::string error() const { return error_of(read_tokenizer_json(folder_)); }

  std::filesystem::path folder_;
  const std::string bpe_model_ =
      piece_bytes("<unk>", 0, PieceType::kUnknown) + piece_bytes("<s>", 0, PieceType::kControl) +
      piece_bytes("</s>", 0, PieceType::kControl) + proto_bytes(2, proto_number(3, 2));
};

TEST_F(VocabularyFolder, errors_say_what_was_looked_for) {
  EXPECT_THAT(
      error(),
      HasSubstr("no vocabulary; looked for tokenizer.json, tokenizer.model, spiece.model or one *.gguf"));
  write("a.gguf", "GGUF");
  write("b.gguf", "GGUF");
  EXPECT_THAT(error(), HasSubstr("2 *.gguf files"));
  EXPECT_THAT(error_of(read_tokenizer_json(folder_ / "none")),
              HasSubstr("no such file or folder; looked for"));
  write("vocab.txt", "a");
  EXPECT_THAT(error_of(read_tokenizer_json(folder_ / "vocab.txt")), HasSubstr("not a vocabulary file"));
}

TEST_F(VocabularyFolder, tokenizer_json_comes_before_a_model_and_a_model_before_gguf) {
  write("v.gguf", llama_vocabulary().bytes());
  auto document = read_tokenizer_json(folder_);
  ASSERT_TRUE(document.ok()) << document.error().message;
  EXPECT_THAT(merges_in(*document), testing::SizeIs(4));
  write("tokenizer.model", bpe_model_);
  document = read_tokenizer_json(folder_);
  ASSERT_TRUE(document.ok()) << document.error().message;
  EXPECT_THAT(merges_in(*document), IsEmpty());
  write("tokenizer.json", "{\"version\": \"1.0\"}");
  document = read_tokenizer_json(folder_);
  ASSERT_TRUE(document.ok()) << document.error().message;
  EXPECT_EQ(*document, Json({{"version", "1.0"}}));
}

TEST_F(VocabularyFolder, the_config_beside_a_model_says_what_is_added_to_the_text) {
  write("tokenizer.model", bpe_model_);
  EXPECT_EQ((*read_tokenizer_json(folder_))["post_processor"]["single"].size(), 2u) << "Llama adds bos";
  write("tokenizer_config.json", R"({"add_bos_token": false, "add_eos_token": null})");
  EXPECT_TRUE((*read_tokenizer_json(folder_))["post_processor"].is_null());
  write("tokenizer_config.json", R"({"add_eos_token": true})");
  EXPECT_EQ((*read_tokenizer_json(folder_))["post_processor"]["single"].size(), 3u);
  write("tokenizer_config.json", R"({"add_eos_token": 1})");
  EXPECT_THAT(error(), HasSubstr("add_eos_token is not true or false"));
  write("tokenizer_config.json", "[]");
  EXPECT_THAT(error(), HasSubstr("tokenizer_config.json: not a JSON object"));
}

}  // namespace
}  // namespace heed
