// cpu.flash: the plan around the kernel. A unit is a tile of a sequence's tokens with one kv head; the heads
// that share it are packed with the tokens, so that a unit reads each key and value once.
//
// Keys are cut into parts at multiples of kPartKeys, each with a softmax of its own, merged in ascending
// order. That a unit runs its parts itself or spreads them over threads (few units: decoding a long context)
// changes no bit.
#include <algorithm>
#include <vector>

#include "base/checked.h"
#include "kernels/checks.h"
#include "kernels/cpu/ops.h"

namespace heed::cpu {
namespace {

constexpr int kPartKeys = 1024;
constexpr int kTileRows = 48;  // query rows of a unit, about; a multiple of every tile_rows
constexpr int kUnitsPerThread = 4;
constexpr int64_t kMostHeadDim = 1024;
static_assert(kPartKeys % kKeyTile == 0);

struct Unit {
  int sequence;
  int64_t token, end;
  int64_t kv_head;
  int first_part, last_part;  // parts [first, last) beside part 0, which is run for sinks
  bool sinks;
  int parts() const { return last_part - first_part + (sinks && first_part > 0 ? 1 : 0); }
  int part(int i) const {
    if (sinks && first_part > 0) return i == 0 ? 0 : first_part + i - 1;
    return first_part + i;
  }
};

// The sizes of a call, and the layout of a state within its memory.
struct Plan {
  const AttentionTable& isa;
  const AttentionArgs& args;
  int64_t heads, kv_heads, group, head_dim, v_dim, block;
  int64_t rows;  // most rows of a unit
  int64_t state_floats;

