#include "cli/command_line.h"

#include <cstdio>
#include <exception>
#include <new>

#include "base/version.h"
#include "cli/commands.h"
#include "cli/settings.h"

namespace heed {
namespace {

// One line whatever a library put into its message.
void print_error(std::string message) {
  for (char& c : message) {
    if (static_cast<unsigned char>(c) < 0x20) c = ' ';
  }
  while (!message.empty() && message.back() == ' ') message.pop_back();
  std::fprintf(stderr, "heed: %s\n", message.c_str());
}

int parse_and_run(int argc, char** argv) {
  CLI::App app("Heed: serve open-weight language models from Hugging Face checkpoints.", "heed");
  app.set_version_flag("--version", std::string("heed ") + kVersion);
  app.require_subcommand(1);
  std::vector<Command> commands = {add_chat(app),      add_complete(app), add_score(app),
                                   add_tokenize(app),  add_inspect(app),  add_serve(app),
                                   add_run_batch(app), add_quantize(app)};
  for (Command& command : add_bench(app)) commands.push_back(std::move(command));
  add_settings(app);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& success) {  // --help, --version
    app.exit(success);
    return 0;
  } catch (const CLI::ConfigError& error) {  // "INI was not able to parse serve.name"
    const std::string text = error.what();
    print_error("--config: " + text.substr(text.rfind(' ') + 1) + " is not an option (see heed --help)");
    return 2;
  } catch (const CLI::ParseError& error) {
    // What follows an unknown option is taken for an argument, and complained of first.
    for (const std::string& text : app.remaining(/*recurse=*/true)) {
      if (text.size() > 1 && text.front() == '-') {
        print_error(text + " is not an option here (see heed --help)");
        return 2;
      }
    }
    print_error(std::string(error.what()) + " (see heed --help)");
    return 2;
  }
  for (const Command& command : commands) {
    if (!command.app->parsed()) continue;
    const Status status = command.run();
    if (status.ok()) return 0;
    print_error(status.error().message);
    return 1;
  }
  return 2;
}

}  // namespace

int run_command_line(int argc, char** argv) {
  try {
    return parse_and_run(argc, argv);
  } catch (const std::bad_alloc&) {
    print_error("out of memory");
  } catch (const std::exception& error) {
    print_error(std::string("internal error: ") + error.what());
  }
  return 1;
}

}  // namespace heed
