#include "grammar/compile.h"

#include <algorithm>

#include "grammar/bytes.h"

namespace heed::grammar {
namespace {

// Whether the automaton accepts the empty text, given which rules do.
bool accepts_empty(const Automaton& automaton, const std::vector<bool>& nullable, Budget& budget) {
  std::vector<bool> seen(automaton.states.size(), false);
  std::vector<int32_t> open = {0};
  while (!open.empty() && budget.add_steps(1)) {
    const auto state = static_cast<size_t>(open.back());
    open.pop_back();
    if (seen[state]) continue;
    seen[state] = true;
    if (automaton.states[state].is_final) return true;
    for (const AutomatonEdge& edge : automaton.states[state].edges) {
      const bool is_call = edge.kind == EdgeKind::kCall;
      const bool follow = is_call ? nullable[static_cast<size_t>(edge.lo)] : edge.kind != EdgeKind::kChars;
      if (follow) open.push_back(edge.target);
    }
  }
  return false;
}

}  // namespace

int GrammarBuilder::add_rule() {
  budget_.add_steps(1);
  drafts_.emplace_back();
  return num_rules() - 1;
}

Status GrammarBuilder::within_limits() const {
  if (num_rules() > limits_.max_rules) {
    return limit_reached("the grammar needs more than " + std::to_string(limits_.max_rules) + " rules");
  }
  if (!budget_.spent()) return {};
  if (budget_.out_of_states()) {
    return limit_reached("the grammar needs more than " + std::to_string(limits_.max_states) + " states");
  }
  return limit_reached("the grammar takes more than " + std::to_string(limits_.max_steps) +
                       " steps to compile");
}

// A rule is looked at again when one that it calls turns out to accept the empty text: a chain of rules, each
// of which calls the next, is looked at twice and not once for each of its links.
std::vector<bool> GrammarBuilder::nullable_rules() {
  std::vector<std::vector<size_t>> callers(drafts_.size());
  std::vector<size_t> open;
  for (size_t rule = 0; rule < drafts_.size(); ++rule) {
    open.push_back(rule);
    for (const AutomatonState& state : drafts_[rule].automaton.states) {
      for (const AutomatonEdge& edge : state.edges) {
        if (edge.kind == EdgeKind::kCall) callers[static_cast<size_t>(edge.lo)].push_back(rule);
      }
    }
  }
  std::vector<bool> nullable(drafts_.size(), false);
  while (!open.empty() && !budget_.spent()) {
    const size_t rule = open.back();
    open.pop_back();
    if (nullable[rule] || drafts_[rule].encoding == Encoding::kJsonString) continue;
    if (!accepts_empty(drafts_[rule].automaton, nullable, budget_)) continue;
    nullable[rule] = true;
    open.insert(open.end(), callers[rule].begin(), callers[rule].end());
  }
  return nullable;
}

// Where the deterministic automaton would be far larger, the states stay as they are and several are followed
// at once. Regular expressions, which alone have assertions, come here deterministic already.
Status GrammarBuilder::make_deterministic(Automaton& automaton) {
  std::optional<Automaton> smaller = determinized(automaton, int64_t{8} * automaton.size() + 4096, budget_);
  TRY(within_limits());
  if (smaller) {
    automaton = std::move(*smaller);
  } else {
    automaton = without_empty_edges(automaton, budget_);
  }
  return within_limits();
}

Result<Grammar> GrammarBuilder::finish(int root) {
  TRY(within_limits());
  const std::vector<bool> nullable = nullable_rules();
  ByteTables tables(num_rules());
  for (int rule = 0; rule < num_rules(); ++rule) {
    RuleDraft& draft = drafts_[static_cast<size_t>(rule)];
    for (AutomatonState& state : draft.automaton.states) {
      for (size_t i = 0; i < state.edges.size(); ++i) {
        const AutomatonEdge edge = state.edges[i];
        const bool is_call = edge.kind == EdgeKind::kCall;
        if (is_call && nullable[static_cast<size_t>(edge.lo)])
          state.edges.push_back({EdgeKind::kEmpty, 0, 0, edge.target});
      }
    }
    if (!draft.automaton.deterministic) TRY(make_deterministic(draft.automaton));
    tables.add(rule, draft, nullable[static_cast<size_t>(rule)], budget_);
    draft.automaton = {};
    TRY(within_limits());
    if (tables.num_bytes() > limits_.max_bytes) {
      return limit_reached("the grammar needs more than " + std::to_string(limits_.max_bytes) + " bytes");
    }
  }
  return Grammar(TRY(std::move(tables).finish(root, limits_.max_depth)));
}

}  // namespace heed::grammar
