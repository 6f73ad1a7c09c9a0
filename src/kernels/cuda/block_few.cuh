// linears of up to kMostBlockFewRows rows of bfloat16 with weights in blocks. Definition: kernels/parts.cpp;
// but rows stay as they are, where other backends round them. How tiles, warps and clusters share the work:
// linear_few.cu.
//
// Blocks lie at any even address (some formats: at any), so they come through shared memory: each warp has a
// ring of its own, of kStages chunks of 16 rows by 128 or 256 elements, filled by asynchronous copies of the
// 16 bytes around what is wanted. From there a warp reads two bytes at a time and makes pairs of codes in
// bfloat16 of them, just as tensor cores want weights. Codes are exact so; a group's sum is multiplied with
// its scale in float32. Offsets are multiplied with the sum of the group's rows, which tensor cores make,
// too.
#pragma once
#include "kernels/cuda/block_formats.cuh"
#include "kernels/cuda/linear_few.cuh"

namespace heed::cuda::few {

inline constexpr int kRingBytes = 9000;  // of a warp, about
inline constexpr int kRowPad = 8;        // elements; then 8 rows of h, read at one column, lie in all banks

template <class F>
struct BlockRing {
  static constexpr int kUnit = std::max(F::kSize / kDepth, 1);  // steps of a block
  static constexpr int kSteps = std::max(kUnit, 4);             // of a chunk, at most
  static constexpr int kUnitBytes = kUnit * kDepth / F::kSize * F::kBytes;
  static constexpr int kBytes = kSteps / kUnit * kUnitBytes;
  static constexpr int kCopies = (kBytes + 31 + 15) / 16;  // of 16 bytes a row, from a multiple of 32 on
  static constexpr int kRow = (kCopies | 1) * 16;          // odd, so that 8 rows lie in all banks
  static constexpr int kStage = 16 * kRow;
  static constexpr int kStages = std::clamp(kRingBytes / kStage, 2, 6);
  static constexpr int kWarp = kStages * kStage;
  static constexpr int kAll = kWarps * kWarp;
};

// The chunks of a warp, in the order in which it multiplies with them: those of its first tile, of its next.
template <class F>
class Chunks {
 public:
  using Ring = BlockRing<F>;

  __device__ Chunks(const Params& p, const Share& share, int tile, int clusters, int lane)
      : p_(p), share_(share), tile_(tile), clusters_(clusters), lane_(lane) {
    // Chunks of a tile are about equally long.
    const int units = share.count / Ring::kUnit;
    const int chunks = (share.count + Ring::kSteps - 1) / Ring::kSteps;
    steps_ = chunks > 0 ? (units + chunks - 1) / chunks * Ring::kUnit : 0;
    rows_ = Rows(p, min(tile, p.tiles - 1), lane);
  }
  // Copies of the next chunk into `stage`, where there is one. This thread's rows are lane / 4 and 8 behind;
  // four threads copy 64 bytes of a row.
  __device__ __forceinline__ void fetch(uint32_t stage) {
    if (tile_ < p_.tiles && share_.count > 0) {
      const int steps = min(steps_, share_.count - done_);
      const int at = (share_.first + done_) / Ring::kUnit * Ring::kUnitBytes;
      const int bytes = steps / Ring::kUnit * Ring::kUnitBytes;
      const int own = lane_ % 4 * 16;
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const char* from = rows_.row[i] + at;
        const int before = static_cast<int>(reinterpret_cast<uintptr_t>(from) % kSector);
        const uint32_t to = stage + (lane_ / 4 + i * 8) * Ring::kRow + own;
        from += own - before;
        const int end = before + bytes - own;
#pragma unroll
        for (int c = 0; c < Ring::kCopies * 16; c += 64) {
          if (c < end) ptx::copy16_of_256(to + c, from + c);
        }
      }
      done_ += steps;
      if (done_ == share_.count) {
        done_ = 0;
        tile_ += clusters_;
        if (tile_ < p_.tiles) rows_ = Rows(p_, tile_, lane_);
      }
    }
    ptx::copies_commit();
  }
  __device__ int steps() const { return steps_; }  // of a chunk, but for the last of a tile

