#include "client/load.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <deque>
#include <random>

#include "client/event_stream.h"

namespace heed {
namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kMaxErrorBytes = 4096;  // of an answer that is an error

double seconds_since(Clock::time_point moment) {
  return std::chrono::duration<double>(Clock::now() - moment).count();
}

bool is_chat(const LoadOptions& options) { return options.endpoint.ends_with("/chat/completions"); }

const Json* find(const Json& object, const char* name) {
  if (!object.is_object()) return nullptr;
  const auto found = object.find(name);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

bool has_text(const Json& object, const char* name) {
  const Json* text = find(object, name);
  return text != nullptr && text->is_string() && !text->get_ref<const std::string&>().empty();
}

int count_in(const Json& object, const char* name) {
  const Json* number = find(object, name);
  return number != nullptr && number->is_number_integer() ? number->get<int>() : 0;
}

// What an error's body says, in one line.
std::string error_in(const std::string& body) {
  const auto json = parse_json(body, "answer");
  const Json* error = json.ok() ? find(*json, "error") : nullptr;
  const Json* message = error != nullptr ? find(*error, "message") : nullptr;
  std::string text = message != nullptr && message->is_string() ? message->get<std::string>() : body;
  for (char& c : text) c = static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
  return text.substr(0, 300);
}

// How a request is to be spoilt, if at all.
struct Fate {
  int malformed_kind = -1;      // 0 and up: malformed
  int hang_up_after = -1;       // 0 and up: after so many pieces of text
  double hang_up_seconds = -1;  // 0 and up: hang up then, whatever has come
};

// Reads one answer into its Outcome.
class AnswerReader : public HttpListener {
 public:
  AnswerReader(Outcome& outcome, const Fate& fate, const LoadOptions& options, std::string malformed,
               bool may_close, std::function<void()> ended)
      : outcome_(outcome),
        fate_(fate),
        options_(options),
        malformed_(std::move(malformed)),
        may_close_(may_close),
        ended_(std::move(ended)) {}

  bool on_response(int status, const HttpFields& /*fields*/) override {
    status_ = status;
    return malformed_.empty() || status >= 400;
  }

  bool on_body(std::string_view bytes) override {
    if (status_ != 200) {
      error_body_ += bytes.substr(0, kMaxErrorBytes - std::min(kMaxErrorBytes, error_body_.size()));
      return true;
    }
    const Status read = events_.push(bytes, [this](const StreamEvent& event) { return take(event.data); });
    if (!read.ok()) wrong_ = read.error().message;
    return wrong_.empty() && !hangs_up_;
  }

  void on_end(Status status) override {
    judge(status);
    const std::function<void()> ended = std::move(ended_);
    ended();  // may start other requests
  }

 private:
  bool take(const std::string& data) {
    if (data == "[DONE]") {
      done_ = true;
      return true;
    }
    const auto event = parse_json(data, "event");
    if (!event.ok()) {
      wrong_ = event.error().message;
      return false;
    }
    if (find(*event, "error") != nullptr) {
      wrong_ = error_in(data);
      return false;
    }
    if (const Json* usage = find(*event, "usage")) {
      outcome_.prompt_tokens = count_in(*usage, "prompt_tokens");
      outcome_.output_tokens = count_in(*usage, "completion_tokens");
    }
    const Json* choices = find(*event, "choices");
    if (choices != nullptr && choices->is_array() && !choices->empty()) take_choice(choices->front());
    hangs_up_ = fate_.hang_up_after >= 0 && pieces_ >= fate_.hang_up_after;
    return !hangs_up_;
  }

  void take_choice(const Json& choice) {
    const double now = seconds_since(sent_);
    if (!finished_at_ && find(choice, "finish_reason") != nullptr) finished_at_ = now;
    if (!is_piece(choice)) return;
    if (pieces_++ == 0) {
      outcome_.ttft = now;
    } else {
      outcome_.itls.push_back(now - outcome_.latency);
    }
    outcome_.latency = now;
  }

  // Whether the choice stands for tokens, and is not only about roles or the end.
  bool is_piece(const Json& choice) {
    if (!is_chat(options_)) {
      if (options_.keep_text && has_text(choice, "text")) outcome_.text += choice["text"].get<std::string>();
      return has_text(choice, "text") || find(choice, "finish_reason") == nullptr;
    }
    const Json* delta = find(choice, "delta");
    if (delta == nullptr) return false;
    if (options_.keep_text && has_text(*delta, "content")) {
      outcome_.text += (*delta)["content"].get<std::string>();
    }
    return has_text(*delta, "content") || has_text(*delta, "reasoning_content") ||
           has_text(*delta, "reasoning") || find(*delta, "tool_calls") != nullptr;
  }

  void judge(const Status& status) {
    if (!malformed_.empty()) return judge_malformed(status);
    const bool on_purpose = fate_.hang_up_after >= 0 || fate_.hang_up_seconds >= 0;
    const bool hung_up = !status.ok() && status.error().code == ErrorCode::kStopped;
    if (on_purpose && hung_up && wrong_.empty() && (status_ == 0 || status_ == 200)) {
      outcome_.kind = OutcomeKind::kDisconnected;
      return;
    }
    if (status_ != 0 && status_ != 200) {
      outcome_.error = "HTTP " + std::to_string(status_) + ": " + error_in(error_body_);
    } else if (!wrong_.empty()) {
      outcome_.error = wrong_;
    } else if (!status.ok()) {
      outcome_.error = status.error().message;
    } else if (!done_) {
      outcome_.error = "the stream ended without [DONE]";
    } else if (pieces_ == 0 && !finished_at_) {
      outcome_.error = "the stream had no choices";
    } else {
      complete();
    }
  }

  void complete() {
    outcome_.kind = OutcomeKind::kCompleted;
    if (pieces_ == 0) outcome_.ttft = outcome_.latency = *finished_at_;
    if (outcome_.output_tokens == 0) outcome_.output_tokens = pieces_;  // a server without usage
  }

  void judge_malformed(const Status& status) {
    const bool refused = status_ >= 400 && status_ < 500;
    if (refused || (may_close_ && status_ == 0 && !status.ok())) {
      outcome_.kind = OutcomeKind::kRefused;
      return;
    }
    outcome_.error = "malformed (" + malformed_ + "): ";
    outcome_.error += status_ != 0 ? "HTTP " + std::to_string(status_) : "no answer";
  }

  Outcome& outcome_;
  Fate fate_;
  const LoadOptions& options_;
  std::string malformed_;  // what is wrong with the request; empty: nothing
  bool may_close_;
  std::function<void()> ended_;
  Clock::time_point sent_ = Clock::now();
  EventStream events_;
  int status_ = 0;
  std::string error_body_, wrong_;
  int pieces_ = 0;
  std::optional<double> finished_at_;
  bool done_ = false, hangs_up_ = false;
};

class Load {
 public:
  Load(HttpClient& client, const LoadOptions& options, const std::function<Prompt(int64_t)>& prompt_of,
       const std::function<void(int64_t)>& progress)
      : client_(client),
        options_(options),
        prompt_of_(prompt_of),
        progress_(progress),
        random_(options.seed ^ 0x9e3779b97f4a7c15) {}

  LoadResult run() {
    begin_ = Clock::now();
    if (std::isinf(options_.request_rate)) {
      if (timed()) {
        refill();
      } else {
        waiting_ = options_.num_prompts;
        launch_waiting();
      }
    } else {
      if (!timed()) {
        gaps_ = arrival_gaps(options_.num_prompts, options_.request_rate, options_.burstiness, options_.seed);
      }
      arrive(0);
    }
    client_.run();
    LoadResult result{.duration = end_};
    for (Outcome& outcome : outcomes_) result.outcomes.push_back(std::move(outcome));
    return result;
  }

 private:
  bool timed() const { return options_.seconds > 0; }
  bool has_room() const { return options_.max_concurrency <= 0 || running_ < options_.max_concurrency; }
  bool is_open() const { return !timed() || seconds_since(begin_) < options_.seconds; }

  // The arrival of this number, and the next one's timer.
  void arrive(int64_t number) {
    if (timed() ? !is_open() : number >= options_.num_prompts) return;
    ++waiting_;
    launch_waiting();
    next_arrival_ += gap_after(number);
    client_.after(std::max(0.0, next_arrival_ - seconds_since(begin_)),
                  [this, number] { arrive(number + 1); });
  }

  double gap_after(int64_t number) {
    if (!timed()) return gaps_[static_cast<size_t>(number)];
    std::gamma_distribution<double> gap(options_.burstiness,
                                        1 / (options_.request_rate * options_.burstiness));
    return gap(random_);
  }

  // Without arrivals: as many as may run, all the time.
  void refill() {
    while (has_room() && is_open()) launch();
  }

  void launch_waiting() {
    while (waiting_ > 0 && has_room() && is_open()) {
      --waiting_;
      launch();
    }
  }

  Fate draw_fate(const Prompt& prompt) {
    std::uniform_real_distribution<double> uniform(0, 1);
    Fate fate;
    const double spoilt = uniform(random_);
    if (spoilt < options_.malformed_fraction) {
      fate.malformed_kind = static_cast<int>(random_() % kMalformedKinds);
    } else if (spoilt < options_.malformed_fraction + options_.disconnect_fraction) {
      if (random_() % 4 == 0) {
        fate.hang_up_seconds = uniform(random_) * 0.05;  // mostly before the first token
      } else {
        fate.hang_up_after = static_cast<int>(random_() % static_cast<uint64_t>(prompt.output_tokens + 1));
      }
    }
    return fate;
  }

  void launch() {
    const Prompt prompt = prompt_of_(static_cast<int64_t>(outcomes_.size()));
    const Fate fate = draw_fate(prompt);
    MalformedRequest spoilt;
    if (fate.malformed_kind >= 0) {
      spoilt = malformed_request(options_, prompt, fate.malformed_kind);
    } else {
      spoilt.request = load_request(options_, prompt);
    }
    Outcome& outcome = outcomes_.emplace_back();
    outcome.prompt_tokens = static_cast<int>(prompt.ids.size());
    ++running_;
    outcome.start = seconds_since(begin_);
    auto reader = std::make_unique<AnswerReader>(outcome, fate, options_, spoilt.what, spoilt.may_close,
                                                 [this] { ended(); });
    const uint64_t number = client_.send(std::move(spoilt.request), std::move(reader));
    if (fate.hang_up_seconds >= 0)
      client_.after(fate.hang_up_seconds, [this, number] { client_.hang_up(number); });
  }

  void ended() {
    --running_;
    ++num_ended_;
    end_ = seconds_since(begin_);
    if (progress_) progress_(num_ended_);
    launch_waiting();
    if (timed() && std::isinf(options_.request_rate)) refill();
  }

  HttpClient& client_;
  const LoadOptions& options_;
  const std::function<Prompt(int64_t)>& prompt_of_;
  const std::function<void(int64_t)>& progress_;
  std::mt19937_64 random_;
  Clock::time_point begin_;
  std::vector<double> gaps_;
  double next_arrival_ = 0, end_ = 0;
  int64_t waiting_ = 0, num_ended_ = 0;  // arrived and not yet sent; over
  int running_ = 0;
  std::deque<Outcome> outcomes_;  // their places stay
};

}  // namespace

HttpRequest load_request(const LoadOptions& options, const Prompt& prompt) {
  OrderedJson body = {{"model", options.model}};
  if (is_chat(options)) {
    body["messages"] = OrderedJson::array({{{"role", "user"}, {"content", prompt.text}}});
  } else if (prompt.ids.empty()) {
    body["prompt"] = prompt.text;
  } else {
    body["prompt"] = prompt.ids;
  }
  body["max_tokens"] = prompt.output_tokens;
  body["stream"] = true;
  body["stream_options"] = {{"include_usage", true}};
  body.update(options.body);
  HttpRequest request{
      .method = "POST", .path = options.endpoint, .fields = options.fields, .body = to_text(body)};
  request.fields.emplace_back("Content-Type", "application/json");
  return request;
}

std::vector<double> arrival_gaps(int64_t num, double rate, double burstiness, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::gamma_distribution<double> gap(burstiness, 1 / (rate * burstiness));
  std::vector<double> gaps;
  double total = 0;
  for (int64_t i = 0; i < num; ++i) total += gaps.emplace_back(gap(random));
  const double scale = total > 0 ? static_cast<double>(num) / rate / total : 0;
  for (double& one : gaps) one *= scale;
  return gaps;
}

LoadResult run_load(HttpClient& client, const LoadOptions& options,
                    const std::function<Prompt(int64_t)>& prompt_of,
                    const std::function<void(int64_t)>& progress) {
  return Load(client, options, prompt_of, progress).run();
}

}  // namespace heed
