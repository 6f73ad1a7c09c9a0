// What the producing and the computing warps of the prefill kernel share: sizes, the block's shared memory, a
// unit's tiles, and the rings that go from one to the other. The kernel itself: attention_prefill.cu.
#pragma once
#include <cuda.h>

#include "kernels/cuda/attention_device.cuh"
#include "kernels/cuda/wgmma.cuh"

namespace heed::cuda::prefill {

using ptx::shared;

constexpr int kGroupThreads = 128;  // of a warpgroup
constexpr int kGroupRows = 64;
// Queries, keys and values in shared memory are made of atoms: 8 rows of 64 columns, 128 bytes each. A tile
// of keys has all atoms of its first 8 rows, then those of the next 8: a page of 16 rows is then one piece,
// which the copy engine writes with one instruction. It takes about as long for a small one as for a large
// one.
constexpr int kAtom = 64;     // columns
constexpr int kAtomRows = 8;  // rows
constexpr int kRowBytes = 128;
constexpr int kAtomBytes = kAtomRows * kRowBytes;

// What a warp that widens has on its way: copies of kBatch atoms of fp8, kAhead times.
constexpr int kBatch = 4, kAhead = 4;
constexpr int kFillerBytes = kAhead * kBatch * kAtomBytes / 2;

// The named barriers of a block: one of each warpgroup by itself, one for its turn.
constexpr int kOwn = 1;
constexpr int kTurn = 4;

// What the tensor cores multiply: a cache of bfloat16 as it is; one of fp8 as float16, which holds all of it,
// with queries that are multiplied with all that scores are.
struct OfBf16 {
  static constexpr bool kWidens = false;
  static __device__ uint32_t pack(float low, float high) { return ptx::pack(low, high); }
  static __device__ float query(float x, float /*scale*/) { return x; }
  template <int kCount, class A, class... Rest>
  static __device__ __forceinline__ void multiply(float (&d)[kCount], const A& a, Rest... rest) {
    wgmma::multiply(d, a, rest...);
  }
};
struct OfFp8 {
  static constexpr bool kWidens = true;
  static __device__ uint32_t pack(float low, float high) { return ptx::pack_halves(low, high); }
  static __device__ float query(float x, float scale) { return scaled_query(x, scale); }
  template <int kCount, class A, class... Rest>
  static __device__ __forceinline__ void multiply(float (&d)[kCount], const A& a, Rest... rest) {
    wgmma::f16::multiply(d, a, rest...);
  }
};

template <class Type_, int kDim_, int kKeys_, int kGroups_, int kStages_, int kProducerRegisters_,
          int kRegisters_>
struct Config {
  using Type = Type_;
  static constexpr int kDim = kDim_, kKeys = kKeys_, kGroups = kGroups_, kStages = kStages_;
  static constexpr int kProducerRegisters = kProducerRegisters_, kRegisters = kRegisters_;
  static constexpr int kThreads = (kGroups + 1) * kGroupThreads;
  static constexpr int kConsumers = kGroups * kGroupThreads / 32;  // warps
  static constexpr int kAtoms = kDim / kAtom;
  static constexpr int kQ = kGroupRows * kDim * 2;   // bytes of a warpgroup's queries
  static constexpr int kTile = kKeys * kDim * 2;     // bytes of a tile of keys, or values
  static constexpr int kStep = kAtoms * kAtomBytes;  // from 8 rows to the next
  static constexpr int kRows = kGroups * kGroupRows;
  // Warps that fill the rings, and units that are known to them before those of the computing warpgroups are
  // done.
  static constexpr int kFillers = Type::kWidens ? 3 : 2;
  static constexpr int kPackets = Type::kWidens ? 3 : 2;
  static constexpr int kPacket = (64 + kRows * 12 + 127) / 128 * 128;  // bytes: a unit, and its rows' masks
  static constexpr int kBarriers = (4 * kStages + 2 * kPackets) * 8;
  static constexpr int kLanding = Type::kWidens ? kFillers * kFillerBytes : 0;
  static constexpr int kShared =
      kGroups * kQ + kPackets * kPacket + 2 * kStages * kTile + kLanding + kBarriers + 1024;  // 1024 to align
};

// The copy engine knows five dimensions, so that blocks and heads share one: its index is a block's number
// times `block` plus a head's times `head`.
struct Steps {
  int block, head;
  int64_t stride;  // elements from one index to the next
  __device__ int index(int b, int h) const { return b * block + h * head; }
};

struct PrefillParams {
  // [block and head, rows / 8, dim / 64, 8, 64] in boxes of `box` rows; or, where 64 does not divide dim,
  // [block and head, rows / 8, 1, 8, dim] in boxes of an atom, with zeros where dim ends.
  CUtensorMap k, v;
  AttentionParams attention;
  int box;                 // rows that a lane copies: of one page
  bool whole;              // the first of the two
  bool wide;               // outputs can be written 16 bytes at a time
  Steps k_steps, v_steps;  // to the first coordinate
};

inline bool writes_wide(const AttentionParams& p) {
  return p.out_bf16 && reinterpret_cast<uintptr_t>(p.out) % 16 == 0 && p.out_token % 8 == 0 &&
         p.out_head % 8 == 0 && p.v_dim % 32 == 0;
}

// The tiles of a unit: first those of the sinks, then from the first key on. Where no row sees a key there is
// one, of which no key is visited.
template <int kKeys>
struct Tiles {
  int sinks, first, count;
  __device__ explicit Tiles(const AttentionUnit& unit) {
    sinks = (unit.sink_hi + kKeys - 1) / kKeys;
    first = max(unit.key_lo / kKeys, sinks);
    count = max(sinks + max((unit.key_hi + kKeys - 1) / kKeys - first, 0), 1);
  }
  __device__ int key(int i) const { return (i < sinks ? i : first + i - sinks) * kKeys; }
};

__device__ inline bool visits(const AttentionUnit& unit, int lo, int hi) {  // any key of [lo, hi)
  return lo < unit.sink_hi || (lo < unit.key_hi && hi > unit.key_lo);
}

// What a block is told of a unit. After its last comes one of no sequence.
struct Packet {
  AttentionUnit unit;
  int head, unused[3];
  RowMask rows[1];  // of Config::kRows
};
static_assert(sizeof(AttentionUnit) + 4 * sizeof(int) == 64);

// Shared memory of a block, as addresses.
template <class C>
struct Memory {
  uint32_t base;
  __device__ explicit Memory(const void* memory) : base((shared(memory) + 1023) / 1024 * 1024) {}
  __device__ uint32_t q(int group) const { return base + group * C::kQ; }
  __device__ uint32_t k(int stage) const { return base + C::kGroups * C::kQ + stage * C::kTile; }
  __device__ uint32_t v(int stage) const { return k(C::kStages) + stage * C::kTile; }
  __device__ uint32_t packet_at(int slot) const { return v(C::kStages) + slot * C::kPacket; }
  __device__ uint32_t landing(int filler) const { return packet_at(C::kPackets) + filler * kFillerBytes; }
  __device__ uint32_t barrier(int i) const { return packet_at(C::kPackets) + C::kLanding + i * 8; }
  __device__ uint32_t k_full(int stage) const { return barrier(stage); }
  __device__ uint32_t k_free(int stage) const { return barrier(C::kStages + stage); }
  __device__ uint32_t v_full(int stage) const { return barrier(2 * C::kStages + stage); }
  __device__ uint32_t v_free(int stage) const { return barrier(3 * C::kStages + stage); }
  __device__ uint32_t unit_full(int slot) const { return barrier(4 * C::kStages + slot); }
  __device__ uint32_t unit_free(int slot) const { return barrier(4 * C::kStages + C::kPackets + slot); }
  __device__ Packet& packet(int slot) const {
    return *static_cast<Packet*>(__cvta_shared_to_generic(packet_at(slot)));
  }
};

// A place in a ring: the tile's number over all units of a block gives its stage and its round's parity.
template <int kRing>
struct PlaceIn {
  int stage, parity;
  __device__ explicit PlaceIn(int tile) : stage(tile % kRing), parity(tile / kRing % 2) {}
};

__device__ inline const float* query_of(const AttentionParams& p, int64_t token, int head, int packed) {
  return p.q + (token + packed / p.group) * p.q_token + (head * p.group + packed % p.group) * p.q_head;
}

}  // namespace heed::cuda::prefill
