#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdio>
#include <iostream>

#include "cli/commands.h"
#include "cli/conversation.h"
#include "cli/images.h"

namespace heed {
namespace {

struct ChatOptions {
  ModelOptions model;
  SpeculativeOptions speculative;
  SamplingOptions sampling;
  ImageFileOptions images;
  std::string system;
};

constexpr std::string_view kImageCommand = "/image ";

std::atomic<bool> interrupted{false};

// Without SA_RESTART: Ctrl-C also wakes a pending read, so that it leaves at the prompt.
void catch_interrupts() {
  struct sigaction action {};
  action.sa_handler = [](int /*signal*/) { interrupted = true; };
  sigaction(SIGINT, &action, nullptr);
}

class Chat {
 public:
  // `images`: of the first message.
  Chat(Engine& engine, const TextSide& text, const ChatOptions& options, ImageList images)
      : engine_(engine), text_(text), o_(options), maker_(text, engine.spec()), images_(std::move(images)) {
    if (!o_.system.empty()) messages_.push_back({{"role", "system"}, {"content", o_.system}});
  }

  Status run() {
    const bool terminal = isatty(STDIN_FILENO) != 0;
    std::string line;
    for (;;) {
      if (terminal) std::fputs("> ", stderr);
      if (!std::getline(std::cin, line) || line == "/exit") break;
      if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
      if (line.starts_with(kImageCommand)) {
        show(line.substr(kImageCommand.size()));
      } else {
        TRY(turn(line));
      }
    }
    if (terminal && line != "/exit") std::fputs("\n", stderr);
    return {};
  }

 private:
  // The next message shows the picture of this file. A mistake does not end the conversation.
  void show(const std::string& file) {
    Result<ImageList> read = read_images(engine_.spec(), {file});
    if (!read.ok()) {
      std::fprintf(stderr, "heed: %s\n", read.error().message.c_str());
    } else {
      images_.push_back(std::move(read->front()));
    }
  }

  Status turn(const std::string& line) {
    const auto count = static_cast<int>(images_.size());
    messages_.push_back(user_message(line, shown_, count - shown_));
    shown_ = count;
    Request request = TRY(resolve(o_.sampling, engine_.checkpoint().generation));
    ModelPrompt prompt = TRY(maker_.of_messages(messages_, images_));
    request.prompt = std::move(prompt.tokens);
    request.images = std::move(prompt.images);
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
  PromptMaker maker_;
  OrderedJson messages_ = OrderedJson::array();
  ImageList images_;  // of all messages, and of the next
  int shown_ = 0;     // of them, in messages
};

Status chat(const ChatOptions& o) {
  Checkpoint checkpoint = TRY(open_checkpoint(o.model.model));
  TRY(apply(o.images, checkpoint.spec));
  const TextSide text = TRY(load_text_side(o.model.model));
  TRY(resolve(o.sampling, checkpoint.generation));  // wrong options are told before loading
  ImageList images = TRY(read_images(checkpoint.spec, o.images.files));
  const auto engine = TRY(start_engine(std::move(checkpoint), o.model.runner, o.speculative));
  catch_interrupts();
  return Chat(*engine, text, o, std::move(images)).run();
}

}  // namespace

Command add_chat(CLI::App& app) {
  CLI::App* command = app.add_subcommand(
      "chat", "Talk with a model; Ctrl-C stops an answer, /image FILE shows a picture, /exit leaves");
  auto o = std::make_shared<ChatOptions>();
  add_model_options(*command, o->model);
  add_speculation(*command, o->speculative);
  command->add_option("--system", o->system, "System message");
  add_image_file_options(*command, o->images);
  add_sampling_options(*command, o->sampling, 1024);
  return {command, [o] { return chat(*o); }};
}

}  // namespace heed
