#include "client/url.h"

#include <gtest/gtest.h>

namespace heed {
namespace {

std::string parts(const Result<Url>& url) {
  if (!url.ok()) return "error";
  return (url->tls ? "tls " : "") + url->host + " " + url->port + " " + url->prefix;
}

std::string parts(const Result<ResourceUrl>& url) {
  return url.ok() ? parts(Result<Url>(url->server)) + url->target : "error";
}

TEST(Url, parts_are_found) {
  EXPECT_EQ(parts(parse_url("http://example.org")), "example.org 80 ");
  EXPECT_EQ(parts(parse_url("HTTPS://Example.ORG/API/")), "tls example.org 443 /API");
  EXPECT_EQ(parts(parse_url("https://[::1]:8443/api/")), "tls ::1 8443 /api");
  EXPECT_EQ(parts(parse_url("https://[::1]")), "tls ::1 443 ");
  EXPECT_EQ(parts(parse_url("http://[2001:DB8:0:0::1]")), "2001:db8::1 80 ");
  EXPECT_EQ(parts(parse_url("http://127.0.0.1:8000")), "127.0.0.1 8000 ");
  EXPECT_EQ(parts(parse_url("http://my_server-1:8000")), "my_server-1 8000 ");
  EXPECT_EQ(parts(parse_url("http://1a2b3c4d:8000")), "1a2b3c4d 8000 ");  // a container's name
  EXPECT_EQ(parts(parse_url("http://3com.com")), "3com.com 80 ");
  EXPECT_EQ(authority(*parse_url("http://example.org:80")), "example.org");
  EXPECT_EQ(authority(*parse_url("https://example.org:80")), "example.org:80");
  EXPECT_EQ(authority(*parse_url("https://[::1]:8443")), "[::1]:8443");
}

TEST(Url, what_is_asked_of_a_server_is_kept_as_it_stands) {
  EXPECT_EQ(parts(parse_resource_url("http://a.b")), "a.b 80 /");
  EXPECT_EQ(parts(parse_resource_url("http://a.b/")), "a.b 80 /");
  EXPECT_EQ(parts(parse_resource_url("http://a.b?x=http://c.d/")), "a.b 80 /?x=http://c.d/");
  EXPECT_EQ(parts(parse_resource_url("https://a.b:81/../c%2f/@d:e//?f=@g")),
            "tls a.b 81 /../c%2f/@d:e//?f=@g");
}

TEST(Url, nonsense_is_refused) {
  for (const char* wrong : {"",
                            "localhost:8000",
                            "ftp://x",
                            "http://",
                            "http://:80",
                            "http://x:0",
                            "http://x:99999",
                            "http://x:",
                            "http://x:8a",
                            "http://u@x",
                            "http://x y",
                            "http://[::1",
                            "http://[::1]x",
                            "http://x\n",
                            "http://x#y",
                            "http://x/#y",
                            "http://x\\y",
                            "http://x..y",
                            "http://x.",
                            "http://.x",
                            "http://%78",
                            "http://x%2ey",
                            "http://1.2.3",
                            "http://0x1",
                            "http://1",
                            "http://01.2.3.4",
                            "http://x.1",
                            "http://x.0x1f",
                            "http://[::1%25lo]",
                            "http://\xc3\xa4",
                            "http://[1.2.3.4]"}) {
    EXPECT_FALSE(parse_url(wrong).ok()) << wrong;
    EXPECT_FALSE(parse_resource_url(wrong).ok()) << wrong;
  }
  EXPECT_FALSE(parse_url("http://x/?q").ok());
  EXPECT_FALSE(parse_url("http://x?q").ok());
  EXPECT_FALSE(parse_url("http://x/a@b").ok());
  EXPECT_TRUE(parse_resource_url("http://x/" + std::string(7991, 'y')).ok());
  EXPECT_FALSE(parse_resource_url("http://x/" + std::string(7992, 'y')).ok());
  EXPECT_FALSE(parse_url("http://" + std::string(64, 'x')).ok());
  EXPECT_FALSE(parse_url("http://" + std::string(253, 'x') + ".x").ok());
}

TEST(Url, addresses_are_told_from_names) {
  for (const char* address : {"127.0.0.1", "::1", "2001:db8::1"}) EXPECT_TRUE(is_address(address)) << address;
  for (const char* name : {"localhost", "127.0.0", "[::1]", "::g", ""})
    EXPECT_FALSE(is_address(name)) << name;
}

}  // namespace
}  // namespace heed
