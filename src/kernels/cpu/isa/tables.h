// What one instruction set offers to the ops of this backend: single-threaded kernels on plain pointers.
//
// Strides and sizes are in elements. The ops (kernels/cpu/*.cpp, compiled for the baseline) check, split and
// thread; the kernels compute. Every object of this folder exports one table and nothing else.
#pragma once
#include <cstdint>

#include "attention/rows.h"
#include "kernels/kernels.h"
#include "tensor/dtype.h"

namespace heed::cpu {

// out[r][c] = sum_i x[r][i] w[c][i] (+ bias[c]) (+ out[r][c]), for a panel of the whole product.
struct LinearPanel {
  const void* x;          // [.., in] f32 or bf16
  const void* w;          // [cols, in] f32, bf16 or f16, at any address
  const float* bias;      // [cols], or none
  float* out;             // [rows, cols]
  const int32_t* row_of;  // [rows]: which row of x each row is; none: row i is row i
  int64_t x_stride, w_stride, out_stride;
  int64_t rows, cols, in;
  bool accumulate;
  float* scratch;      // scratch(rows, cols, in) floats
  int64_t packed = 0;  // x is what TileTable::pack made of so many rows, from a multiple of 16 on
};

struct LinearTable {
  int tile_rows;  // of x that are multiplied together
  int few_rows;   // so many at most share one reading of the weights
  int64_t (*scratch)(int64_t rows, int64_t cols, int64_t in);  // never less for more
  void (*f32_f32)(const LinearPanel&);                         // x's type, w's type
  void (*f32_bf16)(const LinearPanel&);
  void (*f32_f16)(const LinearPanel&);
  void (*bf16_bf16)(const LinearPanel&);
};

// Rows of bfloat16, packed for matrix tiles.
struct RowPack {
  const void* x;
  const int32_t* row_of;  // as in LinearPanel
  int64_t x_stride, rows, in;
  void* out;  // packed_bytes(rows, in), aligned to 64
};

// bfloat16 times bfloat16 where the processor multiplies matrices (AMX): rows are packed once for a product,
// whatever its panels; then sixteen lie in packed_bytes(16, in), or all in packed_bytes(rows, in) if fewer.
struct TileTable {
  int tile_rows, tile_cols;  // of a panel: come best in multiples of these; rows are cut at multiples of 16
  int64_t (*packed_bytes)(int64_t rows, int64_t in);
  void (*pack)(const RowPack&, int64_t tile);    // rows [16 tile, 16 tile + 16)
  int64_t (*scratch)(int64_t rows, int64_t in);  // floats, aligned to 64
  void (*panel)(const LinearPanel&);             // with `packed`
};

// Rows of x as they are multiplied with weights in blocks of one format: rounded to int8, and what follows
// from that for the format. `group`: its elements that share a scale.
struct RoundedRows {
  int8_t* codes;  // [rows, in]
  float* scales;  // [rows, in / 32]
  int32_t*
      starts;   // [rows, in / group]: minus the sum of codes times what the kernels store codes too high by
  float* sums;  // [rows, in / group]: scale times the sum of codes, which an offset is multiplied with
};

struct BlockPanel {
  RoundedRows x;
  const void* w;  // [cols, in] in blocks, at any address
  DType dtype;
  const float* bias;  // [cols], or none
  float* out;         // [rows, cols]
  int64_t w_stride;   // elements
  int64_t out_stride;
  int64_t rows, cols, in;
  bool accumulate;
  void* scratch;  // scratch(rows, in) bytes, aligned to 64; none where that is 0
};

struct BlockTable {
  int tile_cols, tile_rows;  // columns that are computed together; rows that share one reading of the weights
  int64_t (*scratch)(int64_t rows, int64_t in);
  // Row `row` of x, f32 or bf16, into `out`, for weights of this format.
  void (*round)(const void* x, DType dtype, int64_t in, DType weight, int64_t row, const RoundedRows& out);
  void (*panel)(const BlockPanel&);
};

inline constexpr int kKeyTile = 64;  // keys that are scored together; tiles begin at multiples of it

// Softmax in progress for some rows: the largest score, the sum of exp(score - largest), and the values so
// weighted.
struct AttentionState {
  float* largest;  // [rows]; -infinity: nothing seen
  float* sum;      // [rows]
  float* values;   // [rows, attention_pad(v_dim)]
};

// A tile of query rows of one sequence and kv head, over the keys [begin, end); begin is a multiple of
// kKeyTile.
struct AttentionPart {
  const float* const* q;  // [rows] -> [head_dim]
  const RowMask* masks;   // [rows]; lo, hi and sinks never decrease
  int rows;
  int64_t head_dim, v_dim;
  const void *k, *v;              // block 0, row 0 of the kv head; f32, bf16, int8 or fp8
  const void *k_after, *v_after;  // likewise: what is read after `end`, from key `after` on; or null
  int after;
  const float *k_scale, *v_scale;              // int8: of block 0, row 0 of the kv head
  const float *k_scale_after, *v_scale_after;  // likewise of what is read after
  int64_t scale_block, scale_row;              // strides
  bool fresh;                                  // nobody named its keys as what comes after
  int64_t k_block, k_row, v_block, v_row;      // strides of blocks and of rows
  const int32_t* table;
  int64_t block;
  int begin, end;
  float scale, softcap;  // fp8: the scale of the head's keys is in it
  AttentionState state;
  float* scratch;  // scratch(rows, head_dim, v_dim) floats
};

struct AttentionTable {
  int tile_rows;  // query rows of a tile come best in multiples of it
  int64_t (*scratch)(int64_t rows, int64_t head_dim, int64_t v_dim);
  int64_t (*pad)(int64_t v_dim);
  void (*f32)(const AttentionPart&);  // begins a fresh state
  void (*bf16)(const AttentionPart&);
  void (*i8)(const AttentionPart&);
  void (*fp8)(const AttentionPart&);
  void (*merge)(const AttentionState& into, const AttentionState& later, int rows, int64_t v_dim);
  // One row's output times `scale`, f32 or bf16; sink_logit: none where null.
  void (*finish)(const AttentionState& state, int row, int64_t v_dim, const float* sink_logit, float scale,
                 void* out, DType dtype);
};

struct RowTable {
  void (*widen)(const void* x, DType dtype, float scale, float* out, int64_t n);
  void (*narrow)(const float* x, void* out, DType dtype, int64_t n);
  float (*to_codes)(const float* x, int8_t* out, int64_t n);  // a row of an int8 cache; returns its scale
  void (*add)(const float* x, float scale, float keep, float* out, int64_t n);
  void (*scale)(float factor, float* x, int64_t n);
  void (*rms_norm)(const float* x, const float* weight, float eps, float scale, bool accumulate, void* out,
                   DType dtype, int64_t n);  // weight: ones where null
  void (*rope)(const float* cos, const float* sin, float* x, int64_t pairs);
  void (*rope_interleaved)(const float* cos, const float* sin, float* x, int64_t pairs);
  void (*gated_act)(Act act, const float* gate, const float* up, void* out, DType dtype, int64_t n);
  void (*softcap)(float cap, float* x, int64_t n);
  void (*sigmoid)(const float* x, float* out, int64_t n);
  void (*softmax)(const float* x, float* out, int64_t n);  // n at least 1
  // out = (accumulate: out +) sum of weights[r] * rows[r], r ascending
  void (*weighted_sum)(const float* const* rows, const float* weights, int count, bool accumulate, float* out,
                       int64_t n);
};

// Consecutive tokens of one sequence through one head, and some columns of the head's state, which is left as
// it is after the last of them.
struct HeadPart {
  const float *q, *k, *v;                            // of the first token; v of the first column
  float* out;                                        // likewise
  int64_t q_stride, k_stride, v_stride, out_stride;  // between tokens
  float* state;                                      // [k_dim, columns]
  int64_t state_stride;                              // between its rows
  int64_t tokens, k_dim, columns;
};

struct LinearAttentionPart {
  HeadPart head;
  float slope, scale;
};

struct GatedDeltaPart {
  HeadPart head;
  const float *decay, *beta;  // of the first token
  int64_t decay_stride, beta_stride;
};

// One token's convolution of some channels.
struct ConvPart {
  const float* const* rows;  // [width] -> [channels]: the last tokens, this one last
  const float* taps;         // [width, channels], rows tap_stride apart
  const float* bias;         // [channels], or none
  float* out;                // [channels]
  int64_t tap_stride, channels;
  int64_t width;
  bool silu;
};

struct RecurrentTable {
  int columns;  // of a state that many tokens pass: what lies in L1
  void (*linear_attention)(const LinearAttentionPart&);
  void (*gated_delta)(const GatedDeltaPart&);  // at least one token
  void (*delta_gates)(const float* a_log, const float* dt_bias, float* a, float* b, int64_t n);
  void (*short_conv)(const ConvPart&);
};

#define HEED_ISA_TABLES(isa)                   \
  extern const LinearTable linear_##isa;       \
  extern const AttentionTable attention_##isa; \
  extern const RowTable rows_##isa;            \
  extern const RecurrentTable recurrent_##isa;

HEED_ISA_TABLES(baseline)
extern const BlockTable blocks_baseline;
#if defined(__x86_64__)
HEED_ISA_TABLES(avx2)
HEED_ISA_TABLES(avx512)
HEED_ISA_TABLES(avx512_bf16)
extern const BlockTable blocks_avx2;
extern const BlockTable blocks_avx512;
extern const BlockTable blocks_avx512_vnni;
extern const TileTable linear_amx;
extern const AttentionTable attention_amx;
extern const BlockTable blocks_amx_int8;
#endif

#define HEED_JOIN_AGAIN(a, b) a##b
#define HEED_JOIN(a, b) HEED_JOIN_AGAIN(a, b)
#define HEED_TABLE(kind) \
  HEED_JOIN(kind##_, HEED_ISA)  // HEED_ISA: a flag of the instruction set's compilation

}  // namespace heed::cpu
