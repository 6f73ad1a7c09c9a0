#include "formats/sentencepiece.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "base/file.h"
#include "tests/formats/sentencepiece_bytes.h"

namespace heed::sentencepiece_test {
namespace {

using testing::HasSubstr;

Result<SentencePieceModel> parse(std::string_view bytes) {
  return parse_sentencepiece(std::as_bytes(std::span(bytes)), "bad.model");
}

std::string error_of(std::string_view bytes) {
  const auto parsed = parse(bytes);
  return parsed.ok() ? "accepted" : parsed.error().message;
}

const std::string kUnknown = piece_bytes("<unk>", 0, PieceType::kUnknown);

TEST(SentencePiece, pieces_and_settings_are_read) {
  const std::string trainer = proto_number(3, 2) + proto_number(35, 1) + proto_number(40, 0) +
                              proto_number(41, 1) + proto_number(42, 2) +
                              proto_number(43, static_cast<uint64_t>(-1));
  const std::string normalizer = proto_bytes(1, "identity") + proto_bytes(2, "map") + proto_number(3, 0) +
                                 proto_number(4, 0) + proto_number(5, 1);
  const auto model = parse(
      kUnknown + piece_bytes("<s>", 0, PieceType::kControl) + piece_bytes("</s>", 0, PieceType::kControl) +
      all_byte_pieces() + piece_bytes("\u2581the", -1.5f) + piece_bytes("<|x|>", 0, PieceType::kUserDefined) +
      proto_bytes(2, trainer) + proto_bytes(3, normalizer) + proto_bytes(5, proto_bytes(2, "back")) +
      proto_bytes(4, "self test, skipped") + proto_bytes(200, "an extension, skipped"));
  ASSERT_TRUE(model.ok()) << model.error().message;
  ASSERT_EQ(model->pieces.size(), 261u);
  EXPECT_EQ(model->pieces[259].text, "\u2581the");
  EXPECT_EQ(model->pieces[259].score, -1.5f);
  EXPECT_EQ(model->pieces[259].type, PieceType::kNormal);
  EXPECT_EQ(model->pieces[260].type, PieceType::kUserDefined);
  EXPECT_EQ(model->pieces[3].text, "<0x00>");
  EXPECT_EQ(model->pieces[258].text, "<0xFF>");
  EXPECT_EQ(model->kind, SentencePieceModel::Kind::kBpe);
  EXPECT_TRUE(model->byte_fallback);
  EXPECT_EQ(model->unk_id, 0);
  EXPECT_EQ(model->bos_id, 1);
  EXPECT_EQ(model->eos_id, 2);
  EXPECT_EQ(model->pad_id, -1);
  EXPECT_EQ(model->precompiled_charsmap, "map");
  EXPECT_EQ(model->denormalizer_charsmap, "back");
  EXPECT_FALSE(model->add_dummy_prefix);
  EXPECT_FALSE(model->remove_extra_whitespaces);
  EXPECT_TRUE(model->escape_whitespaces);
}

TEST(SentencePiece, what_is_not_said_has_the_formats_defaults) {
  const auto model = parse(piece_bytes("a") + kUnknown);
  ASSERT_TRUE(model.ok()) << model.error().message;
  EXPECT_EQ(model->kind, SentencePieceModel::Kind::kUnigram);
  EXPECT_FALSE(model->byte_fallback);
  EXPECT_TRUE(model->add_dummy_prefix);
  EXPECT_TRUE(model->remove_extra_whitespaces);
  EXPECT_TRUE(model->escape_whitespaces);
  EXPECT_EQ(model->unk_id, 1) << "the piece of type unknown, whatever the settings say";
  EXPECT_EQ(model->bos_id, -1) << "id 1 is not a control piece";
  EXPECT_EQ(model->eos_id, -1) << "there is no id 2";
}

TEST(SentencePiece, a_message_in_parts_is_merged) {
  const auto model =
      parse(kUnknown + proto_bytes(2, proto_number(3, 4)) + proto_bytes(2, proto_number(24, 1)));
  ASSERT_TRUE(model.ok()) << model.error().message;
  EXPECT_EQ(model->kind, SentencePieceModel::Kind::kChar);
  EXPECT_TRUE(model->treat_whitespace_as_suffix);
}

TEST(SentencePiece, bad_models_are_errors_that_name_the_file_and_the_piece) {
  const std::string last_byte = piece_bytes(byte_piece(255), 0, PieceType::kByte);
  const std::string bytes = all_byte_pieces();
  const struct {
    const char* name;
    std::string bytes;
    const char* error;
  } cases[] = {
      {"empty", "", "not a SentencePiece model: no pieces"},
      {"a text file", "{\"version\": \"1.0\"}", "not a SentencePiece model: not a protocol buffer"},
      {"field number 0", std::string(4, '\0'), "field number out of range"},
      {"field number 2^29", proto_varint(uint64_t{1} << 32), "field number out of range"},
      {"a group", "\x0b", "not a protocol buffer: wire type 3"},
      {"piece past the end", std::string("\x0a\x7f") + "abc", "a field of 127 bytes where 3 are left"},
      {"length 2^64-1", "\x0a" + proto_varint(UINT64_MAX),
       "a field of 18446744073709551615 bytes where 0 are left"},
      {"endless number", "\x08" + std::string(20, '\x80'), "a number of more than 10 bytes"},
      {"cut number", "\x08\x80", "a field of 1 bytes where 0 are left"},
      {"cut float", kUnknown + proto_bytes(1, std::string("\x15") + "ab"),
       "piece 1: not a protocol buffer, or cut short"},
      {"empty piece", kUnknown + proto_bytes(1, proto_float(2, 1)), "piece 1: its text is empty"},
      {"score of NaN", kUnknown + piece_bytes("a", std::numeric_limits<float>::quiet_NaN()),
       "piece 1: its score is not"},
      {"type 7", kUnknown + piece_bytes("a", 0, 7), "piece 1: type 7, known are 1 to 6"},
      {"type 0", kUnknown + piece_bytes("a", 0, 0), "piece 1: type 0, known are 1 to 6"},
      {"repeated piece", kUnknown + piece_bytes("a") + piece_bytes("a"), "piece \"a\" appears twice"},
      {"no unknown piece", piece_bytes("a"), "0 pieces are of type unknown, exactly one is needed"},
      {"two unknown pieces", kUnknown + piece_bytes("b", 0, PieceType::kUnknown),
       "2 pieces are of type unknown"},
      {"model type 5", kUnknown + proto_bytes(2, proto_number(3, 5)), "model type 5, known are 1 to 4"},
      {"byte fallback without bytes", kUnknown + proto_bytes(2, proto_number(35, 1)),
       "the byte piece \"<0x00>\" is missing"},
      {"a byte missing", kUnknown + bytes.substr(0, bytes.size() - last_byte.size()),
       "the byte piece \"<0xFF>\" is missing"},
      {"byte piece of another type", kUnknown + piece_bytes("<0x00>") + bytes.substr(last_byte.size()),
       "\"<0x00>\" is missing"},
      {"a byte too many", kUnknown + bytes + piece_bytes("x", 0, PieceType::kByte),
       "more than 256 pieces are of type byte"},
      {"cut trainer", kUnknown + proto_bytes(2, "\x18"), "not a SentencePiece model: not a protocol buffer"},
      {"cut normaliser", kUnknown + proto_bytes(3, "\x12\x05"), "a field of 5 bytes where 0 are left"},
      {"cut denormaliser", kUnknown + proto_bytes(5, "\x12\x05"), "a field of 5 bytes where 0 are left"},
  };
  for (const auto& bad : cases) {
    EXPECT_THAT(error_of(bad.bytes), HasSubstr(bad.error)) << bad.name;
    EXPECT_THAT(error_of(bad.bytes), testing::StartsWith("bad.model: ")) << bad.name;
  }
}

TEST(SentencePiece, a_model_is_read_from_a_file) {
  const std::string path = testing::TempDir() + "heed_piece.model";
  ASSERT_TRUE(write_file(path, kUnknown + piece_bytes("a")).ok());
  const auto model = read_sentencepiece(path);
  ASSERT_TRUE(model.ok()) << model.error().message;
  EXPECT_EQ(model->pieces[1].text, "a");
}

}  // namespace
}  // namespace heed::sentencepiece_test
