#include "server/server.h"

#include <algorithm>

#include "tests/server/fixture.h"

namespace heed::test {
namespace {

class server : public ServerTest {};

TEST_F(server, a_request_arrives_checked_and_its_answer_returns) {
  start();
  const Response response = ask(post("/v1//x/?a=b%20c", "body", "X-One: 1\r\nx-one: 2\r\n"));
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.body, "POST /v1/x?a=b%20c body");
  EXPECT_EQ(response.fields.at("content-type"), "text/plain");
  EXPECT_EQ(response.fields.at("x-fake"), "yes");
  EXPECT_FALSE(response.fields.contains("x-split"));  // it would have split the answer
  EXPECT_FALSE(response.fields.contains("set-cookie"));
  EXPECT_FALSE(response.fields.contains("connection"));
  EXPECT_TRUE(response.fields.contains("date"));
  EXPECT_FALSE(response.fields.contains("access-control-allow-origin"));
  EXPECT_EQ(api_.last().headers.at("x-one"), "1, 2");
  EXPECT_EQ(api_.last().headers.at("host"), "localhost");
}

TEST_F(server, a_connection_is_kept_for_many_requests) {
  start();
  Client client(port());
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(client.ask(post("/" + std::to_string(i), "b")).body, "POST /" + std::to_string(i) + "? b");
  }
  EXPECT_EQ(client.ask(get("/x", "Connection: close\r\n")).fields.at("connection"), "close");
  EXPECT_EQ(client.read_to_end(), "");
  EXPECT_FALSE(client.hung());
}

TEST_F(server, pipelined_requests_are_answered_in_order) {
  start();
  Client client(port());
  std::string requests;
  for (int i = 0; i < 200; ++i) {
    requests += i % 3 == 0 ? get("/" + std::to_string(i)) : post("/" + std::to_string(i), "b");
    if (i % 5 == 0) requests += "\r\n";  // an empty line between requests is ignored
  }
  requests += get("/stream") + get("/last");
  client.send(requests);
  for (int i = 0; i < 200; ++i) {
    ASSERT_EQ(client.response().body.substr(i % 3 == 0 ? 4 : 5, 2 + std::to_string(i).size()),
              "/" + std::to_string(i) + "?");
  }
  EXPECT_TRUE(client.response().body.ends_with("data: 4\n\n"));
  EXPECT_EQ(client.response().body, "GET /last? ");
}

TEST_F(server, a_pipelined_request_waits_for_the_answer_before_it) {
  start();
  Client client(port());
  client.send(get("/hold") + get("/after"));
  const auto held = api_.held();
  ASSERT_TRUE(held);
  EXPECT_EQ(api_.handled(), 1);
  held->reply("held");
  EXPECT_EQ(client.response().body, "held");
  EXPECT_EQ(client.response().body, "GET /after? ");
}

TEST_F(server, a_request_may_come_byte_by_byte) {
  start();
  Client client(port());
  const std::string request = post("/slow", "slow body") +
                              "POST /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
                              "3;ext=1\r\nabc\r\n0A\r\n0123456789\r\n0\r\nAuthorization: late\r\n\r\n";
  for (const char c : request) client.send(std::string_view(&c, 1));
  EXPECT_EQ(client.response().body, "POST /slow? slow body");
  EXPECT_EQ(client.response().body, "POST /c? abc0123456789");
  EXPECT_FALSE(api_.last().headers.contains("authorization"));  // a trailer is no header
}

TEST_F(server, a_stream_is_chunked_events) {
  start();
  Client client(port());
  const Response response = client.ask(get("/stream"));
  EXPECT_EQ(response.fields.at("content-type"), "text/event-stream");
  EXPECT_EQ(response.fields.at("transfer-encoding"), "chunked");
  EXPECT_EQ(response.fields.at("cache-control"), "no-cache");
  EXPECT_EQ(response.fields.at("x-accel-buffering"), "no");
  EXPECT_FALSE(response.fields.contains("content-length"));
  EXPECT_EQ(response.body, "data: 0\n\ndata: 1\n\ndata: 2\n\ndata: 3\n\ndata: 4\n\n");
  EXPECT_TRUE(response.is_whole);
  EXPECT_EQ(client.ask(get("/again")).status, 200);
}

