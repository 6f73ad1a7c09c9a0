#include "fetch/media_fetcher.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "tests/client/fake_server.h"
#include "tests/fetch/tls_server.h"

namespace heed {
namespace {

std::string port_of(const FakeServer& server) {
  const std::string url = server.url();
  return url.substr(url.rfind(':') + 1);
}

// A policy that finds `host` on this machine, on the server's port.
MediaPolicy policy_for(const std::string& port, const std::string& host = "pictures.test") {
  MediaPolicy policy;
  policy.domains = {host + ":" + port};
  policy.allow_private = true;
  policy.look_up = [host](const std::string& asked) -> Result<std::vector<std::string>> {
    if (asked != host) return not_found(asked);
    return std::vector<std::string>{"127.0.0.1"};
  };
  return policy;
}

struct Fetched {
  Result<std::string> body = invalid("");
  double seconds = 0;
};

Fetched fetch_from(const FakeServer& server, const std::string& target, MediaPolicy policy = {}) {
  MediaPolicy local = policy_for(port_of(server));
  local.bytes = policy.bytes, local.seconds = policy.seconds;
  const auto begin = std::chrono::steady_clock::now();
  Fetched fetched{MediaFetcher(local).fetch("http://pictures.test:" + port_of(server) + target)};
  fetched.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  return fetched;
}

TEST(MediaFetcher, asks_the_checked_address_in_the_name_of_the_host) {
  std::string seen;
  FakeServer server([&](FakeConnection& connection) {
    seen = connection.read_request();
    connection.reply(200, "picture");
  });
  const auto fetched = fetch_from(server, "/a%20b.png?x=@&y=//");
  ASSERT_TRUE(fetched.body.ok()) << fetched.body.error().message;
  EXPECT_EQ(*fetched.body, "picture");
  EXPECT_TRUE(seen.starts_with("GET /a%20b.png?x=@&y=// HTTP/1.1\r\nHost: pictures.test:" + port_of(server)))
      << seen;
}

TEST(MediaFetcher, looks_a_host_up_once) {
  FakeServer server([&](FakeConnection& connection) {
    connection.read_request();
    connection.reply(200, "picture");
  });
  MediaPolicy policy = policy_for(port_of(server));
  std::atomic<int> count{0};
  policy.look_up = [&](const std::string&) -> Result<std::vector<std::string>> {
    ++count;
    return std::vector<std::string>{count == 1 ? "127.0.0.1" : "169.254.169.254"};
  };
  EXPECT_TRUE(MediaFetcher(policy).fetch("http://pictures.test:" + port_of(server) + "/").ok());
  EXPECT_EQ(count, 1);
}

TEST(MediaFetcher, holds_a_server_under_tls_to_its_name) {
  TlsServer server("pictures.test");
  MediaPolicy policy = policy_for(server.port());
  policy.ca_file = server.ca_file();
  const std::string url = "https://pictures.test:" + server.port() + "/a.png";
  const auto body = MediaFetcher(policy).fetch(url);
  ASSERT_TRUE(body.ok()) << body.error().message;
  EXPECT_EQ(*body, "picture");
  EXPECT_EQ(server.server_name, "pictures.test");
  EXPECT_NE(server.request.find("Host: pictures.test:" + server.port() + "\r\n"), std::string::npos);

  // Another name at the same address, and authorities that do not know it.
  MediaPolicy other = policy_for(server.port(), "other.test");
  other.ca_file = server.ca_file();
  EXPECT_FALSE(MediaFetcher(other).fetch("https://other.test:" + server.port() + "/a.png").ok());
  EXPECT_EQ(server.server_name, "other.test");
  policy.ca_file.clear();
  const auto unknown = MediaFetcher(policy).fetch(url);
  ASSERT_FALSE(unknown.ok());
  EXPECT_NE(unknown.error().message.find("TLS handshake"), std::string::npos) << unknown.error().message;
}

TEST(MediaFetcher, follows_no_redirect) {
  for (const int status : {301, 302, 303, 307, 308, 304}) {
    std::atomic<int> requests{0};
    FakeServer server([&](FakeConnection& connection) {
      connection.read_request();
      ++requests;
      connection.reply(status, "", "Location: http://169.254.169.254/latest/meta-data\r\n");
    });
    const auto fetched = fetch_from(server, "/");
    ASSERT_FALSE(fetched.body.ok());
    EXPECT_EQ(fetched.body.error().code, ErrorCode::kUnsupported);
    EXPECT_NE(fetched.body.error().message.find("redirect"), std::string::npos);
    EXPECT_EQ(requests, 1);
  }
}

TEST(MediaFetcher, takes_only_a_whole_answer_of_200) {
  const std::vector<std::pair<std::string, ErrorCode>> answers = {
      {"HTTP/1.1 404 X\r\nContent-Length: 0\r\n\r\n", ErrorCode::kNotFound},
      {"HTTP/1.1 204 X\r\n\r\n", ErrorCode::kInvalid},
      {"HTTP/1.1 206 X\r\nContent-Length: 1\r\n\r\nx", ErrorCode::kInvalid},
      {"HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n", ErrorCode::kInvalid},
      {"HTTP/1.1 200 X\r\nContent-Length: 9\r\n\r\nshort", ErrorCode::kInvalid},
      {"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n", ErrorCode::kInvalid},
      {"HTTP/1.1 200 X\r\nContent-Encoding: gzip\r\nContent-Length: 1\r\n\r\nx", ErrorCode::kUnsupported},
      {"SSH-2.0-OpenSSH\r\n\r\n", ErrorCode::kInvalid},
      {"", ErrorCode::kInvalid}};
  for (const auto& [answer, code] : answers) {
    FakeServer server([&answer = answer](FakeConnection& connection) {
      connection.read_request();
      connection.send(answer);
    });
    const auto fetched = fetch_from(server, "/");
    ASSERT_FALSE(fetched.body.ok()) << answer;
    EXPECT_EQ(fetched.body.error().code, code) << answer << fetched.body.error().message;
    EXPECT_TRUE(fetched.body.error().message.starts_with("pictures.test:" + port_of(server) + ": "))
        << fetched.body.error().message;
  }
}

TEST(MediaFetcher, stops_at_the_limit_while_bytes_arrive) {
  std::atomic<bool> was_cut{false};
  FakeServer endless([&](FakeConnection& connection) {
    connection.read_request();
    connection.send("HTTP/1.1 200 OK\r\n\r\n");
    const std::string part(1 << 16, 'x');
    for (int i = 0; i < 10000 && !was_cut; ++i) was_cut = !connection.send(part);
  });
  auto fetched = fetch_from(endless, "/", {.bytes = 1 << 20});
  ASSERT_FALSE(fetched.body.ok());
  EXPECT_EQ(fetched.body.error().code, ErrorCode::kLimit) << fetched.body.error().message;

  FakeServer announced([](FakeConnection& connection) {
    connection.read_request();
    connection.send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
    connection.wait_for_close();
  });
  fetched = fetch_from(announced, "/", {.bytes = 999});
  ASSERT_FALSE(fetched.body.ok());
  EXPECT_EQ(fetched.body.error().code, ErrorCode::kLimit);

  FakeServer exact([](FakeConnection& connection) {
    connection.read_request();
    connection.reply(200, std::string(999, 'x'));
  });
  EXPECT_TRUE(fetch_from(exact, "/", {.bytes = 999}).body.ok());
}

TEST(MediaFetcher, has_one_deadline_for_all_of_a_download) {
  FakeServer slow([](FakeConnection& connection) {
    connection.read_request();
    connection.send("HTTP/1.1 200 OK\r\n\r\n");
    while (connection.send("x")) std::this_thread::sleep_for(std::chrono::milliseconds(20));
  });
  FakeServer silent([](FakeConnection& connection) { connection.wait_for_close(); });
  for (const FakeServer* server : {&slow, &silent}) {
    const auto fetched = fetch_from(*server, "/", {.seconds = 0.2});
    ASSERT_FALSE(fetched.body.ok());
    EXPECT_EQ(fetched.body.error().code, ErrorCode::kLimit) << fetched.body.error().message;
    EXPECT_NE(fetched.body.error().message.find("timed out"), std::string::npos)
        << fetched.body.error().message;
    EXPECT_LT(fetched.seconds, 5);
  }
}

// What is refused before anything is asked of anyone.
TEST(MediaFetcher, refuses_what_is_not_allowed) {
  MediaPolicy policy;
  policy.domains = {"good.example", ".sub.example", "port.example:8080", "GOOD2.example"};
  policy.look_up = [](const std::string& host) -> Result<std::vector<std::string>> {
    ADD_FAILURE() << host << " was looked up";
    return not_found(host);
  };
  const MediaFetcher fetcher(policy);
  for (const char* url :
       {"http://evil.example/", "http://good.example.evil.example/", "http://notgood.example/",
        "http://sub.example/", "http://xsub.example/", "http://good.example:22/", "http://good.example:8080/",
        "http://port.example/", "https://port.example/", "http://port.example:80/",
        "http://port.example:8081/", "http://127.0.0.1/", "http://[::1]/", "http://[::ffff:127.0.0.1]/",
        "http://localhost/"}) {
    const auto body = fetcher.fetch(url);
    ASSERT_FALSE(body.ok()) << url;
    EXPECT_EQ(body.error().code, ErrorCode::kUnsupported) << url << ": " << body.error().message;
    EXPECT_NE(body.error().message.find("--allowed-media-domains"), std::string::npos);
  }
}

TEST(MediaFetcher, refuses_every_other_spelling) {
  MediaPolicy policy;
  policy.domains = {"good.example", "127.0.0.1", "[::1]", "localhost"};
  policy.look_up = [](const std::string& host) -> Result<std::vector<std::string>> {
    ADD_FAILURE() << host << " was looked up";
    return not_found(host);
  };
  const MediaFetcher fetcher(policy);
  for (const char* url :
       {// users, and what may look like one
        "http://good.example@127.0.0.1/", "http://127.0.0.1@good.example/", "http://user:pass@good.example/",
        "http://good.example:80@127.0.0.1/", "http://@good.example/", "http://good.example%40127.0.0.1/",
        // other slashes, and blanks that some parsers drop
        "http:\\\\good.example\\", "http://good.example\\@127.0.0.1/", "http://good.example/\\x",
        "http:/good.example/", "http:good.example", "http:///good.example/", "//good.example/",
        "http://good.example /", " http://good.example/", "http://good.\texample/",
        "http://good.example/\r\nHost: x", "http://good.example\n/", "ht\ntp://good.example/",
        // addresses of IPv4 as C libraries read them
        "http://0x7f.1/", "http://0x7f000001/", "http://2130706433/", "http://0177.0.0.1/", "http://127.1/",
        "http://127.0.1/", "http://127.0.0.01/", "http://127.0.0.1./", "http://0/", "http://0x/",
        "http://127.0.0.0x1/", "http://127.0.0.256/", "http://127.0.0.1.0/", "http://1.2.3.4.5/",
        "http://00000177.1/",
        // IPv6
        "http://[::1%25lo]/", "http://[::1%lo]/", "http://[fe80::1%25eth0]/", "http://::1/", "http://[::1/",
        "http://::1]/", "http://[127.0.0.1]/", "http://[]/", "http://[::1]x/", "http://[[::1]]/",
        "http://[::1]:/", "http://[v1.x]/",
        // hosts in disguise
        "http://good%2eexample/", "http://%67ood.example/",
        "http://g\xc3\xb6\xc3\xb6"
        "d.example/",
        "http://good\xe3\x80\x82"
        "example/",
        "http://\xe2\x91\xa0\xe2\x91\xa1\xe2\x91\xa6.0.0.1/", "http://good.example./",
        "http://.good.example/", "http://good..example/", "http://-good.example/", "http://good.example-/",
        "http:///", "http://", "http://:80/", "http://*/", "http://good.example,evil.example/",
        "http://good.example;evil/",
        // ports and fragments
        "http://good.example:0/", "http://good.example:65536/", "http://good.example:/",
        "http://good.example:+80/", "http://good.example:80:80/", "http://good.example:0x50/",
        "http://good.example:8 0/", "http://good.example:-1/", "http://good.example/#x",
        "http://good.example#@127.0.0.1/", "http://good.example?@127.0.0.1/#",
        // other schemes
        "ftp://good.example/", "gopher://good.example/", "javascript:alert(1)", "httpx://good.example/", "",
        "x", "http", "https:", "blob:http://good.example/", "view-source:http://good.example/"}) {
    const auto body = fetcher.fetch(url);
    ASSERT_FALSE(body.ok()) << url;
    EXPECT_EQ(body.error().code, ErrorCode::kInvalid) << url << ": " << body.error().message;
    EXPECT_EQ(body.error().message.find('\n'), std::string::npos) << url;
  }
  const std::string null("http://good.example\0.evil.example/", 34);
  EXPECT_FALSE(fetcher.fetch(null).ok());
  const auto long_one = fetcher.fetch("http://" + std::string(1 << 20, 'a') + "/");
  ASSERT_FALSE(long_one.ok());
  EXPECT_LT(long_one.error().message.size(), 300);
}

TEST(MediaFetcher, refuses_addresses_that_are_not_public) {
  MediaPolicy policy;
  policy.domains = {"good.example", "127.0.0.1",       "10.0.0.1",          "[::1]",          "[fe80::1]",
                    "0.0.0.0",      "169.254.169.254", "[::ffff:10.0.0.1]", "[2002:7f00:1::]"};
  std::vector<std::string> found;
  policy.look_up = [&](const std::string&) -> Result<std::vector<std::string>> { return found; };
  const MediaFetcher fetcher(policy);
  const auto expect_refused = [&](const std::string& url, const std::string& what) {
    const auto body = fetcher.fetch(url);
    ASSERT_FALSE(body.ok()) << what;
    EXPECT_EQ(body.error().code, ErrorCode::kUnsupported) << what << ": " << body.error().message;
    EXPECT_NE(body.error().message.find("not public"), std::string::npos) << what;
  };
  for (const char* address : {"127.0.0.1",
                              "10.1.2.3",
                              "172.16.0.1",
                              "192.168.1.1",
                              "169.254.169.254",
                              "100.100.100.200",
                              "0.0.0.0",
                              "224.0.0.1",
                              "255.255.255.255",
                              "192.0.2.1",
                              "::1",
                              "::",
                              "fd00:ec2::254",
                              "fe80::1",
                              "ff02::1",
                              "::ffff:127.0.0.1",
                              "64:ff9b::7f00:1",
                              "2002:7f00:1::",
                              "2001:0:7f00:1::",
                              "2001:db8::1"}) {
    found = {address};
    expect_refused("http://good.example/", address);
    found = {"8.8.8.8", address};
    expect_refused("https://good.example/", address);
  }
  for (const char* url : {"http://127.0.0.1/", "https://127.0.0.1/", "http://10.0.0.1/", "http://[::1]/",
                          "http://[0:0:0:0:0:0:0:1]/", "http://[fe80::1]/", "http://0.0.0.0/",
                          "http://169.254.169.254/latest/meta-data", "http://[::ffff:10.0.0.1]/",
                          "http://[::FFFF:a00:1]/", "http://[2002:7f00:1::]/"}) {
    expect_refused(url, url);
  }
}

TEST(MediaFetcher, refuses_localhost_by_whatever_the_system_says) {
  MediaPolicy policy;
  policy.domains = {"localhost"};
  const auto body = MediaFetcher(policy).fetch("http://LOCALHOST/");
  ASSERT_FALSE(body.ok());
  EXPECT_NE(body.error().message.find("not public"), std::string::npos) << body.error().message;
  policy.domains = {"none.invalid"};
  EXPECT_FALSE(MediaFetcher(policy).fetch("http://none.invalid/").ok());
}

TEST(MediaFetcher, knows_the_words_of_its_policy) {
  for (const char* right :
       {"example.com", ".example.com", "example.com:8080", "127.0.0.1:80", "[::1]:8000", "a_b"}) {
    EXPECT_TRUE(check_media_policy({.domains = {right}}).ok()) << right;
  }
  for (const char* wrong :
       {"", ".", "*", "*.example.com", "http://example.com", "example.com/", "example.com:0", "u@example.com",
        "..example.com", ".127.0.0.1", "example.com.", "0x7f.1", "a b", "::1"}) {
    EXPECT_FALSE(check_media_policy({.domains = {wrong}}).ok()) << wrong;
  }
  EXPECT_EQ(*MediaFetcher({}).fetch("data:;base64,TWFu"), "Man");
  EXPECT_FALSE(MediaFetcher({.bytes = 2}).fetch("data:;base64,TWFu").ok());
}

}  // namespace
}  // namespace heed
