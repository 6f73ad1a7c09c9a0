// The route /v1/chat/completions.
#include "api/chat_request.h"
#include "api/chat_response.h"
#include "api/ongoing.h"
#include "api/openai.h"

namespace heed {
namespace {

class ChatStreaming : public ChatListener {
 public:
  ChatStreaming(ChatForm form, std::shared_ptr<Ongoing> ongoing)
      : stream_(std::move(form)), ongoing_(std::move(ongoing)) {}
  void on_delta(ChatDelta delta) override {
    std::string events = stream_.push(delta);
    if (!events.empty()) ongoing_->write(std::move(events));
  }
  void on_end(const Usage& usage) override {
    ongoing_->write(stream_.end(usage));
    ongoing_->end();
  }

 private:
  ChatStream stream_;
  std::shared_ptr<Ongoing> ongoing_;
};

class ChatCollecting : public ChatListener {
 public:
  ChatCollecting(ChatForm form, std::shared_ptr<Ongoing> ongoing)
      : whole_(std::move(form)), ongoing_(std::move(ongoing)) {}
  void on_delta(ChatDelta delta) override { whole_.push(std::move(delta)); }
  void on_end(const Usage& usage) override {
    if (whole_.was_cancelled()) return ongoing_->reply_error(stopped_error());
    ongoing_->reply(200, to_text(whole_.body(usage)));
  }

 private:
  ChatWhole whole_;
  std::shared_ptr<Ongoing> ongoing_;
};

ChatForm form_of(const ChatFields& fields, const ApiRequest& http, const Service& service) {
  const SamplingFields& sampling = fields.sampling;
  const char* object = sampling.stream ? "chat.completion.chunk" : "chat.completion";
  return {.head = answer_head("chatcmpl-", object, http, sampling, service),
          .n = sampling.n,
          .logprobs = fields.logprobs,
          .top_logprobs = fields.top_logprobs.value_or(0),
          .prompt_logprobs = sampling.prompt_logprobs.value_or(-1),
          .include_reasoning = fields.include_reasoning,
          .tokens_as_ids = sampling.tokens_as_ids,
          .return_token_ids = sampling.return_token_ids,
          .short_call_ids = name_of(service.dialect().tools) == "mistral",
          .include_usage = sampling.include_usage,
          .continuous_usage = sampling.include_usage && sampling.continuous_usage,
          .predictions = sampling.return_predictions};
}

// A request that has been read, and may have to wait for its pictures.
struct ChatAsked {
  Service& service;
  std::shared_ptr<Responder> responder;
  ChatRequest chat;
  ChatForm form;
  bool streams = false;
};

std::shared_ptr<Exchange> submit(ChatAsked& asked) {
  if (asked.form.return_token_ids || asked.form.continuous_usage) {
    Result<std::vector<int>> ids = asked.service.chat_tokens(asked.chat);
    if (!ids.ok()) return reply_error(*asked.responder, api_error(ids.error())), nullptr;
    asked.form.prompt_ids = *std::move(ids);
  }
  auto ongoing = std::make_shared<Ongoing>(asked.service, asked.responder, asked.streams);
  std::unique_ptr<ChatListener> listener;
  if (asked.streams) {
    listener = std::make_unique<ChatStreaming>(std::move(asked.form), ongoing);
  } else {
    listener = std::make_unique<ChatCollecting>(std::move(asked.form), ongoing);
  }
  Result<Ticket> ticket = asked.service.chat(std::move(asked.chat), std::move(listener));
  if (!ticket.ok()) return ongoing->fail(api_error(ticket.error())), nullptr;
  ongoing->add(*ticket);
  ongoing->submitted();
  return ongoing;
}

std::shared_ptr<Exchange> answer(Service& service, const FieldTable<ChatFields>& table, const Call& call) {
  std::optional<ApiError> error;
  ChatCompletionRequest request = read_chat(call.body, table, service, error);
  if (error) return reply_error(*call.responder, *error), nullptr;
  const auto asked =
      std::make_shared<ChatAsked>(ChatAsked{.service = service,
                                            .responder = call.responder,
                                            .chat = std::move(request.chat),
                                            .form = form_of(request.fields, call.request, service),
                                            .streams = request.fields.sampling.stream});
  return with_images(service, std::move(request.images),
                     [asked](LoadedParts loaded) -> std::shared_ptr<Exchange> {
                       if (loaded.error) return reply_error(*asked->responder, *loaded.error), nullptr;
                       loaded.give_to(asked->chat.generate);
                       return submit(*asked);
                     });
}

}  // namespace

void add_chat_routes(Api& api, Service& service) {
  const auto table = std::make_shared<const FieldTable<ChatFields>>(chat_table(bounds_of(service)));
  api.add({.method = "POST",
           .pattern = "/v1/chat/completions",
           .body = BodyKind::kJson,
           .handler = [&service, table](const Call& call) { return answer(service, *table, call); }});
}

void add_openai_routes(Api& api, Service& service) {
  add_model_routes(api, service);
  add_tokenizer_routes(api, service);
  add_completion_routes(api, service);
  add_chat_routes(api, service);
}

}  // namespace heed
