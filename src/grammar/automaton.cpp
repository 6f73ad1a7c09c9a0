#include "grammar/automaton.h"

#include <algorithm>
#include <map>
#include <unordered_map>

namespace heed::grammar {
namespace {

using StateSet = std::vector<int32_t>;  // sorted

struct StateSetHash {
  size_t operator()(const StateSet& set) const {
    uint64_t hash = 0xcbf29ce484222325u;
    for (const int32_t state : set) hash = (hash ^ static_cast<uint64_t>(state)) * 0x100000001b3u;
    return static_cast<size_t>(hash ^ hash >> 32);
  }
};

const AutomatonState& state_of(const Automaton& automaton, int32_t state) {
  return automaton.states[static_cast<size_t>(state)];
}

// Follows edges that match nothing. `seen` holds the number of the search that saw a state last.
class Closure {
 public:
  explicit Closure(const Automaton& automaton) : automaton_(automaton), seen_(automaton.states.size(), 0) {}

  StateSet of(const StateSet& states, bool at_begin, bool at_end, Budget& budget) {
    ++search_;
    StateSet result;
    for (const int32_t state : states) visit(state, result);
    for (size_t i = 0; i < result.size() && budget.add_steps(1); ++i) {
      for (const AutomatonEdge& edge : state_of(automaton_, result[i]).edges) {
        const bool follow = edge.kind == EdgeKind::kEmpty || (edge.kind == EdgeKind::kBegin && at_begin) ||
                            (edge.kind == EdgeKind::kEnd && at_end);
        if (follow) visit(edge.target, result);
      }
    }
    sort(result);
    return result;
  }

  bool has_final(const StateSet& states) const {
    return std::any_of(states.begin(), states.end(),
                       [&](int32_t state) { return state_of(automaton_, state).is_final; });
  }

 private:
  void visit(int32_t state, StateSet& result) {
    int& seen = seen_[static_cast<size_t>(state)];
    if (seen == search_) return;
    seen = search_;
    result.push_back(state);
  }

  // Those of the search that has just ended. Where they lie close together their marks are read in order,
  // which is quicker: a schema of thousands of optional properties has as many of them in each of as many
  // sets.
  void sort(StateSet& result) const {
    constexpr size_t kClose = 32;  // states for each that is in the set
    if (result.empty()) return;
    const auto [least, largest] = std::minmax_element(result.begin(), result.end());
    const auto begin = static_cast<size_t>(*least);
    const auto end = static_cast<size_t>(*largest) + 1;
    if ((end - begin) / kClose > result.size()) return std::sort(result.begin(), result.end());
    result.clear();
    for (size_t state = begin; state < end; ++state) {
      if (seen_[state] == search_) result.push_back(static_cast<int32_t>(state));
    }
  }

  const Automaton& automaton_;
  std::vector<int> seen_;
  int search_ = 0;
};

void append_merged(std::vector<AutomatonEdge>& edges, AutomatonEdge edge) {
  if (!edges.empty() && edges.back().kind == EdgeKind::kChars && edges.back().target == edge.target &&
      edges.back().hi + 1 == edge.lo) {
    edges.back().hi = edge.hi;
  } else {
    edges.push_back(edge);
  }
}

class Determinizer {
 public:
  Determinizer(const Automaton& automaton, int64_t max_states, Budget& budget)
      : from_(automaton), closure_(automaton), max_states_(max_states), budget_(budget) {
    for (const AutomatonState& state : automaton.states) {
      for (const AutomatonEdge& edge : state.edges) has_end_ = has_end_ || edge.kind == EdgeKind::kEnd;
    }
  }

  std::optional<Automaton> run() {
    result_.deterministic = true;
    number_of(closure_.of({0}, true, false, budget_), true);
    for (size_t i = 0; i < sets_.size(); ++i) {
      if (budget_.spent() || static_cast<int64_t>(sets_.size()) > max_states_) return std::nullopt;
      expand(static_cast<int32_t>(i));
    }
    return std::move(result_);
  }

