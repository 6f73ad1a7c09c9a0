#include "kernels/ref/ref.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/checks.h"
#include "kernels/draw.h"
#include "kernels/parts.h"
#include "kernels/ref/elements.h"
#include "kernels/ref/ops.h"

namespace heed {
namespace {

using ref::at;
using ref::load;
using ref::store;

void embed(Stream& /*stream*/, const EmbedArgs& args) {
  const Shapes n = check(args);
  for (int64_t t = 0; t < n["tokens"]; ++t) {
    CHECK(args.ids[t] >= 0 && args.ids[t] < n["vocab"], args.ids[t], n["vocab"]);
    for (int64_t i = 0; i < n["hidden"]; ++i) {
      store(args.out, at(args.out, t, i), load(args.table, at(args.table, args.ids[t], i)) * args.scale);
    }
  }
}

void rms_norm_row(const RmsNormArgs& args, int64_t x, int64_t out, int64_t dim) {
  float squares = 0;
  for (int64_t i = 0; i < dim; ++i) squares += load(args.x, x + i) * load(args.x, x + i);
  const float inverse = 1.0F / std::sqrt(squares / static_cast<float>(dim) + args.eps);
  for (int64_t i = 0; i < dim; ++i) {
    const float weight = args.weight.defined() ? load(args.weight, i) : 1.0F;
    const float value = load(args.x, x + i) * inverse * weight * args.scale;
    store(args.out, out + i, args.accumulate ? load(args.out, out + i) + value : value);
  }
}

void rms_norm(Stream& /*stream*/, const RmsNormArgs& args) {
  const Shapes n = check(args);
  const int64_t heads = args.x.rank == 3 ? n["heads"] : 1;
  for (int64_t t = 0; t < n["rows"]; ++t) {
    for (int64_t h = 0; h < heads; ++h) {
      const bool three = args.x.rank == 3;
      rms_norm_row(args, three ? at(args.x, t, h) : at(args.x, t),
                   three ? at(args.out, t, h) : at(args.out, t), n["dim"]);
    }
  }
}

void linear(Stream& /*stream*/, const LinearArgs& args) {
  const Shapes n = check(args);
  const int64_t in = n["in"];
  for (int64_t t = 0; t < n["tokens"]; ++t) {
    const std::vector<float> x = ref::linear_input(args.x, t, in, args.weight.dtype);
    for (int64_t o = 0; o < n["out"]; ++o) {
      float sum = 0;
      for (int64_t i = 0; i < in; ++i) sum += x[i] * load(args.weight, at(args.weight, o, i));
      if (args.bias.defined()) sum += load(args.bias, o);
      if (args.accumulate) sum += load(args.out, at(args.out, t, o));
      store(args.out, at(args.out, t, o), sum);
    }
  }
}

void rope_table(Stream& /*stream*/, const RopeTableArgs& args) {
  const Shapes n = check(args);
  for (int64_t t = 0; t < n["tokens"]; ++t) {
    for (int64_t i = 0; i < n["pairs"]; ++i) {
      const float angle = static_cast<float>(args.positions[t]) * args.inverse_frequency[i];
      store(args.cos, at(args.cos, t, i), std::cos(angle) * args.attention_factor);
      store(args.sin, at(args.sin, t, i), std::sin(angle) * args.attention_factor);
    }
  }
}

void rope(Stream& /*stream*/, const RopeArgs& args) {
  const Shapes n = check(args);
  const int64_t pairs = n["pairs"];
  for (int64_t t = 0; t < n["tokens"]; ++t) {
    for (int64_t h = 0; h < n["heads"]; ++h) {
      for (int64_t i = 0; i < pairs; ++i) {
        const float cos = load(args.cos, at(args.cos, t, i));
        const float sin = load(args.sin, at(args.sin, t, i));
        const int64_t first = at(args.x, t, h, args.interleaved ? 2 * i : i);
        const int64_t second = first + (args.interleaved ? 1 : pairs);
        const float a = load(args.x, first);
        const float b = load(args.x, second);
        store(args.x, first, a * cos - b * sin);
        store(args.x, second, b * cos + a * sin);
      }
    }
  }
}

// A row of an int8 cache: codes, and their scale.
void write_codes(const Tensor& x, int64_t from, const Tensor& codes, int64_t to, float& scale, int64_t n) {
  float most = 0;
  bool finite = true;
  for (int64_t i = 0; i < n; ++i) {
    most = std::max(most, std::abs(load(x, from + i)));
    finite = finite && std::isfinite(load(x, from + i));
  }
  const bool nothing = !finite || most < 1e-30F;
  scale = !finite ? NAN : nothing ? 0 : most / 127;
  for (int64_t i = 0; i < n; ++i) {
    const float code = nothing ? 0 : std::nearbyint(load(x, from + i) * (127 / most));
    codes.as<int8_t>()[to + i] = static_cast<int8_t>(code);
  }
}

// By which the codes of a head count in a cache of fp8; 1 in others.
float scale_of_head(const Tensor& t, const Tensor& scales, int64_t head) {
  return t.dtype == DType::kE4M3 && scales.defined() ? load(scales, at(scales, head)) : 1;
}

// An element of a cached row.
float load_cached(const Tensor& t, const Tensor& scales, int64_t block, int64_t head, int64_t row,
                  int64_t i) {
  if (t.dtype != DType::kI8) return load(t, at(t, block, head, row, i)) * scale_of_head(t, scales, head);
  return static_cast<float>(t.as<const int8_t>()[at(t, block, head, row, i)]) *
         load(scales, at(scales, block, head, row));
}

void write_row(const Tensor& x, int64_t token, int64_t head, const Tensor& cache, const Tensor& scales,
               int64_t block, int64_t row) {
  const float scale = scale_of_head(cache, scales, head);
  for (int64_t i = 0; i < x.size[2]; ++i)
    store(cache, at(cache, block, head, row, i), load(x, at(x, token, head, i)) / scale);
}

void kv_write(Stream& /*stream*/, const KvWriteArgs& args) {
  const Shapes n = check(args);
  for (int64_t t = 0; t < n["tokens"]; ++t) {
    if (args.slots[t] < 0) continue;
    const int64_t block = args.slots[t] / n["block"];
    const int64_t row = args.slots[t] % n["block"];
    CHECK(block < n["blocks"], block, n["blocks"]);
    for (int64_t h = 0; h < n["kv_heads"]; ++h) {
      if (args.kv.k.dtype == DType::kI8) {
        const PagedKv& kv = args.kv;
        write_codes(args.k, at(args.k, t, h), kv.k, at(kv.k, block, h, row),
                    kv.k_scale.mutable_f32()[at(kv.k_scale, block, h, row)], n["head_dim"]);
        write_codes(args.v, at(args.v, t, h), kv.v, at(kv.v, block, h, row),
                    kv.v_scale.mutable_f32()[at(kv.v_scale, block, h, row)], n["v_dim"]);
        continue;
      }
      write_row(args.k, t, h, args.kv.k, args.kv.k_scale, block, row);
      if (args.v.defined()) write_row(args.v, t, h, args.kv.v, args.kv.v_scale, block, row);
    }
  }
}

// One query row and head: scores, softmax, weighted values, in that order and with nothing clever.
void attend(const AttentionArgs& args, const Shapes& n, int sequence, int64_t token, int64_t head) {
  const RowMask row = args.rows[token];
  const int64_t kv_head = head / (n["heads"] / n["kv_heads"]);
  const int64_t block = n["block"];
  const auto block_of = [&](int k) { return int64_t{args.kv.table_of(sequence)[k / block]}; };

  std::vector<int> keys;
  for (int k = 0; k < row.hi; ++k) {
    if (sees(row, k)) keys.push_back(k);
  }
  std::vector<float> scores;
  float largest = args.sink_logits != nullptr ? args.sink_logits[head] : -INFINITY;
  for (const int k : keys) {
    float score = 0;
    for (int64_t i = 0; i < n["head_dim"]; ++i) {
      score += load(args.q, at(args.q, token, head, i)) *
               load_cached(args.kv.k, args.kv.k_scale, block_of(k), kv_head, k % block, i);
    }
    score *= args.scale;
    if (args.softcap > 0) score = args.softcap * std::tanh(score / args.softcap);
    scores.push_back(score);
    largest = std::max(largest, score);
  }
  float total = args.sink_logits != nullptr ? std::exp(args.sink_logits[head] - largest) : 0;
  for (float& score : scores) total += score = std::exp(score - largest);
  for (int64_t i = 0; i < n["v_dim"]; ++i) {
    float sum = 0;
    for (size_t j = 0; j < keys.size(); ++j) {
      const int k = keys[j];
      sum += scores[j] * load_cached(args.kv.v, args.kv.v_scale, block_of(k), kv_head, k % block, i);
    }
    store(args.out, at(args.out, token, head, i), keys.empty() ? 0 : sum / total);
  }
}

void attention(Stream& /*stream*/, const AttentionArgs& args) {
  const Shapes n = check(args);
  for (int s = 0; s < args.sequences; ++s) {
    for (int64_t token = args.seq_start[s]; token < args.seq_start[s + 1]; ++token) {
      for (int64_t head = 0; head < n["heads"]; ++head) attend(args, n, s, token, head);
    }
  }
}

float sigmoid(float x) { return 1 / (1 + std::exp(-x)); }

float gated(Act act, float gate, float up) {
  switch (act) {
    case Act::kSilu:
      return gate / (1 + std::exp(-gate)) * up;
    case Act::kGelu:
      return 0.5F * gate * (1 + std::erf(gate * 0.70710678F)) * up;
    case Act::kGeluTanh:
      return 0.5F * gate * (1 + std::tanh(0.79788456F * (gate + 0.044715F * gate * gate * gate))) * up;
    case Act::kRelu:
      return std::max(gate, 0.0F) * up;
    case Act::kSigmoid:
      return sigmoid(gate) * up;
    case Act::kClampedSwiglu: {
      const float g = std::min(gate, 7.0F);
      return g * sigmoid(1.702F * g) * (std::clamp(up, -7.0F, 7.0F) + 1);
    }
  }
  return 0;
}

void gated_act(Stream& /*stream*/, const GatedActArgs& args) {
  const Shapes n = check(args);
  const bool three = args.gate.rank == 3;
  for (int64_t t = 0; t < n["tokens"]; ++t) {
    for (int64_t h = 0; h < (three ? n["heads"] : 1); ++h) {
      const auto row = [&](const Tensor& tensor) { return three ? at(tensor, t, h) : at(tensor, t); };
      for (int64_t i = 0; i < n["inner"]; ++i) {
        const float up = args.up.defined() ? load(args.up, row(args.up) + i) : 1;
        store(args.out, row(args.out) + i, gated(args.act, load(args.gate, row(args.gate) + i), up));
      }
    }
  }
}

void add(Stream& /*stream*/, const AddArgs& args) {
  const Shapes n = check(args);
  for (int64_t t = 0; t < n["tokens"]; ++t) {
    for (int64_t i = 0; i < n["dim"]; ++i) {
      store(args.out, at(args.out, t, i),
            args.keep * load(args.out, at(args.out, t, i)) + args.scale * load(args.x, at(args.x, t, i)));
    }
  }
}

void copy(Stream& /*stream*/, const CopyArgs& args) {
  const Shapes n = check(args);
  const bool three = args.x.rank == 3;
  for (int64_t t = 0; t < n["tokens"]; ++t) {
    for (int64_t h = 0; h < (three ? n["heads"] : 1); ++h) {
      const int64_t from = three ? at(args.x, t, h) : at(args.x, t);
      const int64_t to = three ? at(args.out, t, h) : at(args.out, t);
      for (int64_t i = 0; i < n["dim"]; ++i) store(args.out, to + i, load(args.x, from + i));
    }
  }
}

void temper(Stream& /*stream*/, const TemperArgs& args) {
  const Shapes n = check(args);
  for (int64_t t = 0; t < n["tokens"]; ++t) {
    const float far = std::floor((static_cast<float>(args.positions[t]) + 1) / args.floor_scale);
    const float factor = std::log1p(far) * args.temperature + 1;
    for (int64_t h = 0; h < n["heads"]; ++h) {
      for (int64_t i = 0; i < n["head_dim"]; ++i)
        store(args.x, at(args.x, t, h, i), load(args.x, at(args.x, t, h, i)) * factor);
    }
  }
}

void scale(Stream& /*stream*/, const ScaleArgs& args) {
  const Shapes n = check(args);
  for (int64_t t = 0; t < n["tokens"]; ++t) {
    for (int64_t i = 0; i < n["dim"]; ++i) {
      store(args.x, at(args.x, t, i), args.scale * load(args.x, at(args.x, t, i)));
    }
  }
}

void scale_rows(Stream& /*stream*/, const ScaleRowsArgs& args) {
  const Shapes n = check(args);
  for (int64_t t = 0; t < n["tokens"]; ++t) {
    const float given = load(args.factors, at(args.factors, t));
    const float factor = args.sigmoid ? sigmoid(given) : given;
    for (int64_t i = 0; i < n["dim"]; ++i) {
      store(args.x, at(args.x, t, i), factor * load(args.x, at(args.x, t, i)));
    }
  }
}

void head_linear(Stream& /*stream*/, const HeadLinearArgs& args) {
  const Shapes n = check(args);
  for (int64_t t = 0; t < n["tokens"]; ++t) {
    for (int64_t h = 0; h < n["heads"]; ++h) {
      for (int64_t o = 0; o < n["out"]; ++o) {
        float sum = 0;
        for (int64_t i = 0; i < n["in"]; ++i) {
          sum += load(args.x, at(args.x, t, h, i)) * load(args.weight, at(args.weight, h, o, i));
        }
        store(args.out, at(args.out, t, h, o), sum);
      }
    }
  }
}

void gather_rows(Stream& /*stream*/, const GatherRowsArgs& args) {
  const Shapes n = check(args);
  for (int64_t r = 0; r < n["picked"]; ++r) {
    CHECK(args.rows[r] >= 0 && args.rows[r] < n["tokens"], args.rows[r], n["tokens"]);
    for (int64_t i = 0; i < n["dim"]; ++i)
      store(args.out, at(args.out, r, i), load(args.x, at(args.x, args.rows[r], i)));
  }
}

void arg_max(Stream& /*stream*/, const ArgMaxArgs& args) {
  const Shapes n = check(args);
  for (int64_t row = 0; row < n["rows"]; ++row) {
    const float* x = args.x.f32() + row * args.x.stride[0];
    float largest = -INFINITY;
    args.ids[row] = 0;
    for (int64_t i = 0; i < n["dim"]; ++i) {
      if (!(x[i] > largest)) continue;
      largest = x[i];
      args.ids[row] = static_cast<int32_t>(i);
    }
  }
}

struct Weighed {
  int32_t place;
  double weight;
};

// Those in question, heaviest first.
std::vector<Weighed> in_question(const float* x, int64_t dim, float largest, const DrawRow& how) {
  std::vector<Weighed> all;
  for (int32_t i = 0; i < dim; ++i) {
    const double weight = std::exp((static_cast<double>(x[i]) - largest) / how.temperature);
    if (weight > 0 && weight >= how.min_p) all.push_back({i, weight});
  }
  std::stable_sort(all.begin(), all.end(),
                   [](const Weighed& a, const Weighed& b) { return a.weight > b.weight; });
  if (how.top_k > 0 && how.top_k < std::ssize(all)) all.resize(how.top_k);
  if (how.top_p >= 1) return all;
  double total = 0;
  for (const Weighed& each : all) total += each.weight;
  double sum = 0;
  size_t count = 0;
  while (count < all.size() && sum < how.top_p * total) sum += all[count++].weight;
  all.resize(count);
  return all;
}

void draw(Stream& stream, const DrawArgs& args) {
  const Shapes n = check(args);
  arg_max(stream, {.x = args.x, .ids = args.ids});
  for (int64_t row = 0; row < n["rows"]; ++row) {
    const DrawRow& how = args.rows[row];
    if (how.temperature == 0) continue;
    const float* x = args.x.f32() + row * args.x.stride[0];
    double best = INFINITY;
    int32_t first = 0;
    const float largest = x[args.ids[row]];
    for (const Weighed& each : in_question(x, n["dim"], largest, how)) {
      const int32_t token = each.place + (args.id_offsets != nullptr ? args.id_offsets[each.place] : 0);
      const double time = -std::log(draw_number(how.key, token)) / each.weight;
      if (time > best || (time == best && token > first)) continue;
      best = time;
      first = token;
      args.ids[row] = each.place;
    }
  }
}

void softcap(Stream& /*stream*/, const SoftcapArgs& args) {
  const Shapes n = check(args);
  for (int64_t t = 0; t < n["rows"]; ++t) {
    for (int64_t i = 0; i < n["dim"]; ++i) {
      store(args.x, at(args.x, t, i), args.cap * std::tanh(load(args.x, at(args.x, t, i)) / args.cap));
    }
  }
}

constexpr AttentionKernel kAttention[] = {
    {.name = "ref.naive",
     .why_not = [](const AttentionNeeds& /*needs*/) { return std::string(); },
     .run = attention,
     .scratch_bytes =
         [](const AttentionNeeds& /*needs*/, const StepSize& size) {
           return 3 * size.length * int64_t{sizeof(int) + sizeof(float)};  // keys and scores, as vectors grow
         }},
};

}  // namespace

const Kernels& ref_kernels() {
  static const Kernels kernels = {
      .name = "ref",
      .isa = "any",
      .attention = kAttention,
      .reads_blocks = true,
      .reads_fp8 = true,
      .embed = embed,
      .rms_norm = rms_norm,
      .linear = linear,
      .rope_table = rope_table,
      .rope = rope,
      .kv_write = kv_write,
      .gated_act = gated_act,
      .add = add,
      .gather_rows = gather_rows,
      .softcap = softcap,
      .copy = copy,
      .temper = temper,
      .scale = scale,
      .scale_rows = scale_rows,
      .linears = [](Stream& s, const LinearsArgs& a) { linears_by_parts(ref_kernels(), s, a); },
      .finish_heads = [](Stream& s, const FinishHeadsArgs& a) { finish_heads_by_parts(ref_kernels(), s, a); },
      .head_linear = head_linear,
      .moe_route = ref::moe_route,
      .moe_sort = ref::moe_sort,
      .expert_linear = ref::expert_linear,
      .expert_sum = ref::expert_sum,
      .short_conv = ref::short_conv,
      .linear_attention = ref::linear_attention,
      .gated_delta = ref::gated_delta,
      .delta_gates = ref::delta_gates,
      .layer_norm = ref::layer_norm,
      .clamp = ref::clamp,
      .standardise = ref::standardise,
      .average_patches = ref::average_patches,
      .arg_max = arg_max,
      .draw = draw,
      .scratch_bytes = [](const StepSize& /*size*/) { return int64_t{0}; },
  };
  return kernels;
}

}  // namespace heed
