// The ops that treat elements or rows by themselves. Definitions: kernels/ref/ref.cpp. Bound by memory: each
// element is read and written once, four at a time where rows lie so.
#include "kernels/checks.h"
#include "kernels/cuda/acts.cuh"
#include "kernels/cuda/blocks.h"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/ptx.cuh"
#include "kernels/cuda/runtime.h"
#include "kernels/cuda/values.cuh"

namespace heed::cuda {
namespace {

constexpr int kThreads = 256;

// Rows of a tensor of rank 2 or 3, counted over all its outer dimensions.
template <class T>
struct Rows {
  T* data;
  int64_t inner, stride0, stride1;  // rows of the second dimension, and strides; rank 2: inner is 1
  explicit Rows(const Tensor& t)
      : data(static_cast<T*>(t.data)),
        inner(t.rank == 3 ? t.size[1] : 1),
        stride0(t.rank > 0 ? t.stride[0] : 0),
        stride1(t.rank == 3 ? t.stride[1] : 0) {}
  __device__ T* at(int64_t row) const { return data + row / inner * stride0 + row % inner * stride1; }
};

int64_t rows_of(const Tensor& t) { return t.rank == 3 ? t.size[0] * t.size[1] : t.size[0]; }

// Runs op.run<kCount>(row, column) for each group of kCount columns. kIsKnown: kernels may read the result
// before they wait for those before them, so none starts before this one has ended.
template <int kCount, class Op>
__global__ void __launch_bounds__(kThreads)
    each_kernel(const __grid_constant__ Op op, int64_t rows, int64_t groups) {
  if constexpr (!Op::kIsKnown) ptx::let_next_start();
  ptx::wait_for_previous();
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i < rows * groups) op.template run<kCount>(i / groups, i % groups * kCount);
}

template <class Op>
void run_each(Stream& stream, const Op& op, int64_t rows, int64_t columns, bool fours) {
  const int64_t groups = fours ? columns / 4 : columns;
  if (rows * groups == 0) return;
  const auto blocks = static_cast<unsigned>((rows * groups + kThreads - 1) / kThreads);
  if (fours) {
    launch(stream, {.blocks = blocks, .threads = kThreads}, each_kernel<4, Op>, op, rows, groups);
  } else {
    launch(stream, {.blocks = blocks, .threads = kThreads}, each_kernel<1, Op>, op, rows, groups);
  }
}

template <class T>
struct Embed {
  static constexpr bool kIsKnown = false;
  Rows<const T> table;
  const int32_t* ids;
  float scale;
  Rows<float> out;
  template <int kCount>
  __device__ void run(int64_t row, int64_t column) const {
    auto x = load<kCount>(table.at(ids[row]) + column);
    for (int i = 0; i < kCount; ++i) x.x[i] *= scale;
    store(out.at(row) + column, x);
  }
};

struct Gather {
  static constexpr bool kIsKnown = false;
  Rows<const float> x;
  const int32_t* rows;
  Rows<float> out;
  template <int kCount>
  __device__ void run(int64_t row, int64_t column) const {
    store(out.at(row) + column, load<kCount>(x.at(rows[row]) + column));
  }
};

struct Add {
  static constexpr bool kIsKnown = false;
  Rows<const float> x;
  float scale, keep;
  Rows<float> out;
  template <int kCount>
  __device__ void run(int64_t row, int64_t column) const {
    const auto a = load<kCount>(x.at(row) + column);
    auto b = load<kCount>(out.at(row) + column);
    for (int i = 0; i < kCount; ++i) b.x[i] = keep * b.x[i] + scale * a.x[i];
    store(out.at(row) + column, b);
  }
};

struct Softcap {
  static constexpr bool kIsKnown = false;
  Rows<float> x;
  float cap;
  template <int kCount>
  __device__ void run(int64_t row, int64_t column) const {
    auto v = load<kCount>(x.at(row) + column);
    for (int i = 0; i < kCount; ++i) v.x[i] = cap * tanhf(v.x[i] / cap);
    store(x.at(row) + column, v);
  }
};

struct Scale {
  static constexpr bool kIsKnown = false;
  Rows<float> x;
  float scale;
  Rows<const float> factors;  // data null: none
  bool sigmoid;
  template <int kCount>
  __device__ void run(int64_t row, int64_t column) const {
    float factor = scale;
    if (factors.data != nullptr) factor = *factors.at(row);
    if (sigmoid) factor = 1 / (1 + expf(-factor));
    auto v = load<kCount>(x.at(row) + column);
    for (int i = 0; i < kCount; ++i) v.x[i] *= factor;
    store(x.at(row) + column, v);
  }
};

template <Act kAct, class Out>
struct GatedAct {
  static constexpr bool kIsKnown = false;
  Rows<const float> gate, up;  // up's data null: ones
  Rows<Out> out;
  template <int kCount>
  __device__ void run(int64_t row, int64_t column) const {
    auto g = load<kCount>(gate.at(row) + column);
    if (up.data == nullptr) {
      for (int i = 0; i < kCount; ++i) g.x[i] = activated<kAct>(g.x[i], 1);
    } else {
      const auto u = load<kCount>(up.at(row) + column);
      for (int i = 0; i < kCount; ++i) g.x[i] = activated<kAct>(g.x[i], u.x[i]);
    }
    store(out.at(row) + column, g);
  }
};

template <class In, class Out>
struct Copy {
  static constexpr bool kIsKnown = false;
  Rows<const In> x;
  Rows<Out> out;
  template <int kCount>
  __device__ void run(int64_t row, int64_t column) const {
    store(out.at(row) + column, load<kCount>(x.at(row) + column));
  }
};

struct Temper {
  static constexpr bool kIsKnown = false;
  const int32_t* positions;
  float temperature, floor_scale;
  int64_t heads;
  Rows<float> x;
  template <int kCount>
  __device__ void run(int64_t row, int64_t column) const {
    const float far = floorf((static_cast<float>(positions[row / heads]) + 1) / floor_scale);
    const float factor = log1pf(far) * temperature + 1;
    auto v = load<kCount>(x.at(row) + column);
    for (int i = 0; i < kCount; ++i) v.x[i] *= factor;
    store(x.at(row) + column, v);
  }
};

struct RopeTable {
  static constexpr bool kIsKnown = true;
  const int32_t* positions;
  const float* frequency;
  float factor;
  Rows<float> cos, sin;
  template <int kCount>
  __device__ void run(int64_t row, int64_t column) const {
    static_assert(kCount == 1);
    const float angle = static_cast<float>(positions[row]) * frequency[column];
    cos.at(row)[column] = cosf(angle) * factor;
    sin.at(row)[column] = sinf(angle) * factor;
  }
};

struct Rope {
  static constexpr bool kIsKnown = false;
  Rows<const float> cos, sin;
  Rows<float> x;
  int64_t heads;
  int64_t first, second;  // element i of a pair j: j * step + first, or second
  int64_t step;
  template <int kCount>
  __device__ void run(int64_t row, int64_t column) const {
    const float c = cos.at(row / heads)[column];
    const float s = sin.at(row / heads)[column];
    float* a = x.at(row) + column * step + first;
    float* b = x.at(row) + column * step + second;
    const float before = *a;
    *a = before * c - *b * s;
    *b = *b * c + before * s;
  }
};

template <class T>
struct KvWrite {
  static constexpr bool kIsKnown = false;
  Rows<const float> k, v;
  const int64_t* slots;
  T *k_cache, *v_cache;
  int64_t k_block, k_head, k_row, v_block, v_head, v_row;
  int64_t heads, block, head_dim;
  HeadScales k_scale, v_scale;
  template <int kCount>
  __device__ void run(int64_t row, int64_t column) const {
    const int64_t slot = slots[row / heads];
    if (slot < 0) return;
    const int64_t head = row % heads;
    if (column < head_dim) {
      T* to = k_cache + slot / block * k_block + head * k_head + slot % block * k_row;
      put<kCount>(k.at(row) + column, k_scale.of(head), to + column);
    } else {
      T* to = v_cache + slot / block * v_block + head * v_head + slot % block * v_row;
      put<kCount>(v.at(row) + column - head_dim, v_scale.of(head), to + column - head_dim);
    }
  }
  template <int kCount>
  static __device__ void put(const float* from, float scale, T* to) {
    auto x = load<kCount>(from);
    for (int i = 0; i < kCount && sizeof(T) == 1; ++i) x.x[i] /= scale;
    store(to, x);
  }
};

}  // namespace

