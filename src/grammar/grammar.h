// A compiled grammar: the set of texts that an answer may be.
//
// Immutable once built; any number of matchers (matcher.h), on any threads, may use one. Matching is exact
// for every context-free grammar, ambiguous and left-recursive ones too. Compiling is bounded by
// GrammarLimits: input that needs more ends in one error of code kLimit.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/json.h"
#include "base/result.h"
#include "grammar/tables.h"

namespace heed {

struct GrammarLimits {
  int64_t max_states = 200'000;           // of all automata together
  int64_t max_steps = 10'000'000;         // elementary steps of the compiler: bounds its time
  int64_t max_bytes = int64_t{64} << 20;  // of the compiled tables
  int max_rules = 20'000;
  int max_properties = 5'000;  // of one JSON schema object
  int max_depth = 256;         // rules open at once while matching: bounds how deep JSON may nest
};

class Grammar {
 public:
  // A JSON schema of draft 2020-12; what is taken, narrowed and refused: docs/structured_output.md. Errors
  // name the JSON pointer of the keyword.
  static Result<Grammar> from_json_schema(const OrderedJson& schema, const GrammarLimits& limits = {});
  // Any JSON object.
  static Result<Grammar> json_object(const GrammarLimits& limits = {});
  // The whole text matches the expression (grammar/regex.h says what is taken).
  static Result<Grammar> from_regex(std::string_view pattern, const GrammarLimits& limits = {});
  // The text is one of these, byte for byte. They must be valid UTF-8.
  static Result<Grammar> from_choice(std::span<const std::string> choices, const GrammarLimits& limits = {});
  // The rule "root" of an EBNF grammar (grammar/ebnf.h says what is taken).
  static Result<Grammar> from_ebnf(std::string_view text, const GrammarLimits& limits = {});

  const grammar::Tables& tables() const { return tables_; }
  int num_states() const { return static_cast<int>(tables_.states.size()); }
  int64_t num_bytes() const;

  // For the compiler (grammar/compile.h), which alone makes sound tables.
  explicit Grammar(grammar::Tables tables) : tables_(std::move(tables)) {}

 private:
  grammar::Tables tables_;
};

}  // namespace heed
