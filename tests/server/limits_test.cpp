// Every limit, and what those cost who run into one: their own connection.
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <fstream>

#include "tests/server/fixture.h"

namespace heed::test {
namespace {

class server_limits : public ServerTest {};

ServerLimits small() {
  ServerLimits limits;
  limits.url_bytes = 100;
  limits.header_bytes = 1000;
  limits.body_bytes = 10000;
  return limits;
}

int64_t resident_bytes() {
  std::ifstream file("/proc/self/statm");
  int64_t pages = 0;
  int64_t resident = 0;
  file >> pages >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

TEST_F(server_limits, each_size_is_refused_by_its_name) {
  start(small());
  EXPECT_EQ(ask(get("/" + std::string(99, 'a'))).status, 200);
  for (const int length : {100, 200, 1000, 100000}) {
    const Response response = ask(get("/" + std::string(length, 'a')));
    EXPECT_EQ(response.status, 414) << length;
    EXPECT_EQ(message(response), "the URL is longer than 100 bytes");
  }
  EXPECT_EQ(ask(get("/", "X: " + std::string(900, 'a') + "\r\n")).status, 200);
  for (const int length : {1100, 5000, 100000}) {
    const Response response = ask(get("/", "X: " + std::string(length, 'a') + "\r\n"));
    EXPECT_EQ(response.status, 431) << length;
    EXPECT_EQ(message(response), "the header fields are longer than 1000 bytes");
  }
  EXPECT_EQ(ask(post("/", std::string(10000, 'a'))).status, 200);
  const Response response = ask(post("/", std::string(10001, 'a')));
  EXPECT_EQ(response.status, 413);
  EXPECT_EQ(message(response), "the body is longer than 10000 bytes");
  EXPECT_EQ(response.fields.at("connection"), "close");
}

TEST_F(server_limits, a_header_is_measured_as_a_whole_however_it_comes) {
  start(small());
  Client many(port());
  many.send("GET / HTTP/1.1\r\nHost: h\r\n");
  for (int i = 0; i < 100; ++i) many.send("A: 0123456789\r\n");
  EXPECT_EQ(many.response().status, 431);
  Client url(port());
  url.send("GET /");
  for (int i = 0; i < 50; ++i) url.send("0123456789");
  EXPECT_EQ(url.response().status, 414);
}

TEST_F(server_limits, a_chunked_body_is_measured_as_it_comes) {
  start(small());
  const std::string head = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
  Client client(port());
  std::string request = head;
  for (int i = 0; i < 11; ++i) request += "3e8\r\n" + std::string(1000, 'a') + "\r\n";
  EXPECT_EQ(client.ask(request).status, 413);
  Client extension(port());
  EXPECT_EQ(extension.ask(head + "1;" + std::string(200000, 'e')).status, 431);
  Client trailer(port());
  EXPECT_EQ(trailer.ask(head + "0\r\nX: " + std::string(200000, 't')).status, 431);
  EXPECT_EQ(api_.handled(), 0);
}

TEST_F(server_limits, a_gigabyte_is_refused_before_it_is_read) {
  start();
  Client announced(port());
  EXPECT_EQ(
      announced
          .ask("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1073741824\r\nExpect: 100-continue\r\n\r\n")
          .status,
      413);

  [[maybe_unused]] const int64_t before = resident_bytes();
  Client pushing(port());
  const std::string block(size_t{1} << 20, 'x');
  pushing.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1073741824\r\n\r\n");
  int sent = 0;
  while (sent < 1024 && pushing.send(block)) ++sent;
  EXPECT_EQ(pushing.response().status, 413);  // also for a client that reads only when it has sent all
  Client chunked(port());
  chunked.send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n40000000\r\n");
  sent = 0;
  while (sent < 1024 && chunked.send(block)) ++sent;
  EXPECT_EQ(chunked.response().status, 413);
#ifndef HEED_SANITIZED
  EXPECT_LT(resident_bytes() - before, int64_t{256} << 20);
#endif
  EXPECT_EQ(api_.handled(), 0);
}

TEST_F(server_limits, an_unauthorized_body_is_not_read) {
  ServerOptions options;
  options.api_keys = {"secret"};
  start(options);
  EXPECT_EQ(ask("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1073741824\r\n\r\n").status, 401);
}

TEST_F(server_limits, all_bodies_together_are_bounded) {
  ServerLimits limits;
  limits.all_body_bytes = 1000000;
  start(limits);
  const std::string head = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 800000\r\n\r\n";
  Client first(port());
  Client second(port());
  first.send(head + std::string(600000, 'a'));
  second.send(head + std::string(600000, 'b'));
  ASSERT_TRUE(eventually([this] { return log().size() == 1; }));  // one of them had to go
  first.send(std::string(200000, 'a'));
  second.send(std::string(200000, 'b'));
  const int statuses = first.response().status + second.response().status;
  EXPECT_EQ(statuses, 200 + 503);
  // What was held is given back, if not before the answer is there.
  EXPECT_TRUE(eventually([&] { return ask(head + std::string(800000, 'c')).status == 200; }));
}

TEST_F(server_limits, a_slow_header_and_a_slow_body_end_in_408) {
  ServerLimits limits;
  limits.header_seconds = 0.2;
  limits.body_seconds = 0.2;
  limits.idle_seconds = 0.4;
  start(limits);
  Client header(port());
  Client body(port());
  Client idle(port());
  header.send("GET / HTTP/1.1\r\nHost: ");
  body.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nabc");
  const Response slow_header = header.response();
  EXPECT_EQ(slow_header.status, 408);
  EXPECT_EQ(message(slow_header), "the request's header did not arrive in time");
  const Response slow_body = body.response();
  EXPECT_EQ(slow_body.status, 408);
  EXPECT_EQ(message(slow_body), "the body arrived at less than 4096 bytes per second");
  EXPECT_EQ(idle.read_to_end(), "");  // closed without a word
  EXPECT_FALSE(header.hung() || body.hung() || idle.hung());
}

TEST_F(server_limits, a_steady_body_may_take_longer_than_the_grace) {
  ServerLimits limits;
  limits.body_seconds = 0.5;
  limits.body_bytes_per_second = 100;
  start(limits);
  Client client(port());
  client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\n" + std::string(900, 'a'));
  std::this_thread::sleep_for(
      std::chrono::milliseconds(800));  // past the grace: 900 bytes bought nine seconds
  client.send(std::string(100, 'b'));
  EXPECT_EQ(client.response().status, 200);
}

TEST_F(server_limits, dribbling_clients_do_not_hold_up_others) {
  start();
  std::vector<std::unique_ptr<Client>> dribblers;
  for (int i = 0; i < 300; ++i) {
    dribblers.push_back(std::make_unique<Client>(port()));
    dribblers.back()->send(i % 2 == 0 ? "POST /a HTTP/1.1\r\nHost: h\r\nX-A: "
                                      : "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9999\r\n\r\n");
  }
  Client client(port());
  for (int round = 0; round < 20; ++round) {
    for (const auto& dribbler : dribblers) dribbler->send("a");
    EXPECT_EQ(client.ask(get("/ok")).status, 200);
  }
  EXPECT_EQ(api_.handled(), 20);
}

TEST_F(server_limits, connections_beyond_the_limit_are_told_to_return) {
  ServerLimits limits;
  limits.max_connections = 3;
  start(limits);
  std::vector<std::unique_ptr<Client>> kept;
  for (int i = 0; i < 3; ++i) {
    kept.push_back(std::make_unique<Client>(port()));
    EXPECT_EQ(kept.back()->ask(get("/")).status, 200);
  }
  const Response refused = ask(get("/"));
  EXPECT_EQ(refused.status, 503);
  EXPECT_EQ(refused.fields.at("retry-after"), "1");
  EXPECT_NE(message(refused).find("3 connections"), std::string::npos);
  EXPECT_EQ(kept[0]->ask(get("/")).status, 200);
  kept.pop_back();
  EXPECT_TRUE(eventually([this] { return ask(get("/")).status == 200; }));
}

// Two streams, of which nobody reads one. The other is written and read after every `stride` events: with 1
// the server has dealt with each event before the next is written.
void cut_off_one_of_two(FakeApi& api, int port, size_t event_bytes, int stride) {
  Client slow(port, 4096);
  Client good(port);
  slow.send(get("/hold"));
  const auto slow_held = api.held();
  good.send(get("/hold"));
  const auto good_held = api.held();
  ASSERT_TRUE(slow_held && good_held);
  slow_held->start();
  good_held->start();
  EXPECT_TRUE(good.read_until("\r\n\r\n").ends_with("\r\n\r\n"));
  const std::string event = "data: " + std::string(event_bytes, 'x') + "\n\n";
  int written = 0;
  while (written < 100000 && slow_held->write(event)) {
    if (written++ % stride > 0) continue;
    EXPECT_TRUE(good_held->write(event));
    good.read_until(event);
  }
  EXPECT_LT(written, 100000);
  EXPECT_TRUE(slow_held->wait_for_cancel());
  EXPECT_FALSE(good_held->is_cancelled());
  EXPECT_TRUE(good_held->write("data: last\n\n"));
  good_held->end();
  EXPECT_NE(good.read_until("0\r\n\r\n").find("data: last"), std::string::npos);
}

TEST_F(server_limits, a_stream_that_nobody_reads_is_cut_off_and_others_are_not) {
  ServerLimits limits;
  limits.unsent_bytes = 100000;
  start(limits);
  cut_off_one_of_two(api_, port(), 1000, 100);
  cut_off_one_of_two(api_, port(), 20000, 1);
  EXPECT_TRUE(eventually([this] { return server_->connections() == 0; }));
}

TEST_F(server_limits, a_whole_answer_that_nobody_reads_is_given_up) {
  ServerLimits limits;
  limits.send_seconds = 0.3;
  start(limits);
  Client client(port(), 4096);
  client.send(get("/big"));
  ASSERT_TRUE(eventually([this] { return api_.handled() == 1; }));
  EXPECT_TRUE(eventually([this] { return server_->connections() == 0; }));
  EXPECT_LT(client.read_to_end().size(), size_t{8} << 20);
}

TEST_F(server_limits, running_out_of_files_neither_ends_nor_spins_the_server) {
  start();
  EXPECT_EQ(ask(get("/")).status, 200);
  rlimit old{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &old), 0);
  std::vector<std::unique_ptr<Client>> clients;
  clients.push_back(std::make_unique<Client>(port()));
  ASSERT_EQ(clients[0]->ask(get("/")).status, 200);
  for (int i = 0; i < 20; ++i) clients.push_back(std::make_unique<Client>(0));  // sockets to connect later
  rlimit tight = old;
  tight.rlim_cur = static_cast<rlim_t>(clients.back()->fd()) + 1;
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &tight), 0);
  const auto cpu_of = [] {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    return static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           1e-6 * static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
  };
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port()));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  [[maybe_unused]] const double cpu_before = cpu_of();
  [[maybe_unused]] const auto begun = std::chrono::steady_clock::now();
  EXPECT_EQ(::connect(clients.back()->fd(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  ASSERT_TRUE(eventually([this] { return log().size() >= 3; }));  // two requests, and the trouble
  EXPECT_NE(log()[2].find("cannot accept connections"), std::string::npos) << log()[2];
  for (int i = 0; i < 50; ++i) {
    EXPECT_EQ(clients[0]->ask(get("/")).status, 200);
    std::this_thread::sleep_for(std::chrono::milliseconds(4));
  }
#ifndef HEED_SANITIZED
  const std::chrono::duration<double> wall = std::chrono::steady_clock::now() - begun;
  EXPECT_LT(cpu_of() - cpu_before, 0.5 * wall.count());  // a spinning thread would use nearly all of it
#endif
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &old), 0);
  EXPECT_EQ(clients.back()->ask(get("/waited")).status, 200);
}

