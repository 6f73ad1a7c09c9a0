#include "fetch/data_url.h"

#include <gtest/gtest.h>

namespace heed {
namespace {

constexpr int64_t kMany = 1000;

std::string read(const std::string& reference, int64_t max_bytes = kMany) {
  const auto bytes = read_data_url(reference, max_bytes);
  return bytes.ok() ? *bytes : "error: " + bytes.error().message;
}

TEST(DataUrl, base64_is_read_with_and_without_padding_and_line_breaks) {
  EXPECT_EQ(read("data:image/png;base64,"), "");
  EXPECT_EQ(read("data:image/png;base64,TQ=="), "M");
  EXPECT_EQ(read("data:image/png;base64,TQ"), "M");
  EXPECT_EQ(read("data:image/png;base64,TWE="), "Ma");
  EXPECT_EQ(read("data:image/png;base64,TWE"), "Ma");
  EXPECT_EQ(read("data:image/png;base64,TWFu"), "Man");
  EXPECT_EQ(read("DATA:;Base64,TWFuTWFu"), "ManMan");
  EXPECT_EQ(read("data:image/png;charset=x;base64,T W\nF\r\nu"), "Man");
  EXPECT_EQ(read("data:;base64,+/+/%2b%2F+/"), "\xfb\xff\xbf\xfb\xff\xbf");
  EXPECT_EQ(read("data:;base64,TQ%3D%3d"), "M");
  std::string all;
  for (int i = 0; i < 256; ++i) all += static_cast<char>(i);
  EXPECT_EQ(
      read("data:;base64,"
           "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+P0BBQkNERU"
           "ZHSElKS0xNTk9QUVJTVFVWV1hZWltcXV5fYGFiY2RlZmdoaWprbG1ub3BxcnN0dXZ3eHl6e3x9fn+AgYKDhIWGh4iJiouM"
           "jY6PkJGSk5SVlpeYmZqbnJ2en6ChoqOkpaanqKmqq6ytrq+wsbKztLW2t7i5uru8vb6/wMHCw8TFxsfIycrLzM3Oz9DR0t"
           "PU1dbX2Nna29zd3t/g4eLj5OXm5+jp6uvs7e7v8PHy8/T19vf4+fr7/P3+/w=="),
      all);
}

TEST(DataUrl, the_percent_encoded_form_is_read) {
  EXPECT_EQ(read("data:,plain"), "plain");
  EXPECT_EQ(read("data:image/gif,GIF89a%00%ff%2C,"), std::string("GIF89a\0\xff,,", 10));
}

TEST(DataUrl, nonsense_is_refused) {
  for (const char* wrong : {"data:", "data:image/png;base64", "data:;base64,T", "data:;base64,TWFuT",
                            "data:;base64,TQ=", "data:;base64,TQ===", "data:;base64,=", "data:;base64,TWFu=",
                            "data:;base64,TQ==TQ==", "data:;base64,T=Q=", "data:;base64,TW-u",
                            "data:;base64,TW_u", "data:;base64,TWF\xc3\xbc", "data:;base64,TW%",
                            "data:;base64,TW%4", "data:,%g0", "data:,%0", "data:;base64,TWF%00"}) {
    const auto bytes = read_data_url(wrong, kMany);
    ASSERT_FALSE(bytes.ok()) << wrong;
    EXPECT_EQ(bytes.error().code, ErrorCode::kInvalid) << wrong;
  }
}

TEST(DataUrl, the_limit_holds_before_anything_is_decoded) {
  EXPECT_EQ(read("data:;base64,TWFu", 3), "Man");
  EXPECT_EQ(read("data:;base64,TWE=", 2), "Ma");
  EXPECT_EQ(read("data:;base64,\n\nTQ = =\n\n", 1), "M");
  EXPECT_EQ(read("data:,%41%41%41", 3), "AAA");
  for (const char* long_one : {"data:;base64,TWFu", "data:;base64,TWFuTWFuTWFu", "data:,AAA",
                               "data:,%41%41%41", "data:;base64,!!!!!!!!"}) {
    const auto bytes = read_data_url(long_one, 2);
    ASSERT_FALSE(bytes.ok()) << long_one;
    EXPECT_EQ(bytes.error().code, ErrorCode::kLimit) << long_one;
  }
}

}  // namespace
}  // namespace heed
