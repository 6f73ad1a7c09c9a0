// A running server with a fake API, for tests.
#pragma once
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/json.h"
#include "server/server.h"
#include "tests/server/client.h"
#include "tests/server/fake_api.h"

namespace heed::test {

class ServerTest : public testing::Test {
 protected:
  void start(ServerOptions options = {}) {
    options.port = 0;
    options.log = [this](const std::string& line) {
      const std::lock_guard lock(mutex_);
      log_.push_back(line);
    };
    auto started = Server::start(std::move(options), api_);
    ASSERT_TRUE(started.ok()) << started.error().message;
    server_ = std::move(started).value();
  }
  void start(const ServerLimits& limits) {
    ServerOptions options;
    options.limits = limits;
    start(options);
  }
  int port() const { return server_->port(); }
  Response ask(std::string_view request) { return Client(port()).ask(request); }

  std::vector<std::string> log() {
    const std::lock_guard lock(mutex_);
    return log_;
  }
  // Waits for what must come about without another sign of it; false only after a very long time.
  static bool eventually(const std::function<bool()>& condition) {
    for (int tries = 0; tries < 10000; ++tries) {
      if (condition()) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    return false;
  }
  static std::string message(const Response& response) {
    const auto document = parse_json(response.body, "error");
    if (!document.ok() || !document->contains("error")) return "no error object: " + response.body;
    return document->at("error").at("message");
  }

 private:
  std::mutex mutex_;
  std::vector<std::string> log_;

 protected:
  FakeApi api_;
  std::unique_ptr<Server> server_;
};

}  // namespace heed::test
