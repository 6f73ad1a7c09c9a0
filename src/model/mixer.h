// A token mixer: what the first half of a layer does with a batch. Softmax attention, latent attention,
// linear attention and the gated delta net are mixers behind this one interface, and so are those of others:
// see docs/add_a_mixer.md.
//
// A Mixer has no state: it is one object for a kind of layer, and is told the layer's spec in every call.
#pragma once
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "attention/cache_spec.h"
#include "model/spec.h"
#include "model/weights.h"

namespace heed {

class Pass;
struct InputRows;

// One tensor of what a recurrent layer remembers of a sequence, of a size that does not grow with it.
struct StateNeed {
  std::string name;            // for people
  std::vector<int64_t> shape;  // at most three dimensions
};

// What a layer needs besides its weights.
struct MixerNeeds {
  KvSpec kv;                                // kv_heads 0: keeps no keys and values
  std::optional<AttentionNeeds> attention;  // of the attention kernel; dtype and block are filled in later
  std::optional<RopeSpec> rope;
  std::vector<StateNeed> states;
  int64_t widest = 0;  // elements of the widest row that its linear layers read
};

// One call: tokens of one or more sequences, end to end.
struct MixerCall {
  const Pass& pass;                 // the batch, ops and scratch memory: model/pass.h
  int layer = 0;                    // of the model
  std::span<const Tensor> weights;  // as declare() numbered them
  Tensor x;                         // [tokens, hidden], in what linear layers read
  Tensor out;                       // [tokens, hidden] f32, to be written
  // Those that fuse() read these instead of x, and add to out where they are told to.
  const InputRows* rows = nullptr;
  bool accumulate = false;

  Tensor weight(int number) const { return weight_of(weights, number); }
};

class Mixer {
 public:
  virtual ~Mixer() = default;
  virtual MixerNeeds needs(const MixerSpec& spec) const = 0;
  // Names, shapes and numbers of its weights.
  virtual void declare(const MixerSpec& spec, const ModelSpec& model, WeightList& weights) const = 0;
  // Why these kernels cannot run it, or "". Attention kernels answer for themselves.
  virtual std::string why_not(const MixerSpec& spec, const Kernels& kernels) const = 0;
  virtual void run(const MixerSpec& spec, const MixerCall& call) const = 0;
  // Whether run() reads its rows before their norm and can add its result to what is there: then neither
  // takes an op of its own.
  virtual bool fuses() const { return false; }
  // "attention 4 heads / 2 kv, head 32, ...": for people.
  virtual std::string describe(const MixerSpec& spec) const = 0;
};

// The name that a spec's mixer is registered under: "attention", "latent_attention", "linear_attention",
// "gated_delta", or the custom spec's own.
std::string_view mixer_name(const MixerSpec& spec);
// nullptr if there is none of that name.
std::shared_ptr<const Mixer> find_mixer(std::string_view name);
const Mixer& mixer_of(const MixerSpec& spec);  // which must be registered

// Adds a mixer, or takes the place of the one that has the name. Not while an engine runs.
void register_mixer(std::string_view name, std::shared_ptr<const Mixer> mixer);

// Makes a mixer known before main, from its own translation unit.
struct MixerRegistration {
  MixerRegistration(std::string_view name, std::shared_ptr<const Mixer> mixer) {
    register_mixer(name, std::move(mixer));
  }
};

}  // namespace heed
