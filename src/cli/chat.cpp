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
  Chat(Engine& engine, const TextSide& text, const ChatOptions& options)
      : engine_(engine), text_(text), o_(options) {
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
    Request request = TRY(resolve(o_.sampling, engine_.checkpoint().generation));
    request.prompt = TRY(chat_prompt(text_, messages_));
    interrupted = false;
    const AnswerOptions options{.stops = o_.sampling.stops,
                                .on_text =
                                    [](const std::string& piece) {
                                      std::fwrite(piece.data(), 1, piece.size(), stdout);
                                      std::fflush(stdout);
                                    },
                                .cancelled = [] { return interrupted.load(); }};
    const Answer a = TRY(answer(engine_, text_, std::move(request), options));
    std::printf("\n");
    std::fflush(stdout);
    interrupted = false;
    messages_.push_back({{"role", "assistant"}, {"content", a.text}});
    return {};
  }

  Engine& engine_;  // its prefix cache holds the turns before
  const TextSide& text_;
  const ChatOptions& o_;
  OrderedJson messages_ = OrderedJson::array();
};

Status chat(const ChatOptions& o) {
  Checkpoint checkpoint = TRY(open_checkpoint(o.model.model));
  const TextSide text = TRY(load_text_side(o.model.model));
  TRY(resolve(o.sampling, checkpoint.generation));  // wrong options are told before loading
  const auto engine = TRY(start_engine(std::move(checkpoint), o.model.runner));
  catch_interrupts();
  return Chat(*engine, text, o).run();
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