// The clients live in a child, so that their sockets do not count against the server's files.
[[noreturn]] void hold_connections(int port, int count, int ready, int release) {
  std::vector<Client> clients;
  clients.reserve(count);
  int connected = 0;
  for (int i = 0; i < count; ++i) {
    clients.emplace_back(port);
    if (clients.back().connected()) ++connected;
  }
  char byte = 0;
  [[maybe_unused]] ssize_t done = ::write(ready, &connected, sizeof connected);
  done = ::read(release, &byte, 1);
  int answered = 0;
  for (size_t i = 0; i < clients.size(); i += 100) {
    if (clients[i].ask(get("/idle")).status == 200) ++answered;
  }
  done = ::write(ready, &answered, sizeof answered);
  done = ::read(release, &byte, 1);
  _exit(0);
}

TEST_F(server_limits, ten_thousand_idle_connections_are_kept) {
  rlimit files{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &files), 0);
  const rlimit wide{files.rlim_max, files.rlim_max};
  setrlimit(RLIMIT_NOFILE, &wide);
  const int count = static_cast<int>(std::min<rlim_t>(10000, files.rlim_max - 200));
  if (count < 10000) std::cout << "RLIMIT_NOFILE allows " << count << " connections only\n";
  int ready[2];
  int release[2];
  int port_pipe[2];
  ASSERT_TRUE(::pipe(ready) == 0 && ::pipe(release) == 0 && ::pipe(port_pipe) == 0);
  const pid_t child = ::fork();  // before the server's threads
  ASSERT_GE(child, 0);
  if (child == 0) {
    int port = 0;
    if (::read(port_pipe[0], &port, sizeof port) != sizeof port) _exit(1);
    hold_connections(port, count, ready[1], release[0]);
  }
  ServerLimits limits;
  limits.idle_seconds = 1000;
  start(limits);
  const int64_t before = resident_bytes();
  const int server_port = port();
  ASSERT_EQ(::write(port_pipe[1], &server_port, sizeof server_port), ssize_t{sizeof server_port});
  int connected = 0;
  ASSERT_EQ(::read(ready[0], &connected, sizeof connected), ssize_t{sizeof connected});
  EXPECT_EQ(connected, count);
  ASSERT_TRUE(eventually([&] { return server_->connections() == count; })) << server_->connections();
  const int64_t each = (resident_bytes() - before) / count;
  std::cout << count << " idle connections, " << each << " bytes of memory each\n";
  EXPECT_EQ(ask(get("/")).status, 200);
  ASSERT_EQ(::write(release[1], "x", 1), 1);
  int answered = 0;
  ASSERT_EQ(::read(ready[0], &answered, sizeof answered), ssize_t{sizeof answered});
  EXPECT_EQ(answered, (count + 99) / 100);
  ASSERT_EQ(::write(release[1], "x", 1), 1);
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_TRUE(eventually([this] { return server_->connections() == 0; }));
  for (const int fd : {ready[0], ready[1], release[0], release[1], port_pipe[0], port_pipe[1]}) ::close(fd);
}

}  // namespace
}  // namespace heed::test