  AttentionState state(float* memory) const { return {memory, memory + rows, memory + 2 * rows}; }
};

void find_parts(const AttentionArgs& args, Unit& unit) {
  int lo = INT32_MAX;
  int hi = 0;
  for (int64_t t = unit.token; t < unit.end; ++t) {
    const RowMask& m = args.rows[t];
    unit.sinks = unit.sinks || m.sinks > 0;
    if (m.lo >= m.hi) continue;
    lo = std::min(lo, m.lo);
    hi = std::max(hi, m.hi);
  }
  if (lo < hi) {
    unit.first_part = lo / kPartKeys;
    unit.last_part = static_cast<int>(div_up(hi, kPartKeys));
  } else if (unit.sinks) {
    unit.last_part = 1;
  }
}

std::vector<Unit> units_of(const Plan& plan) {
  std::vector<Unit> units;
  const int64_t tile = std::max<int64_t>(kTileRows / plan.group, 1);
  for (int s = plan.args.sequences - 1; s >= 0; --s) {
    const int64_t begin = plan.args.seq_start[s];
    const int64_t end = plan.args.seq_start[s + 1];
    for (int64_t i = div_up(end - begin, tile) - 1; i >= 0;
         --i) {  // later tokens see more: the long units first
      for (int64_t h = 0; h < plan.kv_heads; ++h) {
        const int64_t token = begin + i * tile;
        Unit unit = {s, token, std::min(token + tile, end), h, 0, 0, false};
        find_parts(plan.args, unit);
        units.push_back(unit);
      }
    }
  }
  return units;
}

// The rows of a unit, tokens before heads, as the kernel wants them.
struct UnitRows {
  UnitRows(const Plan& plan, const Unit& unit) {
    const Tensor& query = plan.args.q;
    for (int64_t t = unit.token; t < unit.end; ++t) {
      for (int64_t h = unit.kv_head * plan.group; h < (unit.kv_head + 1) * plan.group; ++h) {
        q.push_back(query.f32() + t * query.stride[0] + h * query.stride[1]);
        masks.push_back(plan.args.rows[t]);
      }
    }
  }
  std::vector<const float*> q;
  std::vector<RowMask> masks;
};

void run_part(const Plan& plan, const Unit& unit, const UnitRows& rows, int part, const AttentionState& state,
              float* scratch) {
  const PagedKv& kv = plan.args.kv;
  const auto base = [&](const Tensor& t) {
    return t.as<char>() + unit.kv_head * t.stride[1] * size_of(t.dtype);
  };
  const AttentionPart args = {
      .q = rows.q.data(),
      .masks = rows.masks.data(),
      .rows = static_cast<int>(rows.q.size()),
      .head_dim = plan.head_dim,
      .v_dim = plan.v_dim,
      .k = base(kv.k),
      .v = base(kv.v),
      .k_block = kv.k.stride[0],
      .k_row = kv.k.stride[2],
      .v_block = kv.v.stride[0],
      .v_row = kv.v.stride[2],
      .table = kv.table_of(unit.sequence),
      .block = plan.block,
      .begin = part * kPartKeys,
      .end = (part + 1) * kPartKeys,
      .scale = plan.args.scale,
      .softcap = plan.args.softcap,
      .state = state,
      .scratch = scratch,
  };
  (kv.k.dtype == DType::kBF16 ? plan.isa.bf16 : plan.isa.f32)(args);
}

void finish(const Plan& plan, const Unit& unit, const UnitRows& rows, const AttentionState& state) {
  const Tensor& out = plan.args.out;
  for (int row = 0; row < static_cast<int>(rows.q.size()); ++row) {
    const int64_t head = unit.kv_head * plan.group + row % plan.group;
    const int64_t token = unit.token + row / plan.group;
    char* place = out.as<char>() + (token * out.stride[0] + head * out.stride[1]) * size_of(out.dtype);
    const RowMask& m = rows.masks[row];
    if (m.lo >= m.hi && m.sinks <= 0) {
      std::fill_n(place, plan.v_dim * size_of(out.dtype), char{0});
      continue;
    }
    const float* sink = plan.args.sink_logits != nullptr ? plan.args.sink_logits + head : nullptr;
    plan.isa.finish(state, row, plan.v_dim, sink, place, out.dtype);
  }
}

int64_t scratch_floats(const Plan& plan) { return plan.isa.scratch(plan.rows, plan.head_dim, plan.v_dim); }

// A unit from its first part to its output, on one thread.
void run_unit(const Plan& plan, const Unit& unit) {
  const UnitRows rows(plan, unit);
  const int count = static_cast<int>(rows.q.size());
  const Buffer memory((2 * plan.state_floats + scratch_floats(plan)) * size_of(DType::kF32));
  auto* floats = static_cast<float*>(memory.data());
  const AttentionState whole = plan.state(floats);
  const AttentionState later = plan.state(floats + plan.state_floats);
  for (int i = 0; i < unit.parts(); ++i) {
    run_part(plan, unit, rows, unit.part(i), i == 0 ? whole : later, floats + 2 * plan.state_floats);
    if (i > 0) plan.isa.merge(whole, later, count, plan.v_dim);
  }
  finish(plan, unit, rows, whole);
}

// Every part of every unit as a task, then the merges.
void run_split(const Plan& plan, ThreadPool& pool, const std::vector<Unit>& units) {
  struct Task {
    size_t unit;
    int part;
  };
  std::vector<Task> tasks;
  std::vector<size_t> first(units.size());  // state of each unit's first part
  for (size_t u = 0; u < units.size(); ++u) {
    first[u] = tasks.size();
    for (int i = 0; i < units[u].parts(); ++i) tasks.push_back({u, units[u].part(i)});
  }
  const Buffer states(std::max<int64_t>(static_cast<int64_t>(tasks.size()), 1) * plan.state_floats *
                      size_of(DType::kF32));
  const auto state = [&](size_t i) {
    return plan.state(static_cast<float*>(states.data()) + static_cast<int64_t>(i) * plan.state_floats);
  };
  pool.parallel_tasks(static_cast<int64_t>(tasks.size()), [&](int64_t i) {
    const Buffer scratch(scratch_floats(plan) * size_of(DType::kF32));
    const Unit& unit = units[tasks[i].unit];
    run_part(plan, unit, UnitRows(plan, unit), tasks[i].part, state(i), static_cast<float*>(scratch.data()));
  });
  pool.parallel_for(static_cast<int64_t>(units.size()), 1, [&](int64_t begin, int64_t end) {
    for (int64_t u = begin; u < end; ++u) {
      const UnitRows rows(plan, units[u]);
      const AttentionState whole = state(first[u]);
      for (int i = 1; i < units[u].parts(); ++i) {
        plan.isa.merge(whole, state(first[u] + i), static_cast<int>(rows.q.size()), plan.v_dim);
      }
      finish(plan, units[u], rows, whole);
    }
  });
}

}  // namespace

void flash(const AttentionTable& isa, Stream& stream, const AttentionArgs& args) {
  const Shapes n = check(args);
  Plan plan = {.isa = isa,
               .args = args,
               .heads = n["heads"],
               .kv_heads = n["kv_heads"],
               .group = n["heads"] / n["kv_heads"],
               .head_dim = n["head_dim"],
               .v_dim = n["v_dim"],
               .block = n["block"],
               .rows = 0,
               .state_floats = 0};
  plan.rows = std::max<int64_t>(kTileRows / plan.group, 1) * plan.group;
  plan.state_floats = round_up(plan.rows * (2 + isa.pad(plan.v_dim)), 16);
  const std::vector<Unit> units = units_of(plan);
  int most_parts = 0;
  for (const Unit& unit : units) most_parts = std::max(most_parts, unit.parts());
  if (most_parts > 1 && static_cast<int64_t>(units.size()) < int64_t{kUnitsPerThread} * stream.pool->size()) {
    run_split(plan, *stream.pool, units);
    return;
  }
  stream.pool->parallel_tasks(static_cast<int64_t>(units.size()),
                              [&](int64_t i) { run_unit(plan, units[i]); });
}

int64_t flash_scratch_bytes(const AttentionTable& isa, const AttentionNeeds& needs, const StepSize& size) {
  const int64_t group = std::max(needs.heads / std::max(needs.kv_heads, 1), 1);
  const int64_t tile = std::max<int64_t>(kTileRows / group, 1);
  const int64_t rows = tile * group;
  const int64_t state = round_up(rows * (2 + isa.pad(needs.v_dim)), 16) * size_of(DType::kF32);
  const int64_t scratch = isa.scratch(rows, needs.head_dim, needs.v_dim) * size_of(DType::kF32);
  constexpr int64_t kGrowth = 3;  // a vector of n elements, while it grows, with the one it grows out of
  const int64_t unit_rows = kGrowth * rows * int64_t{sizeof(const float*) + sizeof(RowMask)};
  const int64_t units = (div_up(size.tokens, tile) + size.sequences) * needs.kv_heads;
  const int64_t split_units = std::min<int64_t>(units, int64_t{kUnitsPerThread} * size.threads);
  const int64_t parts = split_units * (div_up(size.length, kPartKeys) + 1);
  constexpr int64_t kTaskBytes = 2 * sizeof(size_t);
  const int64_t split = parts * (state + kGrowth * kTaskBytes);
  return size.threads * (2 * state + scratch + unit_rows) + kGrowth * units * int64_t{sizeof(Unit)} + split;
}

std::string flash_why_not(const AttentionNeeds& needs) {
  const auto text = [](const char* what, int64_t size) {
    return std::string(what) + " " + std::to_string(size) + ": takes 1 to " + std::to_string(kMostHeadDim);
  };
  if (needs.head_dim < 1 || needs.head_dim > kMostHeadDim) return text("head_dim", needs.head_dim);
  if (needs.v_dim < 1 || needs.v_dim > kMostHeadDim) return text("v_dim", needs.v_dim);
  if (needs.kv_dtype != DType::kF32 && needs.kv_dtype != DType::kBF16) {
    return "cache of " + std::string(name_of(needs.kv_dtype)) + ": takes float32 and bfloat16";
  }
  if (needs.kv_heads < 1 || needs.heads % needs.kv_heads != 0) {
    return std::to_string(needs.heads) + " heads with " + std::to_string(needs.kv_heads) +
           " kv heads: takes kv heads that divide the heads";
  }
  return "";
}

}  // namespace heed::cpu
