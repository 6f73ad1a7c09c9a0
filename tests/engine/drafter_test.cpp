// Models that guess: what they compute, and that answers are those without them.
#include <gmock/gmock.h>

#include "tests/engine/drafters.h"
#include "tests/engine/pictures.h"

namespace heed {
namespace {

// ---- Logits against a plain-torch reference written from the authors' formulas (tools/reference_dflash.py).

struct DraftGolden {
  std::vector<int> input, contexts;
  Tensor logits;  // [contexts, block - 1, vocab]
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
std::vector<std::vector<float>> guess_logits(Runner& runner, const std::vector<int>& input, int place,
                                             int step) {
  Sequence sequence{.tokens = {input.begin(), input.begin() + place + 1}};
  while (sequence.computed < place) {
    const int count = std::min(step, place - sequence.computed);
    EXPECT_TRUE(runner.cache().extend(sequence, sequence.computed + count));
    const Scheduled item{.sequence = &sequence, .count = count};
    runner.step({&item, 1});
  }
  std::vector<std::vector<float>> rows;
  DraftAsk ask{.sequence = &sequence, .guesses = 64};
  runner.propose({&ask, 1}, [&](int, std::span<float> logits) {
    rows.emplace_back(logits.begin(), logits.end());
    return arg_max(logits);
  });
  EXPECT_EQ(ask.drafts.size(), rows.size());
  runner.cache().check({&sequence});
  runner.cache().release(sequence);
  return rows;
}

double worst_of(Runner& runner, const DraftGolden& golden, int step, int shift = 0) {
  double worst = 0;
  for (size_t i = 0; i < golden.contexts.size(); ++i) {
    const auto rows = guess_logits(runner, golden.input, golden.contexts[i] + shift, step);
    EXPECT_EQ(std::ssize(rows), golden.logits.size[1]);
    for (size_t k = 0; k < rows.size(); ++k) {
      const float* want =
          golden.logits.f32() +
          (static_cast<int64_t>(i) * golden.logits.size[1] + static_cast<int64_t>(k)) * golden.logits.size[2];
      for (int id = 0; id < golden.logits.size[2]; ++id) {
        if (rows[k][id] == -INFINITY) continue;  // not of the drafter's vocabulary
        const double difference = std::abs(static_cast<double>(rows[k][id]) - want[id]);
        worst = difference <= worst ? worst : difference;
      }
    }
  }
  return worst;
}

RunnerOptions float32_with(const std::string& drafter, const std::string& backend) {
  return {.dtype = "float32", .backend = backend, .drafter = drafter};
}

struct DraftCase {
  const char *drafter, *target;
};
class DraftLogits : public testing::TestWithParam<std::tuple<DraftCase, const char*>> {};

TEST_P(DraftLogits, are_those_of_the_reference) {
  const auto [names, backend] = GetParam();
  const DraftGolden golden = read_draft_golden(names.drafter);
  const auto runner = load(golden_folder(names.target), float32_with(golden_folder(names.drafter), backend));
  for (const int step : {1, 5, 200}) EXPECT_LT(worst_of(*runner, golden, step), 1e-3) << step;
  std::printf("%s on %s: largest |dlogit| %.2e\n", names.drafter, backend, worst_of(*runner, golden, 200));
  EXPECT_GT(worst_of(*runner, golden, 200, /*shift=*/1), 0.1) << "one slot off";
}

INSTANTIATE_TEST_SUITE_P(All, DraftLogits,
                         testing::Combine(testing::Values(DraftCase{"dflash_full", "qwen3"},
                                                          DraftCase{"dflash_sliding", "qwen3"},
                                                          DraftCase{"dflash_around", "llama_rope3"}),
                                          testing::Values("ref", "cpu")),
                         [](const auto& test) {
                           return std::string(std::get<0>(test.param).drafter) + "_" +
                                  std::get<1>(test.param);
                         });

// A head for 200 tokens only: the others get no logits, and those 200 the right ones.
TEST(DraftHead, of_fewer_tokens_guesses_the_ids_that_they_stand_for) {
  const DraftGolden golden = read_draft_golden("dflash_scaled");
  const auto runner = load(golden_folder("gemma3_text"), float32_with(golden_folder("dflash_scaled"), "cpu"));
  const auto file = Safetensors::open(golden_folder("dflash_scaled") + "/model.safetensors").value();
  const std::vector<int> offsets = ints_of(file.tensor("d2t").value());
  for (size_t i = 0; i < golden.contexts.size(); ++i) {
    const auto rows = guess_logits(*runner, golden.input, golden.contexts[i], 200);
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
    const auto runner = load(golden_folder("qwen3"), float32_with(folder, "cpu"));
    EXPECT_GT(worst_of(*runner, golden, 200), 0.1);
  }
}

// ---- Answers.

std::vector<Ask> draft_asks(const std::string& model, int tokens = 40) {
  const Golden golden = read_golden(model);
  std::vector<Ask> asks;
  for (const int from : {0, 40, 90})
    asks.push_back({.prompt = {golden.input.begin() + from, golden.input.end()}, .max_tokens = tokens});
  asks.push_back({.prompt = asks[1].prompt, .max_tokens = 30, .temperature = 0.9F, .seed = 11});
  asks.push_back({.prompt = {golden.input.begin(), golden.input.begin() + 3}, .max_tokens = 5});
  return asks;
}

void expect_clean(Engine& engine) {
  engine.drain();
  EXPECT_EQ(engine.stats().held_pages, 0);
  EXPECT_EQ(engine.stats().held_states, 0);
}

class Drafted : public testing::TestWithParam<const char*> {};

TEST_P(Drafted, answers_are_those_without_guesses) {
  const std::string folder = golden_folder(GetParam());
  const std::vector<Ask> asks = draft_asks(GetParam());
  const std::vector<std::vector<int>> want = run_all(*start(folder, {}), asks);
  const ModelSpec spec = open_checkpoint(folder).value().spec;
  for (const DrafterShape& shape : {DrafterShape{.layers = 1, .block = 3, .taps = {0}},
                                    {.block = 5, .taps = {1, 0}},
                                    {.block = 9, .taps = {0, 1}, .window = 6},
                                    {.layers = 3, .block = 17, .taps = {1}, .window = 40}}) {
    if (kSanitized && shape.block != 9) continue;
    SCOPED_TRACE("blocks of " + std::to_string(shape.block));
    const RandomDrafter drafter(spec, shape);
    const auto engine = start(folder, with_drafter(drafter.folder()));
    EXPECT_EQ(run_all(*engine, asks), want);
    EXPECT_EQ(run_all(*engine, asks, /*reversed=*/true), want);  // from cached prefixes
    expect_clean(*engine);
    EXPECT_GT(engine->stats().draft_tokens, 0U);
  }
}

INSTANTIATE_TEST_SUITE_P(All, Drafted,
                         testing::Values("llama_rope3", "llama_linear", "llama_yarn", "qwen2", "qwen3",
                                         "qwen3_moe", "mistral", "mixtral", "mixtral_sliding", "gemma3_text",
                                         "gemma4_text", "gemma4_moe", "rnj1", "llama4_text", "gpt_oss",
                                         "qwen3_next", "qwen3_5", "qwen3_5_moe", "minimax", "minimax_text01",
                                         "bailing", "deepseek_v3"),
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

TEST(DraftModel, guesses_are_the_same_with_and_without_a_cached_prefix) {
  const std::vector<Ask> asks = {draft_asks("qwen3")[0]};
  const auto engine = start(golden_folder("qwen3"), with_drafter(golden_folder("dflash_full")));
  run_all(*engine, asks);
  engine->drain();
  const EngineStats first = engine->stats();
  run_all(*engine, asks);
  engine->drain();
  const EngineStats second = engine->stats();
  EXPECT_GT(second.prefix_hits, first.prefix_hits);
  EXPECT_EQ(second.draft_tokens, 2 * first.draft_tokens);
  EXPECT_EQ(second.accepted_tokens, 2 * first.accepted_tokens);
}

TEST(DraftModel, neither_blocks_nor_budgets_nor_preemption_matter) {
  for (const std::string model : {"rnj1", "qwen3_next"}) {
    const std::vector<Ask> asks = draft_asks(model);
    const std::vector<std::vector<int>> want = run_all(*start(golden_folder(model), {}), asks);
    const RandomDrafter drafter(open_checkpoint(golden_folder(model)).value().spec,
                                {.block = 6, .taps = {1, 2}, .window = 20});
    struct DraftVariant {
      int block, step_tokens, sequences;
      bool prefix_caching, tight;
    };
    for (const DraftVariant& v : {DraftVariant{1, 7, 8, true, false},
                                  {64, 16, 2, true, false},
                                  {16, 64, 8, false, true},
                                  {4, 33, 5, true, true}}) {
      SCOPED_TRACE(model + ", blocks of " + std::to_string(v.block) + ", steps of " +
                   std::to_string(v.step_tokens));
      EngineOptions options = with_drafter(drafter.folder());
      options.runner.block_size = v.block;
      options.runner.step_tokens = v.step_tokens;
      options.runner.max_len = 420;
      options.max_sequences = v.sequences;
      options.prefix_caching = v.prefix_caching;
      if (v.tight) {
        const auto probe = start(golden_folder(model), options);
        options.cache_bytes = probe->plan().sequence_pages * probe->plan().run.layout.page_bytes * 9 / 8;
      }
      const auto engine = start(golden_folder(model), options);
      EXPECT_EQ(run_all(*engine, asks), want);
      expect_clean(*engine);
      EXPECT_TRUE(!v.tight || engine->stats().preemptions > 0);
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
  const RandomDrafter drafter(spec, {.block = 6, .taps = {1, 0}, .window = 20});
  const auto engine = start(golden_folder(model), with_drafter(drafter.folder()));
  EXPECT_EQ(run_all(*engine, asks), want);
  expect_clean(*engine);
  EXPECT_GT(engine->stats().draft_tokens, 0U);
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
  EXPECT_THAT(draft_refusal("gemma3_text", drafter("dflash_scaled")), "");
}

}  // namespace
}  // namespace heed
