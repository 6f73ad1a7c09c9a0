// An answer as the list of its parts (reasoning, text, tool calls), kept up with while it is made.
//
// A part ends where the next one begins: at most one is open. What the parts hold in the end is what the
// steps said, put together.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "serving/answer.h"

namespace heed {

struct AnswerPart {
  enum class Kind { kReasoning, kText, kToolCall };
  Kind kind = Kind::kText;
  std::string name;                    // kToolCall
  std::string text;                    // of a tool call, the JSON text of its arguments
  std::vector<TokenLogprob> logprobs;  // kText
};

struct AnswerStep {
  enum class What { kOpen, kMore, kClose };
  What what = What::kOpen;
  int part = 0;                        // index into AnswerParts::parts()
  std::string piece;                   // kMore
  std::vector<TokenLogprob> logprobs;  // kMore of kText
};

class AnswerParts {
 public:
  std::vector<AnswerStep> push(ChatDelta delta);
  // After the last delta: closes what is open. An answer without any part gets an empty text, if asked for.
  std::vector<AnswerStep> finish(bool never_empty);

  const std::vector<AnswerPart>& parts() const { return parts_; }
  bool has_tool_call() const;
  // Of the last delta; kCancelled before it.
  EndReason end() const { return end_.value_or(EndReason::kCancelled); }
  const std::string& stop_string() const { return stop_string_; }

 private:
  void open(AnswerPart::Kind kind, std::string name, std::vector<AnswerStep>& steps);
  void close(std::vector<AnswerStep>& steps);
  void more(std::string piece, std::vector<TokenLogprob> logprobs, std::vector<AnswerStep>& steps);
  bool is_open(AnswerPart::Kind kind) const { return open_ && parts_.back().kind == kind; }

  std::vector<AnswerPart> parts_;
  bool open_ = false;                  // the last part
  int open_call_ = -1;                 // index of the open tool call, as the deltas count them
  std::vector<TokenLogprob> waiting_;  // of tokens whose text is still held back
  std::optional<EndReason> end_;
  std::string stop_string_;
};

// The id of the tool call that is part `part` of the answer that `stem` names, 32 hexadecimal digits:
// "<prefix><stem><part>", or nine letters and digits, which is all that Mistral's templates take.
std::string tool_call_id(const std::string& prefix, const std::string& stem, int part, bool is_short);

}  // namespace heed
