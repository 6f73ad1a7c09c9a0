// The whole interface to devices: one table of ops per backend, each with its arguments in a struct.
//
// A backend is a `Kernels` value. Its ops read and write only what their arguments view, allocate nothing
// that outlives the call, and check their shapes at entry (a mismatch is our bug: CHECK). The definition of
// every op is its naive loop in kernels/ref; tests/kernels holds every backend to it over one table of cases
// (tests/kernels/cases*.h).
//
// Arithmetic is float32 and sums run in an order that depends on the op's own sizes only, never on how many
// rows or sequences share the call: a row's result is bitwise the same whatever is batched with it. Where a
// tensor may be bfloat16 or float16, it is widened when read and rounded to nearest even when written.
//
// Weights of linear and expert_linear and the table of embed may also be in blocks (tensor/blocks.h), where
// the backend says so. What is multiplied with blocks, but for FP8, is rounded first, every 32 elements of a
// row of x by themselves (round_group); products and sums are float32 from there on. The cuda backend leaves
// x as it is: there blocks are what they stand for and nothing else.
#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "attention/plan.h"
#include "attention/rows.h"
#include "attention/spec.h"
#include "base/thread_pool.h"
#include "tensor/device.h"
#include "tensor/tensor.h"

namespace heed {

// Where and with what an op runs. CPU backends use the pool; the cuda backend a CudaStream
// (kernels/cuda/cuda.h), and there whatever arguments point to is device memory.
struct Stream {
  ThreadPool* pool = nullptr;  // not owned
  void* device = nullptr;      // not owned
};

struct EmbedArgs {
  Tensor table;        // [vocab, hidden] f32, bf16, f16 or blocks
  const int32_t* ids;  // [tokens], each in [0, vocab)
  float scale = 1;     // multiplies every element
  Tensor out;          // [tokens, hidden] f32
};

// out = x * rsqrt(mean(x^2) + eps) * weight * scale over the innermost dimension.
struct RmsNormArgs {
  Tensor x;       // [rows, dim] or [rows, heads, dim] f32
  Tensor weight;  // [dim] f32, or undefined: ones
  float eps = 0;
  float scale = 1;
  bool accumulate = false;  // out += instead of out = (out f32)
  Tensor out;               // as x; f32 or bf16; may be x itself
};

// out = x weight^T + bias
struct LinearArgs {
  Tensor x;                 // [tokens, in] f32, or bf16 (then weight is bf16 or blocks)
  Tensor weight;            // [out, in] f32, bf16, f16 or blocks
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

// Rotates x[i], x[i + pairs] for i < pairs in place (interleaved: x[2i], x[2i + 1]); elements from 2 * pairs
// on stay.
struct RopeArgs {
  Tensor cos, sin;  // [tokens, pairs] f32
  Tensor x;         // [tokens, heads, head_dim] f32
  bool interleaved = false;
};

// Keys and values of one layer and cache group, in blocks addressed through each sequence's row of a table:
// key position p of sequence s is row p % block of block table_of(s)[p / block].
//
// In int8 a row is codes with one scale, scale * code its elements. Written are, with m the largest magnitude
// of the row: scale = m / 127, codes = x * (127 / m) rounded to nearest even; all 0 where m is below 1e-30. A
// row with something that is not finite has NaN as its scale and 0 as its codes.
//
// In fp8 (E4M3) an element is its head's scale * code. Written is x / scale, rounded to nearest even; what is
// beyond 448 becomes 448, NaN stays NaN (tensor/dtype.h).
struct PagedKv {
  Tensor k;  // [blocks, kv_heads, block, head_dim] f32, bf16, int8 or fp8; any stride but the innermost
  Tensor v;  // [blocks, kv_heads, block, v_dim] as k
  // int8: [blocks, kv_heads, block] f32, with the same strides. fp8: [kv_heads] f32, or undefined: ones. Else
  // undefined.
  Tensor k_scale, v_scale;
  const int32_t* table = nullptr;  // [table rows, table_stride]; entries that no row sees may be anything
  int64_t table_stride = 0;
  const int32_t* table_rows = nullptr;  // [sequences]: the table's row of each; null: row s is sequence s's

