#include "client/http_client.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <future>

#include "tests/client/fake_server.h"

namespace heed {
namespace {

std::unique_ptr<HttpClient> client_of(const FakeServer& server, HttpClientOptions options = {}) {
  return HttpClient::open(*parse_url(server.url()), options).value();
}

Result<HttpResponse> fetch_from(const FakeServer& server, HttpRequest request,
                                HttpClientOptions options = {}) {
  const auto client = client_of(server, options);
  return fetch(*client, std::move(request));
}

// What a listener heard, kept beyond its life.
struct Heard {
  int status = 0;
  std::string body;
  int parts = 0;
  bool ended = false;
  Status end;
};

class Recorder : public HttpListener {
 public:
  explicit Recorder(
      Heard& heard, std::function<bool()> go_on = [] { return true; })
      : heard_(heard), go_on_(std::move(go_on)) {}
  bool on_response(int status, const HttpFields& /*fields*/) override {
    heard_.status = status;
    return true;
  }
  bool on_body(std::string_view bytes) override {
    heard_.body += bytes;
    ++heard_.parts;
    return go_on_();
  }
  void on_end(Status status) override {
    EXPECT_FALSE(heard_.ended);
    heard_.ended = true;
    heard_.end = std::move(status);
  }

 private:
  Heard& heard_;
  std::function<bool()> go_on_;
};

TEST(HttpClient, a_request_is_sent_as_http_and_its_answer_is_heard_whole) {
  std::string seen;
  FakeServer server([&](FakeConnection& connection) {
    seen = connection.read_request();
    connection.reply(418, "short and stout", "X-Pot: Tea\r\n");
  });
  const auto response =
      fetch_from(server, {.method = "POST", .path = "/pot?x=1", .fields = {{"X-A", "b"}}, .body = "{}"});
  ASSERT_TRUE(response.ok()) << response.error().message;
  EXPECT_EQ(response->status, 418);
  EXPECT_EQ(response->body, "short and stout");
  const std::pair<std::string, std::string> pot{"x-pot", "Tea"};
  EXPECT_EQ(std::count(response->fields.begin(), response->fields.end(), pot), 1);
  EXPECT_TRUE(seen.starts_with("POST /pot?x=1 HTTP/1.1\r\nHost: 127.0.0.1:")) << seen;
  EXPECT_TRUE(seen.find("X-A: b\r\n") != std::string::npos) << seen;
  EXPECT_TRUE(seen.find("Connection: close\r\n") != std::string::npos) << seen;
  EXPECT_TRUE(seen.ends_with("\r\n\r\n{}")) << seen;
}

TEST(HttpClient, parts_of_a_body_are_heard_before_the_server_sends_more) {
  std::promise<void> heard_first;
  FakeServer server([&](FakeConnection& connection) {
    connection.read_request();
    connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    connection.send_chunk("one ");
    heard_first.get_future().wait();
    connection.send_chunk("two");
    connection.send("0\r\n\r\n");
  });
  const auto client = client_of(server);
  Heard heard;
  client->send({}, std::make_unique<Recorder>(heard, [&] {
                 if (heard.body == "one ") heard_first.set_value();
                 return true;
               }));
  client->run();
  ASSERT_TRUE(heard.end.ok()) << heard.end.error().message;
  EXPECT_EQ(heard.body, "one two");
}

TEST(HttpClient, many_requests_are_under_way_at_once) {
  constexpr int kMany = 100;
  std::atomic<int> arrived{0};
  FakeServer server([&](FakeConnection& connection) {
    connection.read_request();
    // None is answered before all are there.
    ++arrived;
    for (int seen = arrived; seen < kMany; seen = arrived) arrived.wait(seen);
    arrived.notify_all();
    connection.reply(200, "x");
  });
  const auto client = client_of(server);
  std::vector<Heard> heard(kMany);
  for (Heard& one : heard) client->send({}, std::make_unique<Recorder>(one));
  EXPECT_EQ(client->num_under_way(), kMany);
  client->run();
  EXPECT_EQ(client->num_under_way(), 0);
  for (const Heard& one : heard) {
    ASSERT_TRUE(one.end.ok()) << one.end.error().message;
    EXPECT_EQ(one.body, "x");
  }
}

TEST(HttpClient, connections_are_used_again_only_with_keep_alive) {
  const auto serve = [](FakeConnection& connection) {
    while (!connection.read_request().empty()) connection.reply(200, "x");
  };
  for (const bool keep : {false, true}) {
    FakeServer server(serve);
    const auto client = client_of(server, {.keep_alive = keep});
    for (int i = 0; i < 3; ++i) EXPECT_TRUE(fetch(*client, {}).ok());
    EXPECT_EQ(server.num_connections(), keep ? 1 : 3);
  }
}

TEST(HttpClient, a_connection_that_the_server_closed_meanwhile_is_made_again) {
  FakeServer server([](FakeConnection& connection) {
    connection.read_request();
    connection.reply(200, "x");  // says nothing of closing, and closes
  });
  const auto client = client_of(server, {.keep_alive = true});
  for (int i = 0; i < 3; ++i) {
    const auto response = fetch(*client, {});
    ASSERT_TRUE(response.ok()) << response.error().message;
  }
  EXPECT_EQ(server.num_connections(), 3);
}

TEST(HttpClient, hanging_up_closes_the_connection_and_is_told_to_the_listener) {
  std::atomic<int> closed{0};
  FakeServer server([&](FakeConnection& connection) {
    connection.read_request();
    connection.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nsome");
    connection.wait_for_close();
    ++closed;
  });
  {
    const auto client = client_of(server);
    Heard from_within, from_outside;
    client->send({}, std::make_unique<Recorder>(from_within, [] { return false; }));
    uint64_t other = 0;
    other = client->send({}, std::make_unique<Recorder>(from_outside, [&] {
                           client->after(0, [&] { client->hang_up(other); });
                           return true;
                         }));
    client->run();
    for (const Heard* heard : {&from_within, &from_outside}) {
      ASSERT_TRUE(heard->ended);
      EXPECT_EQ(heard->body, "some");
      ASSERT_FALSE(heard->end.ok());
      EXPECT_EQ(heard->end.error().code, ErrorCode::kStopped);
    }
    client->hang_up(other);  // long over
    Heard at_once;
    client->hang_up(client->send({}, std::make_unique<Recorder>(at_once)));
    client->run();
    EXPECT_TRUE(at_once.ended);
    EXPECT_EQ(at_once.status, 0);
  }
  EXPECT_EQ(server.num_connections(), 2);
}

TEST(HttpClient, what_a_broken_server_says_is_an_error_of_that_request_alone) {
  const std::string cases[] = {
      "",                                                                // closes at once
      "BLAH\r\n\r\n",                                                    // is no HTTP
      "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",              // breaks off
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",     // no chunk size
      "HTTP/1.1 200 OK\r\nX: " + std::string(200000, 'x') + "\r\n\r\n",  // a huge field
      "HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",          // a huge body
      "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
  };
  for (const std::string& text : cases) {
    FakeServer server([&](FakeConnection& connection) {
      connection.read_request();
      connection.send(text);
    });
    const auto response = fetch_from(server, {});
    ASSERT_FALSE(response.ok()) << text.substr(0, 60);
    EXPECT_EQ(response.error().message.find('\n'), std::string::npos);
    EXPECT_TRUE(response.error().message.starts_with("127.0.0.1:")) << response.error().message;
  }
}

TEST(HttpClient, a_silent_server_costs_no_more_than_the_time_allowed) {
  FakeServer server([](FakeConnection& connection) { connection.wait_for_close(); });
  const auto response = fetch_from(server, {}, {.idle_seconds = 0.05});
  ASSERT_FALSE(response.ok());
  EXPECT_EQ(response.error().code, ErrorCode::kLimit);
  EXPECT_NE(response.error().message.find("timed out"), std::string::npos) << response.error().message;
}

TEST(HttpClient, an_answer_that_comes_before_the_request_was_read_is_heard) {
  FakeServer server([](FakeConnection& connection) {
    connection.reply(413, "too large");
    connection.wait_for_close();
  });
  const auto response = fetch_from(server, {.method = "POST", .body = std::string(8 << 20, 'x')});
  ASSERT_TRUE(response.ok()) << response.error().message;
  EXPECT_EQ(response->status, 413);
}

TEST(HttpClient, interim_answers_are_passed_over) {
  FakeServer server([](FakeConnection& connection) {
    connection.read_request();
    connection.send("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\n");
    connection.reply(200, "real");
  });
  const auto response = fetch_from(server, {});
  ASSERT_TRUE(response.ok()) << response.error().message;
  EXPECT_EQ(response->body, "real");
}

TEST(HttpClient, raw_bytes_go_out_as_they_are) {
  std::string seen;
  FakeServer server([&](FakeConnection& connection) {
    seen = connection.read_request();
    connection.reply(400, "what");
  });
  const auto response = fetch_from(server, {.raw = "GARBAGE \x01\x02\r\n\r\n"});
  ASSERT_TRUE(response.ok()) << response.error().message;
  EXPECT_EQ(response->status, 400);
  EXPECT_EQ(seen, "GARBAGE \x01\x02\r\n\r\n");
}

TEST(HttpClient, header_fields_cannot_smuggle_a_second_request) {
  FakeServer server([](FakeConnection& connection) { connection.read_request(); });
  for (const HttpRequest& request :
       {HttpRequest{.path = "/ HTTP/1.1\r\nX: y"}, HttpRequest{.fields = {{"A", "b\r\nC: d"}}},
        HttpRequest{.method = "GET /x"
                              "\n"}}) {
    const auto response = fetch_from(server, request);
    ASSERT_FALSE(response.ok());
    EXPECT_NE(response.error().message.find("control"), std::string::npos) << response.error().message;
  }
  EXPECT_EQ(server.num_connections(), 0);
}

TEST(HttpClient, where_nobody_listens_the_error_names_the_place) {
  std::string url;
  {
    const FakeServer server([](FakeConnection&) {});
    url = server.url();
  }
  const auto client = HttpClient::open(*parse_url(url), {}).value();
  const auto response = fetch(*client, {});
  ASSERT_FALSE(response.ok());
  EXPECT_NE(response.error().message.find(url.substr(7) + ": cannot connect"), std::string::npos)
      << response.error().message;
}

TEST(HttpClient, a_client_destroyed_in_the_middle_lets_go_of_everything) {
  FakeServer server([](FakeConnection& connection) {
    connection.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nsome");
    connection.wait_for_close();
  });
  Heard heard;
  const auto client = client_of(server);
  client->send({}, std::make_unique<Recorder>(heard));
  client->after(3600, [] {});
  EXPECT_FALSE(heard.ended);
}

TEST(HttpClient, connects_to_given_addresses_and_looks_nothing_up) {
  std::string seen;
  FakeServer server([&](FakeConnection& connection) {
    seen = connection.read_request();
    connection.reply(200, "x");
  });
  Url url = *parse_url(server.url());
  url.host = "nowhere.invalid";
  EXPECT_FALSE(HttpClient::open(url, {}).ok());
  const auto client = HttpClient::open(url, {.addresses = {"127.0.0.1"}}).value();
  const auto response = fetch(*client, {});
  ASSERT_TRUE(response.ok()) << response.error().message;
  EXPECT_NE(seen.find("Host: nowhere.invalid:" + url.port + "\r\n"), std::string::npos) << seen;
  EXPECT_FALSE(HttpClient::open(url, {.addresses = {"nowhere.invalid"}}).ok());
}

TEST(HttpClient, a_request_has_an_end_however_busy_its_server_is) {
  FakeServer server([](FakeConnection& connection) {
    connection.read_request();
    connection.send("HTTP/1.1 200 OK\r\n\r\n");
    while (connection.send("x")) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  });
  const auto response = fetch_from(server, {}, {.total_seconds = 0.1});
  ASSERT_FALSE(response.ok());
  EXPECT_EQ(response.error().code, ErrorCode::kLimit);
  EXPECT_NE(response.error().message.find("timed out"), std::string::npos) << response.error().message;

  // One that is done in time does not wait for the end.
  FakeServer quick([](FakeConnection& connection) {
    connection.read_request();
    connection.reply(200, "x");
  });
  EXPECT_TRUE(fetch_from(quick, {}, {.total_seconds = 3600}).ok());
}

}  // namespace
}  // namespace heed
