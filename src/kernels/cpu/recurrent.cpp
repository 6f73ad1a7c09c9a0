// Recurrent layers: sequences and heads (or channels) are split over threads, a token follows the other.
#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/checks.h"
#include "kernels/cpu/ops.h"

namespace heed::cpu {
namespace {

float widened(const Tensor& t, int64_t i) {
  return t.dtype == DType::kF32 ? t.as<const float>()[i] : to_float(t.as<const bf16>()[i]);
}

// body(state, token) for a sequence's tokens, on elements [begin, end) of its state.
template <class Body>
void for_tokens(const StateArgs& args, int sequence, int64_t begin, int64_t end, Body body) {
  const Tensor& slots = args.slots;
  std::vector<float> state;
  const int64_t from = args.slot[sequence] * slots.stride[0];
  for (int64_t i = begin; i < end; ++i) state.push_back(widened(slots, from + i));
  const auto write = [&](int32_t slot) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t to = slot * slots.stride[0] + i;
      if (slots.dtype == DType::kF32) {
        slots.as<float>()[to] = state[i - begin];
      } else {
        slots.as<bf16>()[to] = from_float<bf16>(state[i - begin]);
      }
    }
  };
  const int32_t first = args.seq_start[sequence];
  const auto earlier = [](const StateSave& save, int32_t token) { return save.token < token; };
  auto save = std::lower_bound(args.saves.begin(), args.saves.end(), first, earlier);
  for (int64_t t = first; t < args.seq_start[sequence + 1]; ++t) {
    body(state.data(), t);
    for (; save != args.saves.end() && save->token == t; ++save) write(save->slot);
  }
  write(args.slot[sequence]);
}

const float* row(const Tensor& t, int64_t i, int64_t j) {
  return t.f32() + i * t.stride[0] + j * t.stride[1];
}

}  // namespace

void short_conv(Stream& stream, const ShortConvArgs& args) {
  const Shapes n = check(args);
  const int64_t channels = n["channels"];
  const int64_t width = n["width"];
  stream.pool->parallel_for(args.state.sequences, 1, [&](int64_t begin, int64_t end) {
    for (int64_t s = begin; s < end; ++s) {
      for_tokens(args.state, static_cast<int>(s), 0, (width - 1) * channels, [&](float* state, int64_t t) {
        const float* x = row(args.x, t, 0);
        for (int64_t c = 0; c < channels; ++c) {
          const float* weight = row(args.weight, c, 0);
          float sum = weight[width - 1] * x[c];
          for (int64_t j = 0; j < width - 1; ++j) {
            sum += weight[j] * state[j * channels + c];
            state[j * channels + c] = j + 2 < width ? state[(j + 1) * channels + c] : x[c];
          }
          if (args.bias.defined()) sum += args.bias.f32()[c];
          args.out.mutable_f32()[t * args.out.stride[0] + c] = args.silu ? sum / (1 + std::exp(-sum)) : sum;
        }
      });
    }
  });
}

void linear_attention(Stream& stream, const LinearAttentionArgs& args) {
  const Shapes n = check(args);
  const int64_t heads = n["heads"];
  const int64_t k_dim = n["k_dim"];
  const int64_t v_dim = n["v_dim"];
  stream.pool->parallel_tasks(args.state.sequences * heads, [&](int64_t task) {
    const int64_t h = task % heads;
    const float kept = std::exp(-args.slopes[h]);
    for_tokens(args.state, static_cast<int>(task / heads), h * k_dim * v_dim, (h + 1) * k_dim * v_dim,
               [&](float* state, int64_t t) {
                 float* out = args.out.mutable_f32() + t * args.out.stride[0] + h * args.out.stride[1];
                 for (int64_t j = 0; j < v_dim; ++j) {
                   float sum = 0;
                   for (int64_t i = 0; i < k_dim; ++i) {
                     float& s = state[i * v_dim + j];
                     s = kept * s + row(args.k, t, h)[i] * row(args.v, t, h)[j];
                     sum += row(args.q, t, h)[i] * s;
                   }
                   out[j] = args.scale * sum;
                 }
               });
  });
}

void gated_delta(Stream& stream, const GatedDeltaArgs& args) {
  const Shapes n = check(args);
  const int64_t heads = n["v_heads"];
  const int64_t group = heads / n["k_heads"];
  const int64_t k_dim = n["k_dim"];
  const int64_t v_dim = n["v_dim"];
  stream.pool->parallel_tasks(args.state.sequences * heads, [&](int64_t task) {
    const int64_t h = task % heads;
    for_tokens(args.state, static_cast<int>(task / heads), h * k_dim * v_dim, (h + 1) * k_dim * v_dim,
               [&](float* state, int64_t t) {
                 const float kept = std::exp(row(args.decay, t, 0)[h]);
                 const float* k = row(args.k, t, h / group);
                 const float* q = row(args.q, t, h / group);
                 float* out = args.out.mutable_f32() + t * args.out.stride[0] + h * args.out.stride[1];
                 for (int64_t j = 0; j < v_dim; ++j) {
                   float known = 0;
                   for (int64_t i = 0; i < k_dim; ++i) known += kept * state[i * v_dim + j] * k[i];
                   const float change = row(args.beta, t, 0)[h] * (row(args.v, t, h)[j] - known);
                   float sum = 0;
                   for (int64_t i = 0; i < k_dim; ++i) {
                     float& s = state[i * v_dim + j];
                     s = kept * s + k[i] * change;
                     sum += s * q[i];
                   }
                   out[j] = sum;
                 }
               });
  });
}

void delta_gates(Stream& stream, const DeltaGatesArgs& args) {
  const Shapes n = check(args);
  const int64_t heads = n["heads"];
  stream.pool->parallel_for(n["tokens"], 256 / (heads + 1) + 1, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      float* a = args.a.mutable_f32() + t * args.a.stride[0];
      float* b = args.b.mutable_f32() + t * args.b.stride[0];
      for (int64_t h = 0; h < heads; ++h) {
        const float x = a[h] + args.dt_bias.f32()[h];
        a[h] = -std::exp(args.a_log.f32()[h]) * (x > 20 ? x : std::log1p(std::exp(x)));
        b[h] = 1 / (1 + std::exp(-b[h]));
      }
    }
  });
}

}  // namespace heed::cpu