 private:
  int32_t number_of(StateSet set, bool at_begin) {
    const auto [at, is_new] = numbers_.try_emplace(std::move(set), static_cast<int32_t>(sets_.size()));
    if (!is_new) return at->second;
    sets_.push_back(&at->first);
    result_.add_state(budget_);
    const bool is_final =
        closure_.has_final(has_end_ ? closure_.of(at->first, at_begin, true, budget_) : at->first);
    result_.states.back().is_final = is_final;
    return at->second;
  }

  void expand(int32_t number) {
    std::vector<AutomatonEdge> chars;
    std::map<int32_t, StateSet> calls;
    for (const int32_t state : *sets_[static_cast<size_t>(number)]) {
      for (const AutomatonEdge& edge : state_of(from_, state).edges) {
        if (edge.kind == EdgeKind::kChars) chars.push_back(edge);
        if (edge.kind == EdgeKind::kCall) calls[edge.lo].push_back(edge.target);
      }
    }
    sweep(number, chars);
    for (auto& [rule, targets] : calls) {
      const int32_t target = number_of(closure_.of(targets, false, false, budget_), false);
      result_.connect(number, {EdgeKind::kCall, rule, rule, target});
    }
  }

  // Cuts overlapping ranges into disjoint ones, each with the set of all targets it has.
  void sweep(int32_t number, std::vector<AutomatonEdge>& chars) {
    budget_.add_steps(static_cast<int64_t>(chars.size()));
    std::sort(chars.begin(), chars.end(),
              [](const AutomatonEdge& a, const AutomatonEdge& b) { return a.lo < b.lo; });
    std::vector<AutomatonEdge> active;
    size_t next = 0;
    for (int32_t lo = 0; (next < chars.size() || !active.empty()) && !budget_.spent();) {
      if (active.empty()) lo = chars[next].lo;
      for (; next < chars.size() && chars[next].lo == lo; ++next) active.push_back(chars[next]);
      int32_t hi = next < chars.size() ? chars[next].lo - 1 : kLastCodePoint;
      StateSet targets;
      for (const AutomatonEdge& edge : active) {
        hi = std::min(hi, edge.hi);
        targets.push_back(edge.target);
      }
      budget_.add_steps(static_cast<int64_t>(active.size()));
      const int32_t target = number_of(closure_.of(targets, false, false, budget_), false);
      append_merged(result_.states[static_cast<size_t>(number)].edges, {EdgeKind::kChars, lo, hi, target});
      std::erase_if(active, [&](const AutomatonEdge& edge) { return edge.hi <= hi; });
      lo = hi + 1;
    }
  }

