// Automaton: states with edges over code points, calls of rules, empty edges and assertions.
//
// One struct serves as the NFA that the parsers build and as the DFA that determinized() makes of it. A call
// edge is a symbol like any other here: what a rule matches is looked up when the grammar runs. All work is
// charged to a Budget, so that the cost of compiling is bounded whatever the input.
#pragma once
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "grammar/code_points.h"
#include "grammar/syntax.h"

namespace heed::grammar {

// What compiling one grammar may cost. Once spent it stays spent; loops stop and the compiler reports it.
class Budget {
 public:
  Budget(int64_t states, int64_t steps) : states_(states), steps_(steps) {}
  bool add_states(int64_t n) { return (states_ -= n) >= 0; }
  bool add_steps(int64_t n) { return (steps_ -= n) >= 0; }
  bool spent() const { return states_ < 0 || steps_ < 0; }
  bool out_of_states() const { return states_ < 0; }

 private:
  int64_t states_;
  int64_t steps_;
};

enum class EdgeKind : uint8_t {
  kChars,  // code points lo..hi
  kCall,   // what rule `lo` matches
  kEmpty,  // nothing
  kBegin,  // nothing, at the beginning of the text only
  kEnd,    // nothing, at the end of the text only
};

struct AutomatonEdge {
  EdgeKind kind = EdgeKind::kEmpty;
  int32_t lo = 0;
  int32_t hi = 0;
  int32_t target = 0;
};

struct AutomatonState {
  std::vector<AutomatonEdge> edges;
  bool is_final = false;
};

// State 0 is where it starts.
struct Automaton {
  std::vector<AutomatonState> states;
  bool deterministic = false;

  // Each adds what it says behind `from` and returns the state behind that.
  int add_state(Budget& budget);
  int add_literal(int from, std::string_view utf8, Budget& budget);
  int add_syntax(int from, const Syntax& syntax, Budget& budget);
  int add_call(int from, int rule, Budget& budget);

  void add_empty(int from, int to) { connect(from, {EdgeKind::kEmpty, 0, 0, to}); }
  void connect(int from, AutomatonEdge edge) { states[static_cast<size_t>(from)].edges.push_back(edge); }
  void set_final(int state) { states[static_cast<size_t>(state)].is_final = true; }
  int size() const { return static_cast<int>(states.size()); }
};

Automaton automaton_of(const Syntax& syntax, Budget& budget);

// The same language without empty edges and assertions, with disjoint sorted code point edges and one call
// edge a rule at each state; nothing if that takes more than max_states states or the budget.
std::optional<Automaton> determinized(const Automaton& automaton, int64_t max_states, Budget& budget);

// The same language without empty edges, states as they are. There must be no assertions.
Automaton without_empty_edges(const Automaton& automaton, Budget& budget);

// What both accept. Both must be deterministic and without calls. Nothing if the budget is spent.
std::optional<Automaton> intersection(const Automaton& a, const Automaton& b, Budget& budget);

}  // namespace heed::grammar
