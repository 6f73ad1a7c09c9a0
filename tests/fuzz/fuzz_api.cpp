// Requests to an Api with a live Service behind it, on the bundled model with a short context. The first byte
// chooses the route, the second how the client leaves; the rest is the body. Every request gets exactly one
// answer, whatever it says.
#include <algorithm>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <string>

#include "api/openai.h"
#include "base/check.h"

namespace {

using namespace heed;

class Checker : public Responder {
 public:
  explicit Checker(int takes_writes) : takes_writes_(takes_writes) {}

  void reply(int status, std::string content_type, std::string body, HeaderFields fields) override {
    CHECK(status >= 200 && status < 600, status);
    CHECK(!content_type.empty());
    for (const auto& [name, value] : fields)
      CHECK(value.find_first_of("\r\n") == std::string::npos, name, value);
    if (content_type == "application/json") CHECK(Json::accept(body), body);
    const std::lock_guard lock(mutex_);
    CHECK(!begun_ && !ended_, "a second answer");
    begun_ = ended_ = true;
    done_.notify_all();
  }
  void start(int status, std::string, HeaderFields) override {
    const std::lock_guard lock(mutex_);
    CHECK(!begun_, "a second answer", status);
    begun_ = true;
  }
  bool write(std::string bytes) override {
    const std::lock_guard lock(mutex_);
    CHECK(begun_ && !ended_);
    CHECK(bytes.starts_with("data: ") && bytes.ends_with("\n\n"), bytes);
    return takes_writes_-- > 0;
  }
  void end() override {
    const std::lock_guard lock(mutex_);
    CHECK(begun_ && !ended_, "a second end");
    ended_ = true;
    done_.notify_all();
  }

  void wait() {
    std::unique_lock lock(mutex_);
    done_.wait(lock, [&] { return ended_; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable done_;
  bool begun_ = false, ended_ = false;
  int takes_writes_;
};

struct Server {
  std::unique_ptr<Service> service;
  Api api;
  Server() {
    Checkpoint checkpoint = open_checkpoint(std::string(HEED_SOURCE_DIR) + "/models/bard").value();
    ServiceOptions options;
    options.model_name = "bard";
    options.tool_parser = "hermes";
    options.reasoning_parser = "think";
    options.engine.runner.threads = 1;
    options.engine.runner.max_len = 96;
    service = Service::open(std::move(checkpoint), options).value();
    add_openai_routes(api, *service);
    api.set_state(Api::State::kReady);
  }
};

void clamp(OrderedJson& body, const char* field, int most) {
  const auto found = body.find(field);
  if (found != body.end() && found->is_number() && *found > most) *found = most;
}

// The same request, with less to generate: the fuzzer is after what happens, not how often.
std::string made_small(std::string text) {
  Result<OrderedJson> body = parse_ordered_json(text, "body");
  if (!body.ok() || !body->is_object()) return text;
  if (!body->contains("max_tokens") && !body->contains("max_completion_tokens")) (*body)["max_tokens"] = 8;
  clamp(*body, "max_tokens", 8);
  clamp(*body, "max_completion_tokens", 8);
  clamp(*body, "n", 3);
  const auto prompt = body->find("prompt");
  constexpr size_t kMaxPrompts = 4;
  if (prompt != body->end() && prompt->is_array() && prompt->size() > kMaxPrompts &&
      !prompt->front().is_number())
    prompt->erase(prompt->begin() + kMaxPrompts, prompt->end());
  return to_text(*body);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static Server server;
  static const char* const kPaths[] = {"/v1/chat/completions", "/v1/completions", "/tokenize", "/detokenize"};
  if (size < 2) return 0;
  ApiRequest request{.method = "POST", .path = kPaths[data[0] % std::size(kPaths)]};
  request.headers["content-type"] = "application/json";
  request.body = made_small(std::string(reinterpret_cast<const char*>(data) + 2, size - 2));
  const int leaving = data[1];
  const auto checker = std::make_shared<Checker>(leaving % 4 == 1 ? leaving / 4 % 8 : INT32_MAX);
  const std::shared_ptr<Exchange> exchange = server.api.handle(std::move(request), checker);
  if (exchange && leaving % 4 == 2) exchange->cancel();
  checker->wait();
  if (exchange && leaving % 4 == 3) exchange->cancel();
  return 0;
}
