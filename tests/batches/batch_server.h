// A server with files and batches over a handler that stands for a model, without a network.
#pragma once
#include <algorithm>
#include <future>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "api/router.h"
#include "batches/batch_routes.h"
#include "batches/batch_service.h"
#include "tests/batches/fake_handler.h"

namespace heed {

struct Reply {
  int status = 0;
  std::string type;
  std::string text;
  Json json() const {
    auto parsed = parse_json(text, "reply");
    CHECK(parsed.ok(), parsed.error().message, text);
    return *std::move(parsed);
  }
  std::string code() const {
    const Json body = json();
    return body.contains("error") && body["error"]["code"].is_string() ? body["error"]["code"] : "";
  }
};

class PromisedReply : public Responder {
 public:
  void reply(int status, std::string type, std::string body, HeaderFields /*fields*/) override {
    promise.set_value({status, std::move(type), std::move(body)});
  }
  void start(int /*status*/, std::string /*type*/, HeaderFields /*fields*/) override {}
  bool write(std::string /*bytes*/) override { return false; }
  void end() override {}
  std::promise<Reply> promise;
};

class BatchServer {
 public:
  BatchServer(const std::string& folder, ApiHandler& model, const BatchLimits& limits = {}) {
    api.set_state(Api::State::kReady);
    for (const char* path : {"/v1/completions", "/v1/chat/completions"}) {
      api.add(
          {.method = "POST", .pattern = path, .body = BodyKind::kRaw, .handler = [&model](const Call& call) {
             return model.handle(call.request, call.responder);
           }});
    }
    auto opened = BatchService::open(folder, api, limits, [this](const std::string& line) {
      const std::lock_guard lock(mutex_);
      log_.push_back(line);
      changed_.notify_all();
    });
    CHECK(opened.ok(), opened.error().message);
    service = *std::move(opened);
    add_batch_routes(api, service.get());
  }

  Reply call(const std::string& method, const std::string& path, const std::string& body = "",
             const std::string& type = "application/json", const std::string& query = "") {
    auto responder = std::make_shared<PromisedReply>();
    auto reply = responder->promise.get_future();
    const auto exchange = api.handle(
        {.method = method, .path = path, .query = query, .headers = {{"content-type", type}}, .body = body},
        responder);
    return reply.get();
  }
  Reply get(const std::string& path, const std::string& query = "") {
    return call("GET", path, "", "", query);
  }

  Reply upload(const std::string& content, const std::string& filename = "in.jsonl",
               const std::string& purpose = "batch") {
    const std::string body = "--b\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\n" + purpose +
                             "\r\n--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"" +
                             filename + "\"\r\nContent-Type: application/octet-stream\r\n\r\n" + content +
                             "\r\n--b--\r\n";
    return call("POST", "/v1/files", body, "multipart/form-data; boundary=b");
  }
  std::string uploaded(const std::string& content) { return upload(content).json().at("id"); }

  Reply create(const std::string& file, const std::string& endpoint = "/v1/completions") {
    return call("POST", "/v1/batches",
                to_text(Json{{"input_file_id", file}, {"endpoint", endpoint}, {"completion_window", "24h"}}));
  }
  // Of the lines of the input.
  std::string created(const std::string& content) { return create(uploaded(content)).json().at("id"); }
  Json batch(const std::string& id) { return get("/v1/batches/" + id).json(); }
  std::string content(const Json& id) { return get("/v1/files/" + id.get<std::string>() + "/content").text; }

  void wait_log(const std::string& part) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] {
      return std::any_of(log_.begin(), log_.end(),
                         [&](const std::string& line) { return line.find(part) != std::string::npos; });
    });
  }
  // The batch once it has the status.
  Json wait_status(const std::string& id, const std::string& status) {
    wait_log(id + ": " + status);
    return batch(id);
  }

  Api api;

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::string> log_;

 public:
  std::unique_ptr<BatchService> service;  // goes first
};

}  // namespace heed
