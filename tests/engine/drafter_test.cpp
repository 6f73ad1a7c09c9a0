// Models that guess: what they compute, and that answers are those without them.
#include <gmock/gmock.h>

#include <map>

#include "tests/engine/drafters.h"
#include "tests/engine/fake_device.h"
#include "tests/engine/pictures.h"

namespace heed {
namespace {

// ---- Logits against plain-torch references written from the authors' formulas (tools/reference_dflash.py,
// reference_mtp.py, reference_eagle3.py).

struct DraftGolden {
  std::vector<int> input, contexts;
  Tensor logits;  // [contexts, guesses, vocab]
  Safetensors file;
};

DraftGolden read_draft_golden(const std::string& name) {
  Safetensors file = Safetensors::open(golden_folder(name) + "/golden.safetensors").value();
  DraftGolden golden{.input = ints_of(file.tensor("input_ids").value()),
                     .contexts = ints_of(file.tensor("contexts").value()),
                     .logits = file.tensor("logits").value(),
                     .file = std::move(file)};
  return golden;
}

// Logits of the guesses behind token `place`, when all before it has run in steps of `step` tokens.
struct GuessedRows {
  std::vector<std::vector<float>> logits;
  std::vector<int> tokens;
};

GuessedRows guess_behind(Runner& runner, Sequence& sequence, int guesses) {
  GuessedRows rows;
  DraftAsk ask{.sequence = &sequence, .guesses = guesses};
  runner.propose({&ask, 1}, [&](int, std::span<float> logits) {
    rows.logits.emplace_back(logits.begin(), logits.end());
    return arg_max(logits);
  });
  EXPECT_EQ(ask.drafts.size(), rows.logits.size());
  rows.tokens = ask.drafts;
  runner.cache().check({&sequence});
  return rows;
}

// Runs all tokens but the last one.
void run_before_last(Runner& runner, Sequence& sequence, int step) {
  const int place = static_cast<int>(sequence.tokens.size()) - 1;
  while (sequence.computed < place) {
    const int count = std::min(step, place - sequence.computed);
    EXPECT_TRUE(runner.cache().extend(sequence, sequence.computed + count));
    const Scheduled item{.sequence = &sequence, .count = count};
    runner.step({&item, 1});
    runner.cache().commit(sequence);
  }
}

std::vector<std::vector<float>> guess_logits(Runner& runner, const std::vector<int>& input, int place,
                                             int step, int guesses) {
  Sequence sequence{.tokens = {input.begin(), input.begin() + place + 1}};
  run_before_last(runner, sequence, step);
  const GuessedRows rows = guess_behind(runner, sequence, guesses);
  runner.cache().release(sequence);
  return rows.logits;
}

double worst_of(Runner& runner, const DraftGolden& golden, int step, int shift = 0) {
  double worst = 0;
  for (size_t i = 0; i < golden.contexts.size(); ++i) {
    const auto guesses = static_cast<int>(golden.logits.size[1]);
    const auto rows = guess_logits(runner, golden.input, golden.contexts[i] + shift, step, guesses);
    EXPECT_EQ(std::ssize(rows), guesses);
    for (size_t k = 0; k < rows.size(); ++k) {
      const float* want =
          golden.logits.f32() +
          (static_cast<int64_t>(i) * golden.logits.size[1] + static_cast<int64_t>(k)) * golden.logits.size[2];
      for (int id = 0; id < golden.logits.size[2]; ++id) {
        if (rows[k][id] == want[id]) continue;  // as -infinity is: not of the drafter's vocabulary
        const double difference = std::abs(static_cast<double>(rows[k][id]) - want[id]);
        worst = difference <= worst ? worst : difference;
      }
    }
  }
  return worst;
}

struct DraftCase {
  const char *drafter, *target;
  bool heads() const { return std::string(drafter).starts_with("mtp"); }
};

RunnerOptions float32_with(const DraftCase& names, const std::string& backend) {
  return {.dtype = "float32",
          .backend = backend,
          .drafter = golden_folder(names.drafter),
          .draft_heads = names.heads()};
}

constexpr DraftCase kDraftCases[] = {{"dflash_full", "qwen3"},
                                     {"dflash_sliding", "qwen3"},
                                     {"dflash_around", "llama_rope3"},
                                     {"mtp_qwen3_next", "qwen3_next"},
                                     {"mtp_qwen3_5", "qwen3_5"},
                                     {"eagle3_authors", "qwen3"},
                                     {"eagle3_speculators", "gemma3_text"}};
class DraftLogits : public testing::TestWithParam<std::tuple<DraftCase, const char*>> {
 protected:
  static void SetUpTestSuite() { fake::add(); }
};

TEST_P(DraftLogits, are_those_of_the_reference) {
  const auto [names, backend] = GetParam();
  if (const std::string reason = missing(backend); !reason.empty()) GTEST_SKIP() << reason;
  const DraftGolden golden = read_draft_golden(names.drafter);
  const auto runner = load(golden_folder(names.target), float32_with(names, backend));
  for (const int step : {1, 5, 200}) {
    if (step == 1 && backend == std::string("fake")) continue;  // thousands of calls, each of which is slow
    EXPECT_LT(worst_of(*runner, golden, step), 1e-3) << step;
  }
  std::printf("%s on %s: largest |dlogit| %.2e\n", names.drafter, backend, worst_of(*runner, golden, 200));
  EXPECT_GT(worst_of(*runner, golden, 200, /*shift=*/1), 0.1) << "one slot off";
}

INSTANTIATE_TEST_SUITE_P(All, DraftLogits,
                         testing::Combine(testing::ValuesIn(kDraftCases),
                                          testing::Values("ref", "cpu", "fake", "cuda")),
                         [](const auto& test) {
                           return std::string(std::get<0>(test.param).drafter) + "_" +
                                  std::get<1>(test.param);
                         });

// A head for 200 tokens only: the others get no logits, and those 200 the right ones.
TEST(DraftHead, of_fewer_tokens_guesses_the_ids_that_they_stand_for) {
  const DraftGolden golden = read_draft_golden("dflash_scaled");
  const auto runner =
      load(golden_folder("gemma3_text"), float32_with({"dflash_scaled", "gemma3_text"}, "cpu"));
  const auto file = Safetensors::open(golden_folder("dflash_scaled") + "/model.safetensors").value();
  const std::vector<int> offsets = ints_of(file.tensor("d2t").value());
  for (size_t i = 0; i < golden.contexts.size(); ++i) {
    const auto rows = guess_logits(*runner, golden.input, golden.contexts[i], 200, 64);
    for (size_t k = 0; k < rows.size(); ++k) {
      const float* want =
          golden.logits.f32() +
          (static_cast<int64_t>(i) * golden.logits.size[1] + static_cast<int64_t>(k)) * golden.logits.size[2];
      EXPECT_EQ(std::count(rows[k].begin(), rows[k].end(), -INFINITY), 499 - 200);
      for (int n = 0; n < 200; ++n) EXPECT_NEAR(rows[k][n + offsets[n]], want[n], 1e-3);
    }
  }
}

// The golden must see it where each tap is one layer off, or where they are joined in another order.
TEST(DraftTaps, one_layer_off_or_in_another_order_shows) {
  const DraftGolden golden = read_draft_golden("dflash_full");
  for (const std::vector<int>& taps : {std::vector<int>{0, 1}, {2, 1}, {1, 1}}) {
    const std::string folder = testing::TempDir() + "heed_taps";
    std::filesystem::remove_all(folder);
    std::filesystem::copy(golden_folder("dflash_full"), folder);
    Json config = read_json(folder + "/config.json").value();
    config["dflash_config"]["target_layer_ids"] = taps;
    std::ofstream(folder + "/config.json") << config;
    const auto runner =
        load(golden_folder("qwen3"), {.dtype = "float32", .backend = "cpu", .drafter = folder});
    EXPECT_GT(worst_of(*runner, golden, 200), 0.1);
  }
}

// ---- Answers.

class Drafted : public testing::TestWithParam<const char*> {};

// Everybody who can guess for this model.
struct Guesser {
  std::string name;
  std::unique_ptr<RandomDrafter> drafter;
  EngineOptions options;
};

std::vector<Guesser> guessers_for(const std::string& model, const ModelSpec& spec, int tokens) {
  std::vector<Guesser> all;
  const auto add = [&](const std::string& name, const DrafterShape& shape) {
    auto drafter = std::make_unique<RandomDrafter>(spec, shape);
    EngineOptions options = with_drafter(drafter->folder(), tokens);
    all.push_back({name, std::move(drafter), std::move(options)});
  };
  static const std::map<int, DrafterShape> blocks = {
      {2, {.layers = 1, .block = 3, .taps = {0}}},
      {4, {.block = 5, .taps = {1, 0}}},
      {8, {.block = 9, .taps = {0, 1}, .window = 6}},
      {16, {.layers = 3, .block = 17, .taps = {1}, .window = 40}}};
  add("dflash", blocks.at(tokens));
  add("eagle3", {.kind = DrafterShape::kEagle, .layers = tokens == 4 ? 2 : 1, .taps = {0, 2, 1}});
  for (const char* method : {"ngram", "suffix"}) {
    EngineOptions options;
    options.speculative = {.method = method, .tokens = tokens, .adaptive = false, .lookup_min = 1};
    options.speculative.suffix.factor = 4;
    all.push_back({method, nullptr, options});
  }
  const std::string heads = golden_folder("mtp_" + model);
  if (std::filesystem::exists(heads)) all.push_back({"mtp", nullptr, with_heads(heads, tokens)});
  return all;
}

TEST_P(Drafted, answers_are_those_without_guesses) {
  const std::string folder = golden_folder(GetParam());
  const std::vector<Ask> asks = draft_asks(GetParam());
  const std::vector<std::vector<int>> want = run_all(*start(folder, {}), asks);
  const ModelSpec spec = open_checkpoint(folder).value().spec;
  for (const int tokens : {2, 4, 8, 16}) {
    if (kSanitized && tokens != 8) continue;
    for (const Guesser& guesser : guessers_for(GetParam(), spec, tokens)) {
      SCOPED_TRACE(guesser.name + ", " + std::to_string(tokens) + " guesses");
      const auto engine = start(folder, guesser.options);
      EXPECT_EQ(run_all(*engine, asks), want);
      EXPECT_EQ(run_all(*engine, asks, /*reversed=*/true), want);  // from cached prefixes
      expect_clean(*engine);
      EXPECT_GT(engine->stats().draft_tokens, 0U);
    }
  }
}

// The first of them have chunks, windows, states, shared keys and sinks; with sanitizers they stand for all.
std::vector<const char*> drafted_models() {
  std::vector<const char*> all = {
      "rnj1",        "gemma4_text",    "qwen3_5",         "minimax",     "gpt_oss",    "qwen3_next",
      "llama_rope3", "llama_linear",   "llama_yarn",      "qwen2",       "qwen3",      "qwen3_moe",
      "mistral",     "mixtral",        "mixtral_sliding", "gemma3_text", "gemma4_moe", "llama4_text",
      "qwen3_5_moe", "minimax_text01", "bailing",         "deepseek_v3"};
  if (kSanitized) all.resize(6);
  return all;
}
INSTANTIATE_TEST_SUITE_P(All, Drafted, testing::ValuesIn(drafted_models()),
                         [](const auto& test) { return std::string(test.param); });

// A model that guesses for itself is right every time: greedy, and with its draws at the same random numbers.
TEST(DraftModel, its_own_twin_is_always_right) {
  for (const std::string model : {"llama_rope3", "rnj1", "gemma4_text", "gpt_oss", "mixtral_sliding"}) {
    SCOPED_TRACE(model);
    const std::vector<Ask> asks = draft_asks(model);
    const std::vector<std::vector<int>> want = run_all(*start(golden_folder(model), {}), asks);
    for (const int tokens : {1, 4, 7}) {
      const auto engine = start(golden_folder(model), with_drafter(golden_folder(model), tokens));
      EXPECT_EQ(run_all(*engine, asks), want);
      expect_clean(*engine);
      const EngineStats stats = engine->stats();
      EXPECT_GT(stats.draft_tokens, 30U);
      EXPECT_EQ(stats.accepted_tokens, stats.draft_tokens);
    }
  }
}

std::unique_ptr<Runner> caching_runner(const DraftCase& names, const std::string& backend) {
  Checkpoint checkpoint = open_checkpoint(golden_folder(names.target)).value();
  RunnerOptions options = float32_with(names, backend);
  options.max_len = 1400;
  options.snapshot_stride = 32;
  RunPlan plan = plan_run(checkpoint, options).value();
  plan.pages *= 3;
  return Runner::load(std::move(checkpoint), std::move(plan),
                      {.sequences = 8, .prefix_caching = true, .snapshots = 100})
      .value();
}

class DraftState : public testing::TestWithParam<std::tuple<DraftCase, const char*>> {
 protected:
  static void SetUpTestSuite() { fake::add(); }
};

// Behind a prefix that was found, whoever wrote it, guesses are those of a text that ran as a whole.
TEST_P(DraftState, guesses_do_not_depend_on_what_was_cached) {
  const auto [names, backend] = GetParam();
  const DraftGolden golden = read_draft_golden(names.drafter);
  std::vector<int> text;
  for (int i = 0; i < 1300; ++i) text.push_back((golden.input[i % 150] + i / 150) % 400);
  const auto fresh = caching_runner(names, backend);
  Sequence whole{.tokens = text};
  run_before_last(*fresh, whole, 1400);
  const GuessedRows want = guess_behind(*fresh, whole, 4);

  const auto runner = caching_runner(names, backend);
  constexpr int kPage = 960;      // of every group of these models
  std::vector<int> other = text;  // goes on otherwise, just where a page ends
  for (size_t i = kPage; i < other.size(); ++i) other[i] = (other[i] + 1) % 400;
  Sequence before{.tokens = other};
  run_before_last(*runner, before, 1400);
  runner->cache().release(before);
  for (const bool again : {false, true}) {
    Sequence sequence{.tokens = text};
    const int found = runner->cache().take_prefix(sequence);
    EXPECT_TRUE(again ? found > kPage : found == kPage) << found;
    run_before_last(*runner, sequence, again ? 1400 : 7);
    EXPECT_EQ(guess_behind(*runner, sequence, 4).logits, want.logits);
    runner->cache().release(sequence);
  }
}

// What a step has run beside the guesses it confirmed is as if they had never been guesses.
TEST_P(DraftState, guesses_do_not_depend_on_earlier_guesses) {
  const auto [names, backend] = GetParam();
  const DraftGolden golden = read_draft_golden(names.drafter);
  const std::vector<int>& text = golden.input;
  const auto runner = caching_runner(names, backend);
  for (const int kept : {0, 1, 3}) {
    Sequence plain{.tokens = {text.begin(), text.begin() + 43 + kept}};
    run_before_last(*runner, plain, 400);
    const GuessedRows want = guess_behind(*runner, plain, 4);
    runner->cache().release(plain);

    Sequence sequence{.tokens = {text.begin(), text.begin() + 42}};
    run_before_last(*runner, sequence, 400);
    guess_behind(*runner, sequence, 4);  // other ones than those that follow
    constexpr int kGuesses = 3;
    ASSERT_EQ(runner->cache().hold_drafts(sequence, kGuesses), kGuesses);
    for (int i = 0; i < kGuesses; ++i)
      sequence.tokens.push_back(i < kept ? text[42 + i] : (text[42 + i] + 1) % 400);
    sequence.drafted = kGuesses;
    ASSERT_TRUE(runner->cache().extend(sequence, 42 + kGuesses));
    const Scheduled item{.sequence = &sequence, .count = 1 + kGuesses, .guesses = kGuesses};
    runner->step({&item, 1});
    sequence.tokens.assign(text.begin(), text.begin() + 43 + kept);
    sequence.computed = 42 + kept;
    runner->cache().settle_drafts(sequence, kGuesses, kept);
    EXPECT_EQ(guess_behind(*runner, sequence, 4).logits, want.logits) << kept << " right";
    runner->cache().release(sequence);
  }
}

std::string state_test_name(const testing::TestParamInfo<DraftState::ParamType>& test) {
  return std::string(std::get<0>(test.param).drafter) + "_" + std::get<1>(test.param);
}
INSTANTIATE_TEST_SUITE_P(All, DraftState,
                         testing::Combine(testing::ValuesIn(kDraftCases), testing::Values("cpu")),
                         state_test_name);
constexpr DraftCase kOnDevice[] = {kDraftCases[1], kDraftCases[4], kDraftCases[6]};  // one of each kind
INSTANTIATE_TEST_SUITE_P(OnDevice, DraftState,
                         testing::Combine(testing::ValuesIn(kOnDevice), testing::Values("fake")),
                         state_test_name);

TEST(DraftModel, neither_blocks_nor_budgets_nor_preemption_matter) {
  for (const std::string model : {"rnj1", "qwen3_next"}) {
    const std::vector<Ask> asks = draft_asks(model);
    const std::vector<std::vector<int>> want = run_all(*start(golden_folder(model), {}), asks);
    const ModelSpec spec = open_checkpoint(golden_folder(model)).value().spec;
    for (const Guesser& guesser : guessers_for(model, spec, 8)) {
      if (kSanitized && model == "qwen3_next" && guesser.name != "mtp") continue;
      SCOPED_TRACE(model + ", " + guesser.name);
      expect_same_however_run(golden_folder(model), guesser.options, asks, want);
    }
  }
}

TEST(DraftModel, works_to_the_last_place_of_the_context) {
  const Golden golden = read_golden("qwen3");
  EngineOptions plain;
  plain.runner.max_len = 60;
  const std::vector<Ask> asks = {
      {.prompt = {golden.input.begin(), golden.input.begin() + 20}, .max_tokens = 40}};
  const auto want = run_all(*start(golden_folder("qwen3"), plain), asks);
  EngineOptions options = with_drafter(golden_folder("dflash_full"));
  options.runner.max_len = 60;
  EXPECT_EQ(run_all(*start(golden_folder("qwen3"), options), asks), want);
}

TEST(DraftModel, pictures_change_nothing) {
  const std::string model = "gemma4_vision_small_window";
  const ModelSpec spec = open_checkpoint(golden_folder(model)).value().spec;
  const std::vector<Ask> asks = {PromptMaker(spec, 3).text(30).picture(10, 7, 5).text(8).ask(40),
                                 PromptMaker(spec, 4).text(5).picture(7, 9, 6).text(3).ask(20)};
  const auto want = run_all(*start(golden_folder(model), {}), asks);
  for (const int tokens : {2, 4, 8, 16}) {
    if (kSanitized && tokens != 8) continue;
    for (const Guesser& guesser : guessers_for(model, spec, tokens)) {
      SCOPED_TRACE(guesser.name + ", " + std::to_string(tokens) + " guesses");
      const auto engine = start(golden_folder(model), guesser.options);
      EXPECT_EQ(run_all(*engine, asks), want);
      EXPECT_EQ(run_all(*engine, asks, /*reversed=*/true), want);  // from cached prefixes
      expect_clean(*engine);
      EXPECT_GT(engine->stats().draft_tokens, 0U);
    }
  }
}

// A checkpoint as published: the model's tensors and its heads' in shards of one folder.
TEST(MtpHeads, of_the_models_own_folder_are_found) {
  const std::string folder = testing::TempDir() + "heed_heads_" + std::to_string(::getpid());
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  Json index;
  for (const auto& [file, from] :
       {std::pair("a.safetensors", "qwen3_next"), std::pair("b.safetensors", "mtp_qwen3_next")}) {
    const std::string path = golden_folder(from) + "/model.safetensors";
    std::filesystem::copy(path, folder + "/" + file);
    const Safetensors shard = Safetensors::open(path).value();
    for (const auto& [name, entry] : shard.entries()) index["weight_map"][name] = file;
  }
  std::ofstream(folder + "/model.safetensors.index.json") << index;
  std::filesystem::copy(golden_folder("qwen3_next") + "/config.json", folder + "/config.json");
  const std::vector<Ask> asks = draft_asks("qwen3_next");
  const auto plain = start(folder, {});
  const auto want = run_all(*plain, asks);
  const auto own = start(folder, with_heads("", 4));
  const auto apart = start(golden_folder("qwen3_next"), with_heads(golden_folder("mtp_qwen3_next"), 4));
  for (Engine* engine : {own.get(), apart.get()}) {
    EXPECT_EQ(run_all(*engine, asks), want);
    expect_clean(*engine);
  }
  EXPECT_GT(own->stats().draft_tokens, 0U);
  // Weights that are shared are not loaded again.
  const auto bytes = [](const Engine& engine) {
    return engine.plan().run.mapped_bytes + engine.plan().run.owned_bytes;
  };
  EXPECT_EQ(bytes(*own), bytes(*apart));
  EXPECT_LT(bytes(*own) - bytes(*plain), 400'000);
  std::filesystem::remove_all(folder);
}

// ---- What does not go together is said.

std::string draft_refusal(const std::string& target, const EngineOptions& options) {
  const auto engine = Engine::start(open_checkpoint(golden_folder(target)).value(), options);
  return engine.ok() ? "" : engine.error().message;
}

TEST(DraftErrors, name_what_does_not_fit) {
  using testing::HasSubstr;
  const auto drafter = [](const std::string& name) { return with_drafter(golden_folder(name)); };
  EXPECT_THAT(draft_refusal("qwen3_next", drafter("dflash_full")),
              HasSubstr("hidden states of 96 elements; the target's have 80"));
  EXPECT_THAT(draft_refusal("qwen3", drafter("llama_rope3")),
              HasSubstr("its vocabulary has 503 tokens and the target's 509"));
  EXPECT_THAT(draft_refusal("qwen3_next", drafter("qwen3_next")), HasSubstr("could not be taken back"));
  EXPECT_THAT(draft_refusal("qwen3", with_drafter("/nowhere")), HasSubstr("/nowhere: not a folder"));
  EXPECT_THAT(draft_refusal("qwen3", with_drafter(golden_folder("dflash_full"), 8)),
              HasSubstr("guesses at most 7"));
  EngineOptions block = drafter("qwen3");
  block.speculative.method = "dflash";
  EXPECT_THAT(draft_refusal("qwen3", block), HasSubstr("is no DFlash drafter"));
  EXPECT_THAT(draft_refusal("dflash_full", {}), HasSubstr("holds a drafter"));
  EXPECT_THAT(draft_refusal("eagle3_authors", {}), HasSubstr("holds a drafter"));
  block = drafter("dflash_full");
  block.speculative.method = "eagle3";
  EXPECT_THAT(draft_refusal("qwen3", block), HasSubstr("is no EAGLE-3 drafter"));
  EXPECT_THAT(draft_refusal("qwen3", with_heads("")), HasSubstr("has no heads for multi-token prediction"));
  EXPECT_THAT(draft_refusal("qwen3_next", with_heads("")),
              HasSubstr("tensor mtp.fc.weight [80, 160] is missing"));
  EXPECT_THAT(draft_refusal("qwen3_5", with_heads(golden_folder("mtp_qwen3_next"))), HasSubstr("vocabulary"));
  EXPECT_THAT(draft_refusal("gemma3_text", drafter("dflash_scaled")), "");
}

}  // namespace
}  // namespace heed