  const int32_t* table_of(int sequence) const {
    return table + (table_rows != nullptr ? table_rows[sequence] : sequence) * table_stride;
  }
};

struct KvWriteArgs {
  Tensor k;              // [tokens, kv_heads, head_dim] f32
  Tensor v;              // [tokens, kv_heads, v_dim] f32; undefined: only keys are written, not int8
  const int64_t* slots;  // [tokens]: block * block_size + row; negative: the token is not cached
  PagedKv kv;            // table not used
};

// For each token t of sequence s and head h (kv head h / (heads / kv_heads)), over the keys k that rows[t]
// sees:
//   score_k = softcap(scale * q . key_k);  out = sum_k softmax(score)_k * value_k
// with exp(sink_logits[h]) added to the softmax's denominator where given. A row that sees nothing gives
// zeros. With a cache of bf16 a kernel may round q and the softmax's numerators to bf16, with one of fp8
// these and q * scale to bf16 or f16; sums are float32.
struct AttentionArgs {
  Tensor q;  // [tokens, heads, head_dim] f32
  PagedKv kv;
  const int32_t* seq_start =
      nullptr;  // [sequences + 1]: sequence s has tokens [seq_start[s], seq_start[s + 1])
  int sequences = 0;
  const RowMask* rows = nullptr;  // [tokens]; within a sequence lo, hi and sinks never decrease
  float scale = 1;
  float softcap = 0;                    // cap * tanh(score / cap); 0: none
  const float* sink_logits = nullptr;   // [heads], or none
  Tensor out;                           // [tokens, heads, v_dim] f32 or bf16
  const AttentionPlan* plan = nullptr;  // of these rows, where the kernel wants one
};

// kClampedSwiglu, as gpt-oss has it, is a function of both: g = min(gate, 7), u = clamp(up, -7, 7),
// g * sigmoid(1.702 g) * (u + 1).
enum class Act : uint8_t { kSilu, kGelu, kGeluTanh, kRelu, kSigmoid, kClampedSwiglu };

// out = act(gate) * up, or act(gate) alone where up is undefined. Rank 2 or 3, all of the same; any stride
// but the innermost.
struct GatedActArgs {
  Act act = Act::kSilu;
  Tensor gate, up;  // [tokens, inner] or [tokens, heads, inner] f32
  Tensor out;       // as gate; f32 or bf16; may be gate or up
};

struct AddArgs {  // out = keep * out + scale * x
  Tensor x;       // [tokens, dim] f32
  float scale = 1, keep = 1;
  Tensor out;  // [tokens, dim] f32
};

// out = x. Rank 2 or 3, both of the same; any stride but the innermost.
struct CopyArgs {
  Tensor x;    // [tokens, dim] or [tokens, heads, dim] f32 or bf16
  Tensor out;  // as x; f32 or bf16
};

// x[t] *= 1 + temperature * ln(1 + floor((positions[t] + 1) / floor_scale)), in place: queries far into the
// context sharpen. Source: arXiv 2501.19399, as Llama 4 has it.
struct TemperArgs {
  const int32_t* positions = nullptr;  // [tokens]
  float temperature = 0, floor_scale = 1;
  Tensor x;  // [tokens, heads, head_dim] f32
};

struct ScaleArgs {  // x *= scale, in place
  float scale = 1;
  Tensor x;  // [tokens, dim] f32
};

// Every row by its own factor, in place: x[t] *= factors[t], or the factor's sigmoid.
struct ScaleRowsArgs {
  Tensor factors;  // [tokens, 1] f32
  bool sigmoid = false;
  Tensor x;  // [tokens, dim] f32
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

// ids[r]: where the largest of a row is, the first of equal ones. NaN is never it; 0 where nothing is above
// -infinity.
struct ArgMaxArgs {
  Tensor x;                // [rows, dim] f32
  int32_t* ids = nullptr;  // out: [rows]
};

// How a token is drawn from a row of logits.
struct DrawRow {
  uint64_t key = 0;       // of its random numbers: kernels/draw.h
  float temperature = 1;  // 0: the likeliest, as arg_max has it
  int32_t top_k = 0;      // 0: all
  float top_p = 1, min_p = 0;
};

// ids[r]: the place in row r of a token that is drawn from it. A place i stands for token i + id_offsets[i],
// or for token i. Its weight is exp((x[i] - largest) / temperature). In question are weights above 0 and of
// at least min_p; of these the top_k heaviest; of these the fewest, heaviest first, that have top_p of their
// weight together. Of equal weights the first places count as heavier. Then they race: kernels/draw.h.
// Weights and sums are float64; the order of sums is free. As arg_max has it where no weight is left. -1:
// more tokens are about equally likely than this kernel can sort.
struct DrawArgs {
  Tensor x;                             // [rows, dim] f32
  const DrawRow* rows = nullptr;        // [rows]
  const int32_t* id_offsets = nullptr;  // [dim], or none
  int32_t* ids = nullptr;               // out: [rows]
};

// Linear layers that read the same rows, with what lies around them in a layer of a transformer, as one op:
//   h = normalise ? rms_norm(x) in h's dtype : x
//   y_i = h weight_i^T + bias_i
//   gated:  inner = act(y_0) * y_1
//   else:   out_i = y_i, or out_i += y_i
// `h` where normalised and `out` where gated are room for what lies between: anything may be there
// afterwards.
struct LinearsArgs {
  static constexpr int kMost = 3;
  struct Part {
    Tensor weight;  // [out, in] as linear has it
    Tensor bias;    // [out] f32, or undefined
    Tensor out;     // [tokens, out] f32
  };
  Tensor x;  // [tokens, in]: normalised f32, else as linear has it
  bool normalise = false;
  Tensor norm;  // [in] f32, or undefined: ones
  float eps = 0;
  Tensor h;  // [tokens, in] as linear has x, where normalised
  std::array<Part, kMost> parts = {};
  int count = 1;  // of the parts; gated: 2, of the same shape
  bool accumulate = false;
  bool gated = false;
  Act act = Act::kSilu;
  Tensor inner;  // [tokens, out] f32 or bf16, where gated
};

// What lies between the products of queries, keys and values and attention, as one op: of each head of q and
// k
//   rms_norm with a weight, where there is one;  rope, where there is a table;  rms_norm without, where
//   wanted
// of v rms_norm without a weight, where wanted; then k and v go to the cache as kv_write has it. q changes in
// place; what is left in k and v may be anything.
struct FinishHeadsArgs {
  Tensor q;               // [tokens, heads, head_dim] f32, any stride but the innermost; or undefined
  Tensor k;               // [tokens, kv_heads, head_dim] f32, so; or undefined
  Tensor v;               // [tokens, kv_heads, v_dim] f32, so; defined where k is
  Tensor q_norm, k_norm;  // [head_dim] f32, or undefined
  bool norm_after = false, norm_v = false;
  float eps = 0;
  Tensor cos, sin;  // [tokens, pairs] f32, or undefined
  bool interleaved = false;
  const int64_t* slots = nullptr;  // [tokens], as kv_write has it
  PagedKv kv;                      // table not used; undefined where k is
};

// out[t, h] = x[t, h] weight[h]^T: a linear layer of its own for each head.
struct HeadLinearArgs {
  Tensor x;       // [tokens, heads, in] f32; any stride but the innermost
  Tensor weight;  // [heads, out, in] f32, bf16 or f16; any stride but the innermost
  Tensor out;     // [tokens, heads, out] f32; any stride but the innermost
};

// ---- Mixture of experts: route, sort, then linear layers over the sorted assignments, then a weighted sum.
// An assignment is a pair (token, choice); there are tokens * top_k of them, and `sorted` ones lie in order
// of expert, then token, then choice. ----

// Each token's top_k experts and their weights. score = softmax(logits) or sigmoid(logits). Chosen are the
// largest of score + bias (equal ones: the smaller id; NaN only where nothing else is left) among the
// top_groups groups of experts, a group being worth the sum of its two largest; a weight is the score of the
// chosen without bias.
struct MoeRouteArgs {
  // kSoftmaxOfChosen: the logits are the scores, and weights are the softmax of those chosen.
  enum class Score : uint8_t { kSoftmax, kSigmoid, kSoftmaxOfChosen };
  Tensor logits;  // [tokens, experts] f32
  Score score = Score::kSoftmax;
  Tensor bias;                 // [experts] f32, or undefined
  int groups = 1;              // divides experts
  int top_groups = 1;          // groups * top_groups may be 1: every expert may be chosen
  bool renormalise = false;    // weights /= their sum + 1e-20
  float scale = 1;             // of the weights, after that
  Tensor expert_scale;         // [experts] f32: of each expert's weight, or undefined
  int top_k = 1;               // at most experts / groups * top_groups
  int32_t* experts = nullptr;  // out: [tokens, top_k], best first
  float* weights = nullptr;    // out: [tokens, top_k]
};

struct MoeSortArgs {
  const int32_t* experts = nullptr;  // [tokens, top_k]
  int64_t tokens = 0;
  int top_k = 1, expert_count = 1;
  int32_t* expert_start = nullptr;  // out: [expert_count + 1], into the sorted assignments
  int32_t* rows = nullptr;          // out: [assignments]: the token of each sorted assignment
  int32_t* place = nullptr;         // out: [tokens, top_k]: where in the sorted order each assignment is
};

// out[i] = x[rows[i]] weights[e]^T + bias[e], e being the expert of sorted assignment i. Reads each expert's
// weights once, and none of experts without assignments.
struct ExpertLinearArgs {
  Tensor x;                               // [rows, in] f32, or bf16 (then weights are bf16 or blocks)
  const int32_t* rows = nullptr;          // [assignments]; null: assignment i reads row i
  const int32_t* expert_start = nullptr;  // [experts + 1]
  std::span<const Tensor> weights;        // [experts], each [out, in] as linear has it, all of one dtype
  Tensor bias;                            // [experts, out] f32, or undefined
  Tensor out;                             // [assignments, out] f32
};

// out[t] = (accumulate: out[t] +) sum over choices c, in order, of weights[t, c] * x[place[t, c]]
struct ExpertSumArgs {
  Tensor x;                        // [assignments, dim] f32
  const int32_t* place = nullptr;  // [tokens, top_k]
  const float* weights = nullptr;  // [tokens, top_k]; null: ones
  int top_k = 1;
  bool accumulate = false;
  Tensor out;  // [tokens, dim] f32
};

// ---- Recurrent layers ----

// After the batch's token `token` a copy of its sequence's state goes to `slot` as well. A token may have
// several.
struct StateSave {
  int32_t token, slot;
};

// One tensor of a layer's state, in every slot, and the slots of a call's sequences. A sequence's slot holds
// the state before its first token of the call, and is left with the state after its last. No other slot is
// written but those of `saves`.
//
// Within a call the state is float32: slots of bf16 are widened when it begins and rounded when written. On
// the cpu, with float32 slots a sequence's results are thus bitwise the same however its tokens are cut into
// calls; with bf16 slots every cut rounds. The cuda backend runs 64 tokens or more of a sequence in chunks:
// there cuts change last bits as well.
struct StateArgs {
  Tensor slots;                        // [slots, ...] f32 or bf16; contiguous within a slot
  const int32_t* seq_start = nullptr;  // [sequences + 1]
  int sequences = 0;
  const int32_t* slot = nullptr;     // [sequences], distinct
  std::span<const StateSave> saves;  // ascending in token; slots distinct and none of `slot`
};

// Causal convolution of each channel on its own over the last `width` tokens, then act:
//   out[t, c] = act(sum_j weight[c, j] * x[t - width + 1 + j, c] + bias[c])
// The state holds the width - 1 tokens of x before the call, oldest first; zeros for a new sequence.
struct ShortConvArgs {
  Tensor x;       // [tokens, channels] f32
  Tensor weight;  // [channels, width] f32
  Tensor bias;    // [channels] f32, or undefined
  bool silu = true;
  StateArgs state;  // [slots, width - 1, channels]
  Tensor out;       // [tokens, channels] f32; not x
};

// Linear attention with a fixed decay for each head, token by token (S: the head's state, k_dim x v_dim):
//   S = exp(-slope) S + k (x) v;   out = scale * q^T S
struct LinearAttentionArgs {
  Tensor q, k;                    // [tokens, heads, k_dim] f32; any stride but the innermost
  Tensor v;                       // [tokens, heads, v_dim] f32; so
  const float* slopes = nullptr;  // [heads], at least 0
  float scale = 1;
  StateArgs state;  // [slots, heads, k_dim, v_dim]
  Tensor out;       // [tokens, heads, v_dim] f32
};

// The gated delta rule, token by token (value head h has key head key_head(h)):
//   S = exp(decay) S;   S = S + k (x) (beta (v - S^T k));   out = S^T q
struct GatedDeltaArgs {
  Tensor q, k;         // [tokens, k_heads, k_dim] f32, normalised and scaled
  Tensor v;            // [tokens, v_heads, v_dim] f32
  Tensor decay;        // [tokens, v_heads] f32, at most 0
  Tensor beta;         // [tokens, v_heads] f32
  StateArgs state;     // [slots, v_heads, k_dim, v_dim]
  Tensor out;          // [tokens, v_heads, v_dim] f32
  bool tiled = false;  // value heads take turns with the key heads, else each key head's lie together
  int64_t key_head(int64_t h) const { return tiled ? h % q.size[1] : h / (v.size[1] / q.size[1]); }
};

// The gates of the delta rule, in place: decay = -exp(a_log) * softplus(a + dt_bias), beta = sigmoid(b).
struct DeltaGatesArgs {
  Tensor a_log, dt_bias;  // [heads] f32
  Tensor a;               // [tokens, heads] f32; becomes the decay
  Tensor b;               // [tokens, heads] f32; becomes beta
};

// ---- Vision towers ----

// out = (x - mean(x)) * rsqrt(variance(x) + eps) * weight + bias over the innermost dimension.
struct LayerNormArgs {
  Tensor x;             // [rows, dim] f32
  Tensor weight, bias;  // [dim] f32
  float eps = 0;
  Tensor out;  // [rows, dim] f32 or bf16; may be x itself
};

struct ClampArgs {  // x = min(max(x, lowest), highest), in place
  float lowest = 0, highest = 0;
  Tensor x;  // [rows, dim] f32 or bf16
};

struct StandardiseArgs {  // x = (x - shift) * scale, in place
  Tensor shift, scale;    // [dim] f32
  Tensor x;               // [rows, dim] f32
};

// The average of every pool x pool patches of a grid, times scale. Patches lie in row-major order, and so do
// the results.
struct AveragePatchesArgs {
  Tensor x;         // [rows * columns, dim] f32; both multiples of pool
  int columns = 0;  // patches in a row of the grid
  int pool = 1;
  float scale = 1;
  Tensor out;  // [rows / pool * columns / pool, dim] f32
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
  int64_t length = 0;        // keys of the longest sequence
  int64_t keys = INT64_MAX;  // of all sequences together
  int64_t width = 0;         // elements of the widest row that a linear layer reads
  int64_t products = 0;  // most linear layers that one op runs: experts of a layer, or heads (head_linear)
  int64_t linear_rows =
      0;  // rows of x that one op multiplies at most: tokens, once for each expert they have
  bool has_blocks = false;  // some weights are in blocks
  int64_t head_state = 0;   // elements of one head's largest state (linear_attention, gated_delta)
  int threads = 1;          // of the pool
};

// One attention kernel of a backend, e.g. "cpu.flash". why_not gives the reasons against, or "" when it can.
// scratch_bytes: what a call takes for itself at most. plan_shape: how it wants plans; null: it wants none.
struct AttentionKernel {
  std::string_view name;
  std::string (*why_not)(const AttentionNeeds& needs);
  void (*run)(Stream& stream, const AttentionArgs& args);
  int64_t (*scratch_bytes)(const AttentionNeeds& needs, const StepSize& size);
  AttentionPlanShape (*plan_shape)(const AttentionNeeds& needs, const Stream& stream) = nullptr;
};

// The devices that a backend runs on, where that is not the host. Each is asked by its number.
struct Accelerator {
  std::string (*why_not)(int index);   // "" if it can run there
  std::string (*describe)(int index);  // for people: "NVIDIA H100 80GB HBM3"
  int64_t (*free_bytes)(int index);    // of its memory
  int64_t reserve_bytes = 0;           // that its driver and libraries may still take
  std::unique_ptr<Device> (*open)(int index);
};

struct Kernels {
  std::string_view name;                       // "ref", "cpu"
  std::string isa;                             // what it runs on, for people: "avx512-amx"
  std::span<const AttentionKernel> attention;  // in order of preference
  int kernel_block = 16;                       // rows of a cache block that its attention kernels prefer
  const Accelerator* accelerator = nullptr;    // null: it runs on the host
  bool reads_blocks = false;                   // weights in blocks; else they must be widened when loaded
  bool reads_fp8 = false;                      // those of FP8 as well

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
  void (*copy)(Stream&, const CopyArgs&);
  void (*temper)(Stream&, const TemperArgs&);
  void (*scale)(Stream&, const ScaleArgs&);
  void (*scale_rows)(Stream&, const ScaleRowsArgs&);
  void (*linears)(Stream&, const LinearsArgs&);
  void (*finish_heads)(Stream&, const FinishHeadsArgs&);
  void (*head_linear)(Stream&, const HeadLinearArgs&);
  void (*moe_route)(Stream&, const MoeRouteArgs&);
  void (*moe_sort)(Stream&, const MoeSortArgs&);
  void (*expert_linear)(Stream&, const ExpertLinearArgs&);
  void (*expert_sum)(Stream&, const ExpertSumArgs&);
  void (*short_conv)(Stream&, const ShortConvArgs&);
  void (*linear_attention)(Stream&, const LinearAttentionArgs&);
  void (*gated_delta)(Stream&, const GatedDeltaArgs&);
  void (*delta_gates)(Stream&, const DeltaGatesArgs&);
  void (*layer_norm)(Stream&, const LayerNormArgs&);
  void (*clamp)(Stream&, const ClampArgs&);
  void (*standardise)(Stream&, const StandardiseArgs&);
  void (*average_patches)(Stream&, const AveragePatchesArgs&);
  void (*arg_max)(Stream&, const ArgMaxArgs&);  // may be null: the host does it then
  void (*draw)(Stream&, const DrawArgs&);       // likewise

  int64_t (*scratch_bytes)(const StepSize& size);  // what a call of any of these takes for itself at most
};

}  // namespace heed
