// Recurrent layers, token by token on a float32 copy of a sequence's state.
#include <cmath>
#include <vector>

#include "kernels/checks.h"
#include "kernels/ref/elements.h"
#include "kernels/ref/ops.h"

namespace heed::ref {
namespace {

// body(state, token) for the tokens of every sequence, each of which leaves the state as it is after it.
template <class Body>
void for_tokens(const StateArgs& args, Body body) {
  const int64_t elements = args.slots.elements() / std::max<int64_t>(args.slots.size[0], 1);
  size_t next_save = 0;
  for (int s = 0; s < args.sequences; ++s) {
    std::vector<float> state(elements);
    for (int64_t i = 0; i < elements; ++i) state[i] = load(args.slots, at(args.slots, args.slot[s]) + i);
    const auto write = [&](int32_t slot) {
      for (int64_t i = 0; i < elements; ++i) store(args.slots, at(args.slots, slot) + i, state[i]);
    };
    for (int64_t token = args.seq_start[s]; token < args.seq_start[s + 1]; ++token) {
      body(state, token);
      for (; next_save < args.saves.size() && args.saves[next_save].token == token; ++next_save) {
        write(args.saves[next_save].slot);
      }
    }
    write(args.slot[s]);
  }
}

}  // namespace

void short_conv(Stream& /*stream*/, const ShortConvArgs& args) {
  const Shapes n = check(args);
  const int64_t channels = n["channels"];
  const int64_t width = n["width"];
  for_tokens(args.state, [&](std::vector<float>& state, int64_t t) {
    for (int64_t c = 0; c < channels; ++c) state.push_back(load(args.x, at(args.x, t, c)));
    for (int64_t c = 0; c < channels; ++c) {
      float sum = 0;
      for (int64_t j = 0; j < width; ++j) {
        sum += load(args.weight, at(args.weight, c, j)) * state[j * channels + c];
      }
      if (args.bias.defined()) sum += load(args.bias, c);
      store(args.out, at(args.out, t, c), args.silu ? sum / (1 + std::exp(-sum)) : sum);
    }
    state.erase(state.begin(), state.begin() + channels);
  });
}

void linear_attention(Stream& /*stream*/, const LinearAttentionArgs& args) {
  const Shapes n = check(args);
  const int64_t k_dim = n["k_dim"];
  const int64_t v_dim = n["v_dim"];
  for_tokens(args.state, [&](std::vector<float>& state, int64_t t) {
    for (int64_t h = 0; h < n["heads"]; ++h) {
      const float kept = std::exp(-args.slopes[h]);
      for (int64_t j = 0; j < v_dim; ++j) {
        const float v = load(args.v, at(args.v, t, h, j));
        float sum = 0;
        for (int64_t i = 0; i < k_dim; ++i) {
          float& s = state[(h * k_dim + i) * v_dim + j];
          s = kept * s + load(args.k, at(args.k, t, h, i)) * v;
          sum += load(args.q, at(args.q, t, h, i)) * s;
        }
        store(args.out, at(args.out, t, h, j), args.scale * sum);
      }
    }
  });
}

void gated_delta(Stream& /*stream*/, const GatedDeltaArgs& args) {
  const Shapes n = check(args);
  const int64_t k_dim = n["k_dim"];
  const int64_t v_dim = n["v_dim"];
  for_tokens(args.state, [&](std::vector<float>& state, int64_t t) {
    for (int64_t h = 0; h < n["v_heads"]; ++h) {
      const float kept = std::exp(load(args.decay, at(args.decay, t, h)));
      const float beta = load(args.beta, at(args.beta, t, h));
      const int64_t from = args.key_head(h);
      const auto k = [&](int64_t i) { return load(args.k, at(args.k, t, from, i)); };
      for (int64_t j = 0; j < v_dim; ++j) {
        const auto s = [&](int64_t i) -> float& { return state[(h * k_dim + i) * v_dim + j]; };
        float known = 0;
        for (int64_t i = 0; i < k_dim; ++i) {
          s(i) *= kept;
          known += s(i) * k(i);
        }
        const float change = beta * (load(args.v, at(args.v, t, h, j)) - known);
        float sum = 0;
        for (int64_t i = 0; i < k_dim; ++i) {
          s(i) += k(i) * change;
          sum += s(i) * load(args.q, at(args.q, t, from, i));
        }
        store(args.out, at(args.out, t, h, j), sum);
      }
    }
  });
}

void delta_gates(Stream& /*stream*/, const DeltaGatesArgs& args) {
  const Shapes n = check(args);
  for (int64_t t = 0; t < n["tokens"]; ++t) {
    for (int64_t h = 0; h < n["heads"]; ++h) {
      const float x = load(args.a, at(args.a, t, h)) + load(args.dt_bias, h);
      const float softplus = x > 20 ? x : std::log1p(std::exp(x));
      store(args.a, at(args.a, t, h), -std::exp(load(args.a_log, h)) * softplus);
      store(args.b, at(args.b, t, h), 1 / (1 + std::exp(-load(args.b, at(args.b, t, h)))));
    }
  }
}

}  // namespace heed::ref
