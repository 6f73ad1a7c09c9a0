#include "engine/score.h"

#include <cmath>
#include <cstdio>

#include "cli/commands.h"
#include "cli/images.h"
#include "formats/safetensors.h"

namespace heed {
namespace {

struct ScoreOptions {
  ModelOptions model;
  ImageFileOptions images;
  std::string token_ids, text, logits;
  int last = 1;
};

Result<ModelPrompt> read_scored(const ScoreOptions& o, const ModelSpec& spec) {
  if (o.token_ids.empty() && o.text.empty())
    return invalid("score: --token-ids FILE or --text FILE is expected");
  const ImageList images = TRY(read_images(spec, o.images.files));
  const TextSide side = TRY(load_text_side(o.model.model));
  const PromptMaker maker(side, spec);
  if (!o.token_ids.empty()) {
    std::vector<int> ids = TRY(read_token_ids(o.token_ids));
    return maker.of_ids(std::move(ids), images);
  }
  if (!side.tokenizer)
    return invalid(o.model.model + ": no tokenizer.json or tokenizer.model; give --token-ids");
  return maker.of_text(TRY(read_file(o.text)), images);
}

Status run_score(const ScoreOptions& o) {
  Checkpoint checkpoint = TRY(open_checkpoint(o.model.model));
  TRY(apply(o.images, checkpoint.spec));
  const ModelPrompt prompt = TRY(read_scored(o, checkpoint.spec));
  const std::vector<int>& tokens = prompt.tokens;
  const auto count = static_cast<int>(tokens.size());
  if (count == 0) return invalid("there are no tokens to score");
  const int last = o.logits.empty() ? 0 : o.last;
  if (last > count) {
    return invalid("--last " + std::to_string(last) + " exceeds the " + std::to_string(count) + " tokens");
  }
  const int context = o.model.runner.max_len > 0 ? o.model.runner.max_len : checkpoint.spec.max_positions;
  if (count > context) {
    return limit_reached(std::to_string(count) + " tokens exceed the context of " + std::to_string(context));
  }
  RunnerOptions options = o.model.runner;
  options.max_len = count;
  const auto runner = TRY(Runner::load(std::move(checkpoint), options, progress_bar()));
  Score result = TRY(score(*runner, tokens, last, prompt.images));
  if (last > 0) {
    const Tensor logits(result.logits.data(), DType::kF32, {last, runner->spec().vocab});
    TRY(write_safetensors(o.logits, {{"logits", logits}}));
  }
  OrderedJson report = {{"tokens", count}, {"nll_mean", nullptr}, {"perplexity", nullptr}};
  if (result.predicted > 0) {
    const double mean = result.nll_sum / result.predicted;
    report["nll_mean"] = mean;
    report["perplexity"] = std::exp(mean);
  }
  std::printf("%s\n", to_text(report).c_str());
  return {};
}

}  // namespace

Command add_score(CLI::App& app) {
  CLI::App* command = app.add_subcommand("score", "Likelihood of a text under the model, and its logits");
  auto o = std::make_shared<ScoreOptions>();
  add_model_options(*command, o->model);
  CLI::Option* ids = command->add_option("--token-ids", o->token_ids, "File with a JSON array of token ids");
  command->add_option("--text", o->text, "File with text")->excludes(ids);
  add_image_file_options(*command, o->images);
  CLI::Option* logits = command->add_option("--logits", o->logits,
                                            "Write `logits` [N, vocab] float32 to this safetensors file");
  command->add_option("--last", o->last, "N: at how many last positions")
      ->check(CLI::Range(1, 1 << 24))
      ->needs(logits)
      ->capture_default_str();
  return {command, [o] { return run_score(*o); }};
}

}  // namespace heed
