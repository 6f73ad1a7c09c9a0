#include "api/responses_routes.h"

#include <chrono>
#include <optional>
#include <utility>

#include "api/ids.h"
#include "api/ongoing.h"
#include "api/responses_input.h"
#include "api/responses_render.h"
#include "api/responses_request.h"

namespace heed {
namespace {

int64_t now() {
  return std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch())
      .count();
}

ApiError no_response(const std::string& id) {
  return not_found_error("Response with id " + in_words(id) + " not found: it was never stored, or is gone");
}

// What the transport holds: remembers that it was a client who cancelled.
class ResponseExchange : public Exchange {
 public:
  ResponseExchange(std::shared_ptr<Ongoing> ongoing, std::shared_ptr<RunningResponse> running)
      : ongoing_(std::move(ongoing)), running_(std::move(running)) {}
  void cancel() override {
    running_->cancelled = true;
    ongoing_->cancel();
  }

 private:
  std::shared_ptr<Ongoing> ongoing_;
  std::shared_ptr<RunningResponse> running_;
};

struct ResponseAnswering {
  std::shared_ptr<Ongoing> ongoing;
  std::shared_ptr<RunningResponse> running;
  std::shared_ptr<ResponseStore> store;  // null: not to be stored
  OrderedJson items;                     // of the conversation so far, if it is to be stored
  bool streams = false;
};

class ResponseListener : public ChatListener {
 public:
  ResponseListener(ResponseAnswering answering, ResponsesRenderer renderer)
      : answering_(std::move(answering)), renderer_(std::move(renderer)) {}

  void on_delta(ChatDelta delta) override {
    std::string events = renderer_.push(std::move(delta));
    if (!events.empty()) answering_.ongoing->write(std::move(events));
  }

  void on_end(const Usage& usage) override {
    const Interruption interruption =
        answering_.running->cancelled ? Interruption::kCancelled : Interruption::kServer;
    std::string events = renderer_.finish(usage, interruption, now());
    const OrderedJson& response = renderer_.response();
    std::string object = to_text(response);
    if (answering_.store) store(response, object);
    if (answering_.streams) {
      answering_.ongoing->write(std::move(events));
      answering_.ongoing->end();
    } else if (response["status"] == "failed") {
      answering_.ongoing->reply_error(stopped_error());
    } else {
      answering_.ongoing->reply(200, std::move(object));
    }
  }

 private:
  void store(const OrderedJson& response, const std::string& object) {
    for (const OrderedJson& item : response["output"]) answering_.items.push_back(item);
    const bool complete = response["status"] == "completed" || response["status"] == "incomplete";
    answering_.store->replace(
        renderer_.id(),
        {.object = object, .items = to_text(answering_.items), .complete = complete, .running = nullptr});
  }

  ResponseAnswering answering_;
  ResponsesRenderer renderer_;
};

// A request that has been read, and may have to wait for its pictures.
struct ResponseAsked {
  ResponsesRequest request;
  OrderedJson previous;  // items of the conversation that it goes on from
  std::shared_ptr<Responder> responder;
};

class Responses : public std::enable_shared_from_this<Responses> {
 public:
  Responses(Service& service, ResponseStoreLimits limits)
      : service_(service), parser_(bounds_of(service)), store_(std::make_shared<ResponseStore>(limits)) {}

  std::shared_ptr<Exchange> create(const Call& call);
  void get(const Call& call) const;
  void remove(const Call& call) const;
  void cancel(const Call& call) const;

 private:
  // The request's conversation; items of the one that it goes on from, if it does.
  OrderedJson read(const OrderedJson& body, ResponsesRequest& request, const Place& place) const;
  void truncate(ResponsesRequest& request, const Place& place) const;
  std::shared_ptr<Exchange> submit(ResponseAsked& asked);

