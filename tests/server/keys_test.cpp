#include "server/keys.h"

#include <gtest/gtest.h>

namespace heed::http {
namespace {

using Headers = std::map<std::string, std::string>;

int status(const KeyCheck& keys, const std::string& method, const std::string& path, const Headers& headers) {
  const auto refusal = keys.check(method, path, headers);
  return refusal ? refusal->status : 0;
}

TEST(keys, without_keys_everyone_may_pass) {
  EXPECT_EQ(status(KeyCheck({}), "POST", "/v1/completions", {}), 0);
}

TEST(keys, every_key_is_accepted_in_every_form) {
  const KeyCheck keys({"first", "second key"});
  for (const char* authorization : {"Bearer first", "bearer first", "BEARER   first", "Bearer second key",
                                    "Basic dXNlcjpmaXJzdA==", "basic OmZpcnN0"}) {
    EXPECT_EQ(status(keys, "POST", "/v1/x", {{"authorization", authorization}}), 0) << authorization;
  }
  EXPECT_EQ(status(keys, "GET", "/", {{"x-api-key", "first"}}), 0);
  EXPECT_EQ(status(keys, "GET", "/", {{"x-api-key", "first"}, {"authorization", "Bearer other"}}), 0);
}

TEST(keys, anything_else_is_refused) {
  const KeyCheck keys({"first"});
  EXPECT_EQ(status(keys, "GET", "/v1/models", {}), 401);
  for (const char* authorization :
       {"Bearer", "Bearer ", "first", "Bearer First", "Bearer firs", "Bearer first ", "Bearer firstt",
        "Token first", "Basic first", "Basic Zmlyc3Q=", "Basic !!!!", "Basic", "Basic dXNlcjpvdGhlcg=="}) {
    EXPECT_EQ(status(keys, "GET", "/v1/models", {{"authorization", authorization}}), 401) << authorization;
  }
  EXPECT_EQ(status(keys, "GET", "/", {{"x-api-key", "Bearer first"}}), 401);
}

TEST(keys, only_reading_health_needs_none) {
  const KeyCheck keys({"first"});
  EXPECT_EQ(status(keys, "GET", "/health", {}), 0);
  EXPECT_EQ(status(keys, "HEAD", "/health", {}), 0);
  EXPECT_EQ(status(keys, "POST", "/health", {}), 401);
  for (const char* path : {"/", "/health/x", "/Health", "/healthz", "/metrics", "/version"}) {
    EXPECT_EQ(status(keys, "GET", path, {}), 401) << path;
  }
}

TEST(keys, a_page_elsewhere_cannot_use_a_browsers_credentials) {
  const KeyCheck keys({"first"});
  const std::string basic = "Basic OmZpcnN0";
  EXPECT_EQ(status(keys, "POST", "/", {{"authorization", basic}, {"host", "h:1"}, {"origin", "http://evil"}}),
            403);
  EXPECT_EQ(status(keys, "POST", "/", {{"authorization", basic}, {"host", "h:1"}, {"origin", "null"}}), 403);
  EXPECT_EQ(status(keys, "POST", "/", {{"authorization", basic}, {"host", "h:1"}, {"origin", "https://H:1"}}),
            0);
  EXPECT_EQ(status(keys, "POST", "/", {{"authorization", "Bearer first"}, {"origin", "http://other"}}), 0);
}

TEST(keys, base64_is_read_as_rfc_4648_has_it) {
  EXPECT_EQ(decode_base64(""), "");
  EXPECT_EQ(decode_base64("Zg=="), "f");
  EXPECT_EQ(decode_base64("Zg"), "f");
  EXPECT_EQ(decode_base64("Zm8="), "fo");
  EXPECT_EQ(decode_base64("Zm9vYmFy"), "foobar");
  EXPECT_EQ(decode_base64("/+8="), "\xff\xef");
  for (const char* bad : {"Z", "Zm9=v", "Zm 9", "Zm9v\n", "===="}) EXPECT_FALSE(decode_base64(bad)) << bad;
}

}  // namespace
}  // namespace heed::http
