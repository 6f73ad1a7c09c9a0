#include "grammar/json_schema.h"

#include <cmath>

#include "tests/grammar/matching.h"

namespace heed::json_schema_test {
namespace {

struct Case {
  const char* schema;
  std::vector<const char*> accepted;
  std::vector<const char*> refused;
};

void check(const std::vector<Case>& cases) {
  for (const Case& c : cases) {
    const Result<Grammar> grammar = schema_grammar(c.schema);
    ASSERT_TRUE(grammar.ok()) << c.schema << ": " << error_of(grammar);
    for (const char* text : c.accepted) EXPECT_TRUE(matches(*grammar, text)) << c.schema << " with " << text;
    for (const char* text : c.refused) EXPECT_FALSE(matches(*grammar, text)) << c.schema << " with " << text;
  }
}

TEST(JsonSchema, types) {
  check({
      {R"({"type": "null"})", {"null"}, {"", "nul", "0", "\"null\""}},
      {R"({"type": "boolean"})", {"true", "false"}, {"True", "1"}},
      {R"({"type": "integer"})",
       {"0", "-7", "1234567890123456789"},
       {"1.0", "01", "+1", "1e3", "--1", "12345678901234567890"}},
      {R"({"type": "number"})",
       {"0", "-0.5", "1e+16", "1.5E-7", "2.5e300", "1e-300", "12.25"},
       {".5", "1.", "1e", "0x1", "NaN", "1e999", "00"}},
      {R"({"type": "string"})",
       {"\"\"", "\"a é 日 😀\"", R"("\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00")"},
       {"\"", "\"\n\"", "\"\t\"", R"("\x")", R"("\ud83d")", R"("\ude00")", R"("\ud83d\u0041")", "\"\xFF\"",
        "\"\xED\xA0\x80\"", "'a'"}},
      {R"({"type": "array"})",
       {"[]", "[1, \"a\", [null], {}]", "[\n  1,\n  2\n]"},
       {"[", "[1,]", "[,]", "[1 2]"}},
      {R"({"type": "object"})",
       {"{}", R"({"a": 1})", R"({"a":{"b":[{}]}, "":null})", "{\n  \"a\": 1\n}"},
       {"{", "{\"a\"}", "{a: 1}", "{\"a\": 1,}", "[]"}},
      {R"({"type": ["string", "null"]})", {"null", "\"x\""}, {"1", "[]"}},
      {R"({})", {"1", "\"x\"", "[{}]", "{\"a\": []}", "true", "null"}, {"", "nope"}},
      {"true", {"1", "{}"}, {""}},
  });
}

TEST(JsonSchema, objects) {
  check({
      {R"({"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "string"}}, "required": ["a"],
           "additionalProperties": false})",
       {R"({"a": 1})", R"({"a":1,"b":"x"})"},
       {"{}", R"({"b": "x"})", R"({"b": "x", "a": 1})", R"({"a": 1, "c": 2})", R"({"a": 1, "a": 1})"}},
      {R"({"type": "object", "properties": {"a": {"type": "integer"}}})",
       {"{}", R"({"a": 1})", R"({"b": "x"})", R"({"a": 1, "b": null, "ab": []})", R"({"": 1})"},
       {R"({"a": "x"})", R"({"b": 1, "a": "x"})"}},
      {R"({"type": "object", "additionalProperties": {"type": "boolean"}})",
       {"{}", R"({"x": true, "y\"z": false})"},
       {R"({"x": 1})"}},
      {R"({"type": "object", "required": ["x"]})",
       {R"({"x": 1})", R"({"x": 1, "y": 2})"},
       {"{}", R"({"y": 1})"}},
      {R"({"type": "object", "required": ["x"], "additionalProperties": {"type": "null"}})",
       {R"({"x": null})"},
       {R"({"x": 1})"}},
      {R"({"type": "object", "properties": {"a": false, "b": true}})",
       {"{}", R"({"b": 1})", R"({"c": 1})"},
       {R"({"a": 1})"}},
      {R"({"type": "object", "properties": {"a\"\n": {"const": 1}}, "additionalProperties": false})",
       {R"({"a\"\n": 1})"},
       {R"({"a": 1})"}},
      {R"({"properties": {"a": {"type": "integer"}}})",
       {"{}", R"({"a": 1})", "3", "\"a\""},
       {R"({"a": "b"})"}},
  });
}

