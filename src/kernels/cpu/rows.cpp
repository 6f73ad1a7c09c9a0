// Ops that run row by row: rows are split over threads, a kernel does each.
#include <cmath>
#include <cstring>
#include <vector>

#include "kernels/checks.h"
#include "kernels/cpu/ops.h"
#include "tensor/blocks.h"

namespace heed::cpu {
namespace {

// Elements below which waking another thread costs more than it saves.
constexpr int64_t kElementsPerThread = 16384;

int64_t grain(int64_t row_elements) { return kElementsPerThread / (row_elements > 0 ? row_elements : 1) + 1; }

char* at(const Tensor& t, int64_t i, int64_t j = 0) {
  return t.as<char>() + (i * t.stride[0] + j * t.stride[1]) * size_of(t.dtype);
}
float* f32_at(const Tensor& t, int64_t i, int64_t j = 0) {
  return static_cast<float*>(static_cast<void*>(at(t, i, j)));
}

// The rows of [rows, dim] or [rows, heads, dim]: where row i of rows * heads begins.
struct Rows {
  explicit Rows(const Tensor& tensor) : t(tensor), heads(tensor.rank == 3 ? tensor.size[1] : 1) {}
  char* operator[](int64_t i) const { return t.rank == 3 ? at(t, i / heads, i % heads) : at(t, i); }
  float* f32(int64_t i) const { return static_cast<float*>(static_cast<void*>((*this)[i])); }
  const Tensor& t;
  int64_t heads;
};

}  // namespace

void embed(const RowTable& isa, Stream& stream, const EmbedArgs& args) {
  const Shapes n = check(args);
  const int64_t hidden = n["hidden"];
  const int64_t vocab = n["vocab"];
  stream.pool->parallel_for(n["tokens"], grain(hidden), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      CHECK(args.ids[t] >= 0 && args.ids[t] < vocab, args.ids[t], vocab);
      const char* row = args.table.at(args.ids[t] * args.table.stride[0]);
      float* out = f32_at(args.out, t);
      if (is_blocks(args.table.dtype)) {
        widen_blocks(args.table.dtype, row, hidden, out);
        isa.scale(args.scale, out, hidden);
      } else {
        isa.widen(row, args.table.dtype, args.scale, out, hidden);
      }
    }
  });
}

void rms_norm(const RowTable& isa, Stream& stream, const RmsNormArgs& args) {
  const Shapes n = check(args);
  const int64_t dim = n["dim"];
  const Rows x(args.x);
  const Rows out(args.out);
  stream.pool->parallel_for(n["rows"] * x.heads, grain(dim), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const float* weight = args.weight.defined() ? args.weight.f32() : nullptr;
      isa.rms_norm(x.f32(i), weight, args.eps, args.scale, args.accumulate, out[i], args.out.dtype, dim);
    }
  });
}

void rope_table(Stream& stream, const RopeTableArgs& args) {
  const Shapes n = check(args);
  const int64_t pairs = n["pairs"];
  stream.pool->parallel_for(n["tokens"], grain(16 * pairs), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      for (int64_t i = 0; i < pairs; ++i) {
        // libm's, for angles up to 1e6 and more
        const float angle = static_cast<float>(args.positions[t]) * args.inverse_frequency[i];
        f32_at(args.cos, t)[i] = std::cos(angle) * args.attention_factor;
        f32_at(args.sin, t)[i] = std::sin(angle) * args.attention_factor;
      }
    }
  });
}

void rope(const RowTable& isa, Stream& stream, const RopeArgs& args) {
  const Shapes n = check(args);
  const int64_t pairs = n["pairs"];
  const int64_t heads = n["heads"];
  stream.pool->parallel_for(n["tokens"], grain(2 * pairs * heads), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      for (int64_t h = 0; h < heads; ++h) {
        (args.interleaved ? isa.rope_interleaved : isa.rope)(f32_at(args.cos, t), f32_at(args.sin, t),
                                                             f32_at(args.x, t, h), pairs);
      }
    }
  });
}

namespace {

// A row of one head of the cache.
void write_row(const RowTable& isa, const float* x, const Tensor& cache, const Tensor& scales, int64_t block,
               int64_t head, int64_t row) {
  const auto place = [&](const Tensor& t) {
    return t.as<char>() + (block * t.stride[0] + head * t.stride[1] + row * t.stride[2]) * size_of(t.dtype);
  };
  void* to = place(cache);
  const int64_t n = cache.size[3];
  if (cache.dtype == DType::kI8) {
    const float scale = isa.to_codes(x, static_cast<int8_t*>(to), n);
    std::memcpy(place(scales), &scale, sizeof(scale));
  } else if (cache.dtype == DType::kE4M3) {
    const float scale = scale_of_head(scales, head);
    for (int64_t i = 0; i < n; ++i) static_cast<e4m3*>(to)[i] = from_float<e4m3>(x[i] / scale);
  } else {
    isa.narrow(x, to, cache.dtype, n);
  }
}

}  // namespace

