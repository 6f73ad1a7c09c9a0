// NamedCallReader: calls that say the name in front of arguments in JSON, name[ARGS]{...}.
#pragma once
#include <string>
#include <vector>

#include "dialects/call_reader.h"
#include "dialects/tail.h"

namespace heed {

struct NamedCalls {
  bool begins_with_call = true;  // else the region begins with tails, one of which begins a call
  std::vector<TailText> tails;
  // The name in what stands between the call's beginning and the '{'; empty if this is no call.
  std::string_view (*name_in)(std::string_view header) = nullptr;
};

// name_in for the several forms.
std::string_view mistral_name(std::string_view header);      // name[CALL_ID]id[ARGS]
std::string_view deepseek_name(std::string_view header);     // function<sep>name\n```json\n, or name<sep>
std::string_view kimi_name(std::string_view header);         // functions.name:0<|tool_call_argument_begin|>
std::string_view functionary_name(std::string_view header);  // name>
std::string_view harmony_name(std::string_view header);      // name <|constrain|>json<|message|>

bool is_tool_name(std::string_view name);  // letters, digits, '_', '-' and '.', not too many

class NamedCallReader final : public CallReader {
 public:
  explicit NamedCallReader(const NamedCalls& form)
      : form_(form), tail_(form.tails), place_(form.begins_with_call ? Place::kHeader : Place::kBetween) {}
  Reading push(char byte, CallSink& sink) override;
  bool is_behind_call() const override { return place_ == Place::kBetween && has_call_; }

 private:
  enum class Place { kBetween, kHeader, kArguments };
  Reading push_between(char byte);
  Reading push_header(char byte, CallSink& sink);

  const NamedCalls& form_;
  Tail tail_;
  Place place_;
  bool has_call_ = false;
  std::string header_;
  JsonExtent extent_;
};

}  // namespace heed