TEST_F(server, each_write_is_sent_without_waiting_for_the_next) {
  start();
  Client client(port());
  client.send(get("/hold"));
  const auto held = api_.held();
  ASSERT_TRUE(held);
  held->start();
  EXPECT_TRUE(client.read_until("\r\n\r\n").starts_with("HTTP/1.1 200 OK"));
  for (int i = 0; i < 50; ++i) {
    const std::string event = "data: " + std::to_string(i) + "\n\n";
    EXPECT_TRUE(held->write(event));
    EXPECT_NE(client.read_until(event + "\r\n").find(event), std::string::npos);
  }
  held->end();
  EXPECT_EQ(client.read_until("0\r\n\r\n"), "0\r\n\r\n");
}

TEST_F(server, http_10_is_answered_in_its_own_way) {
  start();
  Client client(port());
  const Response kept = client.ask("GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  EXPECT_EQ(kept.version, "HTTP/1.0");
  EXPECT_EQ(kept.fields.at("connection"), "keep-alive");
  const Response last = client.ask("GET /stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  EXPECT_EQ(last.fields.at("connection"), "close");
  EXPECT_FALSE(last.fields.contains("transfer-encoding"));
  EXPECT_EQ(last.body.substr(0, 18), "data: 0\n\ndata: 1\n\n");
  EXPECT_FALSE(client.hung());
  Client once(port());
  EXPECT_EQ(once.ask("GET /a HTTP/1.0\r\n\r\n").status, 200);
  EXPECT_EQ(once.read_to_end(), "");
}

TEST_F(server, head_is_get_without_the_body) {
  start();
  Client client(port());
  const std::string head = "HEAD /a HTTP/1.1\r\nHost: h\r\n\r\n";
  const Response response = client.ask(head, false);
  EXPECT_EQ(response.fields.at("content-length"), std::to_string(std::string("GET /a? ").size()));
  EXPECT_EQ(client.ask("HEAD /stream HTTP/1.1\r\nHost: h\r\n\r\n", false).status, 200);
  client.send("HEAD /hold HTTP/1.1\r\nHost: h\r\n\r\n");
  const auto held = api_.held();
  ASSERT_TRUE(held);
  held->start();
  EXPECT_EQ(client.response(false).status, 200);
  EXPECT_TRUE(held->wait_for_cancel());  // nobody will read what would follow
  EXPECT_EQ(client.ask(get("/b")).body, "GET /b? ");
}

TEST_F(server, an_answer_without_content_has_no_length) {
  start();
  Client client(port());
  const Response response = client.ask(get("/empty"), false);
  EXPECT_EQ(response.status, 204);
  EXPECT_FALSE(response.fields.contains("content-length"));
  EXPECT_EQ(client.ask(get("/next")).body, "GET /next? ");
}

TEST_F(server, a_client_that_asks_first_is_told_to_continue) {
  start();
  Client client(port());
  const std::string head = "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n";
  EXPECT_EQ(client.ask(head).head, "HTTP/1.1 100 Continue\r\n\r\n");
  EXPECT_EQ(client.ask("abc").body, "POST /a? abc");
  EXPECT_EQ(client.ask(head + "abc").body, "POST /a? abc");  // it did not wait, so it is not told
}

TEST_F(server, a_handler_that_fails_costs_one_answer) {
  start();
  Client client(port());
  for (const char* path : {"/throw", "/drop"}) {
    const Response response = client.ask(get(path));
    EXPECT_EQ(response.status, 500);
    EXPECT_EQ(message(response), "the server failed to answer this request");
  }
  EXPECT_EQ(client.ask(get("/next")).status, 200);
  const Response broken = client.ask(get("/break"));
  EXPECT_FALSE(broken.is_whole);  // the missing last chunk tells the client
  client.send(get("/hold"));
  EXPECT_EQ(ask(get("/other")).status, 200);
}

TEST_F(server, a_responder_that_ends_or_vanishes_unanswered_is_a_500) {
  start();
  Client client(port());
  client.send(get("/hold"));
  auto held = api_.held();
  ASSERT_TRUE(held);
  held->end();
  EXPECT_EQ(client.response().status, 500);
  client.send(get("/hold"));
  held = api_.held();
  ASSERT_TRUE(held);
  held->drop();
  EXPECT_EQ(client.response().status, 500);
}

TEST_F(server, a_large_answer_arrives_whole) {
  start();
  const Response response = ask(get("/big"));
  EXPECT_TRUE(response.is_whole);
  EXPECT_EQ(response.body.size(), size_t{8} << 20);
}

TEST_F(server, request_ids_are_echoed_if_sane_and_logged) {
  start();
  EXPECT_EQ(ask(get("/a", "X-Request-Id: mine-1\r\n")).fields.at("x-request-id"), "mine-1");
  EXPECT_EQ(api_.last().headers.at("x-request-id"), "mine-1");
  const Response response = ask(get("/%1b", "X-Request-Id: not mine\r\n"));
  EXPECT_TRUE(response.fields.at("x-request-id").starts_with("req-"));
  EXPECT_EQ(response.status, 400);
  EXPECT_EQ(ask("GET /a\x7f HTTP/1.1\r\nHost: h\r\n\r\n").status, 400);
  ASSERT_TRUE(eventually([this] { return log().size() >= 3; }));
  EXPECT_NE(log()[0].find("127.0.0.1 \"GET /a\" 200, 8 bytes, "), std::string::npos) << log()[0];
  EXPECT_TRUE(log()[0].ends_with(" mine-1")) << log()[0];
  for (const std::string& line : log()) {
    EXPECT_TRUE(std::all_of(line.begin(), line.end(), [](char c) { return c >= 0x20 && c < 0x7F; })) << line;
  }
}

TEST_F(server, a_thrown_message_stays_in_the_log) {
  start();
  const Response response = ask(get("/throw"));
  EXPECT_EQ(response.body.find("0x7fff"), std::string::npos);
  ASSERT_TRUE(eventually([this] { return log().size() == 2; }));  // its own line, and the request's
  EXPECT_NE((log()[0] + log()[1]).find("\\x0ain a handler"), std::string::npos) << log()[0];
}

TEST_F(server, a_key_is_asked_for_on_every_route_but_health) {
  ServerOptions options;
  options.api_keys = {"secret"};
  start(options);
  EXPECT_EQ(ask(get("/health")).status, 200);
  const Response refused = ask(get("/v1/models"));
  EXPECT_EQ(refused.status, 401);
  EXPECT_NE(refused.head.find("WWW-Authenticate: Basic"), std::string::npos);
  EXPECT_NE(refused.head.find("WWW-Authenticate: Bearer"), std::string::npos);
  EXPECT_NE(message(refused).find("no API key"), std::string::npos);
  EXPECT_EQ(ask(get("/v1/models", "Authorization: Bearer secret\r\n")).status, 200);
  EXPECT_EQ(ask(get("/", "x-api-key: secret\r\n")).status, 200);
  EXPECT_EQ(ask(get("/", "Authorization: Basic OnNlY3JldA==\r\n")).status, 200);
  EXPECT_EQ(api_.handled(), 4);
  for (const char* target : {"/health/../v1/models", "/health/%2e%2e/v1/models", "/health%2f../v1/models",
                             "//health/..//v1/models", "/v1/models?/health", "/v1/models?x=/../health",
                             "http://host/v1/models", "http://health/v1/models", "/health;/../v1/models",
                             "/v1/models%3f/../health%00", "/health%00/x", "/HEALTH", "/health/x", "/%"}) {
    EXPECT_NE(ask(get(target)).status, 200) << target;
  }
  EXPECT_EQ(ask(post("/health", "x")).status, 401);
  EXPECT_EQ(ask(get("/v1/models", "Host: health\r\n")).status, 400);
  EXPECT_EQ(ask(get("/v1/models", "Authorization: Bearer no\r\nAuthorization: Bearer secret\r\n")).status,
            400);
  EXPECT_EQ(api_.handled(), 4);
}

TEST_F(server, what_could_be_read_in_two_ways_is_refused) {
  start();
  const std::string begin = "POST /a HTTP/1.1\r\nHost: h\r\n";
  const std::string smuggled = "GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n";
  for (const char* fields : {
           "Content-Length: 5\r\nContent-Length: 6\r\n",
           "Content-Length: 5\r\nContent-Length: 5\r\n",
           "Content-Length: 5, 5\r\n",
           "Content-Length: +5\r\n",
           "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
           "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
           "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
           "Transfer-Encoding: xchunked\r\n",
           "Transfer-Encoding: gzip, chunked\r\n",
           "Transfer-Encoding : chunked\r\n",
           "Transfer-Encoding: chunked\nContent-Length: 5\r\n",
           " Transfer-Encoding: chunked\r\n",
           "Host: h\r\n",
       }) {
    Client client(port());
    const Response response = client.ask(begin + fields + "\r\n0\r\n\r\n" + smuggled);
    EXPECT_TRUE(response.status == 400 || response.status == 501) << fields << response.head;
    EXPECT_EQ(response.fields.at("connection"), "close") << fields;
    EXPECT_EQ(client.read_to_end(), "") << fields;
  }
  for (const char* chunks : {"g\r\n", "-1\r\n", "5\r\nabcdeX\r\n", "0x5\r\nabcde\r\n0\r\n\r\n",
                             "ffffffffffffffffff\r\n", "5\nabcde\n0\n\n", "\r\n"}) {
    Client client(port());
    EXPECT_EQ(client.ask(begin + "Transfer-Encoding: chunked\r\n\r\n" + chunks + smuggled).status, 400)
        << chunks;
    EXPECT_EQ(client.read_to_end(), "") << chunks;
  }
  EXPECT_EQ(api_.handled(), 0);
}

TEST_F(server, what_is_not_http_is_refused) {
  start();
  EXPECT_EQ(ask("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").status, 505);
  EXPECT_EQ(ask("GET / HTTP/1.2\r\nHost: h\r\n\r\n").status, 505);
  EXPECT_EQ(ask("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03").status, 400);
  EXPECT_EQ(ask("GET / HTTP/1.1\r\n\r\n").status, 400);
  EXPECT_EQ(ask("GET / HTTP/1.1\nHost: h\n\n").status, 505);
  EXPECT_EQ(ask("GET /a b HTTP/1.1\r\nHost: h\r\n\r\n").status, 505);
  EXPECT_EQ(ask("CONNECT h:1 HTTP/1.1\r\nHost: h\r\n\r\n").status, 405);
  EXPECT_EQ(ask("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n").status, 400);
  EXPECT_EQ(api_.handled(), 0);
}

TEST_F(server, bad_options_are_errors_that_name_them) {
  const auto refused = [this](const ServerOptions& options) {
    const auto started = Server::start(options, api_);
    return started.ok() ? std::string("started") : started.error().message;
  };
  start();
  ServerOptions options;
  options.port = port();
  EXPECT_NE(refused(options).find("cannot listen on 127.0.0.1:" + std::to_string(port())), std::string::npos);
  options.port = 65536;
  EXPECT_NE(refused(options).find("port"), std::string::npos);
  options.port = 0;
  options.host = "300.1.2.3.invalid";
  EXPECT_NE(refused(options).find("host"), std::string::npos);
  options.host = "127.0.0.1";
  options.api_keys = {""};
  EXPECT_NE(refused(options).find("api_keys"), std::string::npos);
  options.api_keys.clear();
  options.limits.idle_seconds = 0;
  EXPECT_NE(refused(options).find("seconds"), std::string::npos);
}

}  // namespace
}  // namespace heed::test
