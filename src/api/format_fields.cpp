#include "api/format_fields.h"

#include "api/body.h"

namespace heed {
namespace {

using FormatKind = OutputFormat::Kind;
using TakeFormat = Field<FormatFields>::Take;

void give(FormatFields& out, OutputFormat format, const Place& place) {
  if (!out.given_by.empty()) {
    return place.fail("'" + out.given_by + "' and '" + place.path() +
                      "' both say what the answer must be; one of them is accepted");
  }
  out.given_by = place.path();
  out.format = std::move(format);
}

bool check_bytes(int64_t bytes, int64_t max_bytes, const Place& place) {
  if (bytes <= max_bytes) return true;
  place.fail("'" + place.path() + "' has " + std::to_string(bytes) + " bytes; at most " +
             std::to_string(max_bytes) + " are accepted");
  return false;
}

// A schema as JSON, or as its text.
void take_schema(FormatFields& out, const OrderedJson& value, const Place& place, int64_t max_bytes) {
  const bool is_text = value.is_string();
  if (!is_text && !value.is_object() && !value.is_boolean())
    return place.expected(value, "a JSON schema, as an object or as its text");
  const std::string text = is_text ? value.get<std::string>() : to_text(value);
  if (!check_bytes(std::ssize(text), max_bytes, place)) return;
  if (!is_text) return give(out, {.kind = FormatKind::kJsonSchema, .schema = value}, place);
  BodyLimits limits;
  Result<OrderedJson> parsed = parse_within(text, "'" + place.path() + "'", limits);
  if (!parsed.ok()) return place.fail(parsed.error());
  give(out, {.kind = FormatKind::kJsonSchema, .schema = std::move(parsed).value()}, place);
}

void take_choices(FormatFields& out, const OrderedJson& value, const Place& place, int64_t max_bytes) {
  if (!check_elements(text(max_bytes), value, place)) return;
  OutputFormat format{.kind = FormatKind::kChoice, .choices = value.get<std::vector<std::string>>()};
  int64_t bytes = 0;
  for (const std::string& choice : format.choices) bytes += std::ssize(choice);
  if (check_bytes(bytes, max_bytes, place)) give(out, std::move(format), place);
}

TakeFormat schema_taker(int64_t max_bytes) {
  return [max_bytes](FormatFields& out, const OrderedJson& value, const Place& place) {
    take_schema(out, value, place, max_bytes);
  };
}

TakeFormat choices_taker(int64_t max_bytes) {
  return [max_bytes](FormatFields& out, const OrderedJson& value, const Place& place) {
    take_choices(out, value, place, max_bytes);
  };
}

TakeFormat text_taker(FormatKind kind) {
  return [kind](FormatFields& out, const OrderedJson& value, const Place& place) {
    give(out, {.kind = kind, .text = value.get<std::string>()}, place);
  };
}

void take_json_object(FormatFields& out, const OrderedJson& value, const Place& place) {
  if (value.get<bool>()) give(out, {.kind = FormatKind::kJsonObject}, place);
}

constexpr int64_t kMaxChoices = 10'000;

// The members of structured_outputs.
FieldTable<FormatFields> structured_table(int64_t max_bytes) {
  return FieldTable<FormatFields>({
      field<FormatFields>("json", other(), schema_taker(max_bytes)),
      field<FormatFields>("regex", text(max_bytes), text_taker(FormatKind::kRegex)),
      field<FormatFields>("choice", list(kMaxChoices, 1), choices_taker(max_bytes)),
      field<FormatFields>("grammar", text(max_bytes), text_taker(FormatKind::kEbnf)),
      field<FormatFields>("json_object", boolean(), &take_json_object),
      refused("structural_tag", "give a schema, an expression, choices or a grammar"),
      refused("disable_fallback", "there is one implementation of structured output", false),
      refused("disable_any_whitespace", "white space between JSON tokens is always allowed", false),
      refused("disable_additional_properties", "say \"additionalProperties\": false in the schema", false),
      refused("whitespace_pattern", "white space between JSON tokens is as JSON has it"),
  });
}

struct NamedSchema {
  std::string name;
  const OrderedJson* schema = nullptr;
  bool strict = true;
};

void take_response_format(FormatFields& out, const OrderedJson& value, const Place& place,
                          int64_t max_bytes) {
  struct Form {
    std::string type;
    const OrderedJson* json_schema = nullptr;
  } form;
  static const FieldTable<Form> form_table({
      field("type", one_of({"text", "json_object", "json_schema"}), &Form::type),
      field("json_schema", object(), &Form::json_schema),
  });
  // What is not strict may be held to the schema, too.
  static const FieldTable<NamedSchema> schema_table({
      field("name", text(256), &NamedSchema::name),
      harmless("description"),
      field("schema", other(), &NamedSchema::schema),
      field("strict", boolean(), &NamedSchema::strict),
  });
  read_fields(value, form_table, form, place);
  if (place.failed()) return;
  if (form.type.empty()) return place.missing("type");
  if (form.type == "json_object") return give(out, {.kind = FormatKind::kJsonObject}, place);
  if (form.type == "text") return;
  const Place inner = place.at("json_schema");
  if (form.json_schema == nullptr) return inner.fail("'" + inner.path() + "' is required");
  NamedSchema schema;
  read_fields(*form.json_schema, schema_table, schema, inner);
  if (place.failed()) return;
  const Place innermost = inner.at("schema");
  if (schema.schema == nullptr) return innermost.fail("'" + innermost.path() + "' is required");
  take_schema(out, *schema.schema, innermost, max_bytes);
}

}  // namespace

FieldTable<FormatFields> format_table(int64_t max_bytes) {
  const auto response_format = [max_bytes](FormatFields& out, const OrderedJson& value, const Place& place) {
    take_response_format(out, value, place, max_bytes);
  };
  const auto structured = [table = structured_table(max_bytes)](FormatFields& out, const OrderedJson& value,
                                                                const Place& place) {
    read_fields(value, table, out, place);
  };
  return FieldTable<FormatFields>({
      field<FormatFields>("response_format", object(), response_format),
      field<FormatFields>("structured_outputs", object(), structured),
      field<FormatFields>("guided_json", other(), schema_taker(max_bytes)),
      field<FormatFields>("guided_regex", text(max_bytes), text_taker(FormatKind::kRegex)),
      field<FormatFields>("guided_choice", list(kMaxChoices, 1), choices_taker(max_bytes)),
      field<FormatFields>("guided_grammar", text(max_bytes), text_taker(FormatKind::kEbnf)),
      refused("guided_decoding_backend", "there is one implementation of structured output"),
      refused("guided_whitespace_pattern", "white space between JSON tokens is as JSON has it"),
  });
}

}  // namespace heed
