// JsonCallReader: calls as JSON objects, {"name": ..., "arguments": {...}}, alone, one behind the other or in
// an array.
//
// Members come in any order; others than the name and the arguments are passed over. Arguments go on as the
// model writes them; a JSON string that holds them is unwrapped, null and none at all are {}.
#pragma once
#include "dialects/call_reader.h"
#include "dialects/tail.h"

namespace heed {

struct JsonCalls {
  std::vector<TailText> tails;  // behind the objects; texts that end the region
  bool is_bare = false;      // no marker says that these are calls: only the members and the tools' names do
  bool name_is_key = false;  // {"name": {arguments}}
};

class JsonCallReader final : public CallReader {
 public:
  JsonCallReader(const JsonCalls& form, const ToolTypes& tools)
      : form_(form), tools_(tools), tail_(form.tails) {}
  Reading push(char byte, CallSink& sink) override;
  bool is_behind_call() const override { return place_ == Place::kBehindCall; }

 private:
  enum class Place {
    kBetween,     // in front of an object
    kBehindCall,  // likewise, but there has been a call
    kMember,      // in front of a member's key
    kKey,
    kColon,
    kValue,      // in front of a member's value
    kName,       // in the name's string
    kArguments,  // in the arguments
    kUnwrapped,  // in a string that holds the arguments
    kOther,      // in a value that is passed over
    kBehindMember,
  };
  Reading push_between(char byte, CallSink& sink);
  Reading begin_object();
  Reading end_of_key();
  Reading begin_value(char byte, CallSink& sink);
  Reading begin_arguments(char byte, CallSink& sink);
  Reading push_name(char byte, CallSink& sink);
  Reading push_arguments(char byte, CallSink& sink);
  Reading push_unwrapped(char byte, CallSink& sink);
  Reading push_other(char byte, CallSink& sink);
  Reading push_behind_member(char byte, CallSink& sink);
  Reading end_object(CallSink& sink);
  bool add_arguments(std::string_view json, CallSink& sink);
  Reading go(Place place);

  const JsonCalls& form_;
  const ToolTypes& tools_;
  Tail tail_;
  Place place_ = Place::kBetween;
  bool in_array_ = false;
  bool has_call_ = false;
  JsonExtent extent_;
  StringDecoder decoder_;
  // Of the object being read:
  std::string key_, name_, early_;  // early_: arguments that came before the name
  bool has_name_ = false, has_arguments_ = false, has_begun_ = false, has_written_ = false;
};

}  // namespace heed
