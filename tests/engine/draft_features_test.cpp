// What docs/speculation.md says of who guesses is what the code answers, and what the code answers is true.
#include "engine/draft_features.h"

#include <gmock/gmock.h>

#include "base/file.h"
#include "tests/engine/drafters.h"
#include "tests/engine/fake_device.h"
#include "tests/engine/pictures.h"

namespace heed {
namespace {

TEST(DraftTables, of_the_documentation_are_those_of_the_code) {
  const std::string text = read_file(std::string(HEED_SOURCE_DIR) + "/docs/speculation.md").value();
  EXPECT_NE(text.find("\n" + draft_tables() + "\n"), std::string::npos)
      << "docs/speculation.md should have:\n"
      << draft_tables();
}

// A way to run requests: whatever guesses, the answers must be those of the same way without.
struct Setting {
  std::string target = "qwen3_next";
  EngineOptions options = {};
  std::vector<Ask> asks = {};
  bool constrained = false, with_logprobs = false, is_tight = false;
  int rounds = 2;  // the second one finds prefixes, and answers to go by
  std::function<void(const EngineStats&)> check = nullptr;  // that the feature was at work
};

Setting setting_of(DraftFeature feature) {
  Setting s;
  if (feature == DraftFeature::kPictures) {
    s.target = "gemma4_vision_small_window";
    const ModelSpec spec = open_checkpoint(golden_folder(s.target)).value().spec;
    s.asks = {PromptMaker(spec, 3).text(30).picture(10, 7, 5).text(8).ask(30)};
    s.check = [](const EngineStats& stats) { EXPECT_GT(stats.images_encoded, 0U); };
    return s;
  }
  s.asks = draft_asks(s.target, 24);
  for (Ask& ask : s.asks) ask.temperature = 0;
  switch (feature) {
    case DraftFeature::kPrefixCaching:
      s.check = [](const EngineStats& stats) { EXPECT_GT(stats.prefix_hits, 0U); };
      break;
    case DraftFeature::kChunkedPrefill:
      s.options.runner.step_tokens = 16;
      s.check = [](const EngineStats& stats) { EXPECT_GT(stats.steps, stats.prompt_tokens / 16); };
      break;
    case DraftFeature::kPreemption:
      s.is_tight = true;
      s.options.runner.max_len = 420;
      s.options.prefix_caching = false;
      s.check = [](const EngineStats& stats) { EXPECT_GT(stats.preemptions, 0U); };
      break;
    case DraftFeature::kRoundedStates:
      s.options.runner.state_dtype = "bfloat16";
      break;
    case DraftFeature::kSampling:
      for (size_t i = 0; i < s.asks.size(); ++i) s.asks[i].temperature = 0.5F + 0.3F * static_cast<float>(i);
      break;
    case DraftFeature::kGrammars:
      s.constrained = true;
      break;
    case DraftFeature::kLogprobs:
      s.with_logprobs = true;
      break;
    case DraftFeature::kQuantised:
      s.options.runner.quantize = "int8";
      break;
    case DraftFeature::kAccelerator:
      s.options.runner.backend = "fake";
      s.options.runner.max_len = 420;  // all of its memory would be taken for more
      s.options.max_sequences = 8;
      break;
    default:
      break;
  }
  return s;
}

// Even tokens behind odd ones, and the other way round.
class TurnByTurn : public TokenConstraint {
 public:
  void narrow(std::span<uint32_t> allowed) override {
    for (uint32_t& word : allowed) word &= last_ % 2 == 0 ? 0xaaaaaaaaU : 0x55555555U;
  }
  void accept(int token) override { last_ = token; }

