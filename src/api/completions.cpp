// The route /v1/completions.
#include "api/completions_request.h"
#include "api/completions_response.h"
#include "api/ongoing.h"
#include "api/openai.h"

namespace heed {
namespace {

CompletionForm form_of(CompletionRequest& request, const ApiRequest& http, const Service& service) {
  const CompletionFields& fields = request.fields;
  const SamplingFields& sampling = fields.sampling;
  CompletionForm form{.head = answer_head("cmpl-", "text_completion", http, sampling, service),
                      .n = sampling.n,
                      .echo = fields.echo,
                      .echo_only = fields.echo && fields.max_tokens == 0,
                      .logprobs = fields.logprobs,
                      .prompt_logprobs = sampling.prompt_logprobs.value_or(-1),
                      .awaits_prompt = request.generate.prompt_logprobs >= 0,
                      .tokens_as_ids = sampling.tokens_as_ids,
                      .return_token_ids = sampling.return_token_ids,
                      .include_usage = sampling.include_usage,
                      .continuous_usage = sampling.include_usage && sampling.continuous_usage,
                      .predictions = sampling.return_predictions};
  for (const CompletionPrompt& prompt : request.prompts) {
    form.prompts.push_back(
        {.text = prompt.text, .ids = prompt.ids, .first_bytes = service.token_bytes(prompt.ids.front())});
  }
  return form;
}

// The answer to all prompts of a request. Called on the text thread.
class CompletionAnswering {
 public:
  virtual ~CompletionAnswering() = default;
  virtual void push(int prompt, AnswerDelta delta) = 0;
  virtual void end(int prompt, const Usage& usage) = 0;
};

class CompletionStreaming : public CompletionAnswering {
 public:
  CompletionStreaming(CompletionForm form, std::shared_ptr<Ongoing> ongoing)
      : stream_(std::move(form)), ongoing_(std::move(ongoing)) {}
  void push(int prompt, AnswerDelta delta) override {
    std::string events = stream_.push(prompt, std::move(delta));
    if (!events.empty()) ongoing_->write(std::move(events));
  }
  void end(int prompt, const Usage& usage) override {
    std::string events = stream_.end(prompt, usage);
    if (!stream_.is_complete()) return;
    ongoing_->write(std::move(events));
    ongoing_->end();
  }

 private:
  CompletionStream stream_;
  std::shared_ptr<Ongoing> ongoing_;
};

class CompletionCollecting : public CompletionAnswering {
 public:
  CompletionCollecting(CompletionForm form, std::shared_ptr<Ongoing> ongoing)
      : whole_(std::move(form)), ongoing_(std::move(ongoing)) {}
  void push(int prompt, AnswerDelta delta) override { whole_.push(prompt, std::move(delta)); }
  void end(int prompt, const Usage& usage) override {
    whole_.end(prompt, usage);
    if (!whole_.is_complete()) return;
    if (whole_.was_cancelled()) return ongoing_->reply_error(stopped_error());
    ongoing_->reply(200, to_text(whole_.body()));
  }

 private:
  CompletionWhole whole_;
  std::shared_ptr<Ongoing> ongoing_;
};

class CompletionListener : public AnswerListener {
 public:
  CompletionListener(std::shared_ptr<CompletionAnswering> answering, int prompt)
      : answering_(std::move(answering)), prompt_(prompt) {}
  void on_delta(AnswerDelta delta) override { answering_->push(prompt_, std::move(delta)); }
  void on_end(const Usage& usage) override { answering_->end(prompt_, usage); }

 private:
  std::shared_ptr<CompletionAnswering> answering_;
  int prompt_;
};

std::shared_ptr<Exchange> answer(Service& service, const FieldTable<CompletionFields>& table,
                                 const Call& call) {
  std::optional<ApiError> error;
  CompletionRequest request = read_completion(call.body, table, service, error);
  if (error) return reply_error(*call.responder, *error), nullptr;
  CompletionForm form = form_of(request, call.request, service);
  const bool streams = request.fields.sampling.stream;
  auto ongoing = std::make_shared<Ongoing>(service, call.responder, streams);
  std::shared_ptr<CompletionAnswering> answering;
  if (streams) {
    answering = std::make_shared<CompletionStreaming>(std::move(form), ongoing);
  } else {
    answering = std::make_shared<CompletionCollecting>(std::move(form), ongoing);
  }
  for (size_t i = 0; i < request.prompts.size(); ++i) {
    GenerateRequest generate = request.generate;
    generate.prompt = std::move(request.prompts[i].ids);
    Result<Ticket> ticket = service.generate(
        std::move(generate), std::make_unique<CompletionListener>(answering, static_cast<int>(i)));
    if (!ticket.ok()) return ongoing->fail(api_error(ticket.error())), nullptr;
    ongoing->add(*ticket);
  }
  ongoing->submitted();
  return ongoing;
}

}  // namespace

void add_completion_routes(Api& api, Service& service) {
  const auto table =
      std::make_shared<const FieldTable<CompletionFields>>(completion_table(bounds_of(service)));
  api.add({.method = "POST",
           .pattern = "/v1/completions",
           .body = BodyKind::kJson,
           .handler = [&service, table](const Call& call) { return answer(service, *table, call); }});
}

}  // namespace heed
