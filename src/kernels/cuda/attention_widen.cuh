// The warps of the prefill kernel that fill the rings from a cache of fp8: keys and values land in shared
// memory by asynchronous copies, and are widened to float16 on their way to the rings.
//
// The atoms of a tile of keys, then those of its values, lie in batches of kBatch, which are dealt out to the
// warps in turn. Of an atom a lane copies, widens and stores 16 columns of one row, so that what is on its
// way is a lane's own affair. Copies run kAhead batches ahead of that, over tiles and units. A warp by itself
// is bound by the latency of its instructions, so there are few: places of rows are found once a tile, each
// by a lane.
#pragma once
#include "kernels/cuda/attention_tiles.cuh"

namespace heed::cuda::prefill {

// A warp's place in the stream of batches: of keys, then of values of every tile.
template <class C>
struct Place {
  static constexpr int kAll = C::kKeys / kAtomRows * C::kAtoms / kBatch;  // of a tile's keys, or values
  static_assert(kAll >= C::kFillers);

  int batch;
  bool values = false;

  __device__ explicit Place(int filler) : batch(filler) {}
  // Of those of these keys or values that are this warp's.
  __device__ bool is_first() const { return batch < C::kFillers; }
  __device__ bool is_last() const { return batch + C::kFillers >= kAll; }
  __device__ bool next() {  // the tile is done
    batch += C::kFillers;
    if (batch < kAll) return false;
    batch -= kAll;
    values = !values;
    return !values;
  }
};

// Starts copies to a warp's landing place.
template <class C>
struct Source {
  static constexpr int kRowGroups = kBatch / C::kAtoms;  // of eight rows, in a batch

  const AttentionParams& p;
  const Memory<C>& memory;
  const int filler, lane;
  Place<C> place;
  const uint8_t *k = nullptr,
                *v = nullptr;     // of the unit's head, from the lane's row of eight and its columns on
  int64_t k_at = -1, v_at = -1;   // of the lane-th eight keys of the tile, from there; -1: not visited
  int n = 0;                      // of the unit
  int i = 0, count = 0;           // the tile, and how many
  int lo = 0, hi = 0, sinks = 0;  // keys that the unit visits
  int first_tile = 0, sink_tiles = 0;
  const int32_t* table = nullptr;
  int entry = -1, row = 0;  // of the table, and the row there, for the lane-th eight keys of the next tile
  bool more = true;

  __device__ Source(const AttentionParams& params, const Memory<C>& m, int number)
      : p(params), memory(m), filler(number), lane(static_cast<int>(threadIdx.x % 32)), place(number) {}

  __device__ void look_up(int tile) {
    const int key = (tile < sink_tiles ? tile : first_tile + tile - sink_tiles) * C::kKeys + lane * kAtomRows;
    const bool visited = key < sinks || (key < hi && key + kAtomRows > lo);
    const bool mine = tile < count && lane * kAtomRows < C::kKeys && visited;
    entry = mine ? table[key / p.block] : -1;
    row = key % p.block;
  }
  __device__ void take_tile() {
    k_at = entry < 0 ? -1 : entry * p.k_block + row * p.k_row;
    v_at = entry < 0 ? -1 : entry * p.v_block + row * p.v_row;
    look_up(i + 1);
  }

  __device__ void take_unit() {
    const PlaceIn<C::kPackets> slot(n++);
    ptx::barrier_wait(memory.unit_full(slot.stage), slot.parity);
    const AttentionUnit unit = memory.packet(slot.stage).unit;
    const int head = memory.packet(slot.stage).head;
    __syncwarp();
    if (lane == 0) ptx::barrier_arrive(memory.unit_free(slot.stage));
    more = unit.sequence >= 0;
    if (!more) return;
    const Tiles<C::kKeys> tiles(unit);
    sink_tiles = tiles.sinks;
    first_tile = tiles.first;
    count = tiles.count;
    lo = unit.key_lo;
    hi = unit.key_hi;
    sinks = unit.sink_hi;
    table = table_of(p, unit.sequence);
    k = static_cast<const uint8_t*>(p.k) + head * p.k_head + lane / 4 * p.k_row + lane % 4 * 16;
    v = static_cast<const uint8_t*>(p.v) + head * p.v_head + lane / 4 * p.v_row + lane % 4 * 16;
    i = 0;
    look_up(0);
    take_tile();
  }

