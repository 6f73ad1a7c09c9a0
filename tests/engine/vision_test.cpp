// Models that see, against transformers.
#include "tests/engine/asks.h"

namespace heed {
namespace {

std::string vision_folder(const std::string& name) { return std::string(HEED_SHARED_DIR) + "/goldens/" + name; }

struct Seen {
  Golden golden;
  std::vector<Span> media;
  std::vector<std::shared_ptr<const ImagePatches>> patches;
};

Seen read_seen(const std::string& name) {
  const Safetensors file = Safetensors::open(vision_folder(name) + "/golden.safetensors").value();
  Seen seen;
  seen.golden.input = ints_of(file.tensor("input_ids").value());
  seen.golden.greedy = ints_of(file.tensor("greedy").value());
  const Tensor margin = file.tensor("margin").value();
  seen.golden.margin.assign(margin.f32(), margin.f32() + margin.elements());
  const Tensor logits = file.tensor("logits").value();
  for (int64_t i = 0; i < logits.size[0]; ++i) {
    const float* row = logits.f32() + i * logits.stride[0];
    seen.golden.logits.emplace_back(row, row + logits.size[1]);
  }
  const Tensor pixels = file.tensor("in.pixel_values").value();
  const std::vector<int> positions = ints_of(file.tensor("in.image_position_ids").value());
  auto patches = std::make_shared<ImagePatches>();
  int64_t count = 0;
  for (size_t i = 0; i < positions.size() && positions[i] >= 0; i += 2, ++count) {
    patches->grid.columns = std::max(patches->grid.columns, positions[i] + 1);
    patches->grid.rows = std::max(patches->grid.rows, positions[i + 1] + 1);
  }
  patches->grid.soft_tokens = static_cast<int>(count / 9);
  for (int64_t i = 0; i < count * pixels.size[2]; ++i)
    patches->bytes.push_back(static_cast<uint8_t>(std::lround(pixels.f32()[i] * 255)));
  seen.patches.push_back(patches);
  const std::vector<int> types = ints_of(file.tensor("in.mm_token_type_ids").value());
  const auto first = std::find(types.begin(), types.end(), 1);
  const auto last = std::find(first, types.end(), 0);
  seen.media.push_back({static_cast<int>(first - types.begin()), static_cast<int>(last - types.begin())});
  return seen;
}

Sequence sequence_of(const Seen& seen) {
  Sequence s{.tokens = seen.golden.input, .media = seen.media};
  for (const auto& patches : seen.patches) s.images.push_back({.content = {}, .patches = patches});
  return s;
}

struct Case {
  const char* model;
  const char* backend;
};
void PrintTo(const Case& c, std::ostream* out) { *out << c.model << " on " << c.backend; }

class VisionGolden : public testing::TestWithParam<Case> {};

TEST_P(VisionGolden, float32_logits_and_greedy_tokens_equal_transformers) {
  const Seen seen = read_seen(GetParam().model);
  const auto runner =
      load(vision_folder(GetParam().model), {.dtype = "float32", .backend = GetParam().backend});
  Sequence s = sequence_of(seen);
  const Tensor logits = runner->prefill(s, static_cast<int>(seen.golden.logits.size())).value();
  const double difference = largest_difference(rows_of(logits), seen.golden.logits);
  std::printf("%s on %s: largest logit difference %.2e\n", GetParam().model, GetParam().backend, difference);
  EXPECT_LE(difference, 2e-3);
  std::vector<float> row = rows_of(logits).back();
  for (size_t i = 0; i < seen.golden.greedy.size(); ++i) {
    s.tokens.push_back(arg_max(row));
    if (s.tokens.back() != seen.golden.greedy[i]) {
      EXPECT_LE(seen.golden.margin[i], 2e-3) << "step " << i;
      break;
    }
    row = rows_of(runner->prefill(s, 1).value())[0];
  }
}

INSTANTIATE_TEST_SUITE_P(All, VisionGolden,
                         testing::Values(Case{"gemma4_vision", "ref"}, Case{"gemma4_vision", "cpu"},
                                         Case{"gemma4_vision_small_window", "ref"},
                                         Case{"gemma4_vision_small_window", "cpu"}),
                         [](const auto& test) {
                           return std::string(test.param.model) + "_" + test.param.backend;
                         });

}  // namespace
}  // namespace heed