void kv_write(const RowTable& isa, Stream& stream, const KvWriteArgs& args) {
  const Shapes n = check(args);
  const int64_t rows = n["block"];
  const int64_t blocks = n["blocks"];
  const int64_t heads = n["kv_heads"];
  const PagedKv& kv = args.kv;
  stream.pool->parallel_for(n["tokens"], grain(heads * n["head_dim"]), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      if (args.slots[t] < 0) continue;
      const int64_t block = args.slots[t] / rows;
      const int64_t row = args.slots[t] % rows;
      CHECK(block < blocks, block, blocks);
      for (int64_t h = 0; h < heads; ++h) {
        write_row(isa, f32_at(args.k, t, h), kv.k, kv.k_scale, block, h, row);
        if (args.v.defined()) write_row(isa, f32_at(args.v, t, h), kv.v, kv.v_scale, block, h, row);
      }
    }
  });
}

void gated_act(const RowTable& isa, Stream& stream, const GatedActArgs& args) {
  const Shapes n = check(args);
  const int64_t inner = n["inner"];
  const Rows gate(args.gate);
  const Rows up(args.up);
  const Rows out(args.out);
  std::vector<float> ones;
  if (!args.up.defined()) ones.assign(static_cast<size_t>(inner), 1);
  stream.pool->parallel_for(n["tokens"] * gate.heads, grain(4 * inner), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const float* factors = ones.empty() ? up.f32(i) : ones.data();
      isa.gated_act(args.act, gate.f32(i), factors, out[i], args.out.dtype, inner);
    }
  });
}

void add(const RowTable& isa, Stream& stream, const AddArgs& args) {
  const Shapes n = check(args);
  const int64_t dim = n["dim"];
  stream.pool->parallel_for(n["tokens"], grain(dim), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t)
      isa.add(f32_at(args.x, t), args.scale, args.keep, f32_at(args.out, t), dim);
  });
}

void copy(const RowTable& isa, Stream& stream, const CopyArgs& args) {
  const Shapes n = check(args);
  const int64_t dim = n["dim"];
  const Rows x(args.x);
  const Rows out(args.out);
  stream.pool->parallel_for(n["tokens"] * x.heads, grain(dim), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      if (args.x.dtype == args.out.dtype) {
        std::memcpy(out[i], x[i], static_cast<size_t>(dim * size_of(args.x.dtype)));
      } else if (args.x.dtype == DType::kF32) {
        isa.narrow(static_cast<const float*>(static_cast<const void*>(x[i])), out[i], args.out.dtype, dim);
      } else {
        isa.widen(x[i], args.x.dtype, 1, static_cast<float*>(static_cast<void*>(out[i])), dim);
      }
    }
  });
}

void temper(const RowTable& isa, Stream& stream, const TemperArgs& args) {
  const Shapes n = check(args);
  const int64_t heads = n["heads"];
  const int64_t dim = n["head_dim"];
  stream.pool->parallel_for(n["tokens"], grain(heads * dim), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const float far = std::floor((static_cast<float>(args.positions[t]) + 1) / args.floor_scale);
      const float factor = std::log1p(far) * args.temperature + 1;
      for (int64_t h = 0; h < heads; ++h) isa.scale(factor, f32_at(args.x, t, h), dim);
    }
  });
}

void scale(const RowTable& isa, Stream& stream, const ScaleArgs& args) {
  const Shapes n = check(args);
  const int64_t dim = n["dim"];
  stream.pool->parallel_for(n["tokens"], grain(dim), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) isa.scale(args.scale, f32_at(args.x, t), dim);
  });
}

void scale_rows(const RowTable& isa, Stream& stream, const ScaleRowsArgs& args) {
  const Shapes n = check(args);
  const int64_t dim = n["dim"];
  stream.pool->parallel_for(n["tokens"], grain(dim), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      float factor = *f32_at(args.factors, t);
      if (args.sigmoid) isa.sigmoid(&factor, &factor, 1);
      isa.scale(factor, f32_at(args.x, t), dim);
    }
  });
}

void gather_rows(Stream& stream, const GatherRowsArgs& args) {
  const Shapes n = check(args);
  const int64_t tokens = n["tokens"];
  const auto bytes = static_cast<size_t>(n["dim"] * size_of(DType::kF32));
  stream.pool->parallel_for(n["picked"], grain(n["dim"]), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      CHECK(args.rows[r] >= 0 && args.rows[r] < tokens, args.rows[r], tokens);
      std::memcpy(at(args.out, r), at(args.x, args.rows[r]), bytes);
    }
  });
}

void softcap(const RowTable& isa, Stream& stream, const SoftcapArgs& args) {
  const Shapes n = check(args);
  stream.pool->parallel_for(n["rows"], grain(4 * n["dim"]), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) isa.softcap(args.cap, f32_at(args.x, t), args.x.size[1]);
  });
}

}  // namespace heed::cpu
