// Conversations: messages to a prompt, and the answer's text to reasoning, content and tool calls.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "serving/answer.h"
#include "serving/image_text.h"
#include "serving/text_side.h"

namespace heed {

struct ChatPrompt {
  std::vector<int> tokens;  // pictures are not in their places yet
  ImageList images;         // as they are to be placed
  MessageParserOptions parser;
  std::string grammar_begins_behind;  // the end of reasoning, where the answer may begin with it
  bool keeps_special_tokens = false;  // the parser reads them
};
// `images`: null where the model reads text only.
Result<ChatPrompt> make_chat_prompt(const TextSide& text, const Dialect& dialect, const ImageText* images,
                                    const ChatRequest& request);

// Tells the grammars of forced tool calls apart.
std::string tool_grammar_key(const ChatRequest& request);

// Takes the answers' text apart for a ChatListener.
class ChatAnswers : public AnswerListener {
 public:
  ChatAnswers(const Dialect& dialect, const MessageParserOptions& options, int n,
              std::unique_ptr<ChatListener> listener);
  void on_delta(AnswerDelta delta) override;
  void on_end(const Usage& usage) override;

 private:
  std::vector<MessageParser> parsers_;
  std::unique_ptr<ChatListener> listener_;
  int reasoning_tokens_ = 0;
};

}  // namespace heed
