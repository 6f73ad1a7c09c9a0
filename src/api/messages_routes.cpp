#include "api/messages_routes.h"

#include <mutex>
#include <optional>
#include <utility>

#include "api/ids.h"
#include "api/messages_render.h"
#include "api/messages_request.h"
#include "api/ongoing.h"
#include "api/sampling_fields.h"

namespace heed {
namespace {

// What is written while the first event is not known yet waits for it: it tells the size of the prompt, and
// the answer may begin before the submission of the request has returned.
class Stream {
 public:
  explicit Stream(std::shared_ptr<Ongoing> ongoing) : ongoing_(std::move(ongoing)) {}

  void begin(std::string first) {
    const std::lock_guard lock(mutex_);
    begun_ = true;
    ongoing_->write(std::move(first) + std::move(waiting_));
    if (ended_) ongoing_->end();
  }
  void write(std::string bytes) {
    const std::lock_guard lock(mutex_);
    if (begun_) return ongoing_->write(std::move(bytes));
    waiting_ += bytes;
  }
  void end() {
    const std::lock_guard lock(mutex_);
    ended_ = true;
    if (begun_) ongoing_->end();
  }

 private:
  const std::shared_ptr<Ongoing> ongoing_;
  std::mutex mutex_;
  bool begun_ = false, ended_ = false;
  std::string waiting_;
};

class StreamListener : public ChatListener {
 public:
  StreamListener(std::shared_ptr<Stream> stream, MessagesRenderer renderer)
      : stream_(std::move(stream)), renderer_(std::move(renderer)) {}

  void on_delta(ChatDelta delta) override {
    std::string events = renderer_.push(std::move(delta));
    if (!events.empty()) stream_->write(std::move(events));
  }
  void on_end(const Usage& usage) override {
    std::string events = renderer_.finish(usage);
    stream_->write(renderer_.cut_off() ? messages_error_event(stopped_error()) : std::move(events));
    stream_->end();
  }

 private:
  std::shared_ptr<Stream> stream_;
  MessagesRenderer renderer_;
};

class WholeListener : public ChatListener {
 public:
  WholeListener(std::shared_ptr<Ongoing> ongoing, MessagesRenderer renderer)
      : ongoing_(std::move(ongoing)), renderer_(std::move(renderer)) {}

  void on_delta(ChatDelta delta) override { renderer_.push(std::move(delta)); }
  void on_end(const Usage& usage) override {
    renderer_.finish(usage);
    if (renderer_.cut_off()) return ongoing_->reply_error(stopped_error());
    ongoing_->reply(200, to_text(renderer_.message()));
  }

 private:
  std::shared_ptr<Ongoing> ongoing_;
  MessagesRenderer renderer_;
};

void refuse(Responder& responder, const ApiError& error) {
  reply_error(responder, anthropic_error(error), anthropic_error_form);
}

// The request, or nothing after an error was replied.
std::optional<MessagesRequest> read(const Call& call, bool counting, const Service& service) {
  std::optional<ApiError> error;
  const Place place(error);
  MessagesRequest request{.images = ImageParts(image_rules(service))};
  SamplingFields defaults;
  request.chat.generate = generate_request(defaults, service, place);
  if (!error) read_messages_request(call.body, counting, request, place);
  if (!error) check_model(request.model, service, error);
  if (!error) return request;
  refuse(*call.responder, *error);
  return std::nullopt;
}

std::shared_ptr<Exchange> submit(MessagesRequest& request, const std::shared_ptr<Responder>& responder,
                                 Service& service) {
  const bool streams = request.stream;
  const std::string stem = random_id("");
  const auto ongoing = std::make_shared<Ongoing>(service, responder, streams, anthropic_error_form);
  const auto stream = std::make_shared<Stream>(ongoing);
  MessagesRenderer renderer(request.model, stem, name_of(service.dialect().tools) == "mistral");
  std::unique_ptr<ChatListener> listener;
  if (streams) {
    listener = std::make_unique<StreamListener>(stream, std::move(renderer));
  } else {
    listener = std::make_unique<WholeListener>(ongoing, std::move(renderer));
  }
  const Result<Ticket> ticket = service.chat(std::move(request.chat), std::move(listener));
  if (!ticket.ok()) {
    ongoing->fail(anthropic_error(api_error(ticket.error())));
    return nullptr;
  }
  ongoing->add(*ticket);
  if (streams) stream->begin(begin_message(request.model, stem, ticket->prompt_tokens));
  ongoing->submitted();
  return ongoing;
}

void reply_count(const MessagesRequest& request, Responder& responder, const Service& service) {
  const Result<std::vector<int>> tokens = service.chat_tokens(request.chat);
  if (!tokens.ok()) return refuse(responder, api_error(tokens.error()));
  reply_json(responder, {{"input_tokens", tokens->size()}});
}

std::shared_ptr<Exchange> take(const Call& call, bool counting, Service& service) {
  std::optional<MessagesRequest> read_request = read(call, counting, service);
  if (!read_request) return nullptr;
  const auto request = std::make_shared<MessagesRequest>(*std::move(read_request));
  return with_images(service, std::move(request->images),
                     [request, counting, &service,
                      responder = call.responder](LoadedParts loaded) -> std::shared_ptr<Exchange> {
                       if (loaded.error) return refuse(*responder, *loaded.error), nullptr;
                       loaded.give_to(request->chat.generate);
                       if (!counting) return submit(*request, responder, service);
                       return reply_count(*request, *responder, service), nullptr;
                     });
}

}  // namespace

void add_messages_routes(Api& api, Service& service) {
  api.add({.method = "POST",
           .pattern = "/v1/messages",
           .body = BodyKind::kJson,
           .handler = [&service](const Call& call) { return take(call, false, service); },
           .error_form = anthropic_error_form});
  api.add({.method = "POST",
           .pattern = "/v1/messages/count_tokens",
           .body = BodyKind::kJson,
           .handler = [&service](const Call& call) { return take(call, true, service); },
           .error_form = anthropic_error_form});
  // Whatever else a client looks for here, such as batches: found missing in the form that it reads.
  for (const char* method : {"GET", "POST", "DELETE"}) {
    api.add({.method = method,
             .pattern = "/v1/messages/{rest...}",
             .handler = [](const Call& call) -> std::shared_ptr<Exchange> {
               refuse(*call.responder, not_found_error("there is nothing at " + in_words(call.request.path)));
               return nullptr;
             },
             .error_form = anthropic_error_form});
  }
}

}  // namespace heed
