// config.json: whatever the bytes, a spec that passes the checks must be safe to plan with.
#include <cstdint>

#include "attention/cache_spec.h"
#include "attention/rope.h"
#include "attention/rows.h"
#include "model/checkpoint.h"
#include "model/mixer.h"
#include "model/weights.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace heed;
  const auto document = parse_json({reinterpret_cast<const char*>(data), size}, "config.json");
  if (!document.ok()) return 0;
  if (document->is_object()) (void)read_quant_schemes(*document, "config.json");
  const auto spec = read_spec(*document, "config.json");
  if (!spec.ok() || spec->layers.size() > 64) return 0;
  Weights weights;
  needed_tensors(*spec, weights);
  std::vector<KvSpec> layers;
  for (const LayerSpec& layer : spec->layers) {
    const MixerNeeds needs = mixer_of(layer.mixer).needs(layer.mixer);
    layers.push_back(needs.kv);
    if (needs.rope && needs.rope->dims < 4096) inverse_frequencies(*needs.rope);
  }
  const auto layout = plan_cache(layers, DType::kBF16, 16, 16);
  if (layout.ok()) most_pages(*layout, 1000, 100);
  return 0;
}
