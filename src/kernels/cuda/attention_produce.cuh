// The warps of the prefill kernel that bring what others compute: units, keys and values.
#pragma once
#include "kernels/cuda/attention_tiles.cuh"

namespace heed::cuda::prefill {

// ---- The warps that fill the rings, one keys and one values; lane i copies the i-th box of every tile ----

template <class C>
__device__ void copy_tile(const PrefillParams& params, const CUtensorMap& map, uint32_t to, uint32_t barrier,
                          int row, int index, bool mine) {
  const int box = params.box;
  const int boxes = __popc(__ballot_sync(~0U, mine));
  const int lane = static_cast<int>(threadIdx.x % 32);
  if (lane == 0) ptx::barrier_arrive_expecting(barrier, boxes * box / kAtomRows * C::kStep);
  __syncwarp();
  if (!mine) return;
  to += lane * box / kAtomRows * C::kStep;
  if (params.whole) {
    ptx::copy_box(to, &map, 0, 0, 0, row / kAtomRows, index, barrier);
    return;
  }
  for (int i = 0; i < box / kAtomRows; ++i) {
    for (int atom = 0; atom < C::kAtoms; ++atom) {
      ptx::copy_box(to + i * C::kStep + atom * kAtomBytes, &map, atom * kAtom, 0, 0, row / kAtomRows + i,
                    index, barrier);
    }
  }
}

// full, free: the barriers of a ring.
template <class C>
__device__ void fill_ring(const PrefillParams& params, const Memory<C>& memory, const CUtensorMap& map,
                          const Steps& steps, uint32_t ring, uint32_t full, uint32_t free) {
  const AttentionParams& p = params.attention;
  const int lane = static_cast<int>(threadIdx.x % 32);
  if (lane == 0) ptx::prefetch_map(&map);
  int done = 0;
  for (int n = 0;; ++n) {
    const PlaceIn<C::kPackets> slot(n);
    ptx::barrier_wait(memory.unit_full(slot.stage), slot.parity);
    const AttentionUnit unit = memory.packet(slot.stage).unit;
    const int head = memory.packet(slot.stage).head;
    __syncwarp();
    if (lane == 0) ptx::barrier_arrive(memory.unit_free(slot.stage));
    if (unit.sequence < 0) return;
    const Tiles<C::kKeys> tiles(unit);
    const int32_t* table = table_of(p, unit.sequence);
    const auto entry_of = [&](int i) {
      const int key = tiles.key(i) + lane * params.box;
      const bool mine =
          i < tiles.count && lane * params.box < C::kKeys && visits(unit, key, key + params.box);
      return mine ? table[key / p.block] : -1;
    };
    int entry = entry_of(0);
    for (int i = 0; i < tiles.count; ++i, ++done) {
      const int next = entry_of(i + 1);
      const PlaceIn<C::kStages> place(done);
      const int row = (tiles.key(i) + lane * params.box) % p.block;
      ptx::barrier_wait(free + place.stage * 8, place.parity ^ 1);
      copy_tile<C>(params, map, ring + place.stage * C::kTile, full + place.stage * 8, row,
                   steps.index(entry, head), entry >= 0);
      entry = next;
    }
  }
}

// ---- The warp that brings the units and their rows' masks, and has the queries come nearer ----

// Units are dealt out as blocks ask, in the plan's order. The plan's header counts them on the device, and
// whoever comes last sets it back for the next layer that has the plan.
template <class C>
__device__ void bring_units(const AttentionParams& p, const Memory<C>& memory) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  auto* header = const_cast<AttentionPlanHeader*>(p.plan);
  const auto* units =
      reinterpret_cast<const AttentionUnit*>(reinterpret_cast<const char*>(p.plan) + p.plan->prefill_offset);
  const int all = p.plan->prefill_units * p.kv_heads;
  int work = static_cast<int>(blockIdx.x);
  for (int n = 0;; ++n) {
    const PlaceIn<C::kPackets> place(n);
    const bool any = work < all;
    AttentionUnit unit = {.sequence = -1, .rows = 1};
    if (any) unit = units[work / p.kv_heads];
    const int head = any ? work % p.kv_heads : 0;
    if (any) {
      for (int r = lane; r < unit.rows; r += 32) {
        ptx::prefetch(query_of(p, unit.token, head, unit.row + r), p.head_dim * 4);
      }
    }
    ptx::barrier_wait(memory.unit_free(place.stage), place.parity ^ 1);
    Packet& packet = memory.packet(place.stage);
    if (lane == 0) {
      packet.unit = unit;
      packet.head = head;
    }
    for (int r = lane; any && r < C::kRows; r += 32) {
      packet.rows[r] = r < unit.rows ? p.rows[unit.token + (unit.row + r) / p.group] : RowMask{0, 0, 0};
    }
    ptx::barrier_arrive(memory.unit_full(place.stage));
    if (!any) break;
    if (lane == 0) work = static_cast<int>(gridDim.x) + atomicAdd(&header->dealt, 1);
    work = __shfl_sync(~0U, work, 0);
  }
  if (lane == 0 && atomicAdd(&header->blocks_done, 1) == static_cast<int>(gridDim.x) - 1) {
    header->dealt = 0;
    header->blocks_done = 0;
  }
}

}  // namespace heed::cuda::prefill
