// Tables of fields: shapes, ranges at their edges, names that are not known, and errors that say where.
#include "api/fields.h"

#include <gtest/gtest.h>

#include "api/body.h"

namespace heed {
namespace {

struct Options {
  std::optional<bool> flag;
  int size = 0;
  std::optional<double> share;
  std::string name;
  std::string color;
  const OrderedJson* items = nullptr;
  int inner_size = 0;
};

void take_inner(Options& out, const OrderedJson& value, const Place& place) {
  static const FieldTable<Options> table({field("size", integer(1, 3), &Options::inner_size)});
  read_fields(value, table, out, place);
}

const FieldTable<Options>& options_table() {
  static const FieldTable<Options> table({
      field("flag", boolean(), &Options::flag),
      field("size", integer(1, 10), &Options::size),
      field("share", number_above(0, 1), &Options::share),
      field("name", text(5, 2), &Options::name),
      field("color", one_of({"red", "blue"}), &Options::color),
      field("items", list(2), &Options::items),
      field("inner", object(), &take_inner),
      harmless("note"),
      refused("echo", "answers do not repeat the prompt", false),
  });
  return table;
}

std::optional<ApiError> read(const std::string& json, Options* out = nullptr) {
  static OrderedJson value;  // outlives what `out` borrows
  value = parse_ordered_json(json, "test").value();
  Options options;
  std::optional<ApiError> error;
  read_fields(value, options_table(), out != nullptr ? *out : options, Place(error));
  return error;
}

TEST(Fields, values_go_where_the_table_says) {
  Options out;
  const auto error = read(
      R"({"flag": true, "size": 7, "share": 0.5, "name": "abc", "color": "red", "items": [1], "inner": {"size": 2}, "note": {"a": 1}})",
      &out);
  EXPECT_FALSE(error) << error->message;
  EXPECT_EQ(out.flag, true);
  EXPECT_EQ(out.size, 7);
  EXPECT_EQ(out.share, 0.5);
  EXPECT_EQ(out.name, "abc");
  EXPECT_EQ(out.color, "red");
  ASSERT_NE(out.items, nullptr);
  EXPECT_EQ(out.items->size(), 1U);
  EXPECT_EQ(out.inner_size, 2);
}

TEST(Fields, null_counts_as_absent) {
  Options out;
  EXPECT_FALSE(read(R"({"flag": null, "size": null, "echo": null, "note": null})", &out));
  EXPECT_FALSE(out.flag.has_value());
  EXPECT_EQ(out.size, 0);
}

TEST(Fields, ranges_include_their_ends_and_nothing_beyond) {
  const std::vector<std::pair<const char*, bool>> cases = {
      {R"({"size": 1})", true},         {R"({"size": 0})", false},
      {R"({"size": 10})", true},        {R"({"size": 11})", false},
      {R"({"size": 3.0})", true},       {R"({"size": 3.5})", false},
      {R"({"size": "3"})", false},      {R"({"size": true})", false},
      {R"({"size": 1e300})", false},    {R"({"size": 18446744073709551615})", false},
      {R"({"share": 1})", true},        {R"({"share": 0})", false},
      {R"({"share": 1e-9})", true},     {R"({"share": 1.01})", false},
      {R"({"name": "ab"})", true},      {R"({"name": "a"})", false},
      {R"({"name": "abcde"})", true},   {R"({"name": "abcdef"})", false},
      {R"({"name": 5})", false},        {R"({"color": "blue"})", true},
      {R"({"color": "green"})", false}, {R"({"items": []})", true},
      {R"({"items": [1, 2]})", true},   {R"({"items": [1, 2, 3]})", false},
      {R"({"items": {}})", false},      {R"({"flag": 1})", false},
      {R"({"inner": []})", false},      {R"({"echo": false})", true},
      {R"({"echo": true})", false},
  };
  for (const auto& [json, fits] : cases) EXPECT_EQ(!read(json).has_value(), fits) << json;
}

TEST(Fields, errors_name_the_field_its_value_and_what_is_accepted) {
  const auto size = read(R"({"size": 11})");
  EXPECT_EQ(size->message, "'size' is 11; an integer from 1 to 10 is expected");
  EXPECT_EQ(size->param, "size");
  const auto inner = read(R"({"inner": {"size": "x"}})");
  EXPECT_EQ(inner->message, "'inner.size' is \"x\"; an integer from 1 to 3 is expected");
  EXPECT_EQ(inner->param, "inner.size");
  EXPECT_EQ(read(R"({"share": 0})")->message, "'share' is 0; a number above 0 and up to 1 is expected");
  EXPECT_EQ(read(R"({"items": [1, 2, 3]})")->message,
            "'items' is a list of 3; a list of at most 2 elements is expected");
}

TEST(Fields, unknown_names_are_refused_with_those_that_are_known) {
  const auto error = read(R"({"sise": 3})");
  EXPECT_EQ(error->param, "sise");
  EXPECT_EQ(error->code, "unknown_parameter");
  EXPECT_EQ(error->message,
            "'sise' is not a field that is known here; accepted are: flag, size, share, name, color, items, "
            "inner, note");
}

TEST(Fields, known_but_not_supported_says_why) {
  const auto error = read(R"({"echo": true})");
  EXPECT_EQ(error->message, "'echo' is not supported: answers do not repeat the prompt");
  EXPECT_EQ(error->code, "unsupported_parameter");
}

TEST(Fields, long_names_and_values_are_not_repeated_in_errors) {
  const std::string long_text(100'000, 'x');
  EXPECT_LT(read("{\"" + long_text + "\": 1}")->message.size(), 300U);
  EXPECT_LT(read("{\"" + long_text + "\": 1}")->param.size(), 100U);
  EXPECT_LT(read("{\"color\": \"" + long_text + "\"}")->message.size(), 200U);
}

TEST(Body, what_is_no_json_object_is_refused) {
  for (const std::string text :
       {"", "[]", "1", "{", "{\"a\": NaN}", "{\"a\": 1e999}", "{\"a\": \"\xff\"}", "{} {}", "{\"a\":1,}"}) {
    EXPECT_FALSE(parse_body(text).ok()) << text;
  }
  EXPECT_TRUE(parse_body(R"({"a": "\"[{:,"})").ok());
}

TEST(Body, depth_and_size_have_limits) {
  const auto nested = [](int depth) {
    return "{\"a\":" + std::string(depth, '[') + std::string(depth, ']') + "}";
  };
  EXPECT_TRUE(parse_body(nested(kMaxJsonDepth - 1)).ok());
  EXPECT_FALSE(parse_body(nested(kMaxJsonDepth)).ok());
  const auto values = [](int n) {
    std::string text = "{\"a\":[0";
    for (int i = 1; i < n; ++i) text += ",0";
    return text + "]}";
  };
  EXPECT_TRUE(parse_body(values(98), {.max_values = 100}).ok());
  EXPECT_FALSE(parse_body(values(99), {.max_values = 100}).ok());
}

TEST(Body, objects_with_very_many_members_do_not_cost_their_square) {
  std::string text = "{";
  for (int i = 0; i < 1'000'000; ++i) text += "\"" + std::to_string(i) + "\":0,";
  text.back() = '}';
  const Result<OrderedJson> body = parse_body(text);
  ASSERT_FALSE(body.ok());
  EXPECT_EQ(body.error().code, ErrorCode::kLimit);
}

}  // namespace
}  // namespace heed