  const Automaton& from_;
  Closure closure_;
  int64_t max_states_;
  Budget& budget_;
  bool has_end_ = false;
  Automaton result_;
  std::unordered_map<StateSet, int32_t, StateSetHash> numbers_;
  std::vector<const StateSet*> sets_;  // keys of numbers_, which stay where they are
};

int add_repeat(Automaton& automaton, int from, const Syntax& syntax, Budget& budget) {
  const Syntax& part = syntax.parts[0];
  int at = from;
  for (int i = 0; i < syntax.min && budget.add_steps(1); ++i) at = automaton.add_syntax(at, part, budget);
  if (syntax.max == kUnbounded) {
    const int loop = automaton.add_state(budget);
    automaton.add_empty(at, loop);
    automaton.add_empty(automaton.add_syntax(loop, part, budget), loop);
    return loop;
  }
  const int end = automaton.add_state(budget);
  for (int i = syntax.min; i < syntax.max && budget.add_steps(1); ++i) {
    automaton.add_empty(at, end);
    at = automaton.add_syntax(at, part, budget);
  }
  automaton.add_empty(at, end);
  return end;
}

}  // namespace

int Automaton::add_state(Budget& budget) {
  budget.add_states(1);
  states.emplace_back();
  return size() - 1;
}

int Automaton::add_literal(int from, std::string_view utf8, Budget& budget) {
  const auto points = code_points(utf8);
  CHECK(points.has_value(), utf8);
  for (const int32_t c : *points) {
    if (budget.spent()) break;
    const int to = add_state(budget);
    connect(from, {EdgeKind::kChars, c, c, to});
    from = to;
  }
  return from;
}

int Automaton::add_call(int from, int rule, Budget& budget) {
  const int to = add_state(budget);
  connect(from, {EdgeKind::kCall, rule, rule, to});
  return to;
}

int Automaton::add_syntax(int from, const Syntax& syntax, Budget& budget) {
  if (budget.spent()) return from;
  switch (syntax.kind) {
    case Syntax::Kind::kChars: {
      const int to = add_state(budget);
      for (const CodePoints& range : syntax.chars) connect(from, {EdgeKind::kChars, range.lo, range.hi, to});
      return to;
    }
    case Syntax::Kind::kSequence:
      for (const Syntax& part : syntax.parts) from = add_syntax(from, part, budget);
      return from;
    case Syntax::Kind::kChoice: {
      const int to = add_state(budget);
      for (const Syntax& part : syntax.parts) {
        const int entry = add_state(budget);
        add_empty(from, entry);
        add_empty(add_syntax(entry, part, budget), to);
      }
      return to;
    }
    case Syntax::Kind::kRepeat:
      return add_repeat(*this, from, syntax, budget);
    case Syntax::Kind::kCall:
      return add_call(from, syntax.rule, budget);
    case Syntax::Kind::kBegin:
    case Syntax::Kind::kEnd:
      break;
  }
  const int to = add_state(budget);
  connect(from, {syntax.kind == Syntax::Kind::kBegin ? EdgeKind::kBegin : EdgeKind::kEnd, 0, 0, to});
  return to;
}

Automaton automaton_of(const Syntax& syntax, Budget& budget) {
  Automaton automaton;
  const int start = automaton.add_state(budget);
  automaton.set_final(automaton.add_syntax(start, syntax, budget));
  return automaton;
}

std::optional<Automaton> determinized(const Automaton& automaton, int64_t max_states, Budget& budget) {
  return Determinizer(automaton, max_states, budget).run();
}

Automaton without_empty_edges(const Automaton& automaton, Budget& budget) {
  Automaton result;
  Closure closure(automaton);
  for (int i = 0; i < automaton.size() && !budget.spent(); ++i) {
    result.add_state(budget);
    AutomatonState& to = result.states.back();
    const StateSet reached = closure.of({i}, false, false, budget);
    to.is_final = closure.has_final(reached);
    for (const int32_t state : reached) {
      for (const AutomatonEdge& edge : state_of(automaton, state).edges) {
        if (edge.kind != EdgeKind::kEmpty) to.edges.push_back(edge);
      }
    }
    budget.add_steps(static_cast<int64_t>(to.edges.size()));
  }
  return result;
}

std::optional<Automaton> intersection(const Automaton& a, const Automaton& b, Budget& budget) {
  Automaton result;
  result.deterministic = true;
  std::map<std::pair<int32_t, int32_t>, int32_t> numbers;
  std::vector<std::pair<int32_t, int32_t>> pairs;
  const auto number_of = [&](int32_t in_a, int32_t in_b) {
    const auto [at, is_new] = numbers.try_emplace({in_a, in_b}, static_cast<int32_t>(pairs.size()));
    if (is_new) {
      pairs.emplace_back(in_a, in_b);
      result.add_state(budget);
      result.states.back().is_final = state_of(a, in_a).is_final && state_of(b, in_b).is_final;
    }
    return at->second;
  };
  number_of(0, 0);
  for (size_t i = 0; i < pairs.size(); ++i) {
    const auto& edges_a = state_of(a, pairs[i].first).edges;
    const auto& edges_b = state_of(b, pairs[i].second).edges;
    for (size_t x = 0, y = 0; x < edges_a.size() && y < edges_b.size() && budget.add_steps(1);) {
      const int32_t lo = std::max(edges_a[x].lo, edges_b[y].lo);
      const int32_t hi = std::min(edges_a[x].hi, edges_b[y].hi);
      if (lo <= hi) {
        const int32_t target = number_of(edges_a[x].target, edges_b[y].target);
        append_merged(result.states[i].edges, {EdgeKind::kChars, lo, hi, target});
      }
      edges_a[x].hi < edges_b[y].hi ? ++x : ++y;
    }
    if (budget.spent()) return std::nullopt;
  }
  return result;
}

}  // namespace heed::grammar
