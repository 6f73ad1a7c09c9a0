#include "model/checkpoint.h"

#include <set>

#include "model/vision_config.h"

namespace heed {
namespace {

constexpr const char* kIndexName = "model.safetensors.index.json";

Status add_shard(Checkpoint& checkpoint, const std::string& path) {
  Safetensors shard = TRY(Safetensors::open(path));
  for (const auto& [name, entry] : shard.entries()) {
    const auto [at, fresh] = checkpoint.shard_of.emplace(name, static_cast<int>(checkpoint.shards.size()));
    if (!fresh) {
      return invalid(path + ": tensor " + name + " is also in " + checkpoint.shards[at->second].path());
    }
  }
  checkpoint.shards.push_back(std::move(shard));
  return {};
}

// Every tensor of the index must be in the shard it names, and every tensor of a shard in the index.
Status add_indexed_shards(Checkpoint& checkpoint, const std::string& index_path) {
  const Json index = TRY(read_json(index_path));
  const auto map = index.is_object() ? index.find("weight_map") : index.end();
  if (map == index.end() || !map->is_object()) return invalid(index_path + ": weight_map is missing");
  std::set<std::string> files;
  for (const auto& [tensor, file] : map->items()) {
    const bool plain = file.is_string() && !file.get<std::string>().empty() &&
                       file.get<std::string>().find('/') == std::string::npos;
    if (!plain) return invalid(index_path + ": the file of tensor " + tensor + " is not a plain file name");
    files.insert(file.get<std::string>());
  }
  for (const std::string& file : files) {
    const std::string path = checkpoint.folder + "/" + file;
    if (!file_exists(path)) return not_found(path + ": this shard, named by " + kIndexName + ", is missing");
    TRY(add_shard(checkpoint, path));
  }
  for (const auto& [tensor, file] : map->items()) {
    const auto found = checkpoint.shard_of.find(tensor);
    const std::string path = checkpoint.folder + "/" + file.get<std::string>();
    if (found == checkpoint.shard_of.end() || checkpoint.shards[found->second].path() != path) {
      return invalid(path + ": tensor " + tensor + ", promised by " + kIndexName + ", is not in it");
    }
  }
  for (const auto& [tensor, shard] : checkpoint.shard_of) {
    if (!map->contains(tensor))
      return invalid(checkpoint.shards[shard].path() + ": tensor " + tensor + " is not in " + kIndexName);
  }
  return {};
}

Status open_tensors(Checkpoint& checkpoint, TensorFiles files) {
  const std::string single = checkpoint.folder + "/model.safetensors";
  const std::string index = checkpoint.folder + "/" + kIndexName;
  if (file_exists(single)) return add_shard(checkpoint, single);
  if (file_exists(index)) return add_indexed_shards(checkpoint, index);
  if (files == TensorFiles::kOptional) return {};
  return not_found(checkpoint.folder + ": neither model.safetensors nor " + kIndexName + " is there");
}

template <class T, class Read>
void take(const Config& c, std::string_view key, std::optional<T>& value, Read read) {
  if (c.has(key)) value = read();
}

Result<GenerationConfig> read_generation(const std::string& folder, const Config& config, int vocab) {
  GenerationConfig g;
  g.eos_ids = config.ids("eos_token_id");
  std::vector<int> bos = config.ids("bos_token_id");
  const std::string path = folder + "/generation_config.json";
  Json document = Json::object();
  if (file_exists(path)) document = TRY(read_json(path));
  const Config c(document, path);
  if (c.has("eos_token_id")) g.eos_ids = c.ids("eos_token_id");
  if (c.has("bos_token_id")) bos = c.ids("bos_token_id");
  g.sample = c.flag("do_sample", false);
  take(c, "temperature", g.temperature, [&] { return c.number("temperature"); });
  take(c, "top_p", g.top_p, [&] { return c.number("top_p"); });
  take(c, "min_p", g.min_p, [&] { return c.number("min_p"); });
  take(c, "repetition_penalty", g.repetition_penalty, [&] { return c.positive("repetition_penalty", 1); });
  take(c, "top_k", g.top_k, [&] { return c.count("top_k", 0); });
  if (c.error()) return *c.error();
  if (config.error()) return *config.error();
  for (const int id : g.eos_ids) {
    if (id >= vocab) {
      return invalid((c.has("eos_token_id") ? path : folder + "/config.json") + ": eos_token_id " +
                     std::to_string(id) + " is outside the vocabulary of " + std::to_string(vocab));
    }
  }
  if (!bos.empty()) g.bos_id = bos.front();
  return g;
}

// How pictures are prepared stands beside the configuration; what it does not say, the model file has.
Status read_preparation(const std::string& folder, ImagePrep& prep) {
  const std::string own = folder + "/preprocessor_config.json";
  if (file_exists(own)) {
    const Json document = TRY(read_json(own));
    return read_image_prep(document, own, prep);
  }
  const std::string processor = folder + "/processor_config.json";
  if (!file_exists(processor)) return {};
  const Json document = TRY(read_json(processor));
  const auto part = document.is_object() ? document.find("image_processor") : document.end();
  if (part == document.end() || part->is_null()) return {};
  return read_image_prep(*part, processor + ": image_processor", prep);
}

// Multimodal configurations may name it with the text model's.
std::string dtype_of(const Config& c) {
  const Config text = c.is_object("text_config") ? c.at("text_config") : c;
  return c.text("dtype", c.text("torch_dtype", text.text("dtype", text.text("torch_dtype", ""))));
}

}  // namespace

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) text += (i > 0 ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

const std::string& Checkpoint::path_of(const std::string& name) const {
  const int at = shard_of.at(name);
  return is_gguf() ? gguf[at].path() : shards[at].path();
}

StoredTensor Checkpoint::stored(const std::string& name) const {
  const int at = shard_of.at(name);
  if (const QuantMatrix* matrix = quantised_matrix(name)) {
    return {.dtype = describe(*matrix),
            .shape = {matrix->out, matrix->in},
            .bytes = matrix->bytes,
            .in_known_blocks = true};
  }
  if (!is_gguf()) {
    const SafetensorsEntry& entry = shards[at].entries().at(name);
    return {.dtype = entry.dtype, .shape = entry.shape, .bytes = entry.end - entry.begin};
  }
  const GgufTensor& entry = gguf[at].tensors().find(name)->second;
  const std::optional<DType> known = dtype_of(*entry.type);
  return {.dtype = std::string(entry.type->name),
          .shape = {entry.sizes.rbegin(), entry.sizes.rend()},
          .bytes = entry.end - entry.begin,
          .in_known_blocks = known && is_blocks(*known)};
}

Result<Tensor> Checkpoint::tensor(const std::string& name, const std::vector<int64_t>& shape) const {
  const int at = shard_of.at(name);
  if (!is_gguf()) return shards[at].tensor(name);
  Tensor t = TRY(gguf[at].tensor(name));
  CHECK(shape.size() <= Tensor::kMaxRank && fits(stored(name).shape, shape), name, describe(t));
  t.rank = static_cast<int>(shape.size());
  int64_t step = 1;
  for (int i = t.rank - 1; i >= 0; --i) {
    t.size[i] = shape[i];
    t.stride[i] = step;
    step *= shape[i];
  }
  return t;
}

bool Checkpoint::fits(std::vector<int64_t> stored, std::vector<int64_t> wanted) const {
  if (is_gguf()) {
    for (std::vector<int64_t>* shape : {&stored, &wanted}) std::erase(*shape, 1);
  }
  return stored == wanted;
}

Result<Checkpoint> open_checkpoint(const std::string& folder, TensorFiles files) {
  if (is_gguf_path(folder)) return open_gguf_checkpoint(folder);
  if (!is_directory(folder))
    return not_found(folder +
                     ": not a folder; a checkpoint folder with config.json, or a .gguf file, is expected");
  Checkpoint checkpoint{.folder = folder};
  const std::string path = folder + "/config.json";
  const Json document = TRY(read_json(path));
  checkpoint.spec = TRY(read_spec(document, path, &checkpoint.architecture));
  const std::vector<QuantScheme> schemes = TRY(read_quant_schemes(document, path));
  const Config config(document, path);
  checkpoint.dtype = dtype_of(config);
  checkpoint.generation = TRY(read_generation(folder, config, checkpoint.spec.vocab));
  if (checkpoint.spec.vision) TRY(read_preparation(folder, checkpoint.spec.vision->prep));
  TRY(open_tensors(checkpoint, files));
  TRY(fold_quantised(checkpoint, schemes));
  return checkpoint;
}

}  // namespace heed
