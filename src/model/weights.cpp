#include "model/weights.h"

#include <sys/mman.h>

#include <algorithm>
#include <map>
#include <set>

#include "base/checked.h"

namespace heed {
namespace {

// '*' in the pattern stands for any text; at most one.
bool matches(std::string_view pattern, std::string_view name) {
  const size_t star = pattern.find('*');
  if (star == std::string_view::npos) return pattern == name;
  const std::string_view head = pattern.substr(0, star);
  const std::string_view tail = pattern.substr(star + 1);
  return name.size() >= head.size() + tail.size() && name.starts_with(head) && name.ends_with(tail);
}

bool is_ignored(const ModelSpec& spec, std::string_view name) {
  return std::any_of(spec.ignored.begin(), spec.ignored.end(),
                     [&](const std::string& pattern) { return matches(pattern, name); });
}

// Collects the needs of a model layer by layer, looking names up in the model's own table and then in the
// common one.
class Needs {
 public:
  explicit Needs(const ModelSpec& spec) : spec_(spec) {}

  void norm(std::string_view key, int64_t size, Tensor& target) {
    add(name(key), {size}, TensorNeed::kNorm, target);
  }
  void matrix(std::string_view key, int64_t out, int64_t in, Tensor& target) {
    add(name(key), {out, in}, TensorNeed::kMatrix, target);
  }
  void linear(std::string_view key, int64_t out, int64_t in, Tensor& weight, bool has_bias, Tensor& bias) {
    add(name(key) + ".weight", {out, in}, TensorNeed::kMatrix, weight);
    if (has_bias) add(name(key) + ".bias", {out}, TensorNeed::kBias, bias);
  }

  int layer = 0;
  std::vector<TensorNeed> all;

 private:
  std::string name(std::string_view key) const {
    const auto own = spec_.names.find(key);
    const auto common = tensor_names().find(key);
    CHECK(own != spec_.names.end() || common != tensor_names().end(), key);
    std::string text = own != spec_.names.end() ? own->second : common->second;
    const size_t place = text.find("{}");
    if (place != std::string::npos) text.replace(place, 2, std::to_string(layer));
    return text;
  }
  void add(std::string name, std::vector<int64_t> shape, TensorNeed::Kind kind, Tensor& target) {
    all.push_back({std::move(name), std::move(shape), kind, &target});
  }
  const ModelSpec& spec_;
};

void need_layer(const ModelSpec& spec, const LayerSpec& layer, LayerWeights& w, Needs& needs) {
  const AttentionSpec& a = layer.mixer;
  const int64_t hidden = spec.hidden;
  needs.norm("attn_norm", hidden, w.attn_norm);
  needs.linear("q", int64_t{a.heads} * a.head_dim, hidden, w.q, a.qkv_bias, w.q_bias);
  needs.linear("k", int64_t{a.kv_heads} * a.head_dim, hidden, w.k, a.qkv_bias, w.k_bias);
  needs.linear("v", int64_t{a.kv_heads} * a.v_dim, hidden, w.v, a.qkv_bias, w.v_bias);
  needs.linear("o", hidden, int64_t{a.heads} * a.v_dim, w.o, a.output_bias, w.o_bias);
  if (a.qk_norm) {
    needs.norm("q_norm", a.head_dim, w.q_norm);
    needs.norm("k_norm", a.head_dim, w.k_norm);
  }
  if (layer.norms == Norms::kSandwich) needs.norm("attn_post_norm", hidden, w.attn_post_norm);
  needs.norm("ffn_norm", hidden, w.ffn_norm);
  needs.linear("gate", layer.ffn.inner, hidden, w.gate, layer.ffn.bias, w.gate_bias);
  needs.linear("up", layer.ffn.inner, hidden, w.up, layer.ffn.bias, w.up_bias);
  needs.linear("down", hidden, layer.ffn.inner, w.down, layer.ffn.bias, w.down_bias);
  if (layer.norms == Norms::kSandwich) needs.norm("ffn_post_norm", hidden, w.ffn_post_norm);
}

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) text += (i > 0 ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

Status check_need(const Checkpoint& checkpoint, const TensorNeed& need) {
  const auto found = checkpoint.shard_of.find(need.name);
  if (found == checkpoint.shard_of.end()) {
    return invalid(checkpoint.folder + ": tensor " + need.name + " " + shape_text(need.shape) +
                   " is missing");
  }
  const SafetensorsEntry& entry = checkpoint.entry(need.name);
  const std::string where = checkpoint.shards[found->second].path() + ": tensor " + need.name;
  if (entry.shape != need.shape) {
    return invalid(where + " has shape " + shape_text(entry.shape) + "; config.json asks for " +
                   shape_text(need.shape));
  }
  if (entry.dtype != "F32" && entry.dtype != "BF16" && entry.dtype != "F16") {
    return invalid(where + " has dtype " + entry.dtype + "; F32, BF16 or F16 is expected");
  }
  return {};
}

// Converts any float tensor to `dtype`, adding `offset` in float32.
void convert(const Tensor& from, const Tensor& to, float offset) {
  const auto each = [&](auto read) {
    for (int64_t i = 0; i < from.elements(); ++i) {
      const float value = to_float(from.as<const decltype(read)>()[i]) + offset;
      if (to.dtype == DType::kBF16) {
        to.as<bf16>()[i] = from_float<bf16>(value);
      } else {
        to.as<float>()[i] = value;
      }
    }
  };
  if (from.dtype == DType::kF32) each(float{});
  if (from.dtype == DType::kBF16) each(bf16{});
  if (from.dtype == DType::kF16) each(f16{});
}

// Has the kernel read mapped pages ahead of their first use, so that the first answer does not wait for them.
void prefault(const Tensor& tensor) {
  constexpr uintptr_t kPage = 4096;
  const auto begin = reinterpret_cast<uintptr_t>(tensor.data) / kPage * kPage;
  const auto end = reinterpret_cast<uintptr_t>(tensor.data) + static_cast<uintptr_t>(tensor.bytes());
#ifdef MADV_POPULATE_READ
  if (::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_POPULATE_READ) == 0) return;  // NOLINT
#endif
  ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_WILLNEED);  // NOLINT(performance-no-int-to-ptr)
}