 private:
  int last_ = 0;
};

struct Said {
  std::vector<std::vector<int>> ids;
  std::vector<float> logprobs;
  bool operator==(const Said&) const = default;
};

Said say(Engine& engine, const Setting& s) {
  Said said;
  for (int round = 0; round < s.rounds; ++round) {
    std::vector<Listener> listeners(s.asks.size());
    for (size_t i = 0; i < s.asks.size(); ++i) {
      Request r{.prompt = s.asks[i].prompt,
                .images = s.asks[i].images,
                .sampling = {.temperature = s.asks[i].temperature, .seed = i},
                .max_tokens = s.asks[i].max_tokens,
                .logprobs = s.with_logprobs ? 3 : -1,
                .on_event = listeners[i].callback()};
      if (s.constrained) r.constraint = std::make_unique<TurnByTurn>();
      const Result<uint64_t> id = engine.submit(std::move(r));
      EXPECT_TRUE(id.ok()) << id.error().message;
      if (!id.ok()) listeners[i].promise.set_value(Finish::kCancelled);
    }
    for (Listener& listener : listeners) {
      listener.promise.get_future().get();
      said.ids.push_back(listener.ids);
      for (const Event& event : listener.events) {
        if (event.logprob) said.logprobs.push_back(event.logprob->logprob);
        for (const Logprob& top : event.top_logprobs) said.logprobs.push_back(top.logprob);
      }
    }
  }
  expect_clean(engine);
  return said;
}

class DraftFeatures : public testing::TestWithParam<std::tuple<int, int>> {
 protected:
  static void SetUpTestSuite() { fake::add(); }
};

TEST_P(DraftFeatures, go_together_where_the_code_says_so) {
  const DraftMethod& method = draft_methods()[std::get<0>(GetParam())];
  const auto feature = static_cast<DraftFeature>(std::get<1>(GetParam()));
  const std::string reason = why_not(method, feature);
  if (feature == DraftFeature::kPictures && method.name == "mtp") {
    for (const char* model : {"qwen3_next", "qwen3_5_vl", "qwen3_5_moe_vl"}) {
      const ModelSpec spec = open_checkpoint(golden_folder(model)).value().spec;
      EXPECT_TRUE(spec.heads != nullptr && !spec.vision) << model;
    }
    EXPECT_NE(reason, "");
    return;
  }
  const Setting setting = setting_of(feature);
  const ModelSpec spec = open_checkpoint(golden_folder(setting.target)).value().spec;
  const std::map<std::string_view, DrafterShape> shapes = {
      {"draft_model", {.kind = DrafterShape::kPlain, .layers = 1}},
      {"dflash", {.block = 6}},
      {"eagle3", {.kind = DrafterShape::kEagle, .layers = 1, .taps = {1, 0, 2}}}};
  std::unique_ptr<RandomDrafter> drafter;
  EngineOptions options = setting.options;
  options.speculative = {.method = std::string(method.name), .tokens = 5, .adaptive = false, .lookup_min = 1};
  options.speculative.suffix.factor = 4;
  if (const auto shape = shapes.find(method.name); shape != shapes.end()) {
    drafter = std::make_unique<RandomDrafter>(spec, shape->second);
    options.speculative.model = drafter->folder();
  }
  if (method.name == "mtp") options.speculative.model = golden_folder("mtp_" + setting.target);
  if (!reason.empty()) {
    const auto refused = Engine::start(open_checkpoint(golden_folder(setting.target)).value(), options);
    ASSERT_FALSE(refused.ok());
    EXPECT_THAT(refused.error().message, testing::HasSubstr(reason));
    return;
  }
  const Said want = say(*start(golden_folder(setting.target), setting.options), setting);
  if (setting.is_tight) make_tight(golden_folder(setting.target), options);
  const auto engine = start(golden_folder(setting.target), options);
  EXPECT_EQ(say(*engine, setting), want);
  EXPECT_GT(engine->stats().draft_tokens, 0U);
  if (setting.check) setting.check(engine->stats());
  EXPECT_EQ(want.logprobs.empty(), !setting.with_logprobs);
}

std::string test_name(std::string text) {
  for (char& c : text) c = std::isalnum(static_cast<unsigned char>(c)) != 0 ? c : '_';
  return text;
}

INSTANTIATE_TEST_SUITE_P(All, DraftFeatures,
                         testing::Combine(testing::Range(0, static_cast<int>(draft_methods().size())),
                                          testing::Range(0, kDraftFeatures)),
                         [](const auto& test) {
                           return test_name(
                               std::string(draft_methods()[std::get<0>(test.param)].name) + "_" +
                               std::string(name_of(static_cast<DraftFeature>(std::get<1>(test.param)))));
                         });

}  // namespace
}  // namespace heed