  // Rows lane / 4 and lane / 4 + 8 of a tile; rows that there are not are the last one.
  struct Rows {
    const char* row[2] = {};
    Rows() = default;
    __device__ Rows(const Params& p, int tile, int lane) {
      const TilePlace at = place_of_tile(p, tile);
      const Matrix& a = p.parts[at.part];
      const Matrix& b = p.gated ? p.parts[1] : a;
      const int low = at.row + lane / 4;
      const int high = p.gated ? low : low + 8;
      row[0] = static_cast<const char*>(a.weight) + min(low, a.outs - 1) * a.weight_row;
      row[1] = static_cast<const char*>(b.weight) + min(high, b.outs - 1) * b.weight_row;
    }
    // Where in a stage's row the chunk begins that is `step` steps into the matrix.
    __device__ int offset(int i, int step) const {
      return static_cast<int>(reinterpret_cast<uintptr_t>(row[i] + step / Ring::kUnit * Ring::kUnitBytes) %
                              kSector);
    }
  };

 private:
  static constexpr int kSector = 32;  // what the memory gives at a time
  const Params& p_;
  const Share& share_;
  int tile_, clusters_, lane_;
  int steps_ = 0, done_ = 0;
  Rows rows_;
};

// A warp's sums of one tile.
template <class F, class C>
struct BlockSums {
  static constexpr uint32_t kOnes = 0x3f803f80;
  float sum[C::kGroups][4] = {};

  // With `steps` steps of blocks from low and high on (of this thread's two rows); rows: where ldmatrix finds
  // this thread's row of h.
  __device__ __forceinline__ void add(const uint8_t* low, const uint8_t* high, int steps, uint32_t rows,
                                      uint32_t groups) {
    using Ring = BlockRing<F>;
    if (Ring::kUnit == Ring::kSteps || steps == Ring::kSteps) {
      add_some<true>(low, high, Ring::kSteps, rows, groups);  // steps without branches overlap
    } else {
      add_some<false>(low, high, steps, rows, groups);
    }
  }
  template <bool kWhole>
  __device__ __forceinline__ void add_some(const uint8_t* low, const uint8_t* high, int steps, uint32_t rows,
                                           uint32_t groups) {
    float part[C::kGroups][4];
    float whole[C::kGroups][4];  // of the rows alone, where there are offsets
#pragma unroll
    for (int s = 0; s < BlockRing<F>::kSteps; ++s) {
      if (!kWhole && s >= steps) break;
      const int block = s * kDepth / F::kSize * F::kBytes;
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int e = s * kDepth + half * 16;  // of the chunk
        if (e % F::kGroup == 0) clear(part, whole);
        const int base = e % F::kSize;
        const int r = static_cast<int>(threadIdx.x) % 4 * 2;
        const uint32_t a[4] = {F::pair(low + block, base, r), F::pair(high + block, base, r),
                               F::pair(low + block, base + 8, r), F::pair(high + block, base + 8, r)};
        const uint32_t ones[4] = {kOnes, kOnes, kOnes, kOnes};
#pragma unroll
        for (int g = 0; g < C::kGroups; ++g) {
          uint32_t b[2];
          ptx::load_pair(b, rows + g * groups + e * 2);
          ptx::multiply_pair(part[g], a, b);
          if constexpr (F::kOffset) ptx::multiply_pair(whole[g], ones, b);
        }
        if ((e + 16) % F::kGroup == 0) {
          scale(F::group(low + block, base / F::kGroup), F::group(high + block, base / F::kGroup), part,
                whole);
        }
      }
    }
  }
  __device__ void put(float* to, int lane) const {
#pragma unroll
    for (int g = 0; g < C::kGroups; ++g)
      *reinterpret_cast<float4*>(to + g * 128 + lane * 4) = {sum[g][0], sum[g][1], sum[g][2], sum[g][3]};
  }

 private:
  static __device__ void clear(float (&part)[C::kGroups][4], float (&whole)[C::kGroups][4]) {
#pragma unroll
    for (int g = 0; g < C::kGroups; ++g) {
#pragma unroll
      for (int i = 0; i < 4; ++i) part[g][i] = whole[g][i] = 0;
    }
  }
  __device__ void scale(const Group& low, const Group& high, const float (&part)[C::kGroups][4],
                        const float (&whole)[C::kGroups][4]) {
#pragma unroll
    for (int g = 0; g < C::kGroups; ++g) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const Group& own = i < 2 ? low : high;
        sum[g][i] += own.scale * part[g][i];
        if constexpr (F::kOffset) sum[g][i] += own.offset * whole[g][i];
      }
    }
  }
};

