// cpu.flash: the plan around the kernel. A tile is some tokens of a sequence with one kv head, or where
// memory is what bounds (few rows: decoding) with several in turn, so that a thread reads much of each page;
// the heads that share a kv head are packed with the tokens, so that each key and value is read once.
//
// Keys are cut into parts at multiples of kPartKeys, each with a softmax of its own, merged in ascending
// order. That a tile's parts run on one thread or are spread over threads (tiles that are much of the whole:
// decoding a long context) changes no bit.
#include <algorithm>
#include <atomic>
#include <vector>

#include "base/checked.h"
#include "kernels/checks.h"
#include "kernels/cpu/ops.h"

namespace heed::cpu {
namespace {

constexpr int kPartKeys = 256;
constexpr int kTileRows = 48;    // query rows of a tile, about; a multiple of every tile_rows
constexpr int kStreamRows = 16;  // so few rows of a tile are bound by memory
constexpr int kTasksPerThread = 4;
constexpr int64_t kTaskBytes = int64_t{2}
                               << 20;  // keys and values of a task of few rows: 5 % more speed than 0.5 MiB
constexpr int64_t kMostHeadDim = 1024;
static_assert(kPartKeys % kKeyTile == 0);

struct Tile {
  int sequence;
  int64_t token, end;
  int64_t head, head_end;     // kv heads
  int first_part, last_part;  // parts [first, last) beside part 0, which is run for sinks
  bool sinks;
  int parts() const { return last_part - first_part + (sinks && first_part > 0 ? 1 : 0); }
  int part(int i) const {
    if (sinks && first_part > 0) return i == 0 ? 0 : first_part + i - 1;
    return first_part + i;
  }
};

// The sizes of a call, and the layout of states within their memory.
struct Plan {
  const AttentionTable& isa;
  const AttentionArgs& args;
  int threads;
  int64_t heads, kv_heads, group, head_dim, v_dim, block;

