#include "cli/conversation.h"

#include <chrono>
#include <future>

#include "text/stop_strings.h"
#include "text/vocabulary_files.h"

namespace heed {
namespace {

// Special tokens are plain strings or objects with a "content"; a template may use any of them.
void add_special_tokens(const OrderedJson& config, OrderedJson& variables) {
  for (const char* key :
       {"bos_token", "eos_token", "pad_token", "unk_token", "sep_token", "cls_token", "mask_token"}) {
    const auto found = config.find(key);
    if (found == config.end()) continue;
    if (found->is_string()) variables[key] = *found;
    if (found->is_object() && found->contains("content")) variables[key] = (*found)["content"];
  }
}

// chat_template is a string, or a list of named ones of which "default" is meant.
std::optional<std::string> template_of(const OrderedJson& config) {
  const auto found = config.find("chat_template");
  if (found == config.end()) return std::nullopt;
  if (found->is_string()) return found->get<std::string>();
  if (!found->is_array()) return std::nullopt;
  for (const OrderedJson& entry : *found) {
    const bool named = entry.is_object() && entry.contains("name") && entry.contains("template");
    if (named && entry["name"] == "default" && entry["template"].is_string())
      return entry["template"].get<std::string>();
  }
  return std::nullopt;
}

Status load_chat_template(const std::string& folder, TextSide& side) {
  OrderedJson config = OrderedJson::object();
  const std::string config_path = folder + "/tokenizer_config.json";
  if (file_exists(config_path)) {
    const std::string text = TRY(read_file(config_path));
    config = TRY(parse_ordered_json(text, config_path));
  }
  if (!config.is_object()) return invalid(config_path + ": a JSON object is expected");
  add_special_tokens(config, side.template_variables);

  std::string where = folder + "/chat_template.jinja";
  std::optional<std::string> source;
  if (file_exists(where)) {
    source = TRY(read_file(where));
  } else {
    source = template_of(config);
    where = config_path + ": chat_template";
  }
  if (source) side.chat_template = TRY(ChatTemplate::parse(*source, where));
  return {};
}

bool has_tokenizer(const std::string& folder) {
  return file_exists(folder + "/tokenizer.json") || file_exists(folder + "/tokenizer.model");
}

}  // namespace

Result<TextSide> load_text_side(const std::string& folder) {
  TextSide side;
  if (!has_tokenizer(folder)) return side;
  side.tokenizer = TRY(load_tokenizer(folder));
  TRY(load_chat_template(folder, side));
  return side;
}

Result<std::vector<int>> chat_prompt(const TextSide& text, const std::string& folder,
                                     const OrderedJson& messages) {
  if (!text.tokenizer) return invalid(folder + ": no tokenizer.json or tokenizer.model, so it cannot chat");
  if (!text.chat_template)
    return invalid(folder + ": no chat_template.jinja, and no chat_template in tokenizer_config.json");
  OrderedJson variables = text.template_variables;
  variables["messages"] = messages;
  variables["add_generation_prompt"] = true;
  const std::string prompt = TRY(text.chat_template->render(variables));
  return text.tokenizer->encode(prompt, {.add_special = false});  // the template writes them itself
}

namespace {

// Turns a request's events into an Answer, on the engine's thread.
class Listener {
 public:
  Listener(Engine& engine, const TextSide& text, const AnswerOptions& options)
      : engine_(engine), options_(options), stops_(options.stops) {
    if (text.tokenizer) decoder_.emplace(*text.tokenizer);
  }

  void hear(const Event& event) {
    if (event.id >= 0 && !over_) take(event);
    if (!event.finish) return;
    if (!over_) result_.finish = *event.finish;
    result_.cached_tokens = event.cached_tokens;
    if (decoder_) show(stops_.push(decoder_->finish()));
    show(stops_.finish());
    if (stops_.stopped()) result_.finish = Finish::kStop;
    done_.set_value(std::move(result_));
  }

  std::future<Answer> result() { return done_.get_future(); }

 private:
  using Clock = std::chrono::steady_clock;

  void take(const Event& event) {
    const auto seconds = std::chrono::duration<double>(Clock::now() - start_).count();
    if (result_.ids.empty()) result_.prefill_seconds = seconds;
    result_.decode_seconds = seconds - result_.prefill_seconds;
    result_.ids.push_back(event.id);
    if (!event.is_stop && decoder_) show(stops_.push(decoder_->push(event.id)));
    const bool cancelled = options_.cancelled && options_.cancelled();
    if (!stops_.stopped() && !cancelled) return;
    over_ = true;
    result_.finish = stops_.stopped() ? Finish::kStop : Finish::kCancelled;
    engine_.cancel(event.request);
  }

  void show(const std::string& piece) {
    result_.text += piece;
    if (!piece.empty() && options_.on_text) options_.on_text(piece);
  }

  Engine& engine_;
  const AnswerOptions& options_;
  StopStrings stops_;
  std::optional<StreamDecoder> decoder_;
  Clock::time_point start_ = Clock::now();
  bool over_ = false;  // a stop string or the caller has ended the answer
  Answer result_;
  std::promise<Answer> done_;
};

}  // namespace

Result<Answer> answer(Engine& engine, const TextSide& text, Request request, const AnswerOptions& options) {
  Listener listener(engine, text, options);
  std::future<Answer> result = listener.result();
  request.on_event = [&listener](const Event& event) { listener.hear(event); };
  TRY(engine.submit(std::move(request)));
  Answer answered = result.get();
  engine.drain();  // the listener must outlive the last event
  return answered;
}

}  // namespace heed