  // The next batch to slot `slot`, if there is one.
  __device__ bool copy(int slot) {
    if (more && i == count) take_unit();
    if (!more) return false;
    const uint8_t* base = place.values ? v : k;
    const int64_t at = place.values ? v_at : k_at;
    const uint32_t to = memory.landing(filler) + slot * (kBatch * kAtomBytes / 2) + lane * 16;
#pragma unroll
    for (int r = 0; r < kRowGroups; ++r) {
      const int64_t from = __shfl_sync(~0U, at, place.batch * kRowGroups + r);
      if (from < 0) continue;
#pragma unroll
      for (int a = 0; a < C::kAtoms; ++a) {
        const bool real = a * kAtom + lane % 4 * 16 < p.head_dim;
        ptx::copy16(to + (r * C::kAtoms + a) * (kAtomBytes / 2), real ? base + from + a * kAtom : base, real);
      }
    }
    if (place.next()) {
      ++i;
      take_tile();
    }
    return true;
  }
};

// Widens a warp's next batch into the ring; `tile`: of the stream.
template <class C>
__device__ void widen_batch(const Memory<C>& memory, const Place<C>& place, int filler, int slot, int tile) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  const PlaceIn<C::kStages> stage(tile);
  const uint32_t full = place.values ? memory.v_full(stage.stage) : memory.k_full(stage.stage);
  const uint32_t free = place.values ? memory.v_free(stage.stage) : memory.k_free(stage.stage);
  const uint32_t ring = place.values ? memory.v(stage.stage) : memory.k(stage.stage);
  const uint32_t from = memory.landing(filler) + slot * (kBatch * kAtomBytes / 2) + lane * 16;
  uint4 codes[kBatch];
#pragma unroll
  for (int a = 0; a < kBatch; ++a) codes[a] = ptx::load16(from + a * (kAtomBytes / 2));
  if (place.is_first()) ptx::barrier_wait(free, stage.parity ^ 1);
  const int row = lane / 4;
  const int chunk = lane % 4 * 2;
  const uint32_t to = ring + place.batch * (kBatch * kAtomBytes) + row * kRowBytes;
#pragma unroll
  for (int a = 0; a < kBatch; ++a) {
    const uint4& x = codes[a];
    ptx::store16(to + a * kAtomBytes + (chunk ^ row) * 16,
                 {ptx::halves_of_e4m3<false>(x.x), ptx::halves_of_e4m3<true>(x.x),
                  ptx::halves_of_e4m3<false>(x.y), ptx::halves_of_e4m3<true>(x.y)});
    ptx::store16(to + a * kAtomBytes + ((chunk + 1) ^ row) * 16,
                 {ptx::halves_of_e4m3<false>(x.z), ptx::halves_of_e4m3<true>(x.z),
                  ptx::halves_of_e4m3<false>(x.w), ptx::halves_of_e4m3<true>(x.w)});
  }
  if (!place.is_last()) return;
  ptx::shared_writes_to_engines();
  __syncwarp();
  if (lane == 0) ptx::barrier_arrive(full);
}

template <class C>
__device__ void widen_tiles(const AttentionParams& p, const Memory<C>& memory, int filler) {
  Source<C> source(p, memory, filler);
  int batches = 0;  // that are on their way or done
  for (int slot = 0; slot < kAhead; ++slot) {
    batches += source.copy(slot) ? 1 : 0;
    ptx::copies_commit();
  }
  Place<C> place(filler);
  int tile = 0;
  for (int i = 0; i < batches; ++i) {
    ptx::copies_wait<kAhead - 1>();
    widen_batch<C>(memory, place, filler, i % kAhead, tile);
    tile += place.next() ? 1 : 0;
    batches += source.copy(i % kAhead) ? 1 : 0;
    ptx::copies_commit();
  }
  ptx::copies_wait<0>();
}

}  // namespace heed::cuda::prefill
