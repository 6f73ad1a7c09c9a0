// Models that remember in states: prefixes are found again, answers stay the same, slots come back.
#include <gtest/gtest.h>

#include "tests/engine/asks.h"

namespace heed {
namespace {

std::vector<int> random_text(int count, int vocab, unsigned seed) {
  std::vector<int> text(count);
  uint64_t state = seed * 2654435761U + 1;
  for (int& token : text) {
    state = state * 6364136223846793005U + 1442695040888963407U;
    token = static_cast<int>((state >> 33) % static_cast<unsigned>(vocab));
  }
  return text;
}

std::vector<int> joined(std::vector<int> a, const std::vector<int>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

struct Answer {
  std::vector<int> ids;
  int cached = 0;
};

Answer ask(Engine& engine, const std::vector<int>& prompt, int max_tokens) {
  Listener listener;
  EXPECT_TRUE(engine
                  .submit({.prompt = prompt,
                           .sampling = {.temperature = 0},
                           .max_tokens = max_tokens,
                           .on_event = listener.callback()})
                  .ok());
  EXPECT_EQ(listener.promise.get_future().get(), Finish::kLength);
  return {listener.ids, listener.events.back().cached_tokens};
}

class Hybrid : public testing::TestWithParam<const char*> {
 protected:
  std::unique_ptr<Engine> engine(EngineOptions options = {}) const {
    options.runner.max_len = 4096;  // some of the checkpoints are meant for less
    return start(golden_folder(GetParam()), std::move(options));
  }
  std::unique_ptr<Engine> cold() const { return engine({.prefix_caching = false}); }
};

TEST_P(Hybrid, a_second_request_recomputes_little_of_what_it_shares) {
  const auto warm = engine();
  const int vocab = warm->spec().vocab;
  const std::vector<int> first = random_text(3970, vocab, 1);
  const Answer one = ask(*warm, first, 24);
  EXPECT_EQ(one.cached, 0);

  const std::vector<int> shared(first.begin(), first.begin() + 3000);
  const std::vector<int> second = joined(shared, random_text(900, vocab, 2));
  const Answer two = ask(*warm, second, 8);
  EXPECT_GE(two.cached, 3000 - 512);
  const std::vector<int> third = joined(shared, random_text(500, vocab, 3));
  const Answer three = ask(*warm, third, 8);
  EXPECT_GE(three.cached, 3000 - 64) << "where two prompts parted a snapshot was made";

  const std::vector<int> whole = joined(joined(first, one.ids), random_text(20, vocab, 4));
  const Answer four = ask(*warm, whole, 8);
  EXPECT_GE(four.cached, static_cast<int>(first.size() + one.ids.size()) - 64);

  const auto alone = cold();
  EXPECT_EQ(ask(*alone, first, 24).ids, one.ids);
  EXPECT_EQ(ask(*alone, second, 8).ids, two.ids);
  EXPECT_EQ(ask(*alone, third, 8).ids, three.ids);
  EXPECT_EQ(ask(*alone, whole, 8).ids, four.ids);
}

// Tokens that a cache of unlimited size, which can go on from any block, would find.
class IdealCache {
 public:
  int find_and_keep(const std::vector<int>& prompt, const std::vector<int>& answer) {
    size_t best = 0;
    for (const std::vector<int>& text : texts_) {
      const size_t most = std::min(text.size(), prompt.size() - 1);
      size_t same = 0;
      while (same < most && text[same] == prompt[same]) ++same;
      best = std::max(best, same);
    }
    texts_.push_back(joined(prompt, answer));
    texts_.back().pop_back();  // the last token has not been computed
    return static_cast<int>(best / 16 * 16);
  }

 private:
  std::vector<std::vector<int>> texts_;
};

TEST_P(Hybrid, families_of_requests_hit_nearly_as_often_as_with_a_cache_without_limits) {
  const auto warm = engine();
  const int vocab = warm->spec().vocab;
  IdealCache ideal;
  int64_t found = 0;
  int64_t possible = 0;
  constexpr int kFamilies = 10;
  const int count = kSanitized ? 60 : 200;
  for (int i = 0; i < count; ++i) {
    const int family = (i * 7 + i / kFamilies) % kFamilies;
    const std::vector<int> prompt = joined(random_text(500 + 110 * family, vocab, 100 + family),
                                           random_text(20 + i % 50, vocab, 1000 + i));
    const Answer answer = ask(*warm, prompt, 4);
    found += answer.cached;
    possible += ideal.find_and_keep(prompt, answer.ids);
  }
  const double share = static_cast<double>(found) / static_cast<double>(possible);
  std::printf("%s: %lld tokens found of %lld, %.1f %%\n", GetParam(), static_cast<long long>(found),
              static_cast<long long>(possible), 100 * share);
  EXPECT_GE(share, kSanitized ? 0.8 : 0.9);  // among few requests the first of each family weigh more
}

TEST_P(Hybrid, strides_blocks_and_budgets_change_no_token) {
  const auto alone = cold();
  const int vocab = alone->spec().vocab;
  const std::vector<int> base = random_text(700, vocab, 7);
  std::vector<std::vector<int>> prompts;
  for (const int shared : {0, 64, 65, 200, 512, 600, 699})
    prompts.push_back(joined({base.begin(), base.begin() + shared}, random_text(130, vocab, 50 + shared)));
  std::vector<std::vector<int>> want;
  for (const auto& prompt : prompts) want.push_back(ask(*alone, prompt, 70).ids);
  for (const int stride : {64, 512}) {
    for (const int budget : {1, 63, 64, 65, 200}) {
      for (const int block : {16, 64}) {
        if (budget == 1 && block == 64) continue;  // slow, and nothing new
        if (kSanitized && (budget != 65 || stride != 64)) continue;
        const auto warm =
            engine({.runner = {.snapshot_stride = stride, .block_size = block, .step_tokens = budget},
                    .max_sequences = 3});
        for (int round = 0; round < (budget == 1 ? 1 : 2); ++round) {
          for (size_t i = 0; i < prompts.size(); ++i) {
            EXPECT_EQ(ask(*warm, prompts[i], 70).ids, want[i])
                << "stride " << stride << " budget " << budget << " block " << block << " prompt " << i;
          }
        }
      }
    }
  }
}

TEST_P(Hybrid, few_snapshots_are_used_again_and_again) {
  const int64_t slot = plan_run(open_checkpoint(golden_folder(GetParam())).value(), {.dtype = "float32"})
                           .value()
                           .states.slot_bytes();
  const auto alone = cold();
  const auto warm = engine({.runner = {.snapshot_stride = 64}, .snapshot_bytes = 3 * slot});
  for (int i = 0; i < 12; ++i) {
    const std::vector<int> prompt = random_text(150 + i % 5, alone->spec().vocab, i % 4);
    EXPECT_EQ(ask(*warm, prompt, 5).ids, ask(*alone, prompt, 5).ids);
    EXPECT_LE(warm->stats().snapshots, slot > 0 ? 3 : 0);
  }
}

TEST_P(Hybrid, slots_come_back_however_a_request_ends) {
  const auto engine = this->engine({.max_sequences = 4});
  const int vocab = engine->spec().vocab;
  std::vector<Listener> listeners(6);
  std::vector<uint64_t> ids;
  for (size_t i = 0; i < listeners.size(); ++i) {
    ids.push_back(
        engine
            ->submit({.prompt = random_text(100 + static_cast<int>(i), vocab, static_cast<unsigned>(i)),
                      .max_tokens = i % 2 == 0 ? 2000 : 3,
                      .on_event = listeners[i].callback()})
            .value());
  }
  for (size_t i = 0; i < ids.size(); i += 2) engine->cancel(ids[i]);
  engine->drain();
  EXPECT_EQ(engine->stats().held_states, 0);
  EXPECT_EQ(engine->stats().held_pages, 0);
}

TEST_P(Hybrid, states_of_bfloat16_take_half_and_stay_close) {
  const auto exact = load(golden_folder(GetParam()), {.dtype = "float32"});
  const auto rounded = load(golden_folder(GetParam()), {.dtype = "float32", .state_dtype = "bfloat16"});
  EXPECT_LE(rounded->plan().states.slot_bytes(), exact->plan().states.slot_bytes() / 2 + 4096);
  const std::vector<int> text = random_text(200, exact->spec().vocab, 3);
  const auto want = logits_of(*exact, text, 1, 50);
  const auto got = logits_of(*rounded, text, 1, 50);
  const double difference = largest_difference(want, got);
  std::printf("%s: %.3g\n", GetParam(), difference);
  EXPECT_LE(difference, 3);
}

// Only the first layers, which do not attend: no page is ever needed.
TEST(Recurrent, a_model_without_attention_runs_and_finds_its_prefixes) {
  const auto first_layers = [](bool prefix_caching) {
    Checkpoint checkpoint = open_checkpoint(golden_folder("qwen3_next")).value();
    checkpoint.spec.layers.resize(3);
    checkpoint.spec.ignored.emplace_back("model.layers.3.*");
    return Engine::start(std::move(checkpoint),
                         {.runner = {.dtype = "float32"}, .prefix_caching = prefix_caching})
        .value();
  };
  const auto warm = first_layers(true);
  const auto alone = first_layers(false);
  const std::vector<int> prompt = random_text(300, warm->spec().vocab, 1);
  const std::vector<int> want = ask(*alone, prompt, 20).ids;
  EXPECT_EQ(ask(*warm, prompt, 20).ids, want);
  const Answer again = ask(*warm, prompt, 20);
  EXPECT_EQ(again.ids, want);
  EXPECT_EQ(again.cached, 256);
}

std::vector<const char*> hybrids() {
  std::vector<const char*> all = {"bailing", "qwen3_next", "qwen3_5", "minimax"};
  if (kSanitized) all.resize(2);
  return all;
}
INSTANTIATE_TEST_SUITE_P(All, Hybrid, testing::ValuesIn(hybrids()));
// Windows and chunks keep only what their masks still see, and are found again nevertheless.
std::vector<const char*> stateless() {
  std::vector<const char*> all = {"gemma4_text", "gpt_oss", "rnj1"};
  if (kSanitized) all.resize(1);
  return all;
}
INSTANTIATE_TEST_SUITE_P(Stateless, Hybrid, testing::ValuesIn(stateless()));

}  // namespace
}  // namespace heed
