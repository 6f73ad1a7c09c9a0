#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <iostream>
#include <iterator>
#include <random>
#include <set>

#include "cli/commands.h"
#include "engine/plugin.h"

namespace heed {
namespace {

// "loading  [#######.......]  43 %", redrawn in place, on a terminal only.
class ProgressBar {
 public:
  explicit ProgressBar(const char* word) : word_(word) {}
  void show(int64_t done, int64_t total) {
    if (!terminal_ || total <= 0) return;
    const int percent = static_cast<int>(done * 100 / total);
    if (percent == shown_) return;
    shown_ = percent;
    constexpr int kWidth = 40;
    const std::string bar(static_cast<size_t>(percent) * kWidth / 100, '#');
    std::fprintf(stderr, "\r%s  [%-*s] %3d %%", word_, kWidth, bar.c_str(), percent);
    if (done == total) std::fputs("\r\033[K", stderr);
  }

 private:
  const char* word_;
  bool terminal_ = isatty(STDERR_FILENO) != 0;
  int shown_ = -1;
};

}  // namespace

void add_model_options(CLI::App& app, ModelOptions& options) {
  app.add_option("MODEL", options.model, "Folder of a Hugging Face checkpoint, or a GGUF file")->required();
  add_runner_options(app, options.runner);
}

void add_thread_options(CLI::App& app, int& threads, std::vector<int>& cpus) {
  app.add_option("--threads", threads, "Threads (default: as many as processors that this process may use)")
      ->check(CLI::Range(1, 1024));
  const auto read = [&cpus](const std::string& text) {
    auto list = parse_cpu_list(text);
    if (!list.ok()) throw CLI::ValidationError("--cpu-affinity", list.error().message);
    cpus = *std::move(list);
  };
  app.add_option_function<std::string>(
         "--cpu-affinity", read, "Processors to run on, a thread on each, such as 0-3,8 (default: anywhere)")
      ->type_name("LIST");
}

void add_runner_options(CLI::App& app, RunnerOptions& r) {
  app.add_option_function<std::vector<std::string>>(
         "--plugin",
         [](const std::vector<std::string>& paths) {
           static std::set<std::string> loaded;  // HEED_PLUGIN reaches the option of every command
           for (const std::string& path : paths) {
             if (!loaded.insert(path).second) continue;
             const Result<std::string> line = load_plugin(path);
             if (!line.ok()) throw CLI::ValidationError("--plugin", line.error().message);
             std::fprintf(stderr, "heed: %s\n", line->c_str());
           }
         },
         "Shared library that adds mixers, models or proposers")
      ->type_name("FILE");
  app.add_option("--dtype", r.dtype, "Arithmetic of linear layers and the cache: auto, float32 or bfloat16")
      ->check(CLI::IsMember({"auto", "float32", "bfloat16"}))
      ->capture_default_str();
  app.add_option("--device", r.device, "Where to run: cpu, or a GPU such as cuda:0 (default: the backend's)");
  app.add_option(
      "--backend", r.backend,
      "Backend: cuda, cpu, one instruction set such as cpu.avx2, or ref (default: the fastest here)");
  app.add_option("--attention", r.attention,
                 "Attention kernel, such as cpu.flash (default: the backend's first that can)");
  app.add_option("--cuda-graphs", r.recordings, "On a GPU, record decoding steps as CUDA graphs: on or off")
      ->type_name("on|off")
      ->default_str("on");
  app.add_option("--quantize", r.quantize,
                 "Round plain weights when they are loaded: int8 or int4, in blocks of 32 with a scale")
      ->check(CLI::IsMember({"none", "int8", "int4"}))
      ->capture_default_str();
  app.add_option("--kv-cache-dtype", r.kv_cache_dtype,
                 "Keys and values in the cache: auto (as --dtype), float32, bfloat16, int8 or fp8 (E4M3)")
      ->check(CLI::IsMember({"auto", "float32", "bfloat16", "int8", "fp8", "fp8_e4m3"}))
      ->capture_default_str();
  add_thread_options(app, r.threads, r.cpus);
  app.add_option("--block-size", r.block_size, "Tokens in a cache block (default: 16)")
      ->check(CLI::Range(1, 65536));
  app.add_option("--state-dtype", r.state_dtype,
                 "What recurrent layers keep of a sequence: float32 or bfloat16")
      ->check(CLI::IsMember({"float32", "bfloat16"}))
      ->capture_default_str();
  app.add_option("--state-snapshot-stride", r.snapshot_stride,
                 "Tokens between snapshots of recurrent layers, from which later prompts go on")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  const auto length = [](std::string& text) {
    if (text == "auto") {
      text = std::to_string(kLongestThatFits);
      return std::string();
    }
    return CLI::Range(1, 1 << 24)(text);
  };
  app.add_option("--max-model-len", r.max_len,
                 "Longest sequence in tokens, or auto: what fits (default: what the checkpoint is meant for)")
      ->transform(CLI::Validator(length, "INT or auto"));
  app.add_option("--max-num-batched-tokens", r.step_tokens,
                 "Most tokens of a prompt that run in one step (default: 256, on a GPU 8192)")
      ->check(CLI::Range(1, 1 << 20));
}

void add_speculation(CLI::App& app, SpeculativeOptions& options) {
  const auto read = [&options](const std::string& text) {
    const auto given = read_speculative_config(text);
    if (!given.ok()) throw CLI::ValidationError(given.error().message);
    options = *given;
  };
  app.add_option_function<std::string>(
      "--speculative-config", read,
      R"(Guess tokens ahead, as JSON: {"method": "ngram", "num_speculative_tokens": 5, "prompt_lookup_max": 4}, )"
      R"({"method": "mtp"}, or {"model": FOLDER} with a drafter or a small model)");
}

void add_engine_options(CLI::App& app, EngineOptions& options) {
  add_speculation(app, options.speculative);
  app.add_option("--async-scheduling", options.async_scheduling,
                 "On a GPU, prepare each step while the one before it runs: on or off")
      ->type_name("on|off")
      ->default_str("on");
  app.add_option("--max-num-seqs", options.max_sequences, "Most sequences that run at a time")
      ->check(CLI::Range(1, 1 << 16))
      ->capture_default_str();
  app.add_option(
         "--kv-cache-memory", options.cache_bytes,
         "Bytes of the cache, such as 4G (default: what all sequences need, up to a quarter of memory)")
      ->transform(CLI::AsSizeValue(false));
  app.add_option(
         "--state-snapshot-memory", options.snapshot_bytes,
         "Bytes of snapshots of recurrent layers, such as 1G (default: a few for each sequence, up to a "
         "sixteenth of memory)")
      ->transform(CLI::AsSizeValue(false));
}

void add_sampling_options(CLI::App& app, SamplingOptions& options, int default_max_tokens) {
  Sampling& s = options.given;
  options.max_tokens = default_max_tokens;
  app.add_option("--max-tokens", options.max_tokens, "Most tokens to generate")
      ->check(CLI::Range(1, 1 << 24))
      ->capture_default_str();
  options.options = {
      app.add_option("--temperature", s.temperature, "0: the likeliest token each time"),
      app.add_option("--top-k", s.top_k, "Sample from the k likeliest tokens; 0: all"),
      app.add_option("--top-p", s.top_p, "Sample from the likeliest tokens that make up this probability"),
      app.add_option("--min-p", s.min_p, "Drop tokens below this share of the likeliest one's probability"),
      app.add_option("--repetition-penalty", s.repetition_penalty,
                     "Above 1: tokens seen before get less likely"),
      app.add_option("--presence-penalty", s.presence_penalty,
                     "Subtracted once from logits of tokens generated before"),
      app.add_option("--frequency-penalty", s.frequency_penalty,
                     "The same, for each time they were generated"),
      app.add_option("--seed", s.seed, "Seed of the sampling (default: another each time)")};
  app.add_option("--stop", options.stops, "Text that ends the answer and is left out of it; may be repeated");
  app.add_flag("--ignore-eos", options.ignore_eos, "Go on past end-of-sequence tokens");
}

Result<Request> resolve(const SamplingOptions& options, const GenerationConfig& defaults) {
  enum { kTemperature, kTopK, kTopP, kMinP, kRepetition, kPresence, kFrequency, kSeed };
  const auto given = [&](int option) { return options.options[option]->count() > 0; };
  Request resolved{.sampling = options.given, .max_tokens = options.max_tokens};
  Sampling& s = resolved.sampling;
  const bool samples = defaults.sample || given(kTopK) || given(kTopP) || given(kMinP);
  if (!given(kTemperature)) s.temperature = samples ? defaults.temperature.value_or(1.0F) : 0;
  if (!given(kTopK)) s.top_k = defaults.top_k.value_or(0);
  if (!given(kTopP)) s.top_p = defaults.top_p.value_or(1.0F);
  if (!given(kMinP)) s.min_p = defaults.min_p.value_or(0.0F);
  if (!given(kRepetition)) s.repetition_penalty = defaults.repetition_penalty.value_or(1.0F);
  if (!given(kSeed)) s.seed = (uint64_t{std::random_device{}()} << 32) ^ std::random_device{}();
  if (!options.ignore_eos) resolved.stop_ids = defaults.eos_ids;
  TRY(check(s));
  return resolved;
}

Progress progress_bar(const char* word) {
  auto bar = std::make_shared<ProgressBar>(word);
  return [bar](int64_t done, int64_t total) { bar->show(done, total); };
}

Result<std::unique_ptr<Engine>> start_engine(Checkpoint checkpoint, RunnerOptions options,
                                             SpeculativeOptions speculative, int max_len) {
  if (max_len > 0) options.max_len = max_len;
  auto engine = TRY(
      Engine::start(std::move(checkpoint),
                    {.runner = std::move(options), .max_sequences = 1, .speculative = std::move(speculative)},
                    progress_bar()));
  if (engine->narrowed().tensors > 0)
    std::fprintf(stderr, "heed: %s\n", describe(engine->narrowed()).c_str());
  return engine;
}

Result<std::vector<int>> read_token_ids(const std::string& path) {
  const Json document = TRY(read_json(path));
  const Error wrong = invalid(path + ": a JSON array of token ids is expected");
  if (!document.is_array()) return wrong;
  std::vector<int> ids;
  for (const Json& id : document) {
    if (!id.is_number_integer() || id < 0 || id > INT32_MAX) return wrong;
    ids.push_back(id.get<int>());
  }
  return ids;
}

std::string read_stdin() { return {std::istreambuf_iterator<char>(std::cin), {}}; }

}  // namespace heed