  int64_t rows(const Tile& tile) const { return (tile.end - tile.token) * group; }
  int64_t state_floats(const Tile& tile) const { return round_up(rows(tile) * (2 + isa.pad(v_dim)), 16); }
  int64_t scratch_floats(const Tile& tile) const { return isa.scratch(rows(tile), head_dim, v_dim); }
  // Of the tile's head-th kv head, `memory` holding one for each.
  AttentionState state(const Tile& tile, int64_t head, float* memory) const {
    float* own = memory + (head - tile.head) * state_floats(tile);
    return {own, own + rows(tile), own + 2 * rows(tile)};
  }
  // Keys and values of one head.
  int64_t part_bytes() const { return kPartKeys * (head_dim + v_dim) * size_of(args.kv.k.dtype); }
  // A task of few rows is large, so that what comes next is read ahead most of the time, but there are enough
  // of them that threads finish together. `parts`: of one sequence.
  int64_t heads_of_a_tile(int parts) const {
    const int64_t have = int64_t{parts} * args.sequences;
    const int64_t most = std::clamp<int64_t>(kTaskBytes / part_bytes(), 1, kv_heads);
    return std::clamp<int64_t>(kv_heads * have / (kTasksPerThread * threads), 1, most);
  }
  int parts_of_a_task(const Tile& tile) const {
    const int64_t bytes = part_bytes() * (tile.head_end - tile.head);
    const int64_t tiles = div_up(kv_heads, tile.head_end - tile.head) * args.sequences;
    const int64_t most = std::max<int64_t>(tile.parts() * tiles / (kTasksPerThread * threads), 1);
    return static_cast<int>(std::clamp<int64_t>(kTaskBytes / bytes, 1, most));
  }
  int64_t cost(const Tile& tile) const {
    return tile.parts() * (tile.head_end - tile.head) * std::max<int64_t>(rows(tile), kStreamRows / 2);
  }
};

void find_parts(const AttentionArgs& args, Tile& tile) {
  int lo = INT32_MAX;
  int hi = 0;
  for (int64_t t = tile.token; t < tile.end; ++t) {
    const RowMask& m = args.rows[t];
    tile.sinks = tile.sinks || m.sinks > 0;
    if (m.lo >= m.hi) continue;
    lo = std::min(lo, m.lo);
    hi = std::max(hi, m.hi);
  }
  if (lo < hi) {
    tile.first_part = lo / kPartKeys;
    tile.last_part = static_cast<int>(div_up(hi, kPartKeys));
  } else if (tile.sinks) {
    tile.last_part = 1;
  }
}

// Of few rows first, the longest ones before the others; then each head of a sequence from its last tokens,
// which see most, to its first: its keys stay in a cache near the core, and short tiles end the work.
std::vector<Tile> tiles_of(const Plan& plan) {
  std::vector<Tile> few;
  std::vector<Tile> many;
  const int64_t most = std::max<int64_t>(kTileRows / plan.group, 1);
  for (int s = 0; s < plan.args.sequences; ++s) {
    Tile all = {s, plan.args.seq_start[s], plan.args.seq_start[s + 1], 0, plan.kv_heads, 0, 0, false};
    find_parts(plan.args, all);
    const bool is_few = plan.rows(all) <= kStreamRows;
    const int64_t heads = is_few ? plan.heads_of_a_tile(all.parts()) : 1;
    for (int64_t head = 0; head < plan.kv_heads; head += heads) {
      for (int64_t i = div_up(all.end - all.token, most) - 1; i >= 0; --i) {
        const int64_t token = all.token + i * most;
        Tile tile = {
            s, token, std::min(token + most, all.end), head, std::min(head + heads, plan.kv_heads), 0,
            0, false};
        find_parts(plan.args, tile);
        (is_few ? few : many).push_back(tile);
      }
    }
  }
  std::stable_sort(few.begin(), few.end(),
                   [&](const Tile& a, const Tile& b) { return plan.cost(a) > plan.cost(b); });
  few.insert(few.end(), many.begin(), many.end());
  return few;
}

// The rows of a tile for one kv head, tokens before heads, as the kernel wants them.
struct TileRows {
  TileRows(const Plan& plan, const Tile& tile, int64_t kv_head) {
    const Tensor& query = plan.args.q;
    q.reserve(static_cast<size_t>(plan.rows(tile)));
    masks.reserve(static_cast<size_t>(plan.rows(tile)));
    for (int64_t t = tile.token; t < tile.end; ++t) {
      for (int64_t h = kv_head * plan.group; h < (kv_head + 1) * plan.group; ++h) {
        q.push_back(query.f32() + t * query.stride[0] + h * query.stride[1]);
        masks.push_back(plan.args.rows[t]);
      }
    }
  }
  std::vector<const float*> q;
  std::vector<RowMask> masks;
};

const char* base_of(const Tensor& t, int64_t kv_head) {
  return t.as<const char>() + kv_head * t.stride[1] * size_of(t.dtype);
}

// The tile's parts [first, last), each with its states: the heads of one, then of the next.
struct Parts {
  int first, last;
};

// `i`: of `parts`. Afterwards the next head or part is run.
void run_part(const Plan& plan, const Tile& tile, const Parts& parts, int i, int64_t head,
              const AttentionState& state, float* scratch) {
  const PagedKv& kv = plan.args.kv;
  const TileRows rows(plan, tile, head);
  const int part = tile.part(i);
  const bool last_head = head + 1 == tile.head_end;
  const bool last = last_head && i + 1 == parts.last;
  const int64_t next_head = last_head ? tile.head : head + 1;
  const bool fp8 = kv.k.dtype == DType::kE4M3;  // whose scales are not those of keys
  const auto scales_of = [&](const Tensor& t, int64_t kv_head) {
    return t.defined() && !fp8 ? t.f32() + kv_head * t.stride[1] : nullptr;
  };
  const AttentionPart args = {
      .q = rows.q.data(),
      .masks = rows.masks.data(),
      .rows = static_cast<int>(rows.q.size()),
      .head_dim = plan.head_dim,
      .v_dim = plan.v_dim,
      .k = base_of(kv.k, head),
      .v = base_of(kv.v, head),
      .k_after = last ? nullptr : base_of(kv.k, next_head),
      .v_after = last ? nullptr : base_of(kv.v, next_head),
      .after = (last || !last_head ? part : tile.part(i + 1)) * kPartKeys,
      .k_scale = scales_of(kv.k_scale, head),
      .v_scale = scales_of(kv.v_scale, head),
      .k_scale_after = scales_of(kv.k_scale, next_head),
      .v_scale_after = scales_of(kv.v_scale, next_head),
      .scale_block = kv.k_scale.stride[0],
      .scale_row = kv.k_scale.stride[2],
      .fresh = i == parts.first && head == tile.head,
      .k_block = kv.k.stride[0],
      .k_row = kv.k.stride[2],
      .v_block = kv.v.stride[0],
      .v_row = kv.v.stride[2],
      .table = kv.table_of(tile.sequence),
      .block = plan.block,
      .begin = part * kPartKeys,
      .end = (part + 1) * kPartKeys,
      .scale = plan.args.scale * (fp8 ? scale_of_head(kv.k_scale, head) : 1),
      .softcap = plan.args.softcap,
      .state = state,
      .scratch = scratch,
  };
  const auto run = kv.k.dtype == DType::kBF16 ? plan.isa.bf16
                   : kv.k.dtype == DType::kI8 ? plan.isa.i8
                   : fp8                      ? plan.isa.fp8
                                              : plan.isa.f32;
  run(args);
}

// `states`: of the tile's heads, with all parts in them.
void finish(const Plan& plan, const Tile& tile, float* states) {
  const Tensor& out = plan.args.out;
  const PagedKv& kv = plan.args.kv;
  for (int64_t kv_head = tile.head; kv_head < tile.head_end; ++kv_head) {
    const float scale = kv.v.dtype == DType::kE4M3 ? scale_of_head(kv.v_scale, kv_head) : 1;
    const AttentionState state = plan.state(tile, kv_head, states);
    for (int row = 0; row < static_cast<int>(plan.rows(tile)); ++row) {
      const int64_t head = kv_head * plan.group + row % plan.group;
      const int64_t token = tile.token + row / plan.group;
      char* place = out.as<char>() + (token * out.stride[0] + head * out.stride[1]) * size_of(out.dtype);
      const RowMask& m = plan.args.rows[token];
      if (m.lo >= m.hi && m.sinks <= 0) {
        std::fill_n(place, plan.v_dim * size_of(out.dtype), char{0});
        continue;
      }
      const float* sink = plan.args.sink_logits != nullptr ? plan.args.sink_logits + head : nullptr;
      plan.isa.finish(state, row, plan.v_dim, sink, scale, place, out.dtype);
    }
  }
}

// A tile from its first part to its output, on one thread.
void run_whole(const Plan& plan, const Tile& tile) {
  const int64_t heads = tile.head_end - tile.head;
  const int64_t state = plan.state_floats(tile);
  const Buffer memory(((heads + 1) * state + plan.scratch_floats(tile)) * size_of(DType::kF32));
  auto* states = static_cast<float*>(memory.data());
  float* later = states + heads * state;
  for (int i = 0; i < tile.parts(); ++i) {
    for (int64_t head = tile.head; head < tile.head_end; ++head) {
      const AttentionState whole = plan.state(tile, head, states);
      const AttentionState own = i == 0 ? whole : plan.state(tile, tile.head, later);
      run_part(plan, tile, {0, tile.parts()}, i, head, own, later + state);
      if (i > 0) plan.isa.merge(whole, own, static_cast<int>(plan.rows(tile)), plan.v_dim);
    }
  }
  finish(plan, tile, states);
}

// A tile, or some parts of it whose states are for whoever comes last.
struct Task {
  size_t tile;
  Parts parts;     // none: all
  int64_t states;  // of the parts, in the memory of states
};

class Work {
 public:
  Work(const Plan& plan, std::vector<Tile> tiles)
      : plan_(plan), tiles_(std::move(tiles)), first_(tiles_.size()), left_(tiles_.size()) {
    int64_t all = 0;
    for (const Tile& tile : tiles_) all += plan.cost(tile);
    int64_t floats = 0;
    for (size_t t = 0; t < tiles_.size(); ++t) {
      const Tile& tile = tiles_[t];
      first_[t] = floats;
      if (plan.threads == 1 || tile.parts() < 2 || plan.cost(tile) * kTasksPerThread * plan.threads < all) {
        tasks_.push_back({t, {0, 0}, 0});
        continue;
      }
      const int step = plan.parts_of_a_task(tile);
      for (int i = 0; i < tile.parts(); i += step) {
        const Parts parts = {i, std::min(i + step, tile.parts())};
        tasks_.push_back({t, parts, floats});
        floats += (parts.last - parts.first) * states_of(tile);
        ++left_[t];
      }
    }
    states_ = Buffer(floats * size_of(DType::kF32));
  }

