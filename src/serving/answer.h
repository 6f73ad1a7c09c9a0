// What is asked of a Service in terms of text, and what is heard back.
#pragma once
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "dialects/dialect.h"
#include "engine/request.h"
#include "serving/images.h"

namespace heed {

// What the answer's text must be.
struct OutputFormat {
  enum class Kind { kText, kJsonObject, kJsonSchema, kRegex, kChoice, kEbnf };
  Kind kind = Kind::kText;
  OrderedJson schema;                // kJsonSchema
  std::string text;                  // kRegex, kEbnf
  std::vector<std::string> choices;  // kChoice
};

// Answers to one prompt.
struct GenerateRequest {
  std::vector<int> prompt;
  ImageList images;  // one for each of the prompt's places (place_images()), in order
  // Set where it had to wait for its pictures (Service::load_images()): when it came. It is then let in also
  // after refuse_new().
  std::optional<std::chrono::steady_clock::time_point> arrived;
  int n = 1;          // answers; that of index i is sampled with seed + i
  Sampling sampling;  // `seed` counts only if has_seed; else it is drawn
  bool has_seed = false;
  std::optional<int> max_tokens;  // default: what the context holds
  int min_tokens = 0;
  std::vector<std::string> stops;
  std::vector<int> stop_ids;  // besides the model's end tokens
  bool ignore_eos = false;
  bool include_stop = false;        // the stop string or stop token's text is part of the text
  bool skip_special_tokens = true;  // they have no text
  int logprobs = -1;                // how many of the likeliest besides the chosen; -1: none at all
  int prompt_logprobs = -1;         // likewise
  int priority = 0;                 // smaller first
  std::string cache_salt;
  OutputFormat format;
};

// A token with its log-probability, and alternatives, the likeliest first.
struct TokenLogprob {
  int id = 0;
  std::string bytes;  // its text; not necessarily whole characters
  float logprob = 0;
  int rank = 0;  // 1: the likeliest
  std::vector<TokenLogprob> top;
};

enum class EndReason { kStop, kLength, kToolCalls, kCancelled };

struct AnswerDelta {
  int choice = 0;
  std::string text;      // what has become certain: never half a character, never (part of) a stop string
  std::vector<int> ids;  // new tokens, stop tokens included
  std::vector<TokenLogprob> logprobs;         // one for each of `ids` but a stop token, if asked for
  std::vector<TokenLogprob> prompt_logprobs;  // once, with the first delta of choice 0, if asked for: one for
                                              // each prompt token from the second on
  std::optional<EndReason> end;               // the last delta of this choice
  std::string stop_string;                    // what stopped it, where it was one of `stops`
  std::optional<int> stop_id;                 // or one of `stop_ids`
};

struct Usage {
  int prompt_tokens = 0;
  int image_tokens = 0;      // of the prompt: soft tokens
  int cached_tokens = 0;     // of the prompt, found in the prefix cache (of the first choice)
  int generated_tokens = 0;  // of all choices, stop tokens included
  int reasoning_tokens = 0;  // of them
  int draft_tokens = 0;      // guessed for all choices, where there is speculation
  int accepted_tokens = 0;   // of those, right
};

// Hears the answers. All calls come from the service's text thread, one at a time; none may block.
class AnswerListener {
 public:
  virtual ~AnswerListener() = default;
  virtual void on_delta(AnswerDelta delta) = 0;
  // The last call, after every choice has ended. The listener is destroyed next.
  virtual void on_end(const Usage& usage) = 0;
};

// A conversation to be continued.
struct ChatRequest {
  // OpenAI's form, contents as strings or lists of parts: text, or {"type": "image", "image": i}, which is
  // generate.images[i].
  OrderedJson messages;
  OrderedJson tools = nullptr;  // OpenAI's "tools" array, or null
  ToolChoice tool_choice = ToolChoice::kAuto;
  std::string tool_name;  // kNamed
  bool parallel_tool_calls = true;
  OrderedJson template_variables = OrderedJson::object();  // further ones, such as enable_thinking
  bool add_generation_prompt = true;
  bool continue_final_message = false;
  bool parse_reasoning = true;  // else it stays in the content
  GenerateRequest generate;     // but for its prompt
};

struct ChatDelta {
  MessageDelta message;
  AnswerDelta answer;  // whose text is that before the message was taken apart; end may be kToolCalls
};

class ChatListener {
 public:
  virtual ~ChatListener() = default;
  virtual void on_delta(ChatDelta delta) = 0;  // as AnswerListener's
  virtual void on_end(const Usage& usage) = 0;
};

}  // namespace heed