// What a block has in shared memory.
template <class F, class C>
struct BlockMemory {
  float* own;  // [1 or 2][kWarps][kSums]
  float* all;  // [2][cluster][kSums], of the cluster's first block
  const uint8_t* ring;
  __nv_bfloat16* rows;
  __device__ BlockMemory(float* memory, int cluster)
      : own(memory),
        all(memory + C::own(cluster)),
        ring(reinterpret_cast<const uint8_t*>(all + C::all(cluster))),
        rows(reinterpret_cast<__nv_bfloat16*>(const_cast<uint8_t*>(ring) + BlockRing<F>::kAll)) {}
  static int bytes(int tokens, int row_size, int cluster) {
    return C::bytes(tokens, row_size, cluster) + BlockRing<F>::kAll;
  }
  // Stage `i` of a warp's ring.
  __device__ const uint8_t* stage(int warp, int i) const {
    return ring + warp * BlockRing<F>::kWarp + i * BlockRing<F>::kStage;
  }
};

// A warp's chunks on their way, but for the last stage.
template <class F, class C>
__device__ __forceinline__ void fetch_first(const BlockMemory<F, C>& memory, Chunks<F>& chunks, int warp) {
#pragma unroll
  for (int s = 0; s < BlockRing<F>::kStages - 1; ++s) chunks.fetch(ptx::shared(memory.stage(warp, s)));
}

// All tiles from `tile` on, every `clusters`-th, once rows are there. before: what is there where a thread's
// sum of the first one is added.
template <class F, class C>
__device__ __forceinline__ void walk_tiles(const Params& p, const BlockMemory<F, C>& memory,
                                           const Share& share, Chunks<F>& chunks, int row_size, int tile,
                                           int clusters, int cluster, int rank, float before) {
  using Ring = BlockRing<F>;
  const int lane = static_cast<int>(threadIdx.x % 32);
  const int warp = static_cast<int>(threadIdx.x / 32);
  const int column = (share.first - share.block_first) * kDepth;
  // Of 8 rows and the next 8 columns; rows that there are not read as the last one, and count for nothing.
  const auto row_at = [&](int token) {
    return ptx::shared(memory.rows + min(token, p.tokens - 1) * row_size + column + lane / 8 % 2 * 8);
  };
  uint32_t from = row_at(lane % 8);
  const uint32_t groups = row_at(lane % 8 + 8) - from;
  asm volatile("" : "+r"(from)::"memory");  // nothing is read from there before it is written
  const int first = tile;
  int stage = 0;
  for (int buffer = 0; tile < p.tiles; buffer ^= 1) {
    Output<C> output(p, tile, rank);
    if (tile == first) {
      output.add += before;
    } else {
      output.read_before(p);
    }
    const typename Chunks<F>::Rows at(p, tile, lane);
    BlockSums<F, C> sums;
    for (int done = 0; done < share.count; done += chunks.steps()) {
      ptx::copies_wait<Ring::kStages - 2>();
      __syncwarp();  // all of the chunk is there, and everybody is done with the one before
      chunks.fetch(ptx::shared(memory.stage(warp, (stage + Ring::kStages - 1) % Ring::kStages)));
      const uint8_t* here = memory.stage(warp, stage) + lane / 4 * Ring::kRow;
      sums.add(here + at.offset(0, share.first + done),
               here + 8 * Ring::kRow + at.offset(1, share.first + done),
               min(chunks.steps(), share.count - done), from + done * kDepth * 2, groups);
      stage = stage + 1 == Ring::kStages ? 0 : stage + 1;
    }
    float* mine = memory.own + (cluster > 1 ? 0 : buffer) * kWarps * C::kSums;
    sums.put(mine + warp * C::kSums, lane);
    __syncthreads();
    finish_tile_of_block<C>(p, output, mine, memory.all + buffer * cluster * C::kSums, cluster, rank);
    tile += clusters;
  }
  ptx::copies_wait<0>();
}

