#include "api/responses_request.h"

#include <array>
#include <charconv>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "api/chat_messages.h"
#include "api/chat_request.h"
#include "api/responses_input.h"

namespace heed {
namespace {

constexpr int64_t kMaxResponsesTools = 4096;
constexpr int64_t kMaxModelBytes = 1024;
constexpr int64_t kMaxTopLogprobs = 20;
constexpr int64_t kMaxMetadata = 16;
constexpr int64_t kMaxMetadataName = 64;
constexpr int64_t kMaxMetadataValue = 512;

// The body's fields as they come; pointers into it.
struct ResponsesFields {
  ResponsesRequest* out = nullptr;
  const OrderedJson* input = nullptr;
  const OrderedJson* tools = nullptr;
  const OrderedJson* tool_choice = nullptr;
  const OrderedJson* metadata = nullptr;
  const OrderedJson* template_variables = nullptr;
  const OrderedJson* processor = nullptr;
  SamplingFields sampling;
  OrderedJson text_format, effort, user, safety_identifier, prompt_cache_key;
  std::optional<int64_t> max_tokens;
  int64_t top_logprobs = 0;
  bool logprobs = false;
  std::string truncation = "disabled";
  std::string verbosity;
};

GenerateRequest& generate(ResponsesFields& fields) { return fields.out->chat.generate; }

using TakeResponses = void (*)(ResponsesFields&, const OrderedJson&, const Place&);

void take_include(ResponsesFields& fields, const OrderedJson& value, const Place& place) {
  const FieldShape shape = one_of({"message.output_text.logprobs", "reasoning.encrypted_content"});
  if (!check_elements(shape, value, place)) return;
  for (const OrderedJson& name : value) {
    if (name == "message.output_text.logprobs") fields.logprobs = true;
  }
}

void take_metadata(ResponsesFields& fields, const OrderedJson& value, const Place& place) {
  if (std::ssize(value) > kMaxMetadata)
    return place.expected(value, "an object of at most " + std::to_string(kMaxMetadata) + " members");
  for (const auto& item : value.items()) {
    const Place here = place.at(item.key());
    if (std::ssize(item.key()) > kMaxMetadataName)
      return here.fail("names in 'metadata' are at most " + std::to_string(kMaxMetadataName) + " bytes long");
    if (!check_shape(text(kMaxMetadataValue), item.value(), here)) return;
  }
  fields.metadata = &value;
}

struct Reasoning {
  std::string effort;
};

void take_reasoning(ResponsesFields& fields, const OrderedJson& value, const Place& place) {
  static const FieldTable<Reasoning> table({
      field("effort", one_of({"none", "minimal", "low", "medium", "high", "xhigh", "max"}),
            &Reasoning::effort),
      refused("summary", "the reasoning itself is given, not a summary", "auto"),
      refused("generate_summary", "the reasoning itself is given, not a summary", "auto"),
      refused("context", "the chat template decides what it shows of earlier reasoning", "auto"),
      refused("mode", "there is one mode here", "standard"),
  });
  Reasoning reasoning;
  read_fields(value, table, reasoning, place);
  if (place.failed() || reasoning.effort.empty()) return;
  fields.effort = reasoning.effort;
}

struct TextFormat {
  std::string type;
  std::string name;
  const OrderedJson* schema = nullptr;
};

void read_format(ResponsesFields& fields, const OrderedJson& value, const Place& place) {
  static const FieldTable<TextFormat> table({
      field("type", one_of({"text", "json_object", "json_schema"}), &TextFormat::type),
      field("name", text(kMaxNameBytes, 1), &TextFormat::name),
      field("schema", object(), &TextFormat::schema),
      harmless("description"),
      harmless("strict"),
  });
  TextFormat format;
  read_fields(value, table, format, place);
  if (place.failed()) return;
  fields.text_format = value;
  OutputFormat& out = generate(fields).format;
  if (format.type == "json_object") {
    out.kind = OutputFormat::Kind::kJsonObject;
  } else if (format.type == "json_schema") {
    if (format.schema == nullptr || format.name.empty())
      return place.expected(value, "an object with 'type', 'name' and 'schema'");
    out = {.kind = OutputFormat::Kind::kJsonSchema, .schema = *format.schema};
  } else if (format.type.empty()) {
    place.expected(value, "an object with 'type'");
  }
}

struct TextConfig {
  const OrderedJson* format = nullptr;
};

void take_text(ResponsesFields& fields, const OrderedJson& value, const Place& place) {
  static const FieldTable<TextConfig> table({
      field("format", object(), &TextConfig::format),
      refused("verbosity", "this model has no such setting", "medium"),
  });
  TextConfig config;
  read_fields(value, table, config, place);
  if (!place.failed() && config.format != nullptr) read_format(fields, *config.format, place.at("format"));
}

struct ResponsesStreamOptions {};
void take_responses_stream_options(ResponsesFields&, const OrderedJson& value, const Place& place) {
  static const FieldTable<ResponsesStreamOptions> table({
      refused("include_obfuscation", "nothing is added to events", false),
  });
  ResponsesStreamOptions options;
  read_fields(value, table, options, place);
}

struct ResponsesTool {
  std::string type;
  std::string name;
  const OrderedJson* description = nullptr;
  const OrderedJson* parameters = nullptr;
  const OrderedJson* strict = nullptr;
};

// The tool as a response shows it; as chat completions have it, it joins `tools`.
OrderedJson read_responses_tool(const OrderedJson& value, OrderedJson& tools, const Place& place) {
  static const FieldTable<ResponsesTool> table({
      field("type", one_of({"function"}), &ResponsesTool::type),
      field("name", text(kMaxNameBytes, 1), &ResponsesTool::name),
      field("description", text(kMaxTextBytes), &ResponsesTool::description),
      field("parameters", object(), &ResponsesTool::parameters),
      field("strict", boolean(), &ResponsesTool::strict),
      refused("defer_loading", "the model sees all tools", false),
      refused("allowed_callers", "only the model itself calls tools here", OrderedJson::array({"direct"})),
      refused("output_schema", "nothing here reads it"),
      refused("async", "calls are not asynchronous here", false),
  });
  if (value.is_object() && value.contains("type") && value["type"] != "function") {
    place.at("type").fail("tools of type " + in_words(value["type"]) +
                          R"( are not supported: only "function" is)");
    return nullptr;
  }
  ResponsesTool tool;
  read_fields(value, table, tool, place);
  for (const char* name : {"type", "name"}) {
    if (!place.failed() && (!value.contains(name) || value[name].is_null())) place.missing(name);
  }
  if (place.failed()) return nullptr;
  const auto given = [](const OrderedJson* field) {
    return field == nullptr ? OrderedJson(nullptr) : *field;
  };
  OrderedJson function = {{"name", tool.name}};
  if (tool.description != nullptr) function["description"] = *tool.description;
  function["parameters"] = tool.parameters != nullptr
                               ? *tool.parameters
                               : OrderedJson{{"type", "object"}, {"properties", OrderedJson::object()}};
  if (tool.strict != nullptr) function["strict"] = *tool.strict;
  tools.push_back({{"type", "function"}, {"function", std::move(function)}});
  return {{"type", "function"},
          {"name", tool.name},
          {"description", given(tool.description)},
          {"parameters", given(tool.parameters)},
          {"strict", given(tool.strict)}};
}

// The tools as the response shows them.
OrderedJson read_tools(const ResponsesFields& fields, const Place& place) {
  OrderedJson shown = OrderedJson::array();
  if (fields.tools == nullptr || !check_shape(list(kMaxResponsesTools), *fields.tools, place)) return shown;
  OrderedJson tools = OrderedJson::array();
  int64_t index = 0;
  for (const OrderedJson& tool : *fields.tools) {
    shown.push_back(read_responses_tool(tool, tools, place.at(index++)));
    if (place.failed()) return shown;
  }
  if (!tools.empty()) fields.out->chat.tools = std::move(tools);
  return shown;
}

struct NamedTool {
  std::string type;
  std::string name;
};

void read_tool_choice(const ResponsesFields& fields, const Place& place) {
  static const FieldTable<NamedTool> table({
      field("type", one_of({"function"}), &NamedTool::type),
      field("name", text(kMaxNameBytes, 1), &NamedTool::name),
  });
  ChatRequest& chat = fields.out->chat;
  const OrderedJson& value = *fields.tool_choice;
  if (value.is_object()) {
    NamedTool named;
    read_fields(value, table, named, place);
    if (place.failed()) return;
    if (named.type.empty()) return place.expected(value, "an object with 'type' and 'name'");
    if (!offers(chat.tools, named.name))
      return place.at("name").fail("'tool_choice.name' names none of the tools");
    chat.tool_choice = ToolChoice::kNamed;
    chat.tool_name = named.name;
    return;
  }
  if (!check_shape(one_of({"none", "auto", "required"}), value, place)) return;
  if (value == "none") chat.tool_choice = ToolChoice::kNone;
  if (value == "required") {
    chat.tool_choice = ToolChoice::kRequired;
    if (chat.tools.is_null()) place.fail("'tool_choice' asks for a tool, and the request has no tools");
  }
}

template <class T, T ResponsesRequest::*member>
void take_own(ResponsesFields& fields, const OrderedJson& value, const Place&) {
  fields.out->*member = value.get<T>();
}

FieldTable<ResponsesFields> own_rows() {
  return std::vector<Field<ResponsesFields>>({
      field("model", text(kMaxModelBytes, 1), take_own<std::string, &ResponsesRequest::model>),
      field("input", other(), &ResponsesFields::input),
      field("instructions", text(kMaxTextBytes), take_own<std::string, &ResponsesRequest::instructions>),
      field("max_output_tokens", integer(1, kMaxInt), &ResponsesFields::max_tokens),
      field("tools", other(), &ResponsesFields::tools),
      field("tool_choice", other(), &ResponsesFields::tool_choice),
      field("parallel_tool_calls", boolean(),
            TakeResponses([](ResponsesFields& fields, const OrderedJson& value, const Place&) {
              fields.out->chat.parallel_tool_calls = value.get<bool>();
            })),
      field("text", object(), take_text),
      field("reasoning", object(), take_reasoning),
      field("chat_template_kwargs", object(), &ResponsesFields::template_variables),
      field("stream", boolean(), take_own<bool, &ResponsesRequest::stream>),
      field("stream_options", object(), take_responses_stream_options),
      field("store", boolean(), take_own<bool, &ResponsesRequest::store>),
      field("previous_response_id", text(kMaxNameBytes, 1),
            take_own<std::string, &ResponsesRequest::previous_response_id>),
      field("truncation", one_of({"auto", "disabled"}), &ResponsesFields::truncation),
      field("top_logprobs", integer(0, kMaxTopLogprobs), &ResponsesFields::top_logprobs),
      field("include", list(kMaxMetadata), take_include),
      field("metadata", object(), take_metadata),
      field("user", text(kMaxMetadataValue), &ResponsesFields::user),
      field("safety_identifier", text(kMaxMetadataValue), &ResponsesFields::safety_identifier),
      field("prompt_cache_key", text(kMaxMetadataValue), &ResponsesFields::prompt_cache_key),
      field("service_tier", one_of({"auto", "default"}),
            TakeResponses([](ResponsesFields&, const OrderedJson&, const Place&) {})),
      refused("prompt_cache_retention", "prompts are kept in memory only", "in_memory"),
      refused("prompt_cache_options", "every prefix is cached anyway"),
      refused("background", "answers are made while the client waits", false),
      refused("conversation",
              "there are no stored conversations; previous_response_id goes on from an answer"),
      refused("prompt", "there are no stored prompts"),
      refused("max_tool_calls", "it is about tools that the server runs, and there are none"),
      refused("context_management", "the server does not compact conversations", OrderedJson::array()),
      refused("moderation", "there is no moderation here"),
      refused("image", "there are no images here"),
      refused("access_programs", "there are none here"),
  });
}

// As chat completions have them.
FieldTable<SamplingFields> sampling_rows(const ModelBounds& bounds) {
  std::vector<Field<SamplingFields>> rows;
  const FieldTable<SamplingFields> all = sampling_table(bounds);
  for (const char* name : {"temperature", "top_p", "top_k", "min_p", "repetition_penalty", "presence_penalty",
                           "frequency_penalty", "seed", "min_tokens", "stop", "stop_token_ids", "ignore_eos",
                           "include_stop_str_in_output", "skip_special_tokens", "logit_bias",
                           "allowed_token_ids", "bad_words", "cache_salt", "priority"}) {
    const Field<SamplingFields>* row = all.find(name);
    CHECK(row != nullptr, name);
    rows.push_back(*row);
  }
  return rows;
}

void set_effort(const ResponsesFields& fields) {
  if (fields.effort.is_null()) return;
  OrderedJson& variables = fields.out->chat.template_variables;
  variables["reasoning_effort"] = fields.effort;
  if (fields.effort != "none") return;
  // The names that templates know: Qwen's, and DeepSeek's and Granite's.
  for (const char* name : {"enable_thinking", "thinking"})
    if (!variables.contains(name)) variables[name] = false;
}

// The shortest decimal that is this float.
double shortest(float value) {
  std::array<char, 32> digits{};
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr;
  double result = 0;
  std::from_chars(digits.data(), end, result);
  return result;
}

OrderedJson blank_response(const ResponsesFields& fields, OrderedJson tools) {
  const ResponsesRequest& request = *fields.out;
  OrderedJson format = {{"type", "text"}};
  if (!fields.text_format.is_null()) format = fields.text_format;
  OrderedJson max_tokens;
  if (fields.max_tokens) max_tokens = *fields.max_tokens;
  return {{"id", ""},
          {"object", "response"},
          {"created_at", 0},
          {"status", "in_progress"},
          {"completed_at", nullptr},
          {"background", false},
          {"error", nullptr},
          {"incomplete_details", nullptr},
          {"instructions", or_null(request.instructions)},
          {"max_output_tokens", max_tokens},
          {"max_tool_calls", nullptr},
          {"model", request.model},
          {"output", OrderedJson::array()},
          {"parallel_tool_calls", request.chat.parallel_tool_calls},
          {"previous_response_id", or_null(request.previous_response_id)},
          {"prompt_cache_key", fields.prompt_cache_key},
          {"reasoning", {{"effort", fields.effort}, {"summary", nullptr}}},
          {"safety_identifier", fields.safety_identifier},
          {"service_tier", "default"},
          {"store", request.store},
          {"temperature", nullptr},
          {"text", {{"format", format}}},
          {"tool_choice", fields.tool_choice == nullptr ? OrderedJson("auto") : *fields.tool_choice},
          {"tools", std::move(tools)},
          {"top_logprobs", fields.top_logprobs},
          {"top_p", nullptr},
          {"truncation", fields.truncation},
          {"usage", nullptr},
          {"user", fields.user},
          {"metadata", fields.metadata == nullptr ? OrderedJson::object() : *fields.metadata}};
}

}  // namespace

struct ResponsesParser::Rows {
  FieldTable<ResponsesFields> table;
};

ResponsesParser::ResponsesParser(const ModelBounds& bounds) {
  FieldTable<ResponsesFields> table = own_rows();
  table.append({{processor_field(bounds.images, &ResponsesFields::processor)}});
  table.embed(&ResponsesFields::sampling, sampling_rows(bounds));
  rows_ = std::make_shared<const Rows>(Rows{std::move(table)});
}

void ResponsesParser::read(const OrderedJson& body, ResponsesRequest& request, const Place& place) const {
  ResponsesFields fields{.out = &request};
  read_fields(body, rows_->table, fields, place);
  if (place.failed()) return;
  if (request.model.empty()) return place.missing("model");
  if (fields.input == nullptr && request.previous_response_id.empty()) return place.missing("input");
  if (fields.input != nullptr) {
    if (!fields.input->is_string() && (!fields.input->is_array() || fields.input->empty()))
      return place.at("input").expected(*fields.input, "a string, or a list of items");
    request.input = input_items(*fields.input);
  }

  ChatRequest& chat = request.chat;
  if (fields.max_tokens) chat.generate.max_tokens = static_cast<int>(*fields.max_tokens);
  request.truncate = fields.truncation == "auto";
  if (fields.logprobs || fields.top_logprobs > 0)
    chat.generate.logprobs = static_cast<int>(fields.top_logprobs);
  OrderedJson tools = read_tools(fields, place.at("tools"));
  if (place.failed()) return;
  if (fields.tool_choice != nullptr) read_tool_choice(fields, place.at("tool_choice"));
  const bool forces = chat.tool_choice == ToolChoice::kRequired || chat.tool_choice == ToolChoice::kNamed;
  if (forces && chat.generate.format.kind != OutputFormat::Kind::kText)
    place.at("tool_choice").fail("'tool_choice' asks for a tool call and 'text.format' for another text");
  if (fields.template_variables != nullptr && !place.failed())
    chat.template_variables =
        read_template_variables(*fields.template_variables, place.at("chat_template_kwargs"));
  if (fields.processor != nullptr && !place.failed())
    read_processor_fields(*fields.processor, request.images, place.at("mm_processor_kwargs"));
  if (place.failed()) return;
  set_effort(fields);
  request.blank = blank_response(fields, std::move(tools));
  request.sampling = std::move(fields.sampling);
}

void set_sampling(ResponsesRequest& request, GenerateRequest generate) {
  GenerateRequest& own = request.chat.generate;
  generate.max_tokens = own.max_tokens;
  generate.logprobs = own.logprobs;
  generate.format = std::move(own.format);
  own = std::move(generate);
  request.blank["temperature"] = shortest(own.sampling.temperature);
  request.blank["top_p"] = shortest(own.sampling.top_p);
}

bool drop_oldest(OrderedJson& messages, const std::function<bool(const OrderedJson&)>& fits) {
  if (fits(messages)) return true;
  const size_t begin = !messages.empty() && messages[0]["role"] == "system" ? 1 : 0;
  std::vector<size_t> turns;  // where those of the user begin, behind the first
  for (size_t i = begin + 1; i < messages.size(); ++i) {
    if (messages[i]["role"] == "user") turns.push_back(i);
  }
  const auto from = [&](size_t turn) {
    OrderedJson rest = OrderedJson::array();
    if (begin == 1) rest.push_back(messages[0]);
    for (size_t i = turn; i < messages.size(); ++i) rest.push_back(messages[i]);
    return rest;
  };
  size_t lo = 0;  // those before do not fit
  size_t hi = turns.size();
  while (lo < hi) {
    const size_t middle = (lo + hi) / 2;
    if (fits(from(turns[middle]))) {
      hi = middle;
    } else {
      lo = middle + 1;
    }
  }
  if (lo == turns.size()) return false;
  messages = from(turns[lo]);
  return true;
}

}  // namespace heed