void embed(Stream& stream, const EmbedArgs& args) {
  const Shapes n = check(args);
  if (is_blocks(args.table.dtype)) return embed_blocks(stream, args);
  with_type(args.table.dtype, [&]<class T>(const T*) {
    const Embed<T> op = {Rows<const T>(args.table), args.ids, args.scale, Rows<float>(args.out)};
    run_each(stream, op, n["tokens"], n["hidden"], in_fours(args.table) && in_fours(args.out));
  });
}

void gather_rows(Stream& stream, const GatherRowsArgs& args) {
  const Shapes n = check(args);
  run_each(stream, Gather{Rows<const float>(args.x), args.rows, Rows<float>(args.out)}, n["picked"], n["dim"],
           in_fours(args.x) && in_fours(args.out));
}

void add(Stream& stream, const AddArgs& args) {
  const Shapes n = check(args);
  run_each(stream, Add{Rows<const float>(args.x), args.scale, args.keep, Rows<float>(args.out)}, n["tokens"],
           n["dim"], in_fours(args.x) && in_fours(args.out));
}

void copy(Stream& stream, const CopyArgs& args) {
  const Shapes n = check(args);
  const bool fours = in_fours(args.x) && in_fours(args.out);
  with_type(args.x.dtype, [&]<class In>(const In*) {
    with_type(args.out.dtype, [&]<class Out>(const Out*) {
      if constexpr (!std::is_same_v<In, __half> && !std::is_same_v<Out, __half>) {
        const Copy<In, Out> op = {Rows<const In>(args.x), Rows<Out>(args.out)};
        run_each(stream, op, rows_of(args.x), n["dim"], fours);
      }
    });
  });
}

