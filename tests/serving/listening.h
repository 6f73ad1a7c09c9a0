// Listeners that keep what they hear, for tests of a Service on the bundled model.
#pragma once
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "serving/service.h"
#include "tests/engine/goldens.h"

namespace heed {

struct HeardChoice {
  std::string text, content, reasoning;
  std::map<int, std::pair<std::string, std::string>> calls;  // index -> name, arguments
  std::vector<int> ids;
  std::vector<TokenLogprob> logprobs, prompt_logprobs;
  std::optional<EndReason> end;
  std::string stop_string;
  std::optional<int> stop_id;
  std::vector<std::string> pieces;
};

struct HeardAll {
  std::vector<HeardChoice> choices = {};
  Usage usage = {};
};

class Recorder : public AnswerListener, public ChatListener {
 public:
  explicit Recorder(int n) { all_.choices.resize(static_cast<size_t>(n)); }
  std::future<HeardAll> result() { return done_.get_future(); }

  void on_delta(AnswerDelta delta) override { take(delta); }
  void on_delta(ChatDelta delta) override {
    HeardChoice& choice = take(delta.answer);
    choice.content += delta.message.content;
    choice.reasoning += delta.message.reasoning;
    for (const ToolCallDelta& call : delta.message.tool_calls) {
      choice.calls[call.index].first += call.name;
      choice.calls[call.index].second += call.arguments;
    }
  }
  void on_end(const Usage& usage) override {
    all_.usage = usage;
    done_.set_value(all_);
  }

 private:
  HeardChoice& take(AnswerDelta& delta) {
    HeardChoice& choice = all_.choices[static_cast<size_t>(delta.choice)];
    EXPECT_FALSE(choice.end.has_value()) << "a delta after the last";
    choice.text += delta.text;
    if (!delta.text.empty()) choice.pieces.push_back(delta.text);
    choice.ids.insert(choice.ids.end(), delta.ids.begin(), delta.ids.end());
    choice.logprobs.insert(choice.logprobs.end(), delta.logprobs.begin(), delta.logprobs.end());
    if (!delta.prompt_logprobs.empty()) choice.prompt_logprobs = delta.prompt_logprobs;
    choice.end = delta.end;
    choice.stop_string = delta.stop_string;
    choice.stop_id = delta.stop_id;
    return choice;
  }

  HeardAll all_;
  std::promise<HeardAll> done_;
};

inline Result<HeardAll> hear(Service& service, GenerateRequest request) {
  auto recorder = std::make_unique<Recorder>(std::max(request.n, 0));
  auto result = recorder->result();
  TRY(service.generate(std::move(request), std::move(recorder)));
  return result.get();
}

inline Result<HeardAll> hear(Service& service, ChatRequest request) {
  auto recorder = std::make_unique<Recorder>(std::max(request.generate.n, 0));
  auto result = recorder->result();
  TRY(service.chat(std::move(request), std::move(recorder)));
  return result.get();
}

inline std::unique_ptr<Service> serve(const std::string& folder, EngineOptions engine = {}) {
  engine.runner.dtype = "float32";
  return Service::open(open_checkpoint(folder).value(), {.engine = engine}).value();
}

}  // namespace heed
