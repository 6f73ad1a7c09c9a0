#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdio>
#include <iostream>

#include "cli/commands.h"
#include "cli/conversation.h"

namespace heed {
namespace {

struct ChatOptions {
  ModelOptions model;
  SamplingOptions sampling;
  std::string system;
};

std::atomic<bool> interrupted{false};

// Without SA_RESTART: Ctrl-C also wakes a pending read, so that it leaves at the prompt.
void catch_interrupts() {
  struct sigaction action {};
  action.sa_handler = [](int /*signal*/) { interrupted = true; };
  sigaction(SIGINT, &action, nullptr);
}

class Chat {
 public:
  Chat(Runner& runner, const TextSide& text, const ChatOptions& options, GenerateOptions generate)
      : runner_(runner), text_(text), o_(options), generate_(std::move(generate)) {
    if (!o_.system.empty()) messages_.push_back({{"role", "system"}, {"content", o_.system}});
  }

  Status run() {
    const bool terminal = isatty(STDIN_FILENO) != 0;
    std::string line;
    for (;;) {
      if (terminal) std::fputs("> ", stderr);
      if (!std::getline(std::cin, line) || line == "/exit") break;
      if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
      TRY(turn(line));
    }
    if (terminal && line != "/exit") std::fputs("\n", stderr);
    return {};
  }

 private:
  Status turn(const std::string& line) {
    messages_.push_back({{"role", "user"}, {"content", line}});
    const std::vector<int> prompt = TRY(chat_prompt(text_, o_.model.model, messages_));
    const int context = runner_.plan().max_len;
    if (static_cast<int>(prompt.size()) >= context) {
      return limit_reached("the conversation has " + std::to_string(prompt.size()) +
                           " tokens; the context holds " + std::to_string(context));
    }
    continue_with(prompt);
    interrupted = false;
    const AnswerOptions options{.generate = generate_,
                                .stops = o_.sampling.stops,
                                .on_text =
                                    [](const std::string& piece) {
                                      std::fwrite(piece.data(), 1, piece.size(), stdout);
                                      std::fflush(stdout);
                                    },
                                .cancelled = [] { return interrupted.load(); }};
    const Answer a = TRY(answer(runner_, text_, sequence_, static_cast<int>(prompt.size()), options));
    std::printf("\n");
    std::fflush(stdout);
    interrupted = false;
    messages_.push_back({{"role", "assistant"}, {"content", a.text}});
    return {};
  }

  // Keeps what the cache already holds of the new prompt.
  void continue_with(const std::vector<int>& prompt) {
    int common = 0;
    const int most = std::min<int>(sequence_.computed, static_cast<int>(prompt.size()) - 1);
    while (common < most && sequence_.tokens[common] == prompt[common]) ++common;
    if (!runner_.cache().rewind(sequence_, common)) runner_.cache().release(sequence_);
    sequence_.tokens = prompt;
  }

  Runner& runner_;
  const TextSide& text_;
  const ChatOptions& o_;
  GenerateOptions generate_;
  Sequence sequence_;
  OrderedJson messages_ = OrderedJson::array();
};

Status chat(const ChatOptions& o) {
  Checkpoint checkpoint = TRY(open_checkpoint(o.model.model));
  const TextSide text = TRY(load_text_side(o.model.model));
  const GenerateOptions generate = TRY(resolve(o.sampling, checkpoint.generation));
  const auto runner = TRY(load_runner(std::move(checkpoint), o.model.runner));
  catch_interrupts();
  return Chat(*runner, text, o, generate).run();
}

}  // namespace

Command add_chat(CLI::App& app) {
  CLI::App* command = app.add_subcommand("chat", "Talk with a model; Ctrl-C stops an answer, /exit leaves");
  auto o = std::make_shared<ChatOptions>();
  add_model_options(*command, o->model);
  command->add_option("--system", o->system, "System message");
  add_sampling_options(*command, o->sampling, 1024);
  return {command, [o] { return chat(*o); }};
}

}  // namespace heed