TEST(JsonSchema, whitespace_is_bounded) {
  const Result<Grammar> grammar =
      schema_grammar(R"({"type": "object", "properties": {"a": {"type": "array"}}})");
  ASSERT_TRUE(grammar.ok());
  for (const char* text :
       {R"({"a":[1,2]})", R"({"a": [1, 2]})", R"({ "a": [ 1, 2 ] })", "{\n\t\"a\": [\n\t\t1\n\t]\n}"}) {
    EXPECT_TRUE(matches(*grammar, text)) << text;
  }
  for (const char* text : {" {}", "{} ", R"({"a" :[]})", R"({"a":  []})", R"({"a":[1 ,2]})",
                           R"({"a":[1,  2]})", "{\n\n}", "{  }"}) {
    EXPECT_FALSE(matches(*grammar, text)) << text;
  }
  EXPECT_FALSE(matches_beginning(*grammar, "{\n" + std::string(33, ' ')));
}

TEST(JsonSchema, arrays) {
  check({
      {R"({"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 3})",
       {"[1,2]", "[1, 2, 3]"},
       {"[]", "[1]", "[1,2,3,4]", "[1,\"a\"]"}},
      {R"({"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}], "items": {"type": "null"}})",
       {"[]", "[1]", "[1,\"a\"]", "[1,\"a\",null,null]"},
       {"[\"a\"]", "[1,\"a\",1]"}},
      {R"({"type": "array", "prefixItems": [{"type": "integer"}], "items": false})",
       {"[]", "[1]"},
       {"[1,1]"}},
      {R"({"type": "array", "prefixItems": [{"type": "integer"}]})", {"[]", "[1, {}, 2]"}, {"[{}]"}},
      {R"({"type": "array", "items": false})", {"[]"}, {"[1]"}},
      {R"({"type": "array", "maxItems": 0})", {"[]"}, {"[1]"}},
      {R"({"type": "array", "minItems": 3})", {"[1,2,3]", "[1,2,3,4]"}, {"[1,2]"}},
  });
}

TEST(JsonSchema, values_and_combinations) {
  check({
      {R"({"enum": ["a", 1, null, [1, {"x": "y"}], 2.0, "é\n"]})",
       {"\"a\"", "1", "null", "[1,{\"x\":\"y\"}]", "[1, {\"x\": \"y\"}]", "2.0", "2", "\"é\\n\""},
       {"\"b\"", "[1]", "3"}},
      {R"({"const": {"a": []}})", {"{\"a\":[]}"}, {"{}"}},
      {R"({"type": "string", "enum": ["ab", 1, "abc"], "maxLength": 2})", {"\"ab\""}, {"1", "\"abc\""}},
      {R"({"enum": [1, 5, 2.5, 10], "type": "integer", "minimum": 2, "multipleOf": 5})",
       {"5", "10"},
       {"1", "2.5"}},
      {R"({"enum": ["ab", "cd", "e"], "pattern": "^[a-c]", "minLength": 1})",
       {"\"ab\"", "\"cd\""},
       {"\"e\""}},
      {R"({"anyOf": [{"type": "integer"}, {"type": "string", "maxLength": 1}]})",
       {"12", "\"a\""},
       {"\"ab\"", "null"}},
      {R"({"oneOf": [{"const": 1}, {"const": 2}]})", {"1", "2"}, {"3"}},
      {R"({"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
           "anyOf": [{"required": ["a"]}, {"required": ["b"]}], "additionalProperties": false})",
       {R"({"a":1})", R"({"b":1})", R"({"a":1,"b":2})"},
       {"{}"}},
      {R"({"allOf": [{"type": "object", "properties": {"a": {"type": "number"}}, "required": ["a"]},
                     {"properties": {"a": {"type": "integer", "minimum": 3}, "b": {"type": "null"}}}]})",
       {R"({"a": 3})", R"({"a": 4, "b": null})"},
       {R"({"a": 2})", R"({"a": 3.5})", "{}", R"({"a": 4, "b": 1})"}},
      {R"({"allOf": [{"type": "string", "minLength": 2}, {"maxLength": 3}, {"pattern": "^a"}, {"pattern": "b$"}]})",
       {"\"ab\"", "\"axb\""},
       {"\"a\"", "\"axxb\"", "\"ba\""}},
      {R"({"allOf": [{"properties": {"a": true}, "additionalProperties": false, "type": "object"}, {"properties": {"b": true}}]})",
       {"{}", R"({"a": 1})"},
       {R"({"b": 1})"}},
      {R"({"allOf": [{"enum": [1, 2, 3]}, {"enum": [2, 3, 4]}]})", {"2", "3"}, {"1", "4"}},
      {R"({"anyOf": [false, {"const": 1}]})", {"1"}, {"2"}},
  });
}

