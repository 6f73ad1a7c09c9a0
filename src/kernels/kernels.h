// The whole interface to devices: one table of ops per backend, each with its arguments in a struct.
//
// A backend is a `Kernels` value. Its ops read and write only what their arguments view, allocate nothing
// that outlives the call, and check their shapes at entry (a mismatch is our bug: CHECK). The definition of
// every op is its naive loop in kernels/ref; tests/kernels holds every backend to it over one table of cases
// (tests/kernels/cases.h).
//
// Arithmetic is float32 and sums run in an order that depends on the op's own sizes only, never on how many
// rows or sequences share the call: a row's result is bitwise the same whatever is batched with it. Where a
// tensor may be bfloat16 or float16, it is widened when read and rounded to nearest even when written.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "attention/rows.h"
#include "attention/spec.h"
#include "base/thread_pool.h"
#include "tensor/tensor.h"

namespace heed {

// Where and with what an op runs. CPU backends use the pool.
struct Stream {
  ThreadPool* pool = nullptr;  // not owned
};

struct EmbedArgs {
  Tensor table;        // [vocab, hidden] f32, bf16 or f16
  const int32_t* ids;  // [tokens], each in [0, vocab)
  float scale = 1;     // multiplies every element
  Tensor out;          // [tokens, hidden] f32
};

// out = x * rsqrt(mean(x^2) + eps) * weight over the innermost dimension.
struct RmsNormArgs {
  Tensor x;       // [rows, dim] or [rows, heads, dim] f32
  Tensor weight;  // [dim] f32
  float eps = 0;
  bool accumulate = false;  // out += instead of out = (out f32)
  Tensor out;               // as x; f32 or bf16; may be x itself
};

// out = x weight^T + bias
struct LinearArgs {
  Tensor x;                 // [tokens, in] f32, or bf16 (then weight is bf16)
  Tensor weight;            // [out, in] f32, bf16 or f16
  Tensor bias;              // [out] f32, or undefined
  bool accumulate = false;  // out += instead of out =
  Tensor out;               // [tokens, out] f32
};

// cos and sin of position * inverse_frequency (a float32 product), times attention_factor.
struct RopeTableArgs {
  const int32_t* positions;        // [tokens]
  const float* inverse_frequency;  // [pairs]
  float attention_factor = 1;
  Tensor cos, sin;  // [tokens, pairs] f32
};

// Rotates x[i], x[i + pairs] for i < pairs in place; elements from 2 * pairs on stay.
struct RopeArgs {
  Tensor cos, sin;  // [tokens, pairs] f32
  Tensor x;         // [tokens, heads, head_dim] f32
};

// Keys and values of one layer and cache group, in blocks addressed through each sequence's row of a table:
// key position p of sequence s is row p % block of block table_of(s)[p / block].
struct PagedKv {
  Tensor k;  // [blocks, kv_heads, block, head_dim] f32 or bf16; any stride but the innermost
  Tensor v;  // [blocks, kv_heads, block, v_dim] as k
  const int32_t* table = nullptr;  // [table rows, table_stride]; entries that no row sees may be anything
  int64_t table_stride = 0;
  const int32_t* table_rows = nullptr;  // [sequences]: the table's row of each; null: row s is sequence s's

  const int32_t* table_of(int sequence) const {
    return table + (table_rows != nullptr ? table_rows[sequence] : sequence) * table_stride;
  }
};

struct KvWriteArgs {
  Tensor k;              // [tokens, kv_heads, head_dim] f32
  Tensor v;              // [tokens, kv_heads, v_dim] f32
  const int64_t* slots;  // [tokens]: block * block_size + row; negative: the token is not cached
  PagedKv kv;            // table not used
};

// For each token t of sequence s and head h (kv head h / (heads / kv_heads)), over the keys k that rows[t]
// sees:
//   score_k = softcap(scale * q . key_k);  out = sum_k softmax(score)_k * value_k
// with exp(sink_logits[h]) added to the softmax's denominator where given. A row that sees nothing gives
// zeros.
struct AttentionArgs {
  Tensor q;  // [tokens, heads, head_dim] f32
  PagedKv kv;
  const int32_t* seq_start =
      nullptr;  // [sequences + 1]: sequence s has tokens [seq_start[s], seq_start[s + 1])
  int sequences = 0;
  const RowMask* rows = nullptr;  // [tokens]; within a sequence lo, hi and sinks never decrease
  float scale = 1;
  float softcap = 0;                   // cap * tanh(score / cap); 0: none
  const float* sink_logits = nullptr;  // [heads], or none
  Tensor out;                          // [tokens, heads, v_dim] f32 or bf16
};

enum class Act : uint8_t { kSilu, kGelu, kGeluTanh, kRelu };

// out = act(gate) * up
struct GatedActArgs {
  Act act = Act::kSilu;
  Tensor gate, up;  // [tokens, inner] f32
  Tensor out;       // [tokens, inner] f32 or bf16; may be gate
};

struct AddArgs {  // out += x
  Tensor x;       // [tokens, dim] f32
  Tensor out;     // [tokens, dim] f32
};

struct GatherRowsArgs {
  Tensor x;             // [tokens, dim] f32
  const int32_t* rows;  // [picked], each in [0, tokens)
  Tensor out;           // [picked, dim] f32
};

struct SoftcapArgs {  // x = cap * tanh(x / cap), in place
  float cap = 0;
  Tensor x;  // [rows, dim] f32
};

// What a layer asks of an attention kernel.
struct AttentionNeeds {
  int heads = 0, kv_heads = 0, head_dim = 0, v_dim = 0;
  DType kv_dtype = DType::kF32;
  int block = 16;  // rows in a block of the cache, as the kernel sees it
  bool softcap = false;
  bool sink_logits = false;
};

// The largest step that ops are going to be run on.
struct StepSize {
  int64_t tokens = 0, sequences = 0;
  int64_t length = 0;  // keys of the longest sequence
  int64_t width = 0;   // elements of the widest row that a linear layer reads
  int threads = 1;     // of the pool
};

// One attention kernel of a backend, e.g. "cpu.flash". why_not gives the reasons against, or "" when it can.
// scratch_bytes: what a call takes for itself at most.
struct AttentionKernel {
  std::string_view name;
  std::string (*why_not)(const AttentionNeeds& needs);
  void (*run)(Stream& stream, const AttentionArgs& args);
  int64_t (*scratch_bytes)(const AttentionNeeds& needs, const StepSize& size);
};

struct Kernels {
  std::string_view name;                       // "ref", "cpu"
  std::string isa;                             // what it runs on, for people: "avx512-bf16"
  std::span<const AttentionKernel> attention;  // in order of preference
  int kernel_block = 16;                       // rows of a cache block that its attention kernels prefer

  void (*embed)(Stream&, const EmbedArgs&);
  void (*rms_norm)(Stream&, const RmsNormArgs&);
  void (*linear)(Stream&, const LinearArgs&);
  void (*rope_table)(Stream&, const RopeTableArgs&);
  void (*rope)(Stream&, const RopeArgs&);
  void (*kv_write)(Stream&, const KvWriteArgs&);
  void (*gated_act)(Stream&, const GatedActArgs&);
  void (*add)(Stream&, const AddArgs&);
  void (*gather_rows)(Stream&, const GatherRowsArgs&);
  void (*softcap)(Stream&, const SoftcapArgs&);

  int64_t (*scratch_bytes)(const StepSize& size);  // what a call of any of these takes for itself at most
};

}  // namespace heed
