// Clients that leave before their answer is complete, and a server that does.
#include <gtest/gtest.h>

#include <algorithm>
#include <future>
#include <random>

#include "tests/server/fixture.h"

namespace heed::test {
namespace {

class leaving : public ServerTest {};

TEST_F(leaving, a_client_that_leaves_cancels_its_exchange) {
  start();
  for (const bool is_stream : {false, true}) {
    for (const bool resets : {false, true}) {
      Client client(port());
      client.send(post("/hold", "x"));
      const auto held = api_.held();
      ASSERT_TRUE(held);
      if (is_stream) {
        held->start();
        EXPECT_TRUE(held->write("data: 1\n\n"));
        EXPECT_NE(client.read_until("data: 1\n\n").size(), 0u);
      }
      EXPECT_FALSE(held->is_cancelled());
      if (resets) {
        client.reset();
      } else {
        client.close();
      }
      EXPECT_TRUE(held->wait_for_cancel()) << is_stream << resets;
      EXPECT_FALSE(held->write("data: 2\n\n"));
    }
  }
  EXPECT_TRUE(eventually([this] { return server_->connections() == 0; }));
}

TEST_F(leaving, a_client_that_leaves_while_the_handler_prepares_cancels_too) {
  ServerOptions options;
  options.worker_threads = 1;
  start(options);
  Client client(port());
  client.send(post("/hold-slowly", "x"));
  const auto held = api_.held();
  ASSERT_TRUE(held);
  Client waiting(port());  // for the only worker
  waiting.send(get("/never-handled"));
  ASSERT_TRUE(eventually([this] { return server_->connections() == 2; }));
  client.close();
  waiting.close();
  std::this_thread::sleep_for(std::chrono::milliseconds(50));  // so that their leaving is mostly seen first
  api_.let_go();
  EXPECT_TRUE(held->wait_for_cancel());
  EXPECT_TRUE(eventually([this] { return server_->connections() == 0; }));
}

TEST_F(leaving, a_client_that_only_stops_sending_still_gets_a_whole_answer) {
  start();
  Client client(port());
  client.send(get("/a") + get("/b"));
  client.finish_sending();
  EXPECT_EQ(client.response().body, "GET /a? ");
  EXPECT_EQ(client.response().body, "GET /b? ");
  EXPECT_EQ(client.read_to_end(), "");
}

TEST_F(leaving, many_leave_at_random_and_all_are_cancelled) {
  start();
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  std::vector<std::shared_ptr<Held>> all;
  std::vector<std::unique_ptr<Client>> clients;
  for (int i = 0; i < 100; ++i) {
    clients.push_back(std::make_unique<Client>(port()));
    clients.back()->send(get("/hold"));
    all.push_back(api_.held());
    ASSERT_TRUE(all.back());
    all.back()->start();
  }
  std::thread writer([&all] {  // as the engine: a little for everyone in each step, until everyone has gone
    bool any = true;
    while (any) {
      any = false;
      for (const auto& held : all) any = held->write("data: token\n\n") || any;
    }
  });
  std::shuffle(clients.begin(), clients.end(), random);
  for (const auto& client : clients) {
    if (random() % 2 == 0) client->read_until("token");
    if (random() % 2 == 0) client->reset();
    client->close();
  }
  for (const auto& held : all) EXPECT_TRUE(held->wait_for_cancel());
  writer.join();
  EXPECT_TRUE(eventually([this] { return server_->connections() == 0; }));
}

TEST_F(leaving, a_drain_lets_answers_finish_and_nothing_new_in) {
  ServerLimits limits;
  limits.linger_seconds = 0.2;  // for the one that has sent a request too many
  start(limits);
  Client streaming(port());
  Client waiting(port());
  Client idle(port());
  EXPECT_EQ(idle.ask(get("/")).status, 200);
  streaming.send(get("/hold"));
  const auto stream = api_.held();
  waiting.send(get("/hold") + get("/not-any-more"));
  const auto whole = api_.held();
  ASSERT_TRUE(stream && whole);
  stream->start();
  EXPECT_TRUE(stream->write("data: 1\n\n"));

  EXPECT_FALSE(server_->drain(0.01));
  EXPECT_EQ(idle.read_to_end(), "");
  EXPECT_FALSE(Client(port()).connected());
  EXPECT_FALSE(stream->is_cancelled() || whole->is_cancelled());

  std::future<bool> drained = std::async(std::launch::async, [this] { return server_->drain(20); });
  EXPECT_TRUE(stream->write("data: 2\n\n"));
  stream->end();
  whole->reply("whole");
  const Response response = streaming.response();
  EXPECT_EQ(response.body, "data: 1\n\ndata: 2\n\n");
  EXPECT_TRUE(response.is_whole);
  EXPECT_EQ(streaming.read_to_end(), "");
  const Response last = waiting.response();
  EXPECT_EQ(last.body, "whole");
  EXPECT_EQ(last.fields.at("connection"), "close");
  EXPECT_EQ(waiting.read_to_end(), "");
  EXPECT_TRUE(drained.get());
  EXPECT_EQ(server_->connections(), 0);
  EXPECT_FALSE(streaming.hung() || waiting.hung() || idle.hung());
}

TEST_F(leaving, after_stop_accepting_old_connections_go_on) {
  start();
  Client client(port());
  EXPECT_EQ(client.ask(get("/a")).status, 200);
  server_->stop_accepting();
  EXPECT_FALSE(Client(port()).connected());
  EXPECT_EQ(client.ask(get("/b")).status, 200);
}

TEST_F(leaving, an_abort_closes_everything_and_cancels_everyone) {
  start();
  Client streaming(port());
  Client idle(port());
  streaming.send(get("/hold"));
  const auto held = api_.held();
  ASSERT_TRUE(held);
  held->start();
  server_->abort();
  EXPECT_TRUE(held->wait_for_cancel());
  EXPECT_FALSE(streaming.response().is_whole);
  EXPECT_EQ(idle.read_to_end(), "");
  EXPECT_TRUE(server_->drain(20));
}

TEST_F(leaving, a_responder_outlives_its_server) {
  start();
  Client client(port());
  client.send(get("/hold"));
  const auto held = api_.held();
  ASSERT_TRUE(held);
  held->start();
  server_.reset();
  EXPECT_TRUE(held->is_cancelled());
  EXPECT_FALSE(held->write("late"));
  held->end();
}

}  // namespace
}  // namespace heed::test