TEST(JsonSchema, references) {
  check({
      {R"({"$ref": "#/$defs/a~1b%20c", "$defs": {"a/b c": {"const": 1}}})", {"1"}, {"2"}},
      {R"({"definitions": {"t": {"type": "object", "properties": {"kids": {"type": "array", "items": {"$ref": "#/definitions/t"}}},
           "required": ["kids"], "additionalProperties": false}}, "$ref": "#/definitions/t"})",
       {R"({"kids": []})", R"({"kids": [{"kids": [{"kids":[]}]}]})"},
       {"{}", R"({"kids": [1]})"}},
      {R"({"type": "object", "properties": {"self": {"$ref": "#"}}, "additionalProperties": false})",
       {"{}", R"({"self":{"self":{}}})"},
       {R"({"self":1})"}},
      {R"({"properties": {"x": {"type": "integer"}, "y": {"$ref": "#/properties/x"}}, "type": "object", "required": ["y"]})",
       {R"({"y": 1})"},
       {R"({"y": "a"})"}},
      {R"({"$ref": "#/$defs/s", "maxLength": 2, "$defs": {"s": {"type": "string"}}})",
       {"\"ab\""},
       {"\"abc\"", "1"}},
      {R"({"$ref": "#/prefixItems/1", "prefixItems": [true, {"type": "integer"}]})", {"1"}, {"\"a\""}},
  });
}

TEST(JsonSchema, strings) {
  check({
      {R"({"type": "string", "minLength": 2, "maxLength": 3})",
       {"\"ab\"", "\"日本語\"", R"("\n\ud83d\ude00é")"},
       {"\"a\"", "\"abcd\"", R"("\u0041")"}},
      {R"({"type": "string", "maxLength": 0})", {"\"\""}, {"\"a\"", "\"\\"}},
      {R"({"type": "string", "minLength": 1})", {"\"a\"", "\"abcdef\""}, {"\"\""}},
      {R"({"type": "string", "pattern": "^[a-z]+$", "minLength": 2, "maxLength": 4})",
       {"\"ab\"", "\"abcd\""},
       {"\"a\"", "\"abcde\"", "\"AB\""}},
      {R"({"type": "string", "pattern": "\"|\\\\|\\n"})",
       {R"("\"")", R"("a\\b")", R"("\n")"},
       {"\"a\"", "\"\"\""}},
      {R"({"type": "string", "format": "date"})",
       {"\"2024-02-29\"", "\"1999-12-31\""},
       {"\"2023-02-29\"", "\"1900-02-29\"", "\"2024-13-01\"", "\"0000-01-01\"", "\"2024-04-31\""}},
      {R"({"type": "string", "format": "date-time"})",
       {"\"2024-01-01T00:00:00Z\"", "\"2000-02-29T23:59:59.123+05:30\""},
       {"\"2024-01-01\"", "\"2024-01-01T24:00:00Z\""}},
      {R"({"type": "string", "format": "time"})", {"\"12:30:00Z\""}, {"\"12:30\"", "\"12:60:00Z\""}},
      {R"({"type": "string", "format": "duration"})",
       {"\"P1Y2M3DT4H5M6S\"", "\"PT5M\"", "\"P3W\""},
       {"\"P\"", "\"PT\"", "\"P1S\"", "\"1D\""}},
      {R"({"type": "string", "format": "email"})",
       {"\"a.b+c@example.com\""},
       {"\"a@\"", "\"@b\"", "\"a b@c\"", "\"a..b@c\""}},
      {R"({"type": "string", "format": "uuid"})",
       {"\"123e4567-e89b-12d3-a456-426614174000\""},
       {"\"123e4567\""}},
      {R"({"type": "string", "format": "ipv4"})",
       {"\"192.168.0.255\""},
       {"\"256.1.1.1\"", "\"1.2.3\"", "\"01.2.3.4\""}},
      {R"({"type": "string", "format": "ipv6"})",
       {"\"::\"", "\"::1\"", "\"2001:db8::8:800:200c:417a\"", "\"1:2:3:4:5:6:7:8\"", "\"::ffff:1.2.3.4\"",
        "\"1::\""},
       {"\"1:2:3\"", "\":::\"", "\"1::2::3\"", "\"1:2:3:4:5:6:7:8:9\""}},
      {R"({"type": "string", "format": "uri"})",
       {"\"https://example.com:80/a/b?c=d#e\"", "\"mailto:a@b.c\"", "\"urn:isbn:1\""},
       {"\"example\"", "\"http://a b\""}},
      {R"({"type": "string", "format": "hostname"})",
       {"\"a-b.example.com\""},
       {"\"-a.com\"", "\"a-.com\"", "\"a..b\""}},
      {R"({"type": "string", "format": "int32"})", {"\"anything\""}, {"1"}},
  });
}

