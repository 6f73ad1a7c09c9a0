// Pictures in the engine: what must not change the answer, and what must.
#include "tests/engine/pictures.h"

namespace heed {
namespace {

constexpr const char* kModel = "gemma4_vision_small_window";  // pictures of up to 70 tokens, a window of 30
constexpr const char* kCausal = "gemma4_vision_small";        // pictures are text to the masks

ModelSpec spec_of(const std::string& model) { return open_checkpoint(golden_folder(model)).value().spec; }

// Prompts with pictures first, last, next to each other, the same text with other pictures, and none.
std::vector<Ask> asks_for(const ModelSpec& spec) {
  const Picture shared = random_picture(spec.vision->prep, 9, 7, 90);
  return {PromptMaker(spec, 1).picture(7, 9, 1).text(20).ask(),
          PromptMaker(spec, 2).text(33).picture(5, 5, 2).ask(),
          PromptMaker(spec, 3).text(5).picture(8, 8, 3).picture(3, 4, 4).picture(10, 7, 5).text(9).ask(),
          PromptMaker(spec, 4).text(40).picture(6, 6, 6).text(30).ask(),
          PromptMaker(spec, 4).text(40).picture(6, 6, 7).text(30).ask(),
          PromptMaker(spec, 5).text(70).ask(),
          PromptMaker(spec, 6).text(18).picture(shared).text(7).picture(shared).text(3).ask(),
          PromptMaker(spec, 7).text(90).picture(shared).text(50).ask()};
}

// Each by itself, on a fresh engine without a prefix cache.
std::vector<std::vector<int>> alone(const std::string& model, const std::vector<Ask>& asks) {
  EngineOptions options;
  options.prefix_caching = false;
  options.image_bytes = 0;
  std::vector<std::vector<int>> all;
  for (const Ask& ask : asks) all.push_back(run_all(*start(golden_folder(model), options), {ask}).front());
  return all;
}

TEST(VisionEngine, answers_do_not_depend_on_budgets_blocks_neighbours_or_caches) {
  for (const std::string model : {kModel, kCausal}) {
    const std::vector<Ask> asks = asks_for(spec_of(model));
    const std::vector<std::vector<int>> want = alone(model, asks);
    struct SeenVariant {
      int block, step_tokens, sequences;
      bool prefix_caching;
      int64_t image_bytes;
    };
    std::vector<SeenVariant> variants = {{16, 2048, 8, true, -1},  {16, 16, 8, true, 0},
                                         {64, 64, 3, true, 40000}, {4, 7, 8, false, -1},
                                         {48, 100, 1, true, -1},   {1, 33, 5, true, 1}};
    if (kSanitized) variants.resize(3);
    for (const SeenVariant& v : variants) {
      SCOPED_TRACE(model + ", blocks of " + std::to_string(v.block) + ", steps of " +
                   std::to_string(v.step_tokens));
      EngineOptions options;
      options.runner.block_size = v.block;
      options.runner.step_tokens = v.step_tokens;
      options.max_sequences = v.sequences;
      options.prefix_caching = v.prefix_caching;
      options.image_bytes = v.image_bytes;
      const auto engine = start(golden_folder(model), options);
      EXPECT_EQ(run_all(*engine, asks), want);
      EXPECT_EQ(run_all(*engine, asks, /*reversed=*/true), want);
      engine->drain();
      const EngineStats stats = engine->stats();
      EXPECT_EQ(stats.held_pages, 0);
      // Prefixes end where blocks of all groups do: larger ones not within these prompts.
      EXPECT_TRUE(stats.prefix_hits > 0 || !v.prefix_caching || v.block > 16);
      EXPECT_TRUE(stats.prefix_hits == 0 || v.prefix_caching);
    }
  }
}

TEST(VisionEngine, preemption_in_the_middle_changes_nothing) {
  const ModelSpec spec = spec_of(kModel);
  std::vector<Ask> asks = asks_for(spec);
  for (Ask& ask : asks) ask.max_tokens = 40;
  const std::vector<std::vector<int>> want = alone(kModel, asks);
  EngineOptions options;
  options.runner.max_len = 300;
  options.runner.step_tokens = 32;
  options.runner.block_size = 4;
  const auto probe = start(golden_folder(kModel), options);
  options.cache_bytes = probe->plan().sequence_pages * probe->plan().run.layout.page_bytes * 5 / 4;
  const auto engine = start(golden_folder(kModel), options);
  EXPECT_EQ(run_all(*engine, asks), want);
  EXPECT_GT(engine->stats().preemptions, 0U);
}

TEST(VisionEngine, equal_text_with_another_picture_is_another_prompt) {
  const ModelSpec spec = spec_of(kModel);
  const auto engine = start(golden_folder(kModel), {});
  const auto ask = [&](unsigned seed) {
    return PromptMaker(spec, 9).text(40).picture(7, 9, seed).text(30).ask();
  };
  std::vector<int> cached;
  for (const unsigned seed : {1U, 2U, 1U}) {
    Listener listener;
    const Ask a = ask(seed);
    ASSERT_TRUE(
        engine
            ->submit(
                {.prompt = a.prompt, .images = a.images, .max_tokens = 8, .on_event = listener.callback()})
            .ok());
    listener.promise.get_future().get();
    cached.push_back(listener.events.back().cached_tokens);
  }
  EXPECT_EQ(cached[0], 0);
  EXPECT_EQ(cached[1], 32);   // whole blocks of the text before the picture
  EXPECT_EQ(cached[2], 128);  // all whole blocks: the picture is the same again
  EXPECT_EQ(engine->stats().images_encoded, 2U);
}

TEST(VisionEngine, a_picture_is_encoded_once_and_not_at_all_behind_a_prefix) {
  const ModelSpec spec = spec_of(kModel);
  const Picture picture = random_picture(spec.vision->prep, 8, 8, 3);
  const auto engine = start(golden_folder(kModel), {});
  const auto run = [&](const PromptMaker& maker) { run_all(*engine, {maker.ask(4)}); };
  run(PromptMaker(spec, 1).text(5).picture(picture).text(5));
  EXPECT_EQ(engine->stats().images_encoded, 1U);
  run(PromptMaker(spec, 2).text(9).picture(picture).text(5));  // another prompt, the same picture
  EXPECT_EQ(engine->stats().images_encoded, 1U);
  EXPECT_EQ(engine->stats().images_found, 1U);
  run(PromptMaker(spec, 1).text(5).picture(picture).text(5).text(20));  // goes on from the first
  EXPECT_EQ(engine->stats().images_encoded, 1U);
}

// A picture cannot be cut on layers where it is seen whole: it runs at once even where a step is shorter, and
// answers under way get their token beside it.
TEST(VisionEngine, a_picture_longer_than_a_step_is_taken_whole) {
  const ModelSpec spec = spec_of(kModel);
  EngineOptions options;
  options.runner.step_tokens = 8;
  options.max_sequences = 4;
  const auto engine = start(golden_folder(kModel), options);
  EXPECT_EQ(engine->plan().run.image_tokens, 70);
  EXPECT_GE(most_step_tokens(engine->plan().run, engine->plan().sequences), 74);
  Listener first;
  const Ask text = PromptMaker(spec, 1).text(20).ask();
  ASSERT_TRUE(engine->submit({.prompt = text.prompt, .max_tokens = 200, .on_event = first.callback()}).ok());
  const Ask seen = PromptMaker(spec, 2).text(6).picture(10, 7, 1).text(3).ask(4);
  EXPECT_EQ(run_all(*engine, {seen}), alone(kModel, {seen}));
  EXPECT_EQ(first.promise.get_future().get(), Finish::kLength);
  EXPECT_EQ(first.ids.size(), 200U);
}

TEST(VisionEngine, prompt_logprobs_are_those_of_a_whole_run) {
  const ModelSpec spec = spec_of(kModel);
  const Ask ask = PromptMaker(spec, 3).text(30).picture(10, 7, 5).text(30).picture(6, 6, 6).text(4).ask(1);
  std::vector<std::vector<float>> all;
  for (const int step_tokens : {2048, 16}) {
    EngineOptions options;
    options.runner.step_tokens = step_tokens;
    const auto engine = start(golden_folder(kModel), options);
    Listener listener;
    Request request{.prompt = ask.prompt, .images = ask.images, .max_tokens = 1, .prompt_logprobs = 0};
    request.on_event = listener.callback();
    ASSERT_TRUE(engine->submit(std::move(request)).ok());
    listener.promise.get_future().get();
    std::vector<float> row;
    for (const auto& logprobs : listener.events.front().prompt_logprobs)
      row.push_back(logprobs.front().logprob);
    EXPECT_EQ(row.size(), ask.prompt.size() - 1);
    all.push_back(std::move(row));
  }
  EXPECT_LE(largest_difference({all[0]}, {all[1]}), 1e-5);
}

// A layer at least, and more where the step leaves room: answers under way go on in between.
TEST(VisionEngine, a_picture_goes_through_the_tower_by_layers) {
  const auto runner = load(golden_folder(kModel), {.dtype = "float32"});
  const Ask ask = PromptMaker(runner->spec(), 1).text(3).picture(4, 4, 1).picture(5, 5, 2).ask();
  Sequence sequence{.tokens = ask.prompt};
  for (const RequestImage& image : ask.images) {
    sequence.media.push_back(image.tokens);
    sequence.images.push_back({.content = {.low = sequence.images.size() + 1}, .patches = image.patches});
  }
  ImageEncoder encoder(*runner, 1 << 20);
  const int layers = runner->spec().vision->layers;
  for (int i = 0; i <= layers; ++i) {
    EXPECT_EQ(sequence.ready(), 4);
    EXPECT_TRUE(encoder.work({&sequence}, 0));
  }
  EXPECT_EQ(sequence.ready(), INT_MAX);  // both at once: they fit one call
  EXPECT_FALSE(encoder.work({&sequence}, 0));
  Sequence other = sequence;
  for (SequenceImage& image : other.images) image = {.content = {.low = 7}, .patches = image.patches};
  EXPECT_TRUE(encoder.work({&other}, 1 << 30));
  EXPECT_EQ(other.ready(), INT_MAX);
  EXPECT_EQ(encoder.encoded(), 3U);  // equal ones once
}

std::string refusal(Engine& engine, Request request) {
  request.on_event = [](const Event&) {};
  const Result<uint64_t> id = engine.submit(std::move(request));
  if (id.ok()) engine.drain();
  return id.ok() ? "" : id.error().message;
}

TEST(VisionEngine, pictures_that_do_not_fit_are_refused) {
  const ModelSpec spec = spec_of(kModel);
  const auto engine = start(golden_folder(kModel), {});
  const Ask good = PromptMaker(spec, 1).text(5).picture(5, 5, 1).text(5).ask();
  const auto with = [&](const std::function<void(RequestImage&)>& change) {
    RequestImage image = good.images[0];
    change(image);
    return refusal(*engine, {.prompt = good.prompt, .images = {image}});
  };
  EXPECT_EQ(with([](RequestImage&) {}), "");
  EXPECT_EQ(with([](RequestImage& image) { --image.tokens.hi; }),
            "picture 1 has 25 soft tokens; the prompt holds 24 for it");
  EXPECT_EQ(with([](RequestImage& image) {
              image.tokens = {20, 45};
            }),
            "picture 1 has no place of its own in the prompt");
  EXPECT_EQ(with([](RequestImage& image) { image.patches = nullptr; }), "picture 1 has no pixels");
  EXPECT_EQ(with([&](RequestImage& image) { image.patches = random_picture(spec.vision->prep, 20, 20, 1); }),
            "picture 1 has 400 soft tokens; at most 70 are possible here");
  const auto changed = [&](const std::function<void(ImagePatches&)>& change) {
    return with([&](RequestImage& image) {
      auto patches = std::make_shared<ImagePatches>(*image.patches);
      change(*patches);
      image.patches = patches;
    });
  };
  const std::string unprepared = "picture 1 was not prepared as this model wants it";
  EXPECT_EQ(changed([](ImagePatches& p) { p.bytes.pop_back(); }), unprepared);
  EXPECT_EQ(changed([](ImagePatches& p) { p.grid.columns = 1; }), unprepared);
  EXPECT_EQ(changed([](ImagePatches& p) { p.grid.soft_tokens = 0; }), unprepared);
  EXPECT_EQ(changed([](ImagePatches& p) { p.grid = {1 << 30, 1 << 30, 1 << 30}; }), unprepared);
  EXPECT_EQ(refusal(*engine, {.prompt = good.prompt, .images = {good.images[0], good.images[0]}}),
            "picture 2 has no place of its own in the prompt");
  const auto blind = start(golden_folder("gemma4_text"), {});
  EXPECT_EQ(refusal(*blind, {.prompt = good.prompt, .images = good.images}), "this model takes no pictures");
}

}  // namespace
}  // namespace heed
