// Tables: a compiled grammar as flat arrays, the form that is matched.
//
// Rules call each other like procedures; each is an automaton over bytes. Every state can reach the end of
// its rule (dead ends are removed when the tables are built), so whatever has been accepted can be completed.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

namespace heed::grammar {

inline constexpr int32_t kEndless = INT32_MAX;

struct ByteEdge {
  uint8_t lo = 0;
  uint8_t hi = 0;
  bool counts = false;     // begins a counted character: only below the rule's max_count
  bool needs_min = false;  // only from the rule's min_count on
  int32_t target = 0;
};

struct RuleCall {
  int32_t rule = 0;
  int32_t target = 0;  // where to go on once the rule has matched
};

struct TableState {
  int32_t first_edge = 0;
  int32_t num_edges = 0;
  int32_t first_call = 0;
  int32_t num_calls = 0;
  int32_t rule = 0;
  int32_t need = 0;  // calls that must be open at once, at least, on the way to the rule's end
  int32_t plain_run =
      0;  // texts of so many plain code points (token_trie.h) or fewer are accepted; or kEndless
  bool plain_exact = false;  // and longer ones are refused
  bool is_final = false;
  bool disjoint = false;  // at most one edge a byte

  bool is_end() const { return is_final && num_edges == 0 && num_calls == 0; }
  bool is_quiet() const { return !is_final && num_calls == 0; }
};

struct TableRule {
  int32_t start = 0;
  bool nullable = false;  // matches the empty text: callers know, so it never has to end where it began
  int32_t min_count = 0;  // of counted characters
  int32_t max_count = kEndless;
};

struct Tables {
  std::vector<TableState> states;
  std::vector<ByteEdge> edges;
  std::vector<RuleCall> calls;
  std::vector<TableRule> rules;
  int32_t root = 0;
  int32_t max_depth = 0;  // of calls open at once

  const TableState& state(int32_t i) const { return states[static_cast<size_t>(i)]; }
  const TableRule& rule(int32_t i) const { return rules[static_cast<size_t>(i)]; }
  std::span<const ByteEdge> edges_of(const TableState& state) const {
    return {edges.data() + state.first_edge, static_cast<size_t>(state.num_edges)};
  }
  std::span<const RuleCall> calls_of(const TableState& state) const {
    return {calls.data() + state.first_call, static_cast<size_t>(state.num_calls)};
  }
};

}  // namespace heed::grammar