TEST(JsonSchema, bounds_of_integers_hold_for_every_value) {
  std::mt19937 random(23);
  for (int round = 0; round < 60; ++round) {
    const int span = round % 3 == 0 ? 20 : 1500;
    const int a = static_cast<int>(random() % static_cast<unsigned>(span)) - span / 2;
    const int b = a + static_cast<int>(random() % static_cast<unsigned>(span));
    const bool exclusive = round % 2 == 0;
    const int divisor = round % 5 == 0 ? 1 + static_cast<int>(random() % 12) : 1;
    Json schema = {{"type", "integer"}, {exclusive ? "exclusiveMinimum" : "minimum", a}};
    if (round % 4 != 3) schema["maximum"] = b;
    if (divisor > 1) schema["multipleOf"] = divisor;
    const Result<Grammar> grammar = schema_grammar(to_text(schema));
    for (int n = a - 30; n < b + 30; ++n) {
      const bool is_valid = n >= a + (exclusive ? 1 : 0) && (n <= b || round % 4 == 3) && n % divisor == 0;
      const bool found = grammar.ok() && matches(*grammar, std::to_string(n));
      ASSERT_EQ(found, is_valid) << to_text(schema) << " with " << n << " " << error_of(grammar);
    }
  }
}

TEST(JsonSchema, bounds_of_numbers_hold_for_decimals) {
  std::mt19937 random(24);
  for (int round = 0; round < 60; ++round) {
    const double a = (static_cast<double>(random() % 4000) - 2000) / (round % 2 ? 100 : 8);
    const double b = a + static_cast<double>(random() % 3000) / 100;
    const bool exclusive = round % 3 == 0;
    const Json schema = {{"type", "number"},
                         {exclusive ? "exclusiveMinimum" : "minimum", a},
                         {exclusive ? "exclusiveMaximum" : "maximum", b}};
    const Result<Grammar> grammar = schema_grammar(to_text(schema));
    for (int i = 0; i < 150; ++i) {
      const double x =
          i == 0 ? a
          : i == 1
              ? b
              : std::round((a - 1 + static_cast<double>(random() % 1000) / 1000 * (b - a + 2)) * 1000) / 1000;
      const bool is_valid = exclusive ? x > a && x < b : x >= a && x <= b;
      const bool found = grammar.ok() && matches(*grammar, to_text(Json(x)));
      ASSERT_EQ(found, is_valid) << to_text(schema) << " with " << x << " " << error_of(grammar);
    }
  }
}

