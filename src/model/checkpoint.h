// A checkpoint folder as Hugging Face publishes it: config.json, safetensors in one file or in shards with an
// index, and generation_config.json. Opening reads headers only; tensor bytes are mapped, not read.
#pragma once
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "formats/safetensors.h"
#include "model/spec.h"

namespace heed {

// Defaults of sampling, and the tokens that end a sequence.
struct GenerationConfig {
  std::vector<int> eos_ids;
  std::optional<int> bos_id;
  std::optional<float> temperature, top_p, min_p, repetition_penalty;
  std::optional<int> top_k;
  bool sample = false;  // do_sample
};

struct Checkpoint {
  std::string folder;
  std::string architecture;
  std::string dtype;  // of config.json: dtype or torch_dtype; "" if neither
  ModelSpec spec;
  GenerationConfig generation;
  std::vector<Safetensors> shards;
  std::map<std::string, int> shard_of;  // tensor name -> index into shards
  bool synthetic = false;               // without files: weights are made up (model/synthetic.h)

  bool has_weights() const { return !shards.empty(); }
  const SafetensorsEntry& entry(const std::string& name) const {
    return shards[shard_of.at(name)].entries().at(name);
  }
};

// Errors name the file and what is wrong with it. kOptional: a folder with a config.json alone will do, to
// plan with.
enum class TensorFiles : uint8_t { kRequired, kOptional };
Result<Checkpoint> open_checkpoint(const std::string& folder, TensorFiles files = TensorFiles::kRequired);

// The spec of a config.json: finds the architecture, has its model file describe it, and checks what every
// spec must satisfy. `what` names the document in errors.
Result<ModelSpec> read_spec(const Json& config, const std::string& what, std::string* architecture = nullptr);

// Makes a model known, or takes the place of the one that is known by this name.
void register_model(std::string_view architecture, Describe describe);

// Registered architecture names, sorted.
std::vector<std::string> architectures();

}  // namespace heed