void bind(const ModelSpec& spec, const TensorNeed& need, const Tensor& stored, DType compute,
          Weights& weights) {
  const Placement place = placement(need.kind, stored.dtype, compute);
  if (place.in_place) {
    prefault(stored);
    *need.target = stored;
    weights.mapped_bytes += stored.bytes();
    return;
  }
  Tensor copy = stored;
  copy.dtype = place.dtype;
  weights.owned.emplace_back(copy.bytes());
  weights.owned_bytes += copy.bytes();
  copy.data = weights.owned.back().data();
  convert(stored, copy, need.kind == TensorNeed::kNorm && spec.norm_plus_one ? 1.0F : 0.0F);
  *need.target = copy;
}

}  // namespace

Placement placement(TensorNeed::Kind kind, DType stored, DType compute) {
  if (kind != TensorNeed::kMatrix) return {.in_place = false, .dtype = DType::kF32};
  if (compute == DType::kF32 || stored == DType::kBF16) return {.in_place = true, .dtype = stored};
  return {.in_place = false, .dtype = compute};
}

std::vector<TensorNeed> needed_tensors(const ModelSpec& spec, Weights& weights) {
  weights.layers.resize(spec.layers.size());
  Needs needs(spec);
  needs.matrix("embed", spec.vocab, spec.hidden, weights.embed);
  for (; needs.layer < static_cast<int>(spec.layers.size()); ++needs.layer) {
    need_layer(spec, spec.layers[needs.layer], weights.layers[needs.layer], needs);
  }
  needs.norm("final_norm", spec.hidden, weights.final_norm);
  if (!spec.tied_embeddings) needs.matrix("head", spec.vocab, spec.hidden, weights.head);
  return std::move(needs.all);
}

Status check_tensors(const Checkpoint& checkpoint) {
  Weights unused;
  std::set<std::string, std::less<>> wanted;
  for (const TensorNeed& need : needed_tensors(checkpoint.spec, unused)) {
    TRY(check_need(checkpoint, need));
    wanted.insert(need.name);
  }
  for (const auto& [name, shard] : checkpoint.shard_of) {
    if (wanted.contains(name) || is_ignored(checkpoint.spec, name)) continue;
    return invalid(checkpoint.shards[shard].path() + ": tensor " + name + " is not used by " +
                   checkpoint.architecture + " as config.json describes it");
  }
  return {};
}

Result<Weights> load_weights(const Checkpoint& checkpoint, DType compute, const Progress& progress) {
  TRY(check_tensors(checkpoint));
  Weights weights;
  const std::vector<TensorNeed> needs = needed_tensors(checkpoint.spec, weights);
  int64_t total = 0;
  int64_t done = 0;
  for (const TensorNeed& need : needs)
    total += checkpoint.entry(need.name).end - checkpoint.entry(need.name).begin;
  for (const TensorNeed& need : needs) {
    const Tensor stored = TRY(checkpoint.shards[checkpoint.shard_of.at(need.name)].tensor(need.name));
    bind(checkpoint.spec, need, stored, compute, weights);
    done += stored.bytes();
    if (progress) progress(done, total);
  }
  if (checkpoint.spec.tied_embeddings) weights.head = weights.embed;
  return weights;
}

}  // namespace heed