  Service& service_;
  ResponsesParser parser_;
  std::shared_ptr<ResponseStore> store_;
};

OrderedJson Responses::read(const OrderedJson& body, ResponsesRequest& request, const Place& place) const {
  request.images = ImageParts(image_rules(service_));
  parser_.read(body, request, place);
  if (!place.failed()) set_sampling(request, generate_request(request.sampling, service_, place));
  OrderedJson previous = OrderedJson::array();
  if (place.failed()) return previous;
  if (!request.previous_response_id.empty()) {
    const Place here = place.at("previous_response_id");
    const std::shared_ptr<const StoredResponse> stored = store_->find(request.previous_response_id);
    if (!stored) {
      here.fail("Previous response with id " + in_words(request.previous_response_id) + " not found",
                "previous_response_not_found");
    } else if (!stored->complete) {
      here.fail("the previous response has no answer to go on from");
    } else {
      Result<OrderedJson> items = parse_ordered_json(stored->items, "a stored response");
      if (items.ok()) previous = std::move(items).value();
    }
    if (place.failed()) return previous;
  }
  request.chat.messages =
      messages_of_items(request.instructions, previous, request.input, request.images, place);
  return previous;
}

void Responses::truncate(ResponsesRequest& request, const Place& place) const {
  std::optional<Error> error;
  const int answer = request.chat.generate.max_tokens.value_or(1);
  ChatRequest trial = request.chat;
  const auto fits = [&](const OrderedJson& messages) {
    trial.messages = messages;
    const Result<std::vector<int>> tokens = service_.chat_tokens(trial);
    if (!tokens.ok() && !error) error = tokens.error();
    return tokens.ok() && std::ssize(*tokens) + answer <= service_.max_model_len();
  };
  // What does not fit in the end either is refused by the service, with the figures.
  drop_oldest(request.chat.messages, fits);
  if (error) place.fail(*error);
}

std::shared_ptr<Exchange> Responses::create(const Call& call) {
  const auto asked = std::make_shared<ResponseAsked>();
  asked->responder = call.responder;
  ResponsesRequest& request = asked->request;
  std::optional<ApiError> error;
  asked->previous = read(call.body, request, Place(error));
  check_model(request.model, service_, error);
  if (error) return reply_error(*call.responder, *error), nullptr;
  return with_images(service_, std::move(request.images),
                     [self = shared_from_this(), asked](LoadedParts loaded) -> std::shared_ptr<Exchange> {
                       if (loaded.error) return reply_error(*asked->responder, *loaded.error), nullptr;
                       loaded.give_to(asked->request.chat.generate);
                       return self->submit(*asked);
                     });
}

std::shared_ptr<Exchange> Responses::submit(ResponseAsked& asked) {
  ResponsesRequest& request = asked.request;
  std::optional<ApiError> error;
  if (request.truncate) truncate(request, Place(error));
  if (error) return reply_error(*asked.responder, *error), nullptr;
  OrderedJson& items = asked.previous;
  request.blank["created_at"] = now();
  ResponsesRenderer renderer(std::move(request.blank),
                             {.stem = random_id(""),
                              .logprobs = request.chat.generate.logprobs,
                              .short_call_ids = name_of(service_.dialect().tools) == "mistral",
                              .events = request.stream});
  const std::string id = renderer.id();
  ResponseAnswering answering{.ongoing = std::make_shared<Ongoing>(service_, asked.responder, request.stream),
                              .running = std::make_shared<RunningResponse>(),
                              .streams = request.stream};
  const std::shared_ptr<Ongoing> ongoing = answering.ongoing;
  auto exchange = std::make_shared<ResponseExchange>(ongoing, answering.running);
  answering.running->exchange = exchange;
  if (request.store) {
    for (OrderedJson& item : request.input) items.push_back(std::move(item));
    store_->add(id, {.object = to_text(renderer.response()),
                     .items = "",
                     .complete = false,
                     .running = answering.running});
    answering.store = store_;
    answering.items = std::move(items);
  }
  if (request.stream) ongoing->write(renderer.begin());
  const Result<Ticket> ticket = service_.chat(
      std::move(request.chat), std::make_unique<ResponseListener>(std::move(answering), std::move(renderer)));
  if (!ticket.ok()) {
    store_->remove(id);
    ongoing->fail(api_error(ticket.error()));
    return nullptr;
  }
  ongoing->add(*ticket);
  ongoing->submitted();
  return exchange;
}

void Responses::get(const Call& call) const {
  if (call.request.query.find("stream=true") != std::string::npos) {
    return reply_error(*call.responder, {.message = "'stream' is not supported here: a stored response is "
                                                    "given as a whole",
                                         .param = "stream"});
  }
  const std::string& id = call.captures.at("id");
  const std::shared_ptr<const StoredResponse> stored = store_->find(id);
  if (!stored) return reply_error(*call.responder, no_response(id));
  call.responder->reply(200, "application/json", stored->object);
}

void Responses::remove(const Call& call) const {
  const std::string& id = call.captures.at("id");
  if (!store_->remove(id)) return reply_error(*call.responder, no_response(id));
  reply_json(*call.responder, {{"id", id}, {"object", "response"}, {"deleted", true}});
}

void Responses::cancel(const Call& call) const {
  const std::string& id = call.captures.at("id");
  const std::shared_ptr<const StoredResponse> stored = store_->find(id);
  if (!stored) return reply_error(*call.responder, no_response(id));
  Result<OrderedJson> object = parse_ordered_json(stored->object, "a stored response");
  if (!object.ok()) return reply_error(*call.responder, api_error(object.error()));
  if (stored->running) {
    (*object)["status"] = "cancelled";
    stored->running->cancelled = true;
    if (const std::shared_ptr<Exchange> exchange = stored->running->exchange.lock()) exchange->cancel();
  } else if ((*object)["status"] != "cancelled") {
    return reply_error(*call.responder, {.message = "Cannot cancel a response that has ended"});
  }
  reply_json(*call.responder, *object);
}

}  // namespace

void add_responses_routes(Api& api, Service& service, ResponseStoreLimits limits) {
  const auto responses = std::make_shared<Responses>(service, limits);
  // A handler that answers at once.
  const auto at_once = [responses](void (Responses::*handler)(const Call&) const) {
    return [responses, handler](const Call& call) -> std::shared_ptr<Exchange> {
      ((*responses).*handler)(call);
      return nullptr;
    };
  };
  api.add({.method = "POST",
           .pattern = "/v1/responses",
           .body = BodyKind::kJson,
           .handler = [responses](const Call& call) { return responses->create(call); }});
  api.add({.method = "GET", .pattern = "/v1/responses/{id}", .handler = at_once(&Responses::get)});
  api.add({.method = "DELETE", .pattern = "/v1/responses/{id}", .handler = at_once(&Responses::remove)});
  api.add({.method = "POST", .pattern = "/v1/responses/{id}/cancel", .handler = at_once(&Responses::cancel)});
}

}  // namespace heed