  int64_t size() const { return ssize(tasks_); }

  void run(int64_t i) {
    const Task& task = tasks_[static_cast<size_t>(i)];
    const Tile& tile = tiles_[task.tile];
    const Parts& parts = task.parts;
    if (parts.first == parts.last) return run_whole(plan_, tile);
    const Buffer scratch(plan_.scratch_floats(tile) * size_of(DType::kF32));
    for (int p = parts.first; p < parts.last; ++p) {
      float* states = memory(task.states + (p - parts.first) * states_of(tile));
      for (int64_t head = tile.head; head < tile.head_end; ++head) {
        run_part(plan_, tile, parts, p, head, plan_.state(tile, head, states),
                 static_cast<float*>(scratch.data()));
      }
    }
    if (left_[task.tile].fetch_sub(1, std::memory_order_acq_rel) == 1) merge(task.tile);
  }

 private:
  int64_t states_of(const Tile& tile) const { return (tile.head_end - tile.head) * plan_.state_floats(tile); }
  float* memory(int64_t at) const { return static_cast<float*>(states_.data()) + at; }

  void merge(size_t t) {
    const Tile& tile = tiles_[t];
    float* whole = memory(first_[t]);
    for (int i = 1; i < tile.parts(); ++i) {
      for (int64_t head = tile.head; head < tile.head_end; ++head) {
        plan_.isa.merge(plan_.state(tile, head, whole), plan_.state(tile, head, whole + i * states_of(tile)),
                        static_cast<int>(plan_.rows(tile)), plan_.v_dim);
      }
    }
    finish(plan_, tile, whole);
  }

