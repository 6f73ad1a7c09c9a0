#include "server/request_target.h"

#include <gtest/gtest.h>

#include <random>

namespace heed::http {
namespace {

std::string path_of(std::string_view target) {
  const auto read = read_target(target);
  return read.ok() ? read->path : "refused: " + read.error().message;
}

TEST(request_target, every_spelling_of_a_path_reads_as_one) {
  for (const char* spelling :
       {"/v1/models", "/v1/models/", "//v1//models", "/./v1/./models", "/v1/x/../models", "/x/../v1/models/",
        "/v1/%6dodels", "/%76%31/models", "/v1%2Fmodels", "/v1%2fmodels%2f", "/%2e/v1/models",
        "/x/%2e%2e/v1/models", "/health/../v1/models", "/health%2f..%2fv1/models", "/health/%2E%2e/v1/models",
        "/v1/models?/health", "http://host/v1/models", "HTTP://host:80/v1//models",
        "https://host/health/../v1/models"}) {
    EXPECT_EQ(path_of(spelling), "/v1/models") << spelling;
  }
  EXPECT_EQ(path_of("/"), "/");
  EXPECT_EQ(path_of("//"), "/");
  EXPECT_EQ(path_of("/a/.."), "/");
  EXPECT_EQ(path_of("http://host"), "/");
  EXPECT_EQ(path_of("/%e2%82%ac"), "/\xe2\x82\xac");
}

TEST(request_target, escapes_are_decoded_once_only) {
  EXPECT_EQ(path_of("/%252e%252e/v1"), "/%2e%2e/v1");
  EXPECT_EQ(path_of("/a%252fb"), "/a%2fb");
}

TEST(request_target, the_query_is_kept_as_sent) {
  const auto read = read_target("/a?b=%20&c=/../?x");
  ASSERT_TRUE(read.ok());
  EXPECT_EQ(read->path, "/a");
  EXPECT_EQ(read->query, "b=%20&c=/../?x");
  const auto absolute = read_target("http://h:1?q");
  ASSERT_TRUE(absolute.ok());
  EXPECT_EQ(absolute->authority, "h:1");
  EXPECT_EQ(absolute->query, "q");
}

TEST(request_target, what_cannot_be_a_path_is_refused) {
  using std::string_view_literals::operator""sv;
  for (const std::string_view target :
       {""sv,        "*"sv,        "v1"sv,           "host:443"sv,       "ftp://h/x"sv,  "http:///x"sv,
        "/.."sv,     "/a/../.."sv, "/%2e%2e/x"sv,    "/..%2fhealth"sv,   "/%"sv,         "/%4"sv,
        "/%zz"sv,    "/a%00b"sv,   "/a%0d%0aX: y"sv, "/%7f"sv,           "/a\0b"sv,      "/a b"sv,
        "/\xff"sv,   "/%ff"sv,     "/%c0%af"sv,      "/%c0%ae%c0%ae/"sv, "/%ed%a0%80"sv, "/%f4%90%80%80"sv,
        "/%e2%82"sv, "/a#b"sv,     "/a\tb"sv}) {
    EXPECT_FALSE(read_target(target).ok()) << target;
  }
}

TEST(request_target, random_targets_give_normal_paths_or_errors) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  const std::string_view pieces[] = {"/", "..",     ".",      "%2e", "%2F", "a",   "%",
                                     "?", "%c3%a9", "health", "\\",  "%5c", "%00", "http://"};
  int accepted = 0;
  for (int round = 0; round < 20000; ++round) {
    std::string target = round % 8 == 0 ? "" : "/";
    for (auto i = random() % 10; i > 0; --i) target += pieces[random() % std::size(pieces)];
    const auto read = read_target(target);
    if (!read.ok()) continue;
    ++accepted;
    ASSERT_TRUE(read->path.starts_with('/')) << target;
    ASSERT_TRUE(read->path == "/" || !read->path.ends_with('/')) << target;
    const std::string closed = read->path + "/";
    if (read->path == "/") continue;
    for (const char* bad : {"//", "/./", "/../"}) {
      ASSERT_EQ(closed.find(bad), std::string::npos) << target;
    }
  }
  EXPECT_GT(accepted, 1000);
}

}  // namespace
}  // namespace heed::http
