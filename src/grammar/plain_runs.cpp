// Where a state treats all plain code points (token_trie.h) alike, long runs of them need no look at single
// tokens.
#include <array>
#include <utility>

#include "grammar/bytes.h"

namespace heed::grammar {
namespace {

constexpr int32_t kNone = -1;

// How a plain code point may be spelled: ranges for the first byte, then for the bytes behind.
struct PlainShape {
  int lo;
  int hi;
  std::array<std::pair<int, int>, 3> rest;  // unused: {0, 0}
};
constexpr std::pair<int, int> kTail = {0x80, 0xBF};
constexpr std::array<PlainShape, 11> kPlainShapes = {{
    {0x20, 0x21, {}},
    {0x23, 0x5B, {}},
    {0x5D, 0x7F, {}},
    {0xC2, 0xDF, {{kTail}}},
    {0xE0, 0xE0, {{{0xA0, 0xBF}, kTail}}},
    {0xE1, 0xEC, {{kTail, kTail}}},
    {0xED, 0xED, {{{0x80, 0x9F}, kTail}}},
    {0xEE, 0xEF, {{kTail, kTail}}},
    {0xF0, 0xF0, {{{0x90, 0xBF}, kTail, kTail}}},
    {0xF1, 0xF3, {{kTail, kTail, kTail}}},
    {0xF4, 0xF4, {{{0x80, 0x8F}, kTail, kTail}}},
}};

class PlainRuns {
 public:
  explicit PlainRuns(const Tables& tables) : tables_(tables), next_(tables.states.size()) {
    for (size_t i = 0; i < next_.size(); ++i) next_[i] = uniform_target(static_cast<int32_t>(i));
  }

  void fill(Tables& tables) const {
    std::vector<int8_t> known(next_.size(), 0);
    for (size_t i = 0; i < next_.size(); ++i) {
      // Along the chain of targets to a state whose answer is known, to a chain's end, or around a circle.
      std::vector<size_t> chain;
      size_t at = i;
      while (known[at] == 0 && next_[at] != kNone) {
        known[at] = 1;
        chain.push_back(at);
        at = static_cast<size_t>(next_[at]);
      }
      if (known[at] == 1) {
        tables.states[at].plain_run = kEndless;
        tables.states[at].plain_exact = true;
      } else if (known[at] == 0) {
        tables.states[at].plain_run = 0;
        tables.states[at].plain_exact = refuses_plain(static_cast<int32_t>(at));
      }
      known[at] = 2;
      for (; !chain.empty(); chain.pop_back()) {
        if (known[chain.back()] == 2) continue;
        const TableState& behind = tables.states[static_cast<size_t>(next_[chain.back()])];
        TableState& state = tables.states[chain.back()];
        state.plain_run = behind.plain_run == kEndless ? kEndless : behind.plain_run + 1;
        state.plain_exact = behind.plain_exact && (state.is_quiet() || behind.plain_run == kEndless);
        known[chain.back()] = 2;
      }
    }
  }

 private:
  // The target of the edge that takes all of lo..hi, if the state is simple and there is one.
  int32_t target_of(int32_t index, int lo, int hi) const {
    const TableState& state = tables_.state(index);
    if (!state.disjoint) return kNone;
    for (const ByteEdge& edge : tables_.edges_of(state)) {
      if (edge.lo <= lo && hi <= edge.hi) return edge.target;
    }
    return kNone;
  }

  int32_t uniform_target(int32_t index) const {
    int32_t common = kNone;
    for (const PlainShape& shape : kPlainShapes) {
      const int32_t target = shape_target(index, shape);
      if (target == kNone || (common != kNone && target != common)) return kNone;
      common = target;
    }
    // A target that needs more calls than this state could be out of the stack's depth where this state is
    // not.
    return tables_.state(common).need <= tables_.state(index).need ? common : kNone;
  }

  int32_t shape_target(int32_t index, const PlainShape& shape) const {
    // A lead range may be cut into several edges: all must go the same way.
    if (shape.rest[0].second == 0) return target_of(index, shape.lo, shape.hi);
    int32_t common = kNone;
    for (int lead = shape.lo; lead <= shape.hi; ++lead) {
      int32_t at = target_of(index, lead, lead);
      for (const auto& [lo, hi] : shape.rest) {
        if (hi != 0 && at != kNone) at = target_of(at, lo, hi);
      }
      if (at == kNone || (common != kNone && at != common)) return kNone;
      common = at;
    }
    return common;
  }

  bool refuses_plain(int32_t index) const {
    const TableState& state = tables_.state(index);
    if (!state.is_quiet()) return false;
    for (const ByteEdge& edge : tables_.edges_of(state)) {
      for (const PlainShape& shape : kPlainShapes) {
        if (edge.lo <= shape.hi && shape.lo <= edge.hi) return false;
      }
    }
    return true;
  }

  const Tables& tables_;
  std::vector<int32_t> next_;
};

}  // namespace

void find_plain_runs(Tables& tables) { PlainRuns(tables).fill(tables); }

}  // namespace heed::grammar
