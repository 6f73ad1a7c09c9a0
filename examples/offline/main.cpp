// The engine inside a program of your own: a few prompts answered side by side, without a server.
//
//   offline MODEL_FOLDER "first prompt" "second prompt" ...
#include <cstdio>
#include <future>
#include <memory>
#include <string>
#include <vector>

#include "serving/service.h"

namespace {

// Gathers one answer. Its calls come from a thread of the service's.
class Gather : public heed::AnswerListener {
 public:
  void on_delta(heed::AnswerDelta delta) override { text_ += delta.text; }
  void on_end(const heed::Usage&) override { done_.set_value(text_); }
  std::future<std::string> answer() { return done_.get_future(); }

 private:
  std::string text_;
  std::promise<std::string> done_;
};

heed::Status run(const std::string& folder, const std::vector<std::string>& prompts) {
  heed::Checkpoint checkpoint = TRY(heed::open_checkpoint(folder));
  const auto service = TRY(heed::Service::open(std::move(checkpoint), {}));
  std::vector<std::future<std::string>> answers;
  for (const std::string& prompt : prompts) {
    heed::GenerateRequest request;
    request.prompt = TRY(service->encode(prompt));
    request.sampling.temperature = 0;
    request.max_tokens = 32;
    auto gather = std::make_unique<Gather>();
    answers.push_back(gather->answer());
    TRY(service->generate(std::move(request), std::move(gather)));
  }
  for (size_t i = 0; i < prompts.size(); ++i)
    std::printf("%s ->%s\n", prompts[i].c_str(), answers[i].get().c_str());
  return {};
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: offline MODEL_FOLDER PROMPT...\n");
    return 2;
  }
  const heed::Status status = run(argv[1], std::vector<std::string>(argv + 2, argv + argc));
  if (status.ok()) return 0;
  std::fprintf(stderr, "offline: %s\n", status.error().message.c_str());
  return 1;
}
