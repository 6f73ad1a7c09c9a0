#include "api/chat_request.h"

#include "api/chat_messages.h"

namespace heed {
namespace {

// Known to OpenAI's and vLLM's clients, and not done here.
FieldTable<ChatFields> idle_table() {
  return FieldTable<ChatFields>({
      refused("echo", "answers do not repeat the prompt", false),
      refused("chat_template", "templates come from the model's folder, for one from a request is a program"),
      refused("add_special_tokens", "the chat template writes all special tokens", false),
      refused("truncate_prompt_tokens", "a conversation is shown whole; leave out messages"),
      refused("truncation_side", "a conversation is shown whole; leave out messages"),
      refused("modalities", "answers are text", OrderedJson::array({"text"})),
      refused("audio", "answers are text"),
      refused("prediction", "there is no speculation by a given text"),
      refused("web_search_options", "nothing is searched for"),
      refused("functions", "it is deprecated; give 'tools'"),
      refused("function_call", "it is deprecated; give 'tool_choice'"),
      refused("verbosity", "the model has no such setting", "medium"),
      refused("media_io_kwargs", "there is nothing to set about how media are read"),
      refused("return_prompt_text", "ask for 'return_token_ids'", false),
  });
}

void check_together(const ChatFields& fields, const ChosenTool& tool, const Place& place) {
  if (fields.top_logprobs.value_or(0) > 0 && !fields.logprobs)
    place.at("top_logprobs").fail("'top_logprobs' needs 'logprobs' to be true");
  const bool differ = fields.max_tokens && fields.max_completion_tokens &&
                      *fields.max_tokens != *fields.max_completion_tokens;
  if (differ) {
    place.at("max_tokens")
        .fail("'max_tokens' and 'max_completion_tokens' differ; the second replaces the first");
  }
  const bool forces = tool.choice == ToolChoice::kRequired || tool.choice == ToolChoice::kNamed;
  const std::string& format = fields.sampling.format.given_by;
  if (forces && !format.empty()) {
    place.at("tool_choice")
        .fail("'tool_choice' asks for a tool call and '" + format +
              "' for another text; one of them is accepted");
  }
  if (fields.continue_final_message && fields.add_generation_prompt) {
    place.at("continue_final_message")
        .fail("'continue_final_message' needs 'add_generation_prompt' to be false");
  }
}

OrderedJson template_variables(const ChatFields& fields, const Place& place) {
  OrderedJson variables = OrderedJson::object();
  if (fields.template_variables != nullptr)
    variables = read_template_variables(*fields.template_variables, place.at("chat_template_kwargs"));
  if (fields.documents != nullptr) variables["documents"] = *fields.documents;
  if (fields.reasoning_effort.empty()) return variables;
  variables["reasoning_effort"] = fields.reasoning_effort;
  if (fields.reasoning_effort == "none" && !variables.contains("enable_thinking"))
    variables["enable_thinking"] = false;
  return variables;
}

}  // namespace

FieldTable<ChatFields> chat_table(const ModelBounds& bounds) {
  using C = ChatFields;
  FieldTable<C> table({
      field("messages", other(), &C::messages),
      field("tools", other(), &C::tools),
      field("tool_choice", other(), &C::tool_choice),
      field("parallel_tool_calls", boolean(), &C::parallel_tool_calls),
      field("logprobs", boolean(), &C::logprobs),
      field("top_logprobs", integer(0, bounds.limits.max_logprobs), &C::top_logprobs),
      field("max_tokens", integer(1, bounds.max_len), &C::max_tokens),
      field("max_completion_tokens", integer(1, bounds.max_len), &C::max_completion_tokens),
      field("chat_template_kwargs", object(), &C::template_variables),
      processor_field(bounds.images, &C::processor),
      field("documents", list(10'000), &C::documents),
      field("add_generation_prompt", boolean(), &C::add_generation_prompt),
      field("continue_final_message", boolean(), &C::continue_final_message),
      field("reasoning_effort", one_of({"none", "minimal", "low", "medium", "high", "xhigh", "max"}),
            &C::reasoning_effort),
      field("include_reasoning", boolean(), &C::include_reasoning),
      IdleField{"service_tier", one_of({"auto", "default"})},
  });
  table.append(idle_table());
  return table.embed(&C::sampling, sampling_table(bounds));
}

OrderedJson read_template_variables(const OrderedJson& value, const Place& place) {
  constexpr int64_t kMaxVariables = 100;
  if (std::ssize(value) > kMaxVariables) {
    place.fail("'" + place.path() + "' has " + std::to_string(value.size()) + " members; at most " +
               std::to_string(kMaxVariables) + " are accepted");
    return nullptr;
  }
  for (const char* own : {"messages", "tools", "add_generation_prompt", "chat_template", "tokenize"}) {
    if (value.contains(own)) {
      place.at(own).fail("'" + place.at(own).path() + "' is not a variable that a request may set here");
      return nullptr;
    }
  }
  return value;
}

bool knows_developer(const Service& service) {
  return service.text().chat_template_source.find("developer") != std::string::npos;
}

ChatCompletionRequest read_chat(const OrderedJson& body, const FieldTable<ChatFields>& table,
                                const Service& service, std::optional<ApiError>& error) {
  ChatCompletionRequest request;
  ChatFields& fields = request.fields;
  ChatRequest& chat = request.chat;
  const Place place(error);
  read_fields(body, table, fields, place);
  check_model(fields.sampling.model, service, error);
  if (fields.messages == nullptr) place.missing("messages");
  if (error) return request;
  request.images = ImageParts(image_rules(service));
  chat.messages =
      read_messages(*fields.messages, knows_developer(service), request.images, place.at("messages"));
  if (fields.processor != nullptr)
    read_processor_fields(*fields.processor, request.images, place.at("mm_processor_kwargs"));
  if (fields.tools != nullptr) {
    check_tools(*fields.tools, place.at("tools"));
    if (error) return request;
    chat.tools = *fields.tools;
  }
  ChosenTool tool;
  if (fields.tool_choice != nullptr)
    tool = read_tool_choice(*fields.tool_choice, fields.tools, place.at("tool_choice"));
  check_together(fields, tool, place);
  if (error) return request;
  chat.tool_choice = tool.choice;
  chat.tool_name = tool.name;
  chat.parallel_tool_calls = fields.parallel_tool_calls;
  chat.template_variables = template_variables(fields, place);
  chat.add_generation_prompt = fields.add_generation_prompt;
  chat.continue_final_message = fields.continue_final_message;
  chat.generate = generate_request(fields.sampling, service, place);
  chat.generate.max_tokens = fields.max_completion_tokens ? fields.max_completion_tokens : fields.max_tokens;
  chat.generate.logprobs = fields.logprobs ? fields.top_logprobs.value_or(0) : -1;
  return request;
}

}  // namespace heed
