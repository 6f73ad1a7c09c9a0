// A checkpoint: a folder as Hugging Face publishes it (config.json, safetensors in one file or in shards with
// an index, and generation_config.json), or a GGUF file, which may be the first of several. Opening reads
// headers only; tensor bytes are mapped, not read.
#pragma once
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "formats/gguf.h"
#include "formats/safetensors.h"
#include "model/quantised.h"
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

// What a file's header says of a tensor.
struct StoredTensor {
  std::string dtype;           // as in the file: "F32", "BF16", "U8", "Q4_K", ..., or of a quantised matrix
  std::vector<int64_t> shape;  // outermost first
  int64_t bytes = 0;
  bool in_known_blocks = false;  // or quantised
};

struct Checkpoint {
  std::string folder;  // or the GGUF file
  std::string architecture;
  std::string dtype;  // of config.json: dtype or torch_dtype; "" if neither
  ModelSpec spec;
  GenerationConfig generation;
  std::vector<Safetensors> shards;
  std::vector<Gguf> gguf;                        // instead of shards
  std::map<std::string, int> shard_of;           // tensor name -> index into shards or gguf
  std::map<std::string, QuantMatrix> quantised;  // those of its tensors that are made of others
  std::map<std::string, int> folded;             // and these others: tensor name -> index into shards
  bool synthetic = false;                        // without files: weights are made up (model/synthetic.h)

  bool has_weights() const { return !shards.empty() || !gguf.empty(); }
  bool is_gguf() const { return !gguf.empty(); }
  bool has(std::string_view name) const { return shard_of.contains(std::string(name)); }
  // What configuration stands in, for messages.
  std::string config_name() const { return is_gguf() ? "its metadata" : "config.json"; }

  // Of a tensor that is there.
  const std::string& path_of(const std::string& name) const;
  StoredTensor stored(const std::string& name) const;
  const QuantMatrix* quantised_matrix(const std::string& name) const {  // or none
    const auto found = quantised.find(name);
    return found == quantised.end() ? nullptr : &found->second;
  }
  // Of one that is stored as it is: a read-only view with a dtype that DType knows, in a shape that fits().
  Result<Tensor> tensor(const std::string& name, const std::vector<int64_t>& shape) const;
  // Whether a stored shape is what is asked for: GGUF drops dimensions of 1.
  bool fits(std::vector<int64_t> stored, std::vector<int64_t> wanted) const;
};

// "[2, 3]": for messages.
std::string shape_text(const std::vector<int64_t>& shape);

// Errors name the file and what is wrong with it. kOptional: a folder with a config.json alone will do, to
// plan with.
enum class TensorFiles : uint8_t { kRequired, kOptional };
Result<Checkpoint> open_checkpoint(const std::string& folder, TensorFiles files = TensorFiles::kRequired);

// Whether a path names a GGUF file rather than a folder.
bool is_gguf_path(const std::string& path);
Result<Checkpoint> open_gguf_checkpoint(const std::string& path);
// The same of files already read; of several, the first holds the metadata.
Result<Checkpoint> gguf_checkpoint(std::vector<Gguf> files);

// The spec of a config.json: finds the architecture, has its model file describe it, and checks what every
// spec must satisfy. `what` names the document in errors.
Result<ModelSpec> read_spec(const Json& config, const std::string& what, std::string* architecture = nullptr);

// Makes a model known, or takes the place of the one that is known by this name.
void register_model(std::string_view architecture, Describe describe);

// Registered architecture names, sorted.
std::vector<std::string> architectures();

}  // namespace heed