  const Plan& plan_;
  std::vector<Tile> tiles_;
  std::vector<Task> tasks_;
  std::vector<int64_t> first_;          // of each tile: the states of its first part
  std::vector<std::atomic<int>> left_;  // parts that are not done
  Buffer states_;
};

}  // namespace

void flash(const AttentionTable& isa, Stream& stream, const AttentionArgs& args) {
  const Shapes n = check(args);
  const Plan plan = {.isa = isa,
                     .args = args,
                     .threads = stream.pool->size(),
                     .heads = n["heads"],
                     .kv_heads = n["kv_heads"],
                     .group = n["heads"] / n["kv_heads"],
                     .head_dim = n["head_dim"],
                     .v_dim = n["v_dim"],
                     .block = n["block"]};
  Work work(plan, tiles_of(plan));
  stream.pool->parallel_tasks(work.size(), [&](int64_t i) { work.run(i); });
}

int64_t flash_scratch_bytes(const AttentionTable& isa, const AttentionNeeds& needs, const StepSize& size) {
  const int64_t kv_heads = std::max(needs.kv_heads, 1);
  const int64_t group = std::max<int64_t>(needs.heads / kv_heads, 1);
  const int64_t most_tokens = std::max<int64_t>(kTileRows / group, 1);
  const int64_t rows = most_tokens * group;
  const auto state = [&](int64_t some) { return round_up(some * (2 + isa.pad(needs.v_dim)), 16); };
  // Of a tile: one kv head of many rows, or several of few.
  const int64_t part_bytes = kPartKeys * (int64_t{needs.head_dim} + needs.v_dim) * size_of(needs.kv_dtype);
  const int64_t heads = std::clamp<int64_t>(kTaskBytes / std::max<int64_t>(part_bytes, 1), 1, kv_heads);
  const int64_t many = state(rows);
  const int64_t few = heads * state(std::max<int64_t>(kStreamRows, group));
  const int64_t own = 2 * std::max(many, few) + isa.scratch(rows, needs.head_dim, needs.v_dim);
  constexpr int64_t kGrowth = 3;  // a vector of n elements, while it grows, with the one it grows out of
  const int64_t row_bytes = rows * int64_t{sizeof(const float*) + sizeof(RowMask)};
  const int64_t tiles = (div_up(size.tokens, most_tokens) + size.sequences) * kv_heads;
  constexpr int64_t kTileBytes = sizeof(Tile) + sizeof(Task) + sizeof(int64_t) + sizeof(int);
  // Parts with states of their own: of so many tiles at most, and those of few rows share no keys.
  const int64_t parts = std::min<int64_t>(tiles, int64_t{kTasksPerThread} * size.threads) *
                        (div_up(size.length, kPartKeys) + 1);
  const int64_t parts_of_few =
      std::min(parts, (size.keys / kPartKeys + 2 * size.sequences) * div_up(kv_heads, heads));
  const int64_t split = std::max(parts * many, parts_of_few * few);
  return size.threads * (own * size_of(DType::kF32) + row_bytes) + kGrowth * tiles * kTileBytes +
         split * size_of(DType::kF32) + kGrowth * parts * int64_t{sizeof(Task)};
}

std::string flash_why_not(const AttentionNeeds& needs) {
  const auto text = [](const char* what, int64_t size) {
    return std::string(what) + " " + std::to_string(size) + ": takes 1 to " + std::to_string(kMostHeadDim);
  };
  if (needs.head_dim < 1 || needs.head_dim > kMostHeadDim) return text("head_dim", needs.head_dim);
  if (needs.v_dim < 1 || needs.v_dim > kMostHeadDim) return text("v_dim", needs.v_dim);
  if (needs.kv_dtype != DType::kF32 && needs.kv_dtype != DType::kBF16 && needs.kv_dtype != DType::kI8 &&
      needs.kv_dtype != DType::kE4M3) {
    return "cache of " + std::string(name_of(needs.kv_dtype)) + ": takes float32, bfloat16, int8 and fp8";
  }
  if (needs.kv_heads < 1 || needs.heads % needs.kv_heads != 0) {
    return std::to_string(needs.heads) + " heads with " + std::to_string(needs.kv_heads) +
           " kv heads: takes kv heads that divide the heads";
  }
  return "";
}

}  // namespace heed::cpu