void temper(Stream& stream, const TemperArgs& args) {
  const Shapes n = check(args);
  const Temper op = {args.positions, args.temperature, args.floor_scale, n["heads"], Rows<float>(args.x)};
  run_each(stream, op, rows_of(args.x), n["head_dim"], in_fours(args.x));
}

void softcap(Stream& stream, const SoftcapArgs& args) {
  const Shapes n = check(args);
  run_each(stream, Softcap{Rows<float>(args.x), args.cap}, n["rows"], n["dim"], in_fours(args.x));
}

void scale(Stream& stream, const ScaleArgs& args) {
  run_each(stream, Scale{Rows<float>(args.x), args.scale, Rows<const float>(Tensor()), false}, args.x.size[0],
           args.x.size[1], in_fours(args.x));
}

void scale_rows(Stream& stream, const ScaleRowsArgs& args) {
  run_each(stream, Scale{Rows<float>(args.x), 1, Rows<const float>(args.factors), args.sigmoid},
           args.x.size[0], args.x.size[1], in_fours(args.x));
}

namespace {

template <Act kAct>
void gated_act_for(Stream& stream, const GatedActArgs& args) {
  const bool fours = in_fours(args.gate) && in_fours(args.up) && in_fours(args.out);
  const Rows<const float> gate(args.gate);
  const Rows<const float> up(args.up);
  const int64_t columns = args.out.size[args.out.rank - 1];
  if (args.out.dtype == DType::kBF16) {
    using Out = __nv_bfloat16;
    run_each(stream, GatedAct<kAct, Out>{gate, up, Rows<Out>(args.out)}, rows_of(args.out), columns, fours);
  } else {
    run_each(stream, GatedAct<kAct, float>{gate, up, Rows<float>(args.out)}, rows_of(args.out), columns,
             fours);
  }
}

}  // namespace

void gated_act(Stream& stream, const GatedActArgs& args) {
  check(args);
  switch (args.act) {
    case Act::kSilu:
      return gated_act_for<Act::kSilu>(stream, args);
    case Act::kGelu:
      return gated_act_for<Act::kGelu>(stream, args);
    case Act::kGeluTanh:
      return gated_act_for<Act::kGeluTanh>(stream, args);
    case Act::kRelu:
      return gated_act_for<Act::kRelu>(stream, args);
    case Act::kSigmoid:
      return gated_act_for<Act::kSigmoid>(stream, args);
    case Act::kClampedSwiglu:
      return gated_act_for<Act::kClampedSwiglu>(stream, args);
  }
}

void rope_table(Stream& stream, const RopeTableArgs& args) {
  const Shapes n = check(args);
  const int64_t count = n["tokens"] * n["pairs"];
  if (count == 0) return;
  const RopeTable op = {args.positions, args.inverse_frequency, args.attention_factor, Rows<float>(args.cos),
                        Rows<float>(args.sin)};
  const auto blocks = static_cast<unsigned>((count + kThreads - 1) / kThreads);
  launch(stream, {.blocks = blocks, .threads = kThreads}, each_kernel<1, RopeTable>, op, n["tokens"],
         n["pairs"]);
}

void rope(Stream& stream, const RopeArgs& args) {
  const Shapes n = check(args);
  const int64_t pairs = n["pairs"];
  const Rope op = {.cos = Rows<const float>(args.cos),
                   .sin = Rows<const float>(args.sin),
                   .x = Rows<float>(args.x),
                   .heads = n["heads"],
                   .first = 0,
                   .second = args.interleaved ? 1 : pairs,
                   .step = args.interleaved ? 2 : 1};
  run_each(stream, op, rows_of(args.x), pairs, false);
}

void kv_write(Stream& stream, const KvWriteArgs& args) {
  const Shapes n = check(args);
  const bool values = args.v.defined();
  const Tensor& k = args.kv.k;
  const Tensor& v = values ? args.kv.v : args.kv.k;
  const bool fours = in_fours(args.k) && in_fours(args.v) && in_fours(k) && in_fours(v);
  with_cache_type(k.dtype, [&]<class T>(const T*) {
    const KvWrite<T> op = {.k = Rows<const float>(args.k),
                           .v = Rows<const float>(args.v),
                           .slots = args.slots,
                           .k_cache = k.as<T>(),
                           .v_cache = v.as<T>(),
                           .k_block = k.stride[0],
                           .k_head = k.stride[1],
                           .k_row = k.stride[2],
                           .v_block = v.stride[0],
                           .v_head = v.stride[1],
                           .v_row = v.stride[2],
                           .heads = n["kv_heads"],
                           .block = n["block"],
                           .head_dim = n["head_dim"],
                           .k_scale = HeadScales(args.kv.k_scale),
                           .v_scale = HeadScales(args.kv.v_scale)};
    run_each(stream, op, n["tokens"] * n["kv_heads"], n["head_dim"] + (values ? n["v_dim"] : 0), fours);
  });
}

}  // namespace heed::cuda