TEST(JsonSchema, numbers_at_zero_and_multiples) {
  check({
      {R"({"type": "number", "minimum": 0})", {"0", "0.5", "1e-7", "3e+20"}, {"-1", "-0.5", "-1e-7"}},
      {R"({"type": "number", "exclusiveMinimum": 0})",
       {"0.001", "5", "1e-7"},
       {"0", "0.0", "-1", "0e1", "0.000"}},
      {R"({"type": "number", "exclusiveMaximum": 0})", {"-0.5", "-3"}, {"0", "1", "-0"}},
      {R"({"type": "number", "multipleOf": 0.01})", {"1.25", "3", "-0.1"}, {"1.255", "1e2"}},
      {R"({"type": "number", "multipleOf": 3})", {"9", "-12", "0"}, {"10", "1.5"}},
      {R"({"type": "integer", "multipleOf": 1.0})", {"7"}, {"7.5"}},
  });
}

TEST(JsonSchema, what_is_not_supported_is_refused_by_name_and_place) {
  const std::vector<std::pair<const char*, const char*>> cases = {
      {R"({"properties": {"a": {"not": {}}}})", "/properties/a/not: the keyword \"not\""},
      {R"({"if": {}})", "\"if\""},
      {R"({"patternProperties": {"a": {}}})", "/patternProperties"},
      {R"({"uniqueItems": true})", "uniqueItems"},
      {R"({"contains": {}})", "contains"},
      {R"({"minProperties": 1})", "minProperties"},
      {R"({"maxProperties": 1})", "maxProperties"},
      {R"({"propertyNames": {}})", "propertyNames"},
      {R"({"dependentRequired": {"a": ["b"]}})", "dependentRequired"},
      {R"({"unevaluatedProperties": false})", "unevaluatedProperties"},
      {R"({"$dynamicRef": "#a"})", "$dynamicRef"},
      {R"({"$ref": "other.json"})", "/$ref: only references into the same"},
      {R"({"$ref": "#/$defs/x"})", "there is nothing"},
      {R"({"$ref": "#"})", "refers to itself"},
      {R"({"anyOf": [{"type": "string"}, {"$ref": "#"}]})", "refers to itself"},
      {R"({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}})",
       "refers to itself"},
      {R"({"type": "text"})", "/type: expected null"},
      {R"({"type": []})", "/type"},
      {R"x({"type": "string", "pattern": "(?=a)"})x", "/pattern: regular expression: look-ahead"},
      {R"({"type": "string", "pattern": 3})", "/pattern: expected a string"},
      {R"({"type": "string", "format": "regex"})", "/format"},
      {R"({"type": "string", "minLength": -1})", "/minLength"},
      {R"({"type": "string", "minLength": 1.5})", "/minLength"},
      {R"({"type": "number", "multipleOf": 0.3})", "/multipleOf"},
      {R"({"type": "number", "multipleOf": 0})", "/multipleOf"},
      {R"({"minimum": "a"})", "/minimum"},
      {R"({"properties": {"a": 1}})", "/properties/a: expected a schema"},
      {R"({"properties": []})", "/properties"},
      {R"({"required": "a"})", "/required"},
      {R"({"items": [{}]})", "prefixItems"},
      {R"({"anyOf": []})", "/anyOf"},
      {R"({"enum": 1})", "/enum"},
      {R"({"enum": [{}], "required": ["a"]})", "enum or const with an array or object"},
      {R"(false)", "no finite text"},
      {R"({"type": "string", "minLength": 3, "maxLength": 2})", "no finite text"},
      {R"({"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]})", "no finite text"},
      {R"([1])", "(root): expected a schema"},
  };
  for (const auto& [schema, message] : cases) {
    const Result<Grammar> grammar = schema_grammar(schema);
    ASSERT_FALSE(grammar.ok()) << schema;
    EXPECT_THAT(error_of(grammar), testing::HasSubstr(message)) << schema;
  }
}

TEST(JsonSchema, annotations_and_keywords_that_say_nothing_are_ignored) {
  check(
      {{R"({"$schema": "x", "$id": "y", "$comment": "z", "title": "t", "description": "d", "default": 1, "examples": [],
              "deprecated": true, "readOnly": true, "x-order": 3, "type": "integer", "uniqueItems": false,
              "minProperties": 0, "patternProperties": {}, "then": {}, "unevaluatedProperties": true})",
        {"1"},
        {"a"}}});
}

}  // namespace
}  // namespace heed::json_schema_test
