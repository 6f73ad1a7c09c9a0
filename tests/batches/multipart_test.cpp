#include "batches/multipart.h"

#include <gtest/gtest.h>

namespace heed {
namespace {

constexpr const char* kType = "multipart/form-data; boundary=xYz";

std::string part(const std::string& disposition, const std::string& content) {
  return "--xYz\r\nContent-Disposition: " + disposition + "\r\n\r\n" + content + "\r\n";
}

std::string error(const std::string& body, const std::string& type = kType) {
  const auto parsed = parse_multipart(type, body);
  return parsed.ok() ? "" : parsed.error().message;
}

TEST(Multipart, parts_have_names_files_and_contents) {
  const std::string content("a\r\n--xY\r\n\0\xff--xYz", 17);
  const std::string body =
      part("form-data; name=\"purpose\"", "batch") +
      "--xYz\r\ncontent-type: text/plain\r\nX-Other: 1\r\n"
      "CONTENT-disposition:form-data ;filename=\"a \\\"b\\\\c;\\d.jsonl\"; name=file\r\n\r\n" +
      content + "\r\n" + part("form-data; name=e", "") + "--xYz--\r\n";
  for (const char* type : {kType, "Multipart/Form-Data;  BOUNDARY=\"xYz\"; charset=utf-8"}) {
    const auto parts = parse_multipart(type, body);
    ASSERT_TRUE(parts.ok()) << parts.error().message;
    ASSERT_EQ(parts->size(), 3);
    EXPECT_EQ((*parts)[0].name, "purpose");
    EXPECT_EQ((*parts)[0].content, "batch");
    EXPECT_FALSE((*parts)[0].filename);
    EXPECT_EQ((*parts)[1].name, "file");
    EXPECT_EQ((*parts)[1].filename, "a \"b\\c;\\d.jsonl");
    EXPECT_EQ((*parts)[1].content_type, "text/plain");
    EXPECT_EQ((*parts)[1].content, content);
    EXPECT_EQ((*parts)[2].content, "");
  }
}

TEST(Multipart, what_is_no_such_form_is_refused_with_a_reason) {
  const std::string good = part("form-data; name=\"a\"", "x");
  EXPECT_EQ(error(good + "--xYz--"), "");
  EXPECT_EQ(error("--xYz--"), "");
  EXPECT_EQ(error(good + "--xYz"), "form: a boundary is not followed by a line break");
  EXPECT_EQ(error(good), "form: the last boundary is missing");
  EXPECT_EQ(error("preamble\r\n" + good + "--xYz--"), "form: the body does not begin with its boundary");
  EXPECT_EQ(error(good + "--xYz--\r\nepilogue"), "form: bytes behind the last boundary");
  EXPECT_EQ(error(""), "form: the body does not begin with its boundary");
  EXPECT_EQ(error("--xYz\r\n"), "form: a part's headers do not end within 4096 bytes");
  EXPECT_EQ(error("--xYz\r\n\r\nx\r\n--xYz--"), "form: a part's headers do not end within 4096 bytes");
  EXPECT_EQ(error("--xYz\r\nA: b\r\n\r\nx\r\n--xYz--"), "form: a part has no content-disposition");
  EXPECT_EQ(error("--xYz\r\nA b\r\n\r\nx\r\n--xYz--"), "form: a header is not name: value");
  for (const char* disposition :
       {"attachment; name=\"a\"", "form-data", "form-data; name=\"\"", "form-data; name=\"a",
        "form-data; name", "form-data; name=\"a\" filename=\"b\"", "form-data; name=\"a\"; name=\"b\"",
        "form-data; name=\"a\"; filename*=utf-8''b", "form-data; name=\"a\nb\"", "form-data; name=\"a\";",
        "form-data; name=\"a\"\r\nContent-Disposition: form-data; name=\"b\"",
        "form-data; name=\"a\"\r\nContent-Transfer-Encoding: base64"}) {
    EXPECT_NE(error(part(disposition, "x") + "--xYz--"), "") << disposition;
  }
  EXPECT_NE(error(part("form-data; name=\"" + std::string(257, 'n') + "\"", "x") + "--xYz--"), "");
  EXPECT_NE(error(part("form-data; name=\"a\"\r\nX: " + std::string(5000, 'n'), "x") + "--xYz--"), "");
  std::string many;
  for (int i = 0; i < 33; ++i) many += good;
  EXPECT_EQ(error(many + "--xYz--"), "form: more than 32 parts");
}

TEST(Multipart, boundaries_are_checked) {
  const std::string good = part("form-data; name=\"a\"", "x") + "--xYz--";
  for (const std::string& type :
       {std::string(), std::string("multipart/form-data"), std::string("multipart/mixed; boundary=xYz"),
        std::string("multipart/form-data; boundary="),
        std::string("multipart/form-data; boundary=\"x\r\nYz\""),
        std::string("multipart/form-data; boundary=\"xYz \""),
        std::string("multipart/form-data; boundary=\"x{\""),
        "multipart/form-data; boundary=" + std::string(71, 'b'),
        std::string("multipart/form-data; boundary=xYz;;")}) {
    EXPECT_NE(error(good, type), "") << type;
  }
}

TEST(Multipart, near_misses_of_the_boundary_cost_linear_time) {
  std::string content;
  while (content.size() < (8 << 20)) content += "\r\n--xY";
  const std::string body = part("form-data; name=\"a\"", content) + "--xYz--";
  const auto parts = parse_multipart(kType, body);
  ASSERT_TRUE(parts.ok());
  EXPECT_EQ(parts->at(0).content, content);
}

}  // namespace
}  // namespace heed
