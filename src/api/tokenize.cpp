// The routes /tokenize and /detokenize. Source: vLLM's entrypoints/serve/tokenize/protocol.py.
#include "api/chat_messages.h"
#include "api/chat_request.h"
#include "api/openai.h"

namespace heed {
namespace {

struct TokenizeFields {
  std::string model;
  std::optional<std::string> prompt;
  const OrderedJson* messages = nullptr;
  const OrderedJson* tools = nullptr;
  const OrderedJson* template_variables = nullptr;
  const OrderedJson* processor = nullptr;
  std::optional<bool> add_special_tokens;
  bool return_token_strs = false;
  bool add_generation_prompt = true, continue_final_message = false;
};

constexpr int64_t kMaxTokenizedBytes = int64_t{16} << 20;

FieldTable<TokenizeFields> tokenize_table(const ImageRules& images) {
  using T = TokenizeFields;
  return FieldTable<T>({
      field("model", text(1024), &T::model),
      field("prompt", text(kMaxTokenizedBytes), &T::prompt),
      field("messages", other(), &T::messages),
      field("tools", other(), &T::tools),
      field("chat_template_kwargs", object(), &T::template_variables),
      field("add_special_tokens", boolean(), &T::add_special_tokens),
      field("return_token_strs", boolean(), &T::return_token_strs),
      field("add_generation_prompt", boolean(), &T::add_generation_prompt),
      field("continue_final_message", boolean(), &T::continue_final_message),
      refused("chat_template", "templates come from the model's folder, for one from a request is a program"),
      processor_field(images, &T::processor),
      refused("media_io_kwargs", "there is nothing to set about how media are read"),
  });
}

// A conversation, to which nothing is added besides what the template writes.
ChatRequest read_tokenized_chat(const TokenizeFields& fields, const Service& service, ImageParts& images,
                                const Place& place) {
  ChatRequest chat;
  chat.messages = read_messages(*fields.messages, knows_developer(service), images, place.at("messages"));
  if (fields.processor != nullptr)
    read_processor_fields(*fields.processor, images, place.at("mm_processor_kwargs"));
  if (fields.tools != nullptr) {
    check_tools(*fields.tools, place.at("tools"));
    chat.tools = *fields.tools;
  }
  if (fields.template_variables != nullptr) {
    chat.template_variables =
        read_template_variables(*fields.template_variables, place.at("chat_template_kwargs"));
  }
  chat.add_generation_prompt = fields.add_generation_prompt;
  chat.continue_final_message = fields.continue_final_message;
  if (fields.add_special_tokens.value_or(false))
    place.at("add_special_tokens")
        .fail("'add_special_tokens' is for a 'prompt'; chat templates write their own");
  return chat;
}

void reply_ids(Responder& responder, const Service& service, const std::vector<int>& ids, bool with_strings) {
  OrderedJson strings = nullptr;
  if (with_strings && service.text().tokenizer) {
    strings = OrderedJson::array();
    for (const int id : ids) strings.push_back(service.text().tokenizer->token_of(id));
  }
  reply_json(responder, {{"count", ids.size()},
                         {"max_model_len", service.max_model_len()},
                         {"tokens", ids},
                         {"token_strs", strings}});
}

std::shared_ptr<Exchange> tokenize(Service& service, const FieldTable<TokenizeFields>& table,
                                   const Call& call) {
  std::optional<ApiError> error;
  const Place place(error);
  TokenizeFields fields;
  read_fields(call.body, table, fields, place);
  check_model(fields.model, service, error);
  if (fields.prompt.has_value() == (fields.messages != nullptr))
    place.at("prompt").fail("either 'prompt' or 'messages' is required");
  if (error) return reply_error(*call.responder, *error), nullptr;
  if (fields.messages == nullptr) {
    const auto ids = service.encode(*fields.prompt, fields.add_special_tokens.value_or(true));
    if (!ids.ok()) place.at("prompt").fail(ids.error());
    if (error) return reply_error(*call.responder, *error), nullptr;
    return reply_ids(*call.responder, service, *ids, fields.return_token_strs), nullptr;
  }
  ImageParts images(image_rules(service));
  const auto chat = std::make_shared<ChatRequest>(read_tokenized_chat(fields, service, images, place));
  if (error) return reply_error(*call.responder, *error), nullptr;
  return with_images(service, std::move(images),
                     [&service, chat, responder = call.responder, with_strings = fields.return_token_strs](
                         LoadedParts loaded) -> std::shared_ptr<Exchange> {
                       if (loaded.error) return reply_error(*responder, *loaded.error), nullptr;
                       loaded.give_to(chat->generate);
                       const Result<std::vector<int>> ids = service.chat_tokens(*chat);
                       if (!ids.ok()) return reply_error(*responder, api_error(ids.error())), nullptr;
                       return reply_ids(*responder, service, *ids, with_strings), nullptr;
                     });
}

struct DetokenizeFields {
  std::string model;
  const OrderedJson* tokens = nullptr;
};

std::shared_ptr<Exchange> detokenize(const Service& service, const Call& call) {
  static const FieldTable<DetokenizeFields> table({
      field("model", text(1024), &DetokenizeFields::model),
      field("tokens", other(), &DetokenizeFields::tokens),
  });
  constexpr int64_t kMaxIds = 4'000'000;
  std::optional<ApiError> error;
  const Place place(error);
  DetokenizeFields fields;
  read_fields(call.body, table, fields, place);
  check_model(fields.model, service, error);
  const Place tokens_place = place.at("tokens");
  if (fields.tokens == nullptr) tokens_place.fail("'tokens' is required");
  std::vector<int> ids;
  if (!error) ids = read_ids(*fields.tokens, bounds_of(service), kMaxIds, tokens_place);
  if (!error && !service.text().tokenizer) tokens_place.fail("this model has no tokenizer");
  if (error) return reply_error(*call.responder, *error), nullptr;
  reply_json(*call.responder, {{"prompt", service.decode(ids)}});
  return nullptr;
}

}  // namespace

void add_tokenizer_routes(Api& api, Service& service) {
  const auto post = [&](const char* pattern, std::function<std::shared_ptr<Exchange>(Call)> handler) {
    api.add({.method = "POST", .pattern = pattern, .body = BodyKind::kJson, .handler = std::move(handler)});
  };
  const auto table = std::make_shared<const FieldTable<TokenizeFields>>(tokenize_table(image_rules(service)));
  post("/tokenize", [&service, table](const Call& call) { return tokenize(service, *table, call); });
  post("/detokenize", [&service](const Call& call) { return detokenize(service, call); });
}

}  // namespace heed
