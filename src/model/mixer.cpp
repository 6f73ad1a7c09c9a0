#include "model/mixer.h"

#include <map>

#include "model/mixers.h"

namespace heed {
namespace {

using Mixers = std::map<std::string, std::shared_ptr<const Mixer>, std::less<>>;

Mixers& known_mixers() {
  static Mixers known = {{"attention", attention_mixer()},
                         {"latent_attention", latent_attention_mixer()},
                         {"linear_attention", linear_attention_mixer()},
                         {"gated_delta", gated_delta_mixer()}};
  return known;
}

struct NameOf {
  std::string_view operator()(const AttentionSpec& /*spec*/) const { return "attention"; }
  std::string_view operator()(const LatentAttentionSpec& /*spec*/) const { return "latent_attention"; }
  std::string_view operator()(const LinearAttentionSpec& /*spec*/) const { return "linear_attention"; }
  std::string_view operator()(const GatedDeltaSpec& /*spec*/) const { return "gated_delta"; }
  std::string_view operator()(const CustomMixerSpec& spec) const { return spec.name; }
};

}  // namespace

std::string_view mixer_name(const MixerSpec& spec) { return std::visit(NameOf(), spec); }

std::shared_ptr<const Mixer> find_mixer(std::string_view name) {
  const auto found = known_mixers().find(name);
  return found == known_mixers().end() ? nullptr : found->second;
}

const Mixer& mixer_of(const MixerSpec& spec) {
  const auto found = known_mixers().find(mixer_name(spec));
  CHECK(found != known_mixers().end(), mixer_name(spec), "is not registered");
  return *found->second;
}

void register_mixer(std::string_view name, std::shared_ptr<const Mixer> mixer) {
  known_mixers().insert_or_assign(std::string(name), std::move(mixer));
}

}  // namespace heed
