#include "formats/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>

#include "base/json.h"

namespace heed::safetensors_test {
namespace {

using testing::HasSubstr;

// A vector of uint64_t, so that the bytes begin aligned as a map's do.
struct FileBytes {
  std::vector<uint64_t> words;
  size_t size = 0;
  std::span<const std::byte> bytes() const { return std::as_bytes(std::span(words)).first(size); }
};

FileBytes file_of(std::string_view bytes) {
  FileBytes file{std::vector<uint64_t>(bytes.size() / 8 + 1), bytes.size()};
  std::memcpy(file.words.data(), bytes.data(), bytes.size());
  return file;
}

std::string with_length(uint64_t length, std::string_view rest) {
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &length, 8);
  return bytes.append(rest);
}

// A file of this header, padded as writers do, and so many bytes of data.
std::string file_text(std::string header, size_t data_bytes, bool pad = true) {
  while (pad && header.size() % 8 != 0) header += ' ';
  return with_length(header.size(), header) + std::string(data_bytes, '\1');
}

std::string error_of(std::string_view bytes) {
  const FileBytes file = file_of(bytes);
  const auto parsed = Safetensors::parse(file.bytes(), "bad.safetensors");
  return parsed.ok() ? "accepted" : parsed.error().message;
}

std::string tensor_header(std::string_view name, std::string_view dtype, std::string_view shape,
                          std::string_view offsets) {
  return "\"" + std::string(name) + R"(":{"dtype":")" + std::string(dtype) + R"(","shape":)" +
         std::string(shape) + R"(,"data_offsets":)" + std::string(offsets) + "}";
}

std::string one(std::string_view dtype, std::string_view shape, std::string_view offsets, size_t data_bytes) {
  return file_text("{" + tensor_header("w", dtype, shape, offsets) + "}", data_bytes);
}

TEST(Safetensors, what_was_written_is_read_back_in_any_order_of_types) {
  const auto folder = std::filesystem::path(testing::TempDir()) / "heed_safetensors";
  std::filesystem::create_directories(folder);
  const std::string path = folder / "round_trip.safetensors";
  uint8_t bytes[3] = {1, 2, 255};
  float floats[6] = {0, 1, -2.5f, 3, 4, 1e30f};
  int64_t wide[2] = {INT64_MIN, INT64_MAX};
  bf16 halves[2] = {{0x3f80}, {0xc000}};
  const std::vector<NamedTensor> tensors = {{"odd bytes", Tensor(bytes, DType::kU8, {3})},
                                            {"a.weight", Tensor(floats, DType::kF32, {2, 3})},
                                            {"empty", Tensor(floats, DType::kF32, {0, 3})},
                                            {"\"\n\u00fc", Tensor(halves, DType::kBF16, {1, 2, 1, 1})},
                                            {"wide", Tensor(wide, DType::kI64, {2})}};
  const Status written = write_safetensors(path, tensors);
  ASSERT_TRUE(written.ok()) << written.error().message;
  const auto file = Safetensors::open(path);
  ASSERT_TRUE(file.ok()) << file.error().message;
  EXPECT_EQ(file->entries().size(), tensors.size());
  for (const NamedTensor& expected : tensors) {
    const auto read = file->tensor(expected.name);
    ASSERT_TRUE(read.ok()) << read.error().message;
    EXPECT_EQ(read->dtype, expected.tensor.dtype);
    EXPECT_EQ(read->rank, expected.tensor.rank);
    EXPECT_EQ(read->size, expected.tensor.size);
    EXPECT_EQ(read->stride, expected.tensor.stride);
    EXPECT_EQ(std::memcmp(read->data, expected.tensor.data, static_cast<size_t>(expected.tensor.bytes())), 0);
  }
}

TEST(Safetensors, a_name_cannot_be_written_twice) {
  float values[1] = {1};
  const Tensor tensor(values, DType::kF32, {1});
  const std::string path = testing::TempDir() + "heed_twice.safetensors";
  EXPECT_THAT(write_safetensors(path, {{"w", tensor}, {"w", tensor}}).error().message, HasSubstr("\"w\""));
  EXPECT_THAT(write_safetensors(path, {{"__metadata__", tensor}}).error().message, HasSubstr("__metadata__"));
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST(Safetensors, metadata_scalars_and_tensors_in_any_order_are_read) {
  const FileBytes bytes = file_of(file_text("{" + tensor_header("b", "I32", "[]", "[4,8]") + "," +
                                                R"("__metadata__":{"format":"pt"},)" +
                                                tensor_header("a", "F16", "[2,1]", "[0,4]") + "}  ",
                                            8));
  const auto file = Safetensors::parse(bytes.bytes(), "good");
  ASSERT_TRUE(file.ok()) << file.error().message;
  EXPECT_EQ(file->metadata().at("format"), "pt");
  const auto scalar = file->tensor("b");
  ASSERT_TRUE(scalar.ok());
  EXPECT_EQ(scalar->rank, 1);
  EXPECT_EQ(scalar->size[0], 1);
  EXPECT_EQ(*scalar->as<int32_t>(), 0x01010101);
  EXPECT_EQ(file->bytes(file->entries().at("a")).data() + 4, file->bytes(file->entries().at("b")).data());
}

TEST(Safetensors, a_file_without_tensors_is_valid) { EXPECT_EQ(error_of(file_text("{}", 0)), "accepted"); }

TEST(Safetensors, every_dtype_has_its_width) {
  const std::pair<const char*, int> bits[] = {{"F64", 64},    {"F32", 32},    {"F16", 16},    {"BF16", 16},
                                              {"F8_E4M3", 8}, {"F8_E5M2", 8}, {"F8_E8M0", 8}, {"F6_E2M3", 6},
                                              {"F6_E3M2", 6}, {"F4", 4},      {"C64", 64},    {"I64", 64},
                                              {"I32", 32},    {"I16", 16},    {"I8", 8},      {"U64", 64},
                                              {"U32", 32},    {"U16", 16},    {"U8", 8},      {"BOOL", 8}};
  for (const auto& [name, width] : bits) {
    const int bytes = width * 4 / 8;
    EXPECT_EQ(error_of(one(name, "[4]", "[0," + std::to_string(bytes) + "]", static_cast<size_t>(bytes))),
              "accepted")
        << name;
    EXPECT_THAT(error_of(one(name, "[4]", "[0,0]", 0)), HasSubstr("takes " + std::to_string(bytes))) << name;
  }
}

TEST(Safetensors, what_cannot_be_viewed_is_an_error_that_says_why) {
  const FileBytes bytes = file_of(file_text("{" + tensor_header("wide", "U8", "[1,1,1,1,8]", "[0,8]") + "," +
                                                tensor_header("double", "F64", "[1]", "[8,16]") + "}",
                                            16));
  const auto file = Safetensors::parse(bytes.bytes(), "f");
  ASSERT_TRUE(file.ok()) << file.error().message;
  EXPECT_THAT(file->tensor("double").error().message,
              HasSubstr("tensor \"double\": dtype F64, usable are F32"));
  EXPECT_THAT(file->tensor("wide").error().message,
              HasSubstr("tensor \"wide\": U8 [1, 1, 1, 1, 8] has more than 4"));
  EXPECT_EQ(file->tensor("other").error().code, ErrorCode::kNotFound);
  EXPECT_THAT(file->tensor("other").error().message, HasSubstr("f: tensor \"other\": not in the file"));
}

struct BadFile {
  const char* name;
  std::string bytes;
  std::string error;  // a part of the message
};

std::vector<BadFile> bad_lengths() {
  return {
      {"empty file", "", "0 bytes, too short"},
      {"seven bytes", "1234567", "7 bytes, too short"},
      {"length past the file", with_length(9, "{}      "), "header length 9 is more than the 8 bytes"},
      {"length past the cap", with_length(100'000'001, "{}"), "header length 100000001, at most 100000000"},
      {"length 2^63", with_length(uint64_t{1} << 63, "{}"), "header length 9223372036854775808, at most"},
      {"length 2^64-1", with_length(UINT64_MAX, "{}"), "header length 18446744073709551615, at most"},
      {"length 0", with_length(0, "{}"), "does not start with '{'"},
      {"a space first", file_text(" {}", 0), "does not start with '{'"},
      {"an array", file_text("[]", 0), "does not start with '{'"},
      {"cut JSON", file_text(R"({"w":{"dtype":"F32)", 0), "header: not valid JSON at line 1"},
      {"two documents", file_text("{}{}", 0), "header: not valid JSON at line 1, column 3"},
      {"zero byte", file_text(std::string("{}\0junk", 7), 0), "header: not valid JSON at line 1, column 3"},
      {"deep JSON", file_text("{\"w\":" + std::string(100'000, '['), 0),
       "header: JSON nested deeper than 3 levels"},
      {"invalid UTF-8", file_text("{\"\xff\":1}", 0), "header: not valid JSON at line 1, column 3"},
      {"number out of range", file_text("{\"w\":1e999}", 0), "header: not valid JSON"},
      {"metadata a list", file_text(R"({"__metadata__":[]})", 0), "__metadata__ is not an object"},
      {"metadata of numbers", file_text(R"({"__metadata__":{"n":1}})", 0),
       "__metadata__: \"n\" is not a string"},
      {"duplicate metadata", file_text(R"({"__metadata__":{"n":"1","n":"2"}})", 0),
       "header: \"n\" appears twice"},
  };
}

std::vector<BadFile> bad_entries() {
  const std::string many_ones = "[" + std::string("1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1") + "]";
  return {
      {"not an object", file_text(R"({"w":1})", 0), "tensor \"w\": not an object"},
      {"no shape", file_text(R"({"w":{"dtype":"F32","data_offsets":[0,4]}})", 4),
       "tensor \"w\": dtype, shape and"},
      {"unknown member", file_text(R"({"w":{"stride":1}})", 4), "tensor \"w\": unknown member \"stride\""},
      {"dtype a number", file_text(R"({"w":{"dtype":1,"shape":[],"data_offsets":[0,4]}})", 4),
       "dtype is not a string"},
      {"unknown dtype", one("f32", "[1]", "[0,4]", 4), "tensor \"w\": dtype \"f32\", known are F64, F32"},
      {"shape a number", one("F32", "1", "[0,4]", 4), "tensor \"w\": shape is not an array"},
      {"too many dimensions", one("F32", many_ones, "[0,4]", 4),
       "tensor \"w\": shape has 17 dimensions, at most 16"},
      {"negative size", one("F32", "[-1]", "[0,4]", 4), "tensor \"w\": shape holds -1"},
      {"float size", one("F32", "[1.0]", "[0,4]", 4), "tensor \"w\": shape holds 1.0"},
      {"string size", one("F32", "[\"1\"]", "[0,4]", 4), "tensor \"w\": shape holds \"1\""},
      {"size 2^63", one("U8", "[9223372036854775808]", "[0,4]", 4),
       "tensor \"w\": shape holds 9223372036854775808"},
      {"product 2^64", one("U8", "[4294967296,4294967296]", "[0,0]", 0),
       "U8 [4294967296, 4294967296] overflows"},
      {"2^61 doubles", one("F64", "[2305843009213693952]", "[0,0]", 0),
       "F64 [2305843009213693952] overflows"},
      {"product 2^64 times 0", one("U8", "[4294967296,4294967296,0]", "[0,0]", 0), "overflows"},
      {"half a byte", one("F4", "[3]", "[0,2]", 2), "tensor \"w\": F4 [3] is not a whole number of bytes"},
      {"one offset", one("F32", "[1]", "[0]", 4), "tensor \"w\": data_offsets are not [begin, end]"},
      {"three offsets", one("F32", "[1]", "[0,4,8]", 4), "tensor \"w\": data_offsets are not [begin, end]"},
      {"offsets swapped", one("F32", "[1]", "[4,0]", 4), "tensor \"w\": data_offsets are not [begin, end]"},
      {"negative offset", one("F32", "[1]", "[-4,0]", 4), "tensor \"w\": data_offsets are not [begin, end]"},
      {"float offset", one("F32", "[1]", "[0.0,4]", 4), "tensor \"w\": data_offsets are not [begin, end]"},
      {"offset 2^64-1", one("F32", "[1]", "[0,18446744073709551615]", 4),
       "data_offsets are not [begin, end]"},
      {"size beside offsets", one("F32", "[3]", "[0,8]", 8),
       "data_offsets hold 8 bytes, but F32 [3] takes 12"},
      {"duplicate name",
       file_text("{" + tensor_header("w", "U8", "[1]", "[0,1]") + "," +
                     tensor_header("w", "U8", "[1]", "[1,2]") + "}",
                 2),
       "header: \"w\" appears twice"},
      {"duplicate name, escaped", file_text(R"({"w":1,"\u0077":2})", 2), "header: \"w\" appears twice"},
      {"duplicate member", file_text(R"({"w":{"dtype":"U8","dtype":"U8"}})", 2),
       "header: \"dtype\" appears twice"},
  };
}

std::vector<BadFile> bad_layouts() {
  const auto two = [](std::string_view first, std::string_view second, size_t data_bytes) {
    return file_text(
        "{" + tensor_header("x", "U8", "[4]", first) + "," + tensor_header("y", "U8", "[4]", second) + "}",
        data_bytes);
  };
  return {
      {"overlap", two("[0,4]", "[2,6]", 6),
       "tensor \"y\": overlaps another: begins at 2, the one before ends at 4"},
      {"the same bytes", two("[0,4]", "[0,4]", 4), "tensor \"y\": overlaps another"},
      {"a hole", two("[0,4]", "[6,10]", 10),
       "tensor \"y\": a hole before it: begins at 6, the one before ends at 4"},
      {"a hole at the front", two("[5,9]", "[1,5]", 9), "tensor \"y\": a hole before it: begins at 1"},
      {"data cut short", two("[0,4]", "[4,8]", 7), "tensor \"y\": ends at byte 8 of 7 bytes of data"},
      {"no data", two("[0,4]", "[4,8]", 0), "tensor \"x\": ends at byte 4 of 0 bytes of data"},
      {"data left over", two("[0,4]", "[4,8]", 10), "2 bytes of data after the last tensor"},
      {"an empty tensor in the middle of another",
       file_text("{" + tensor_header("x", "U8", "[4]", "[0,4]") + "," +
                     tensor_header("y", "U8", "[0]", "[2,2]") + "}",
                 4),
       "tensor \"y\": overlaps another"},
      {"unaligned after bytes",
       file_text("{" + tensor_header("x", "U8", "[1]", "[0,1]") + "," +
                     tensor_header("y", "F32", "[1]", "[1,5]") + "}",
                 5),
       "tensor \"y\": lies at byte"},
      {"unaligned by the header", file_text("{" + tensor_header("w", "F32", "[1]", "[0,4]") + "}", 4, false),
       "tensor \"w\": lies at byte 62 of the file, not at a multiple of its 4-byte elements"},
  };
}

TEST(Safetensors, bad_files_are_errors_that_name_the_file_and_the_tensor) {
  for (const auto& table : {bad_lengths(), bad_entries(), bad_layouts()}) {
    for (const BadFile& bad : table) {
      const std::string error = error_of(bad.bytes);
      EXPECT_THAT(error, HasSubstr(bad.error)) << bad.name;
      EXPECT_THAT(error, testing::StartsWith("bad.safetensors: ")) << bad.name;
      EXPECT_EQ(error.find('\n'), std::string::npos) << bad.name;
    }
  }
}

TEST(Safetensors, names_in_errors_are_escaped_and_cut_short) {
  const std::string long_name(1000, 'n');
  EXPECT_THAT(error_of(file_text("{\"a\\nb\":1}", 0)), HasSubstr("tensor \"a\\nb\": not an object"));
  EXPECT_LT(error_of(file_text("{\"" + long_name + "\":1}", 0)).size(), 200u);
}

TEST(Safetensors, every_cut_of_a_good_file_is_an_error) {
  const std::string good = one("F32", "[2,3]", "[0,24]", 24);
  ASSERT_EQ(error_of(good), "accepted");
  for (size_t length = 0; length < good.size(); ++length) {
    EXPECT_NE(error_of(std::string_view(good).substr(0, length)), "accepted") << length;
  }
}

TEST(Safetensors, a_missing_file_is_named) {
  const auto missing = Safetensors::open("/no/such/file.safetensors");
  ASSERT_FALSE(missing.ok());
  EXPECT_EQ(missing.error().code, ErrorCode::kNotFound);
  EXPECT_THAT(missing.error().message, HasSubstr("/no/such/file.safetensors"));
}

TEST(Safetensors, published_files_are_read) {
  const std::filesystem::path goldens = std::filesystem::path(HEED_SHARED_DIR) / "goldens";
  if (!std::filesystem::exists(goldens)) GTEST_SKIP() << "no goldens at " << goldens;
  int files = 0;
  for (const auto& item : std::filesystem::recursive_directory_iterator(goldens)) {
    if (item.path().extension() != ".safetensors") continue;
    const auto file = Safetensors::open(item.path());
    ASSERT_TRUE(file.ok()) << file.error().message;
    for (const auto& [name, entry] : file->entries()) EXPECT_TRUE(file->tensor(name).ok()) << name;
    ++files;
  }
  EXPECT_GT(files, 0);
}

}  // namespace
}  // namespace heed::safetensors_test
