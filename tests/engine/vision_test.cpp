// Models that see, against transformers: from picture files to logits. And would the goldens notice a wrong
// mask?
#include "tests/engine/pictures.h"

namespace heed {
namespace {

constexpr double kTolerance = 2e-3;

struct SeenCase {
  const char* model;
  const char* backend;
};

void PrintTo(const SeenCase& c, std::ostream* out) { *out << c.model << " on " << c.backend; }

double difference_of(Runner& runner, const SeenGolden& golden, Sequence sequence) {
  const Tensor logits = runner.prefill(sequence, static_cast<int>(golden.logits.size())).value();
  const double difference = largest_difference(rows_of(logits), golden.logits);
  runner.cache().release(sequence);
  runner.cache().check({});
  return difference;
}

std::vector<int> greedy_seen(Runner& runner, const SeenGolden& golden) {
  Sequence sequence = golden.sequence();
  const int image = runner.spec().vision->tokens.image;
  std::vector<int> made;
  while (made.size() < golden.greedy.size()) {
    const Tensor logits = runner.prefill(sequence, 1).value();
    logits.mutable_f32()[image] = -INFINITY;  // it would stand for a picture that is not there
    made.push_back(arg_max({logits.f32(), static_cast<size_t>(logits.size[1])}));
    sequence.tokens.push_back(made.back());
  }
  runner.cache().release(sequence);
  return made;
}

class VisionGolden : public testing::TestWithParam<SeenCase> {
 protected:
  void SetUp() override {
    if (const std::string reason = missing(GetParam().backend); !reason.empty()) GTEST_SKIP() << reason;
  }
};

TEST_P(VisionGolden, float32_logits_and_greedy_tokens_equal_transformers) {
  const SeenGolden golden = read_seen_golden(GetParam().model);
  const auto runner =
      load(golden_folder(GetParam().model), {.dtype = "float32", .backend = GetParam().backend});
  const double difference = difference_of(*runner, golden, golden.sequence());
  std::printf("%s on %s: largest logit difference %.2e\n", GetParam().model, GetParam().backend, difference);
  EXPECT_LE(difference, kTolerance);
  const std::vector<int> greedy = greedy_seen(*runner, golden);
  for (size_t i = 0; i < greedy.size(); ++i) {
    if (greedy[i] == golden.greedy[i]) continue;
    EXPECT_LE(golden.margin[i], kTolerance) << "step " << i;
    break;  // what follows continues another text
  }
}

std::vector<SeenCase> seen_cases() {
  std::vector<SeenCase> cases;
  for (const char* model : {"gemma4_vision", "gemma4_vision_small_window", "gemma4_vision_small",
                            "gemma4_vision_large", "gemma3_vision"}) {
    for (const char* backend : {"ref", "cpu", "cuda"}) {
      if (kSanitized && backend == std::string("ref")) continue;
      cases.push_back({model, backend});
    }
  }
  return cases;
}

INSTANTIATE_TEST_SUITE_P(All, VisionGolden, testing::ValuesIn(seen_cases()), [](const auto& test) {
  return std::string(test.param.model) + "_" + test.param.backend;
});

// ---- Mutations: each must move some logit by far more than the tolerance. ----

double difference_with_masks(const std::string& model, const std::function<Mask(const Mask&)>& change) {
  const SeenGolden golden = read_seen_golden(model);
  Checkpoint checkpoint = open_checkpoint(golden_folder(model)).value();
  for (LayerSpec& layer : checkpoint.spec.layers) {
    auto& attention = std::get<AttentionSpec>(layer.mixer);
    attention.mask = change(attention.mask);
  }
  const auto runner = Runner::load(std::move(checkpoint), {.dtype = "float32"}).value();
  return difference_of(*runner, golden, golden.sequence());
}

int window_of(const Mask& mask) {
  for (int i = 0; i < mask.count; ++i) {
    if (mask.terms[i].kind == Term::kWindow) return mask.terms[i].a + 1;
  }
  return 0;
}

TEST(VisionMutation, causal_within_a_picture_breaks_the_goldens) {
  for (const char* model : {"gemma4_vision", "gemma4_vision_small_window"}) {
    EXPECT_GT(difference_with_masks(model,
                                    [](const Mask& mask) {
                                      const int window_size = window_of(mask);
                                      return window_size > 0 ? causal() & window(window_size) : mask;
                                    }),
              0.1)
        << model;
  }
}

TEST(VisionMutation, seeing_the_picture_on_full_layers_too_breaks_the_goldens) {
  for (const char* model : {"gemma4_vision", "gemma4_vision_small_window"}) {
    EXPECT_GT(difference_with_masks(
                  model, [](const Mask& mask) { return window_of(mask) > 0 ? mask : causal() | media(); }),
              0.1)
        << model;
  }
}

// As a guard elsewhere has it: pictures longer than the window are treated as text.
TEST(VisionMutation, a_guard_against_pictures_longer_than_the_window_breaks_the_golden) {
  const auto guarded = [](const Mask& mask) {
    const int window_size = window_of(mask);
    return window_size > 0 && window_size < 63 ? causal() & window(window_size) : mask;
  };
  EXPECT_GT(difference_with_masks("gemma4_vision_small_window", guarded), 0.1);
  EXPECT_LE(difference_with_masks("gemma4_vision", guarded), kTolerance);  // its window is longer
}

// The older order of operators: the whole picture, whatever the window's past says.
TEST(VisionMutation, a_picture_before_the_window_breaks_the_golden) {
  const auto older = [](const Mask& mask) {
    const int window_size = window_of(mask);
    return window_size > 0 ? (causal() & window(window_size)) | media() : mask;
  };
  EXPECT_GT(difference_with_masks("gemma4_vision_small_window", older), 0.01);
}

// The mark before the picture is taken for a part of it. Its own embedding stays as it is, so that nothing
// but the mask is wrong.
TEST(VisionMutation, a_range_that_is_one_token_off_breaks_the_golden) {
  const std::string model = "gemma4_vision";
  const SeenGolden golden = read_seen_golden(model);
  const auto runner = load(golden_folder(model), {.dtype = "float32"});
  Sequence sequence = golden.sequence();
  runner->encode_all(sequence);
  const int64_t hidden = runner->spec().hidden;
  const Tensor encoded = sequence.images[0].encoded->rows;
  auto longer = std::make_shared<EncodedImage>();
  longer->memory = Buffer((encoded.size[0] + 1) * hidden * size_of(DType::kF32));
  longer->rows = Tensor(longer->memory.data(), DType::kF32, {encoded.size[0] + 1, hidden});
  const Checkpoint& checkpoint = runner->checkpoint();
  const std::string name = "model.language_model.embed_tokens.weight";
  const Tensor table = checkpoint.shards[checkpoint.shard_of.at(name)].tensor(name).value();
  const Span span = sequence.media[0];
  for (int64_t i = 0; i < hidden; ++i) {
    longer->rows.mutable_f32()[i] = to_float(table.as<bf16>()[sequence.tokens[span.lo - 1] * hidden + i]) *
                                    std::sqrt(static_cast<float>(hidden));
  }
  std::copy_n(encoded.f32(), encoded.elements(), longer->rows.mutable_f32() + hidden);
  sequence.images[0].encoded = longer;
  sequence.media[0] = {span.lo - 1, span.hi};
  EXPECT_GT(difference_of(*runner, golden, std::move(sequence)), 0.01);
}

// ---- Tiles ----

// Key tiles that the query tiles of a prompt visit on a sliding layer.
int64_t visited_tiles(const Mask& mask, const SeqFacts& facts, int tile) {
  int64_t tiles = 0;
  for (int r0 = 0; r0 < facts.length; r0 += tile) {
    const Span keys = tile_visit(mask, facts, r0, std::min(r0 + tile, facts.length));
    tiles += (keys.hi + tile - 1) / tile - std::max(keys.lo, 0) / tile;
  }
  return tiles;
}

TEST(VisionTiles, pictures_add_few_to_those_of_a_long_prompt) {
  const Checkpoint checkpoint = open_checkpoint(golden_folder("gemma4_vision")).value();
  Mask mask = std::get<AttentionSpec>(checkpoint.spec.layers[0].mixer).mask;
  for (int i = 0; i < mask.count; ++i) {
    if (mask.terms[i].kind == Term::kWindow) mask.terms[i].a = 511;
  }
  std::vector<Span> media;
  for (int i = 0; i < 20; ++i) media.push_back({100 + 800 * i, 380 + 800 * i});
  for (const int tile : {16, 64, 128}) {
    const int64_t without = visited_tiles(mask, {.length = 16384}, tile);
    const int64_t with = visited_tiles(mask, {.length = 16384, .media = media.data(), .num_media = 20}, tile);
    std::printf("tiles of %d: %lld with pictures, %lld without\n", tile, static_cast<long long>(with),
                static_cast<long long>(without));
    EXPECT_LE(static_cast<double>(with), 1.15 * static_cast<double>(without));
    EXPECT_GT(with, without);
  }
}

}  // namespace
}  // namespace heed
