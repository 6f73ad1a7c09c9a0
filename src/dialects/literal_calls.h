// LiteralCallReader: calls whose arguments are literals of another notation than JSON's.
//
//   Gemma 4          <|tool_call>call:name{city:<|"|>Paris<|"|>,days:3}<tool_call|>
//   FunctionGemma    <start_function_call>call:name{city:<escape>Paris<escape>}<end_function_call>
//   Python           [name(city="Paris", days=3), name()]
//
// Numbers, true, false and null (also True, False and None) stay what they are, other bare words become
// strings; objects, arrays and strings as JSON and Python write them are read as well. Arguments come out as
// JSON while they are written.
#pragma once
#include <string>
#include <vector>

#include "dialects/call_reader.h"
#include "dialects/markers.h"
#include "dialects/tail.h"

namespace heed {

inline constexpr size_t kMaxLiteralDepth = 64;

struct LiteralCalls {
  std::string before_name;       // "call:"
  char open = '{', close = '}';  // around the arguments
  char separator = ':';          // between a name and its value
  std::string quote;             // around raw strings; empty: there are none
  bool is_typed = false;         // raw strings may be other values: as the tool's schema says
  std::vector<TailText> tails;   // behind a call
  bool is_list = false;          // in [ ], with commas between calls; no marker begins it
};

// Arguments, from behind the opening bracket on.
class LiteralReader {
 public:
  LiteralReader(const LiteralCalls& form, const ToolTypes& tools, const std::string& tool);
  // Appends JSON, beginning with its '{'. kDone: this byte was the closing bracket.
  Reading push(char byte, std::string& json);

 private:
  enum class Place { kKey, kBareKey, kQuotedKey, kSeparator, kValue, kWord, kQuoted, kRaw, kBehindValue };
  Reading push_key(char byte, std::string& json);
  Reading push_bare_key(char byte, std::string& json);
  Reading push_value(char byte, std::string& json);
  Reading push_word(char byte, std::string& json);
  Reading push_raw(char byte, std::string& json);
  Reading push_behind_value(char byte, std::string& json);
  Reading begin_quoted(char byte, Place place);
  void end_key(std::string& json);
  void begin_element(std::string& json);
  void end_raw(std::string& json);
  Reading open(char closer, std::string& json);
  Reading close(char byte, std::string& json);
  Reading go(Place place);

  const LiteralCalls& form_;
  const ToolTypes& tools_;
  const std::string& tool_;
  Place place_ = Place::kKey;
  std::string closers_;  // of the brackets that are open
  std::string key_, word_;
  bool is_first_ = true;  // nothing has been written within the innermost bracket
  bool is_key_raw_ = false;
  int types_ = 0;
  StringDecoder decoder_;
  MarkerScanner raw_end_;
};

class LiteralCallReader final : public CallReader {
 public:
  LiteralCallReader(const LiteralCalls& form, const ToolTypes& tools);
  Reading push(char byte, CallSink& sink) override;
  bool is_behind_call() const override { return place_ == Place::kBehindCall; }

 private:
  enum class Place { kStart, kBeforeName, kName, kArguments, kBehindCall };
  Reading push_name(char byte, CallSink& sink);
  Reading push_arguments(char byte, CallSink& sink);
  Reading push_behind_call(char byte, CallSink& sink);

  const LiteralCalls& form_;
  const ToolTypes& tools_;
  Tail tail_;
  Place place_;
  std::string name_;
  std::string json_;  // of arguments that are not yet certain to be some
  bool has_begun_ = false;
  std::vector<TailText> before_name_texts_;
  std::unique_ptr<LiteralReader> arguments_;
};

}  // namespace heed
