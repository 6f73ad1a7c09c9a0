#include "server/request_head.h"

#include <gtest/gtest.h>

#include "base/json.h"

namespace heed::http {
namespace {

int status(HeaderFields fields, bool is_http_10 = false, const std::string& method = "POST") {
  const auto refusal =
      check_head({.method = method, .target = "/", .is_http_10 = is_http_10, .fields = std::move(fields)});
  return refusal ? refusal->status : 0;
}

TEST(request_head, ordinary_headers_pass) {
  EXPECT_EQ(status({{"Host", "localhost:8000"}, {"Content-Length", "12"}, {"Accept", "a"}, {"Accept", "b"}}),
            0);
  EXPECT_EQ(status({{"Host", "[::1]:80"}, {"Transfer-Encoding", "Chunked"}, {"Expect", "100-Continue"}}), 0);
  EXPECT_EQ(status({}, true), 0);
}

TEST(request_head, a_host_must_be_one_host) {
  EXPECT_EQ(status({}), 400);
  EXPECT_EQ(status({{"Host", "a"}, {"host", "a"}}), 400);
  for (const char* host : {"", "a b", "a/b", "a@b", "a:b", "a:80:81", ":80", "[::1", "[]", "[::1]x",
                           "http://a", "a\tb", "a,b/"}) {
    EXPECT_EQ(status({{"Host", host}}), 400) << host;
  }
  for (const char* host : {"a", "a.b-c_d", "127.0.0.1:1", "[fe80::1%25eth0]:9", "a:"}) {
    EXPECT_EQ(status({{"Host", host}}), 0) << host;
  }
}

TEST(request_head, a_body_has_one_length) {
  const std::pair<std::string, std::string> host = {"Host", "h"};
  EXPECT_EQ(status({host, {"Content-Length", "5"}, {"content-length", "5"}}), 400);
  EXPECT_EQ(status({host, {"Content-Length", "5"}, {"Transfer-Encoding", "chunked"}}), 400);
  EXPECT_EQ(status({host, {"Transfer-Encoding", "chunked"}, {"Transfer-Encoding", "chunked"}}), 400);
  for (const char* length : {"", "+5", "-1", "5, 5", "0x5", "5 ", "1e3", "99999999999999999999"}) {
    EXPECT_EQ(status({host, {"Content-Length", length}}), 400) << length;
  }
  for (const char* encoding :
       {"gzip", "gzip, chunked", "chunked, gzip", "xchunked", "chunked;q=1", "identity", ""}) {
    EXPECT_EQ(status({host, {"Transfer-Encoding", encoding}}), 501) << encoding;
  }
  EXPECT_EQ(status({{"Transfer-Encoding", "chunked"}}, true), 400);
}

TEST(request_head, what_may_occur_once_does) {
  for (const char* name : {"Authorization", "X-Api-Key", "Content-Type", "Expect", "Origin"}) {
    EXPECT_EQ(status({{"Host", "h"}, {name, "100-continue"}, {name, "100-continue"}}), 400) << name;
  }
  EXPECT_EQ(status({{"Host", "h"}, {"Expect", "200-ok"}}), 417);
  EXPECT_EQ(status({{"Host", "h"}}, false, "CONNECT"), 405);
  EXPECT_EQ(status({{"Host", "h"}}, false, "TRACE"), 405);
}

TEST(request_head, equal_names_are_joined) {
  const auto joined = joined_fields({{"Accept", "a"}, {"X-y", "z"}, {"ACCEPT", "b"}});
  EXPECT_EQ(joined.at("accept"), "a, b");
  EXPECT_EQ(joined.at("x-y"), "z");
}

TEST(request_head, request_ids_and_log_text_are_safe) {
  EXPECT_TRUE(is_sane_request_id("req-1:a/b_c.d~"));
  EXPECT_FALSE(is_sane_request_id(""));
  EXPECT_FALSE(is_sane_request_id("a b"));
  EXPECT_FALSE(is_sane_request_id("a\nb"));
  EXPECT_FALSE(is_sane_request_id("\xc3\xa9"));
  EXPECT_FALSE(is_sane_request_id(std::string(129, 'a')));
  EXPECT_EQ(escaped_for_log("a\r\n\x1b[31m\"\\\xff"), "a\\x0d\\x0a\\x1b[31m\\x22\\x5c\\xff");
  EXPECT_EQ(escaped_for_log("abcdef", 3), "abc...");
}

TEST(request_head, a_refusal_is_openais_error_object) {
  const auto document = parse_json(error_object(too_large(413, "too \"long\"\n")), "error");
  ASSERT_TRUE(document.ok());
  const Json& error = document->at("error");
  EXPECT_EQ(error.at("message"), "too \"long\"\n");
  EXPECT_EQ(error.at("type"), "invalid_request_error");
  EXPECT_TRUE(error.at("param").is_null());
  EXPECT_EQ(error.at("code"), "limit_exceeded");
}

}  // namespace
}  // namespace heed::http
