#include "base/json.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <filesystem>

#include "base/checked.h"
#include "base/file.h"

namespace heed {
namespace {

TEST(Json, what_is_wrong_is_said_with_its_place) {
  EXPECT_EQ(parse_json("{\"a\": 1,\n \"b\": }", "x.json").error().message,
            "x.json: not valid JSON at line 2, column 7");
  EXPECT_NE(parse_json("", "x.json").error().message.find("x.json"), std::string::npos);
  EXPECT_FALSE(parse_json("[1] 2", "x").ok());
  EXPECT_FALSE(parse_json("NaN", "x").ok());
  using namespace std::string_view_literals;
  EXPECT_EQ(parse_json("[1]\0 2"sv, "x").error().message, "x: not valid JSON at line 1, column 4");
  EXPECT_FALSE(parse_json("\"\xff\"", "x").ok());
  EXPECT_FALSE(parse_json("1e999", "x").ok());
}

TEST(Json, nesting_is_bounded_and_brackets_in_strings_do_not_nest) {
  const auto nested = [](int depth) { return std::string(depth, '[') + std::string(depth, ']'); };
  EXPECT_TRUE(parse_json(nested(kMaxJsonDepth), "x").ok());
  EXPECT_EQ(parse_json(nested(kMaxJsonDepth + 1), "x").error().code, ErrorCode::kLimit);
  EXPECT_FALSE(parse_json(std::string(5'000'000, '['), "x").ok());
  EXPECT_TRUE(parse_json("\"" + std::string(1000, '[') + "\\\"[\"", "x").ok());
}

TEST(Json, members_keep_their_order_where_asked_to) {
  EXPECT_EQ(to_text(*parse_ordered_json(R"({"b": 1, "a": 2})", "x")), R"({"b":1,"a":2})");
  EXPECT_EQ(to_text(Json("\xff")), "\"\xEF\xBF\xBD\"");
}

class TemporaryFile {
 public:
  TemporaryFile()
      : path((std::filesystem::temp_directory_path() / ("heed_file_" + std::to_string(getpid()))).string()) {}
  ~TemporaryFile() { std::filesystem::remove_all(path); }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  const std::string path;
};

TEST(File, reads_and_maps_what_was_written) {
  const TemporaryFile file;
  ASSERT_TRUE(write_file(file.path, std::string("a\0b", 3)).ok());
  EXPECT_EQ(*read_file(file.path), std::string("a\0b", 3));
  const MappedFile map = MappedFile::open(file.path).value();
  EXPECT_EQ(map.bytes().size(), 3U);
  EXPECT_EQ(map.bytes()[2], std::byte{'b'});
  EXPECT_EQ(read_file(file.path, 2).error().code, ErrorCode::kLimit);
}

TEST(File, an_empty_file_maps_to_no_bytes) {
  const TemporaryFile file;
  ASSERT_TRUE(write_file(file.path, "").ok());
  EXPECT_TRUE(MappedFile::open(file.path).value().bytes().empty());
}

TEST(File, missing_files_and_folders_are_errors_that_name_them) {
  EXPECT_EQ(read_file("/no/such/file").error().code, ErrorCode::kNotFound);
  EXPECT_NE(read_file("/no/such/file").error().message.find("/no/such/file"), std::string::npos);
  EXPECT_NE(MappedFile::open("/").error().message.find("not a regular file"), std::string::npos);
  EXPECT_FALSE(write_file("/no/such/file", "x").ok());
}

TEST(Checked, sums_and_products_that_overflow_are_nothing) {
  EXPECT_EQ(checked_mul(int64_t{1} << 40, int64_t{1} << 22), int64_t{1} << 62);
  EXPECT_EQ(checked_mul(int64_t{1} << 40, int64_t{1} << 40), std::nullopt);
  EXPECT_EQ(checked_add(INT64_MAX, 1), std::nullopt);
  const int64_t shape[] = {3, 5, 7};
  EXPECT_EQ(checked_product(shape), 105);
  const int64_t empty[] = {int64_t{1} << 62, 4, 0};
  EXPECT_EQ(checked_product(empty), 0) << "a tensor with a size of zero has no elements";
  const int64_t negative[] = {2, -1};
  EXPECT_EQ(checked_product(negative), std::nullopt);
}

}  // namespace
}  // namespace heed
