// A GGUF model as a checkpoint: its files, its spec with what the format stores otherwise than Hugging Face
// does, and the tokens that end a sequence.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

#include "model/checkpoint.h"
#include "model/gguf_config.h"

namespace heed {
namespace {

constexpr int64_t kMostFiles = 9999;

std::string layer_name(size_t layer, std::string_view name) {
  return "blk." + std::to_string(layer) + "." + std::string(name);
}

// "model-00001-of-00003.gguf": what comes before the numbers.
std::optional<std::string> prefix_of_first(const std::string& path, int64_t count) {
  std::array<char, 40> end;
  std::snprintf(end.data(), end.size(), "-00001-of-%05lld.gguf", static_cast<long long>(count));
  if (!path.ends_with(end.data())) return std::nullopt;
  return path.substr(0, path.size() - std::string_view(end.data()).size());
}

Result<std::vector<Gguf>> open_files(const std::string& path) {
  std::vector<Gguf> files;
  files.push_back(TRY(Gguf::open(path)));
  if (!files[0].has("split.count")) return files;
  const int64_t count = TRY(files[0].integer("split.count"));
  if (count <= 1) return files;
  if (count > kMostFiles)
    return invalid(path + ": split.count is " + std::to_string(count) + "; at most 9999 are accepted");
  const std::optional<std::string> prefix = prefix_of_first(path, count);
  if (!prefix) {
    return invalid(path + ": one of " + std::to_string(count) +
                   " files; the first one is expected, whose name ends in -00001-of-0000N.gguf");
  }
  for (int64_t i = 2; i <= count; ++i) {
    std::array<char, 40> end;
    std::snprintf(end.data(), end.size(), "-%05lld-of-%05lld.gguf", static_cast<long long>(i),
                  static_cast<long long>(count));
    files.push_back(TRY(Gguf::open(*prefix + end.data())));
  }
  return files;
}

// Divisors of the layers' frequencies, which stand in a tensor.
Status read_divisors(const GgufModel& m, ModelSpec& spec) {
  constexpr const char* kName = "rope_freqs.weight";
  if (!m.has(kName)) return {};
  const Tensor t = TRY(m.tensor(kName));
  spec.ignored.emplace_back(kName);
  if (t.dtype != DType::kF32 || t.rank != 1)
    return invalid(m.path() + ": rope_freqs.weight is not a float32 vector");
  const std::vector<float> divisors(t.f32(), t.f32() + t.elements());
  if (!std::all_of(divisors.begin(), divisors.end(), [](float f) { return std::isfinite(f) && f > 0; }))
    return invalid(m.path() + ": rope_freqs.weight holds a divisor that is not above 0");
  for (LayerSpec& layer : spec.layers) {
    auto* a = std::get_if<AttentionSpec>(&layer.mixer);
    if (a == nullptr || a->rope.dims == 0) continue;
    if (m.architecture().name == "gemma4" && !(a->mask == causal())) continue;  // full layers alone
    if (static_cast<int64_t>(divisors.size()) != a->rope.dims / 2) {
      return invalid(m.path() + ": rope_freqs.weight has " + std::to_string(divisors.size()) +
                     " elements for " + std::to_string(a->rope.dims / 2) + " pairs");
    }
    a->rope.divisors = divisors;
  }
  return {};
}

// Rotated elements of a head, where they are not all.
Status read_rotated(const GgufModel& m, ModelSpec& spec) {
  if (m.architecture().name == "gemma4" || !m.has_key("rope.dimension_count")) return {};
  const int64_t dims = TRY(m.integer("rope.dimension_count"));
  for (LayerSpec& layer : spec.layers) {
    auto* a = std::get_if<AttentionSpec>(&layer.mixer);
    if (a == nullptr || a->rope.dims == 0) continue;
    if (dims < 0 || dims % 2 != 0 || dims > a->head_dim) {
      return invalid(m.path() + ": " + m.full_key("rope.dimension_count") + " is " + std::to_string(dims) +
                     "; an even number up to " + std::to_string(a->head_dim) + " is expected");
    }
    a->rope.dims = static_cast<int>(dims);
  }
  return {};
}

// What follows from which tensors there are.
void adjust_attention(const GgufModel& m, size_t i, AttentionSpec& a, ModelSpec& spec) {
  a.rope.interleaved = m.architecture().interleaved_rope;
  a.qkv_bias = m.has(layer_name(i, "attn_q.bias"));
  a.output_bias = m.has(layer_name(i, "attn_output.bias"));
  if (m.architecture().name != "gemma4") return;
  a.v_is_k = a.kv_source < 0 && !m.has(layer_name(i, "attn_v.weight"));
  if (a.kv_source < 0) return;
  for (const char* unused : {"attn_k.weight", "attn_v.weight", "attn_k_norm.weight"})
    spec.ignored.push_back(layer_name(i, unused));
}

// `i`: the layer's number in the file.
void adjust_layer(const GgufModel& m, size_t i, LayerSpec& layer, ModelSpec& spec) {
  if (auto* a = std::get_if<AttentionSpec>(&layer.mixer)) adjust_attention(m, i, *a, spec);
  if (auto* d = std::get_if<GatedDeltaSpec>(&layer.mixer)) {
    d->decay_stored = true;
    d->tiled = m.architecture().tiled_value_heads;
    d->qkv_apart = !m.has(layer_name(i, "ssm_in.weight"));
  }
  const GgufTensor* gate = m.find(layer_name(i, "ffn_gate.weight"));
  if (layer.moe && !layer.mlp && !m.has(layer_name(i, "ffn_gate_inp.weight")) && gate != nullptr) {
    // A dense layer among others.
    const int64_t inner = gate->sizes.size() == 2 ? std::min<int64_t>(gate->sizes[1], INT32_MAX) : 1;
    layer.mlp = MlpSpec{.inner = static_cast<int>(inner), .act = layer.moe->act};
    layer.moe.reset();
  }
  if (layer.mlp) layer.mlp->bias = m.has(layer_name(i, "ffn_gate.bias"));
  if (!layer.moe) return;
  const bool together = m.has(layer_name(i, "ffn_gate_up_exps.weight"));
  layer.moe->fused = together ? MoeSpec::Fused::kRows : MoeSpec::Fused::kStacked;
  layer.moe->router_bias = m.has(layer_name(i, "ffn_gate_inp.bias"));
}

std::map<std::string, std::string, std::less<>> names_of(const GgufModel& m) {
  auto names = gguf_tensor_names();
  if (m.architecture().post_norm_is_ffn_norm) names["ffn_norm"] = names["attn_post_norm"];
  return names;
}

// The heads that guess, which are the file's last layer: one like the others, and what they need besides
// ("nextn"). Source: github.com/ggml-org/llama.cpp, conversion/qwen.py and src/models/qwen35.cpp.
Status adjust_heads(const GgufModel& m, ModelSpec& spec) {
  const auto number = static_cast<size_t>(m.layers() - 1);
  ModelSpec heads = *spec.heads;
  heads.prefix = "model.";
  heads.ignored = {"*"};
  heads.norm_plus_one = false;
  heads.names = names_of(m);
  for (auto& [key, name] : heads.names) {
    constexpr std::string_view kAny = "blk.{}.";
    if (name.starts_with(kAny)) name = layer_name(number, name.substr(kAny.size()));
  }
  constexpr std::pair<const char*, const char*> kOwn[] = {
      {"draft_input", "nextn.eh_proj"},           {"draft_norm", "nextn.hnorm.weight"},
      {"draft_token_norm", "nextn.enorm.weight"}, {"final_norm", "nextn.shared_head_norm.weight"},
      {"embed", "nextn.embed_tokens.weight"},     {"head", "nextn.shared_head_head.weight"}};
  for (const auto& [key, name] : kOwn) heads.names[key] = layer_name(number, name);
  adjust_layer(m, number, heads.layers.front(), heads);
  TRY(read_rotated(m, heads));
  TRY(read_divisors(m, heads));
  spec.heads = std::make_shared<const ModelSpec>(std::move(heads));
  return {};
}

Status adjust(const GgufModel& m, ModelSpec& spec) {
  spec.names = names_of(m);
  spec.prefix = "model.";
  spec.ignored = {"*.attn_rot_embd", "rope_factors_*.weight"};
  for (int64_t i = m.layers() - m.draft_layers(); i < m.layers(); ++i)
    spec.ignored.push_back(layer_name(static_cast<size_t>(i), "*"));
  if (m.draft_layers() != 1) spec.heads = nullptr;
  if (spec.heads) TRY(adjust_heads(m, spec));
  spec.norm_plus_one = false;  // is in the weights already
  for (size_t i = 0; i < spec.layers.size(); ++i) adjust_layer(m, i, spec.layers[i], spec);
  TRY(read_rotated(m, spec));
  return read_divisors(m, spec);
}

// Tokens that end a sequence: those that are named by id, and control tokens that are known to end a turn.
Result<GenerationConfig> read_generation(const Gguf& meta, int vocab) {
  GenerationConfig g;
  const auto add = [&](int64_t id) {
    const bool usable = id >= 0 && id < vocab;
    if (usable && std::find(g.eos_ids.begin(), g.eos_ids.end(), static_cast<int>(id)) == g.eos_ids.end())
      g.eos_ids.push_back(static_cast<int>(id));
  };
  for (const char* key : {"eos_token_id", "eot_token_id", "eom_token_id"}) {
    const std::string full = std::string("tokenizer.ggml.") + key;
    if (meta.has(full)) add(TRY(meta.integer(full)));
  }
  if (meta.has("tokenizer.ggml.bos_token_id")) {
    const int64_t id = TRY(meta.integer("tokenizer.ggml.bos_token_id"));
    if (id >= 0 && id < vocab) g.bos_id = static_cast<int>(id);
  }
  if (!meta.has("tokenizer.ggml.tokens") || !meta.has("tokenizer.ggml.token_type")) return g;
  const auto texts = TRY(meta.texts("tokenizer.ggml.tokens"));
  const std::vector<int64_t> types = TRY(meta.integers("tokenizer.ggml.token_type"));
  constexpr int64_t kControl = 3;
  constexpr std::string_view kEnds[] = {"<|im_end|>",    "<|eot_id|>",     "<|eom_id|>", "<end_of_turn>",
                                        "<turn|>",       "<|return|>",     "<|call|>",   "<|end|>",
                                        "<|endoftext|>", "<|end_of_text|>"};
  for (size_t id = 0; id < std::min(texts.size(), types.size()); ++id) {
    if (types[id] == kControl && std::find(std::begin(kEnds), std::end(kEnds), texts[id]) != std::end(kEnds))
      add(static_cast<int64_t>(id));
  }
  return g;
}

Status read_sampling(const Gguf& meta, GenerationConfig& g) {
  const auto number = [&](const char* key, std::optional<float>& value) -> Status {
    const std::string full = std::string("general.sampling.") + key;
    if (meta.has(full)) value = static_cast<float>(TRY(meta.number(full)));
    return {};
  };
  TRY(number("temp", g.temperature));
  TRY(number("top_p", g.top_p));
  TRY(number("min_p", g.min_p));
  if (meta.has("general.sampling.top_k")) {
    const int64_t top_k = TRY(meta.integer("general.sampling.top_k"));
    if (top_k < 0 || top_k > INT32_MAX)
      return invalid(meta.path() + ": general.sampling.top_k is out of range");
    g.top_k = static_cast<int>(top_k);
  }
  g.sample = g.temperature.has_value();
  return {};
}

// float32 where every tensor is float32 or float16, as they are multiplied in that; else bfloat16.
std::string arithmetic_of(const std::vector<Gguf>& files) {
  for (const Gguf& file : files) {
    for (const auto& [name, tensor] : file.tensors()) {
      if (tensor.type->name != "F32" && tensor.type->name != "F16") return "bfloat16";
    }
  }
  return "float32";
}

}  // namespace

bool is_gguf_path(const std::string& path) { return path.ends_with(".gguf") && !is_directory(path); }

Result<Checkpoint> gguf_checkpoint(std::vector<Gguf> files) {
  Checkpoint checkpoint{.folder = files.front().path()};
  const GgufModel m = TRY(GgufModel::of(files));
  const Json config = TRY(m.config());
  checkpoint.spec = TRY(read_spec(config, m.path(), &checkpoint.architecture));
  TRY(adjust(m, checkpoint.spec));
  checkpoint.generation = TRY(read_generation(m.meta(), checkpoint.spec.vocab));
  TRY(read_sampling(m.meta(), checkpoint.generation));
  checkpoint.dtype = arithmetic_of(files);
  for (size_t i = 0; i < files.size(); ++i) {
    for (const auto& [name, tensor] : files[i].tensors()) {
      if (!checkpoint.shard_of.emplace(name, static_cast<int>(i)).second)
        return invalid(files[i].path() + ": tensor " + name + " is in another of its files as well");
    }
  }
  checkpoint.gguf = std::move(files);
  return checkpoint;
}

Result<Checkpoint> open_gguf_checkpoint(const std::string& path) {
  if (!file_exists(path)) return not_found(path + ": this file is missing");
  return gguf_checkpoint(TRY(open_files(path)));
}

}  // namespace heed
