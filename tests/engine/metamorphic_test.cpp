// What must not change the answer: how a prefill is cut, the block size, the neighbours in a batch, the
// threads.
#include "tests/engine/asks.h"

namespace heed {
namespace {

const char* const kModels[] = {"llama_rope3", "qwen3", "gemma3_text", "rnj1"};

TEST(Metamorphic, a_prefill_cut_anywhere_gives_the_same_logits_bit_for_bit) {
  for (const char* model : kModels) {
    const Golden golden = read_golden(model);
    const auto runner = load(golden_folder(model), {.dtype = "float32", .backend = "cpu"});
    const int last = static_cast<int>(golden.logits.size());
    const auto whole = logits_of(*runner, golden.input, last, 1 << 20);
    for (const int step : {1, 7, 64}) {
      EXPECT_EQ(largest_difference(logits_of(*runner, golden.input, last, step), whole), 0)
          << model << " by " << step;
    }
  }
}

TEST(Metamorphic, the_reference_backend_agrees_however_a_prefill_is_cut) {
  for (const char* model : kModels) {
    if (kSanitized && model != std::string("rnj1")) continue;
    const Golden golden = read_golden(model);
    const auto runner = load(golden_folder(model), {.dtype = "float32", .backend = "ref"});
    const auto whole = logits_of(*runner, golden.input, 8, 1 << 20);
    for (const int step : {1, 7, 64}) {
      EXPECT_LE(largest_difference(logits_of(*runner, golden.input, 8, step), whole), 1e-4)
          << model << " by " << step;
    }
  }
}

TEST(Metamorphic, greedy_tokens_do_not_depend_on_block_size_steps_threads_or_backend) {
  for (const char* model : kModels) {
    if (kSanitized && model != std::string("rnj1")) continue;
    const Golden golden = read_golden(model);
    std::vector<int> prompt = golden.input;
    const auto first = load(golden_folder(model), {.dtype = "float32", .backend = "cpu"});
    const std::vector<int> want = greedy_of(*first, prompt, 32);
    const RunnerOptions variants[] = {
        {.backend = "cpu", .threads = 1},     {.backend = "cpu", .threads = 3},
        {.backend = "cpu", .block_size = 64}, {.backend = "cpu", .block_size = 48, .step_tokens = 5},
        {.backend = "cpu", .step_tokens = 1}, {.backend = "ref", .block_size = 32, .step_tokens = 33}};
    for (RunnerOptions options : variants) {
      options.dtype = "float32";
      const auto runner = load(golden_folder(model), options);
      EXPECT_EQ(greedy_of(*runner, prompt, 32), want)
          << model << " " << options.backend << " threads " << options.threads << " block "
          << options.block_size << " step " << options.step_tokens;
    }
  }
}

// Sequences of unequal length, in one batch and in another order, against each alone.
TEST(Metamorphic, neighbours_in_a_batch_change_nothing) {
  for (const char* model : kModels) {
    const Golden golden = read_golden(model);
    const auto runner = load(golden_folder(model), {.dtype = "float32", .backend = "cpu"});
    const int lengths[] = {37, 1, 64, 5};
    std::vector<Sequence> sequences(4);
    std::vector<Scheduled> batch;
    for (const int i : {2, 0, 3, 1}) {
      sequences[i].tokens.assign(golden.input.begin() + i, golden.input.begin() + i + lengths[i]);
      ASSERT_TRUE(runner->cache().extend(sequences[i], lengths[i]));
      batch.push_back({.sequence = &sequences[i], .count = lengths[i], .logit_count = 1});
    }
    const auto together = rows_of(runner->step(batch));
    for (Sequence& s : sequences) runner->cache().release(s);
    for (size_t row = 0; row < batch.size(); ++row) {
      EXPECT_EQ(
          largest_difference(logits_of(*runner, batch[row].sequence->tokens, 1, 1 << 20), {together[row]}), 0)
          << model << " row " << row;
    }
  }
}

TEST(Metamorphic, pages_that_no_mask_can_see_are_freed_while_running) {
  const Golden golden = read_golden("rnj1");
  const auto runner = load(golden_folder("rnj1"), {.dtype = "float32", .backend = "cpu"});
  Sequence sequence{.tokens = golden.input};
  ASSERT_TRUE(runner->prefill(sequence, 1).ok());
  ASSERT_TRUE(runner->cache().extend(sequence, sequence.computed));
  for (size_t g = 0; g < runner->plan().layout.groups.size(); ++g) {
    const CacheGroup& group = runner->plan().layout.groups[g];
    const int live = row_of(group.kv.mask, sequence.facts(), sequence.computed).lo / group.block_tokens;
    for (int block = 0; block < static_cast<int>(sequence.held[g].pages.size()); ++block) {
      EXPECT_EQ(sequence.held[g].pages[block] >= 0, block >= live)
          << describe(group.kv.mask) << " block " << block;
    }
  }
  runner->cache().check({&sequence});
}

}  // namespace
}  // namespace heed
