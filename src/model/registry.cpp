#include <algorithm>
#include <map>

#include "attention/rows.h"
#include "model/checkpoint.h"
#include "model/mixer.h"

namespace heed {
namespace {

std::map<std::string, Describe, std::less<>>& registry() {
  static std::map<std::string, Describe, std::less<>> known;
  return known;
}

std::string joined(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

// One to three dimensions of at least 1, and a size that a machine could hold.
bool has_size(const StateNeed& state) {
  constexpr int64_t kMost = int64_t{1} << 40;
  int64_t elements = 1;
  for (const int64_t size : state.shape) {
    if (size < 1 || size > kMost / elements) return false;
    elements *= size;
  }
  return !state.shape.empty() && state.shape.size() < Tensor::kMaxRank;
}

// What no model file should have to check for itself.
Status check_spec(const ModelSpec& spec, const std::string& what) {
  constexpr int64_t kMostExperts = 1 << 18;  // of all layers: each has tensors of its own
  int64_t experts = 0;
  for (const LayerSpec& layer : spec.layers) experts += layer.moe ? layer.moe->experts : 0;
  if (experts > kMostExperts) {
    return invalid(what + ": " + std::to_string(experts) + " experts in all layers; at most " +
                   std::to_string(kMostExperts) + " are accepted");
  }
  for (size_t i = 0; i < spec.layers.size(); ++i) {
    const LayerSpec& layer = spec.layers[i];
    const std::string where = what + ": layer " + std::to_string(i) + ": ";
    const std::shared_ptr<const Mixer> mixer = find_mixer(mixer_name(layer.mixer));
    if (mixer == nullptr)
      return unsupported(where + "no mixer is registered as " + std::string(mixer_name(layer.mixer)));
    const MixerNeeds needs = mixer->needs(layer.mixer);
    const std::string reason = why_not(needs.kv.mask);
    if (!reason.empty()) return invalid(where + reason);
    for (const StateNeed& state : needs.states) {
      if (!has_size(state)) return invalid(where + "its state \"" + state.name + "\" has no usable shape");
    }
  }
  return {};
}

}  // namespace

Registration::Registration(std::initializer_list<std::string_view> names, Describe describe) {
  for (const std::string_view name : names) {
    const bool fresh = registry().emplace(std::string(name), describe).second;
    CHECK(fresh, name, "registered twice");
  }
}

void register_model(std::string_view architecture, Describe describe) {
  registry().insert_or_assign(std::string(architecture), describe);
}

std::vector<std::string> architectures() {
  std::vector<std::string> names;
  for (const auto& [name, describe] : registry()) names.push_back(name);
  return names;
}

Result<ModelSpec> read_spec(const Json& config, const std::string& what, std::string* architecture) {
  const Config c(config, what);
  const std::vector<std::string> names = c.texts("architectures");
  if (c.error()) return *c.error();
  if (names.empty())
    return invalid(what + ": architectures is missing; one of " + joined(architectures()) + " is expected");
  const auto found = registry().find(names.front());
  if (found == registry().end()) {
    return unsupported(what + ": architecture " + names.front() + " is not known; known are " +
                       joined(architectures()) + "; --plugin adds others");
  }
  ModelSpec spec = found->second(c);
  if (c.error()) return *c.error();
  TRY(check_spec(spec, what));
  if (architecture != nullptr) *architecture = names.front();
  return spec;
}

}  // namespace heed
