#include <unistd.h>

#include <cstdio>

#include "cli/commands.h"
#include "cli/conversation.h"
#include "cli/images.h"

namespace heed {
namespace {

struct CompleteOptions {
  ModelOptions model;
  SpeculativeOptions speculative;
  SamplingOptions sampling;
  ImageFileOptions images;
  std::string prompt;
  std::string token_ids;
  bool chat = false;
  bool json = false;
  CLI::Option* prompt_given = nullptr;
};

Result<ModelPrompt> read_prompt(const CompleteOptions& o, const TextSide& text, const ModelSpec& spec) {
  const ImageList images = TRY(read_images(spec, o.images.files));
  const PromptMaker maker(text, spec);
  if (!o.token_ids.empty()) {
    std::vector<int> ids = TRY(read_token_ids(o.token_ids));
    return maker.of_ids(std::move(ids), images);
  }
  if (!text.tokenizer)
    return invalid(o.model.model + ": no tokenizer.json or tokenizer.model; give the prompt by --token-ids");
  const std::string prompt = o.prompt_given->count() > 0 ? o.prompt : read_stdin();
  if (!o.chat) return maker.of_text(prompt, images);
  return maker.of_messages(OrderedJson::array({user_message(prompt, 0, static_cast<int>(images.size()))}),
                           images);
}

double per_second(int tokens, double seconds) { return seconds > 0 ? tokens / seconds : 0; }

OrderedJson report(const std::vector<int>& prompt, const Answer& a, double load_seconds) {
  const auto made = static_cast<int>(a.ids.size());
  const auto prompt_tokens = static_cast<int>(prompt.size());
  return {{"prompt_token_ids", prompt},
          {"token_ids", a.ids},
          {"text", a.text},
          {"finish_reason", a.finish == Finish::kLength ? "length" : "stop"},
          {"usage",
           {{"prompt_tokens", prompt_tokens},
            {"completion_tokens", made},
            {"total_tokens", prompt_tokens + made}}},
          {"timings",
           {{"load_seconds", load_seconds},
            {"prefill_seconds", a.prefill_seconds},
            {"decode_seconds", a.decode_seconds},
            {"prefill_tokens_per_second", per_second(prompt_tokens - a.cached_tokens, a.prefill_seconds)},
            {"decode_tokens_per_second", per_second(made - 1, a.decode_seconds)}}}};
}

void print_ids(const std::vector<int>& ids) {
  for (size_t i = 0; i < ids.size(); ++i) std::printf("%s%d", i > 0 ? " " : "", ids[i]);
}

Status complete(const CompleteOptions& o) {
  const auto start = std::chrono::steady_clock::now();
  Checkpoint checkpoint = TRY(open_checkpoint(o.model.model));
  TRY(apply(o.images, checkpoint.spec));
  const TextSide text = TRY(load_text_side(o.model.model));
  Request request = TRY(resolve(o.sampling, checkpoint.generation));
  ModelPrompt read = TRY(read_prompt(o, text, checkpoint.spec));
  const std::vector<int> prompt = request.prompt = std::move(read.tokens);
  request.images = std::move(read.images);
  if (prompt.empty()) return invalid("the prompt has no tokens; at least one is needed");

  const int context = o.model.runner.max_len > 0 ? o.model.runner.max_len : checkpoint.spec.max_positions;
  const auto prompt_size = static_cast<int>(prompt.size());
  if (prompt_size >= context) {
    return limit_reached("the prompt has " + std::to_string(prompt_size) + " tokens; the context holds " +
                         std::to_string(context) + " with at least one new token");
  }
  request.max_tokens = std::min(request.max_tokens, context - prompt_size);
  const auto engine = TRY(
      start_engine(std::move(checkpoint), o.model.runner, o.speculative, prompt_size + request.max_tokens));
  const double load_seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();

  AnswerOptions options{.stops = o.sampling.stops};
  if (!o.json) {
    options.on_text = [](const std::string& piece) {
      std::fwrite(piece.data(), 1, piece.size(), stdout);
      std::fflush(stdout);
    };
  }
  const Answer a = TRY(answer(*engine, text, std::move(request), options));
  if (o.json) {
    std::printf("%s\n", to_text(report(prompt, a, load_seconds)).c_str());
  } else {
    if (!text.tokenizer) print_ids(a.ids);
    std::printf("\n");
  }
  return {};
}

}  // namespace

Command add_complete(CLI::App& app) {
  CLI::App* command = app.add_subcommand("complete", "Continue a prompt");
  auto o = std::make_shared<CompleteOptions>();
  add_model_options(*command, o->model);
  add_speculation(*command, o->speculative);
  o->prompt_given =
      command->add_option("PROMPT", o->prompt, "The text to continue (default: standard input)");
  CLI::Option* ids =
      command->add_option("--token-ids", o->token_ids, "File with the prompt as a JSON array of token ids");
  ids->excludes(o->prompt_given);
  command
      ->add_flag("--chat", o->chat, "Put the prompt to the model as a user's message, by its chat template")
      ->excludes(ids);
  add_image_file_options(*command, o->images);
  add_sampling_options(*command, o->sampling, 256);
  command->add_flag("--json", o->json, "Print one JSON object with ids, text, usage and timings");
  return {command, [o] { return complete(*o); }};
}

}  // namespace heed