template <class F, class C>
__global__ void __launch_bounds__(kThreads, 2)
    block_kernel(const __grid_constant__ Params p, int cluster, int row_size) {
#if __CUDA_ARCH__ >= 900 || defined(HEED_EMULATED)
  __shared__ float norm_sums[kMostNormedRows * kWarps];
  const BlockMemory<F, C> memory(ptx::block_memory<float, 128>(), cluster);
  const int lane = static_cast<int>(threadIdx.x % 32);
  const int warp = static_cast<int>(threadIdx.x / 32);
  const int rank = static_cast<int>(blockIdx.x) % cluster;
  const int clusters = static_cast<int>(gridDim.x) / cluster;
  ptx::let_next_start();
  if (cluster > 1) ptx::cluster_arrive();

  const Share share(p, rank, cluster, warp, BlockRing<F>::kUnit);
  const int tile = static_cast<int>(blockIdx.x) / cluster;
  Chunks<F> chunks(p, share, tile, clusters, lane);
  fetch_norm(p, row_size, memory.rows);
  fetch_first(memory, chunks, warp);
  Output<C> output(p, tile, rank);
  output.add = 0;  // a bias is added later
  if (p.normalise) {
    put_normed_rows<BlockRing<F>::kStages - 1>(p, norm_sums, share.block_first * kDepth,
                                               share.block_count * kDepth, row_size, memory.rows);
    output.read_before(p);
  } else {
    ptx::wait_for_previous();
    output.read_before(p);
    put_rows(p, share.first * kDepth, share.count * kDepth, row_size,
             memory.rows + (share.first - share.block_first) * kDepth, lane);
  }
  if (cluster > 1) ptx::cluster_wait();  // the others have begun: their memory is there
  walk_tiles(p, memory, share, chunks, row_size, tile, clusters, cluster, rank, output.add);
#endif
}

template <class F, class C>
void launch_block_few(const Stream& stream, const Params& p) {
  constexpr int kUnit = BlockRing<F>::kUnit;
  const auto row_size_of = [&](int cluster) {
    return (p.in / (kDepth * kUnit) + cluster - 1) / cluster * kUnit * kDepth + kRowPad;
  };
  const auto bytes_of = [&](int cluster) {
    return BlockMemory<F, C>::bytes(p.tokens, row_size_of(cluster), cluster) + norm_bytes(p);
  };
  int cluster = cluster_of(p, device_of(stream).sms());
  while (bytes_of(cluster) > kMostShared && cluster < kMostCluster)
    cluster = std::min(2 * cluster, kMostCluster);
  launch_over_tiles(stream, block_kernel<F, C>, p, cluster, row_size_of(cluster), bytes_of(cluster));
}

template <class F>
void launch_block_few(const Stream& stream, const Params& p) {
  p.tokens <= 8 ? launch_block_few<F, Config<1>>(stream, p) : launch_block_few<F, Config<2>>(stream, p);
}

}  // namespace heed::cuda::few
