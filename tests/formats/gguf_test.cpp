#include "formats/gguf.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "tests/formats/gguf_bytes.h"

namespace heed {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

Result<Gguf> parse(const std::string& bytes) {
  return Gguf::parse(std::as_bytes(std::span(bytes)), "bad.gguf");
}

std::string error_of(const std::string& bytes) {
  const auto parsed = parse(bytes);
  return parsed.ok() ? "accepted" : parsed.error().message;
}

template <class T>
std::string message(const Result<T>& result) {
  return result.ok() ? "accepted" : result.error().message;
}

TEST(Gguf, values_of_every_type_are_read) {
  GgufBytes file;
  file.key("u8", GgufType::kUint8, raw(uint8_t{200})).key("i8", GgufType::kInt8, raw(int8_t{-2}));
  file.key("u16", GgufType::kUint16, raw(uint16_t{60000})).key("i16", GgufType::kInt16, raw(int16_t{-300}));
  file.key("u32", GgufType::kUint32, raw(uint32_t{4000000000}))
      .key("i32", GgufType::kInt32, raw(int32_t{-70000}));
  file.key("u64", GgufType::kUint64, raw(uint64_t{1} << 62)).key("i64", GgufType::kInt64, raw(INT64_MIN));
  file.key("huge", GgufType::kUint64, raw(UINT64_MAX)).key("text", "caf\u00e9");
  file.key("f32", GgufType::kFloat32, raw(0.5f)).key("f64", GgufType::kFloat64, raw(1e300));
  file.key("yes", GgufType::kBool, "\1").key("no", GgufType::kBool, std::string(1, '\0'));
  const std::string bytes = file.bytes();
  const auto gguf = parse(bytes);
  ASSERT_TRUE(gguf.ok()) << gguf.error().message;
  EXPECT_EQ(gguf->version(), 3);
  const std::pair<const char*, int64_t> integers[] = {{"u8", 200},
                                                      {"i8", -2},
                                                      {"u16", 60000},
                                                      {"i16", -300},
                                                      {"u32", 4000000000},
                                                      {"i32", -70000},
                                                      {"u64", int64_t{1} << 62},
                                                      {"i64", INT64_MIN}};
  for (const auto& [key, value] : integers) {
    ASSERT_TRUE(gguf->integer(key).ok()) << key;
    EXPECT_EQ(*gguf->integer(key), value) << key;
  }
  EXPECT_EQ(*gguf->number("huge"), 0x1p64);
  EXPECT_EQ(*gguf->number("f32"), 0.5);
  EXPECT_EQ(*gguf->number("f64"), 1e300);
  EXPECT_EQ(*gguf->number("i8"), -2.0);
  EXPECT_TRUE(*gguf->boolean("yes"));
  EXPECT_FALSE(*gguf->boolean("no"));
  EXPECT_EQ(*gguf->text("text"), "caf\u00e9");
}

TEST(Gguf, arrays_are_read_and_may_nest) {
  GgufBytes file;
  file.version = 2;
  file.key("texts", std::vector<std::string>{"a", "", "b c"})
      .numbers("i32", GgufType::kInt32, std::vector<int32_t>{3, -4});
  file.numbers("f32", GgufType::kFloat32, std::vector<float>{0.25f, -1})
      .numbers("none", GgufType::kUint8, std::vector<uint8_t>{});
  file.numbers("f64", GgufType::kFloat64, std::vector<double>{0.5});
  file.key("nested", GgufType::kArray,
           gguf_array(GgufType::kArray, 2) + gguf_array(GgufType::kUint16, 1) + raw(uint16_t{7}) +
               gguf_array(GgufType::kString, 1) + gguf_text("x"));
  const std::string bytes = file.bytes();
  const auto gguf = parse(bytes);
  ASSERT_TRUE(gguf.ok()) << gguf.error().message;
  EXPECT_EQ(gguf->version(), 2);
  EXPECT_THAT(*gguf->texts("texts"), ElementsAre("a", "", "b c"));
  EXPECT_THAT(*gguf->integers("i32"), ElementsAre(3, -4));
  EXPECT_THAT(*gguf->floats("f32"), ElementsAre(0.25f, -1.f));
  EXPECT_THAT(*gguf->floats("f64"), ElementsAre(0.5f));
  EXPECT_THAT(*gguf->floats("i32"), ElementsAre(3.f, -4.f));
  EXPECT_TRUE(gguf->integers("none")->empty());
  const auto& nested = std::get<GgufArray>(gguf->values().at("nested").held);
  ASSERT_EQ(nested.arrays.size(), 2u);
  EXPECT_EQ(nested.arrays[0].element, GgufType::kUint16);
  EXPECT_THAT(nested.arrays[1].texts, ElementsAre("x"));
}

TEST(Gguf, tensors_lie_in_the_data_at_their_offset) {
  GgufBytes file;
  file.key("general.alignment", GgufType::kUint32, raw(uint32_t{64}));
  file.tensor("quantised", {256, 2}, 12, 64).tensor("plain", {3}, 0, 0).tensor("scalar", {}, 1, 384);
  file.data = std::string(64, 'p') + std::string(320, 'q') + "ss";
  const std::string bytes = file.bytes(64);
  const auto gguf = parse(bytes);
  ASSERT_TRUE(gguf.ok()) << gguf.error().message;
  const GgufTensor& quantised = gguf->tensors().at("quantised");
  EXPECT_EQ(quantised.type->name, "Q4_K");
  EXPECT_EQ(quantised.type->block_elements, 256);
  EXPECT_THAT(quantised.sizes, ElementsAre(256, 2));
  EXPECT_EQ(gguf->bytes(quantised).size(), 288u);
  EXPECT_EQ(gguf->bytes(quantised)[0], std::byte{'q'});
  EXPECT_EQ(gguf->bytes(gguf->tensors().at("plain")).size(), 12u);
  EXPECT_EQ(gguf->bytes(gguf->tensors().at("scalar"))[1], std::byte{'s'});
}

TEST(Gguf, getters_name_the_key_and_what_it_is_instead) {
  GgufBytes file;
  file.key("t", "text").numbers("f", GgufType::kFloat32, std::vector<float>{1});
  file.key("huge", GgufType::kUint64, raw(UINT64_MAX)).key("texts", std::vector<std::string>{"a"});
  const std::string bytes = file.bytes();
  const auto gguf = parse(bytes);
  ASSERT_TRUE(gguf.ok());
  EXPECT_EQ(gguf->text("none").error().code, ErrorCode::kNotFound);
  EXPECT_EQ(message(gguf->text("none")), "bad.gguf: key \"none\" is missing");
  EXPECT_EQ(message(gguf->integer("t")), "bad.gguf: key \"t\" is string, not an integer below 2^63");
  EXPECT_EQ(message(gguf->integer("huge")), "bad.gguf: key \"huge\" is uint64, not an integer below 2^63");
  EXPECT_EQ(message(gguf->text("f")), "bad.gguf: key \"f\" is array of float32, not a string");
  EXPECT_EQ(message(gguf->texts("f")), "bad.gguf: key \"f\" is array of float32, not an array of strings");
  EXPECT_EQ(message(gguf->texts("t")), "bad.gguf: key \"t\" is string, not an array");
  EXPECT_EQ(message(gguf->integers("f")),
            "bad.gguf: key \"f\" is array of float32, not an array of integers below 2^63");
  EXPECT_THAT(message(gguf->floats("texts")), HasSubstr("array of string"));
  EXPECT_THAT(message(gguf->boolean("t")), HasSubstr("not a bool"));
  EXPECT_THAT(message(gguf->number("t")), HasSubstr("not a number"));
}

struct BadFile {
  const char* name;
  std::string bytes;
  std::string error;
};

std::string start(uint32_t version, uint64_t num_tensors, uint64_t num_values) {
  return "GGUF" + raw(version) + raw(num_tensors) + raw(num_values);
}

std::string with_value(GgufType type, const std::string& value) {
  return GgufBytes().key("k", type, value).bytes();
}

std::vector<BadFile> bad_keys() {
  const uint64_t huge = uint64_t{1} << 60;
  const std::string deep = [] {
    std::string arrays;
    for (int i = 0; i < 100'000; ++i) arrays += gguf_array(GgufType::kArray, 1);
    return arrays;
  }();
  return {
      {"empty", "", "not a GGUF file"},
      {"other magic", "GGML" + std::string(100, '\0'), "not a GGUF file"},
      {"version 1", start(1, 0, 0), "GGUF version 1, known are 2 and 3"},
      {"big-endian", start(3u << 24, 0, 0), "a big-endian GGUF file"},
      {"cut start", "GGUF" + raw(uint32_t{3}), "the file ends 0 bytes into 8"},
      {"2^60 keys", start(3, 0, huge), "1152921504606846976 keys do not fit into the 0 bytes that are left"},
      {"2^60 tensors", start(3, huge, 0), "1152921504606846976 tensors do not fit"},
      {"2^64-1 tensors", start(3, UINT64_MAX, 0), "18446744073709551615 tensors do not fit"},
      {"one key too many", start(3, 0, 2) + GgufBytes().key("k", "v").values[0] + std::string(9, '\0'),
       "key \"\": not 1 to 65535"},
      {"key past the end", start(3, 0, 1) + raw(uint64_t{100}) + std::string(20, 'k'),
       "key number 0: 100 bytes of text do not fit into the 20"},
      {"key of 2^63 bytes", start(3, 0, 1) + raw(uint64_t{1} << 63) + std::string(20, 'k'),
       "key number 0: 9223372036854775808 bytes"},
      {"key too long", GgufBytes().key(std::string(65536, 'k'), "v").bytes(), "not 1 to 65535 bytes long"},
      {"unknown type", GgufBytes().key("k", GgufType{13}, "").bytes(),
       "key \"k\": value type 13, known are 0 to 12"},
      {"cut value", with_value(GgufType::kUint64, "1234"), "key \"k\": the file ends 4 bytes into 8"},
      {"text past the end", with_value(GgufType::kString, raw(uint64_t{9}) + "12345678"),
       "key \"k\": 9 bytes of text do not fit into the 8"},
      {"bool of 2", with_value(GgufType::kBool, "\2"), "key \"k\": a bool of 2, not 0 or 1"},
      {"duplicate key", GgufBytes().key("k", "1").key("k", "2").bytes(), "key \"k\": appears twice"},
      {"2^60 numbers", with_value(GgufType::kArray, gguf_array(GgufType::kFloat32, huge)),
       "key \"k\": 1152921504606846976 array elements do not"},
      {"2^60 strings", with_value(GgufType::kArray, gguf_array(GgufType::kString, huge)),
       "key \"k\": 1152921504606846976 array elements do not"},
      {"2^60 arrays", with_value(GgufType::kArray, gguf_array(GgufType::kArray, huge)),
       "key \"k\": 1152921504606846976 array elements do not"},
      {"array of bad type", with_value(GgufType::kArray, gguf_array(GgufType{77}, 0)),
       "key \"k\": value type 77"},
      {"string in array past the end",
       with_value(GgufType::kArray, gguf_array(GgufType::kString, 1) + raw(uint64_t{1})),
       "key \"k\": 1 bytes of text do not"},
      {"deep arrays", with_value(GgufType::kArray, deep), "key \"k\": arrays nested deeper than 4 levels"},
  };
}

std::vector<BadFile> bad_tensors() {
  const auto one = [](const std::vector<uint64_t>& sizes, uint32_t type, uint64_t offset, size_t data_bytes) {
    GgufBytes file;
    file.tensor("w", sizes, type, offset).data = std::string(data_bytes, 'd');
    return file.bytes();
  };
  const auto aligned = [](GgufType type, const std::string& value) {
    GgufBytes file;
    return file.key("general.alignment", type, value).bytes();
  };
  const uint64_t half = uint64_t{1} << 32;
  return {
      {"alignment 0", aligned(GgufType::kUint32, raw(uint32_t{0})),
       "general.alignment is not a power of two"},
      {"alignment 48", aligned(GgufType::kUint32, raw(uint32_t{48})),
       "general.alignment is not a power of two"},
      {"alignment 2^63", aligned(GgufType::kUint64, raw(uint64_t{1} << 63)),
       "general.alignment is not a power"},
      {"alignment a text", aligned(GgufType::kString, gguf_text("32")),
       "general.alignment is not a power of two"},
      {"five dimensions", one({1, 1, 1, 1, 1}, 0, 0, 4), "tensor \"w\": 5 dimensions, at most 4"},
      {"2^32-1 dimensions", start(3, 1, 0) + gguf_text("w") + raw(UINT32_MAX) + std::string(20, '\0'),
       "4294967295 dimensions"},
      {"size 0", one({0}, 0, 0, 4), "tensor \"w\": sizes must be 1 or more"},
      {"size 2^63", one({uint64_t{1} << 63}, 0, 0, 4), "tensor \"w\": sizes must be 1 or more"},
      {"product 2^64", one({half, half}, 0, 0, 4), "tensor \"w\": sizes must be 1 or more and their product"},
      {"bytes 2^64", one({half, half / 4}, 0, 0, 4), "tensor \"w\": its offset or its size overflows"},
      {"offset 2^63", one({1}, 0, uint64_t{1} << 63, 4), "tensor \"w\": its offset or its size overflows"},
      {"end 2^63", one({1}, 0, INT64_MAX - 1, 4), "tensor \"w\": its offset or its size overflows"},
      {"end past the data", one({1}, 0, INT64_MAX - 31, 4),
       "tensor \"w\": ends at byte 9223372036854775780 of 4"},
      {"unknown type", one({1}, 5, 0, 4), "tensor \"w\": tensor type 5 is not known"},
      {"part of a block", one({255}, 12, 0, 144),
       "tensor \"w\": rows of 255 elements are not whole blocks of Q4_K (256)"},
      {"unaligned", one({1}, 0, 8, 12), "tensor \"w\": offset 8 is not a multiple of the alignment 32"},
      {"cut data", one({4}, 0, 0, 15), "tensor \"w\": ends at byte 16 of 15 bytes of data"},
      {"no data", one({1}, 0, 32, 0), "tensor \"w\": ends at byte 36 of 0 bytes of data"},
      {"cut tensor", start(3, 1, 0) + gguf_text("w") + std::string(15, '\0'), "tensor \"w\": the file ends"},
      {"duplicate name", GgufBytes().tensor("w", {1}, 0, 0).tensor("w", {1}, 0, 32).bytes(),
       "tensor \"w\": appears twice"},
      {"overlap",
       [] {
         GgufBytes file;
         file.tensor("v", {16}, 0, 0).tensor("w", {1}, 0, 32).data = std::string(64, 'd');
         return file.bytes();
       }(),
       "tensor \"w\": overlaps another"},
      {"long name", GgufBytes().tensor(std::string(256, 'w'), {1}, 0, 0).bytes(),
       "a name of more than 255 bytes"},
  };
}

TEST(Gguf, bad_files_are_errors_that_name_the_file_and_the_key_or_tensor) {
  for (const auto& table : {bad_keys(), bad_tensors()}) {
    for (const BadFile& bad : table) {
      const std::string error = error_of(bad.bytes);
      EXPECT_THAT(error, HasSubstr(bad.error)) << bad.name;
      EXPECT_THAT(error, testing::StartsWith("bad.gguf: ")) << bad.name;
    }
  }
}

TEST(Gguf, every_cut_of_a_good_file_is_an_error) {
  GgufBytes file;
  file.key("k", std::vector<std::string>{"a", "b"}).key("n", GgufType::kUint32, raw(uint32_t{1}));
  file.tensor("w", {2, 3}, 0, 0).data = std::string(24, 'd');
  const std::string good = file.bytes();
  ASSERT_EQ(error_of(good), "accepted");
  for (size_t length = 0; length < good.size(); ++length) {
    EXPECT_NE(error_of(good.substr(0, length)), "accepted") << length;
  }
}

TEST(Gguf, strings_stay_valid_when_the_file_is_moved) {
  const std::string path = testing::TempDir() + "heed_moved.gguf";
  ASSERT_TRUE(write_file(path, GgufBytes().key("k", "kept").bytes()).ok());
  auto opened = Gguf::open(path);
  ASSERT_TRUE(opened.ok()) << opened.error().message;
  const Gguf moved = std::move(*opened);
  EXPECT_EQ(*moved.text("k"), "kept");
}

TEST(Gguf, real_vocabularies_are_read) {
  const std::filesystem::path folder = std::filesystem::path(HEED_SHARED_DIR) / "tokenizers";
  if (!std::filesystem::exists(folder)) GTEST_SKIP() << "no vocabularies at " << folder;
  const auto gguf = Gguf::open(folder / "falcon.gguf");
  ASSERT_TRUE(gguf.ok()) << gguf.error().message;
  EXPECT_EQ(*gguf->text("tokenizer.ggml.pre"), "falcon");
  EXPECT_EQ(gguf->texts("tokenizer.ggml.tokens")->size(), 65024u);
  EXPECT_EQ(gguf->integers("tokenizer.ggml.token_type")->at(0), 3);
}

}  // namespace
}  // namespace heed
