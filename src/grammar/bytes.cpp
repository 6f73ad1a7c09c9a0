#include "grammar/bytes.h"

#include <algorithm>
#include <array>
#include <map>

namespace heed::grammar {
namespace {

struct Spelling {
  ByteSequence bytes;
  int32_t target = 0;
};

void append_single(std::initializer_list<int> bytes, int32_t target, std::vector<Spelling>& spellings) {
  Spelling spelling{{}, target};
  for (const int byte : bytes) {
    spelling.bytes.lo[static_cast<size_t>(spelling.bytes.length)] = static_cast<uint8_t>(byte);
    spelling.bytes.hi[static_cast<size_t>(spelling.bytes.length++)] = static_cast<uint8_t>(byte);
  }
  spellings.push_back(spelling);
}

void append_raw(CodePoints range, int32_t target, std::vector<Spelling>& spellings) {
  std::vector<ByteSequence> sequences;
  append_utf8(range, sequences);
  for (const ByteSequence& sequence : sequences) spellings.push_back({sequence, target});
}

// Raw where a JSON string may hold the character, else its shortest escape.
void append_json(CodePoints range, int32_t target, std::vector<Spelling>& spellings) {
  constexpr std::string_view kControls = "\b\t\n\f\r";
  constexpr std::string_view kNames = "btnfr";
  constexpr std::string_view kHex = "0123456789abcdef";
  for (int32_t c = range.lo; c <= std::min(range.hi, 0x1F); ++c) {
    const size_t named = kControls.find(static_cast<char>(c));
    if (named != std::string_view::npos) {
      append_single({'\\', kNames[named]}, target, spellings);
    } else {
      append_single(
          {'\\', 'u', '0', '0', kHex[static_cast<size_t>(c >> 4)], kHex[static_cast<size_t>(c & 15)]}, target,
          spellings);
    }
  }
  for (const int32_t c : {0x22, 0x5C}) {
    if (range.lo <= c && c <= range.hi) append_single({'\\', c}, target, spellings);
  }
  for (const CodePoints& raw : {CodePoints{0x20, 0x21}, {0x23, 0x5B}, {0x5D, kLastCodePoint}}) {
    const CodePoints part = {std::max(raw.lo, range.lo), std::min(raw.hi, range.hi)};
    if (part.lo <= part.hi) append_raw(part, target, spellings);
  }
}

}  // namespace

// Spells the states of one rule: each becomes a byte state, with further states inside a character.
class RuleSpeller {
 public:
  RuleSpeller(ByteTables& tables, int rule, const RuleDraft& draft, Budget& budget)
      : tables_(tables), rule_(rule), draft_(draft), budget_(budget) {}

  int32_t spell() {
    const bool quoted = draft_.encoding == Encoding::kJsonString;
    const Automaton& automaton = draft_.automaton;
    first_ = static_cast<int32_t>(tables_.states_.size());
    for (int i = 0; i < automaton.size(); ++i) new_state();
    const int32_t end = quoted ? new_state() : 0;
    if (quoted) at(end).is_final = true;
    for (int32_t i = 0; i < automaton.size() && !budget_.spent(); ++i) {
      spell_state(i);
      if (!automaton.states[static_cast<size_t>(i)].is_final) continue;
      if (quoted) {
        at(first_ + i).edges.push_back({'"', '"', false, false, end});
      } else {
        at(first_ + i).is_final = true;
      }
    }
    if (draft_.counted) mark_counts(first_ + 1);
    if (!quoted) return first_;
    const int32_t start = new_state();
    at(start).edges.push_back({'"', '"', false, false, first_});
    return start;
  }

 private:
  ByteTables::State& at(int32_t state) { return tables_.states_[static_cast<size_t>(state)]; }

  int32_t new_state() {
    budget_.add_states(1);
    tables_.num_bytes_ += static_cast<int64_t>(sizeof(ByteTables::State));
    tables_.states_.emplace_back().rule = rule_;
    return static_cast<int32_t>(tables_.states_.size()) - 1;
  }

  void spell_state(int32_t i) {
    std::vector<Spelling> spellings;
    std::vector<ByteEdge> edges;
    for (const AutomatonEdge& edge : draft_.automaton.states[static_cast<size_t>(i)].edges) {
      if (edge.kind == EdgeKind::kCall) {
        at(first_ + i).calls.push_back({edge.lo, first_ + edge.target});
        continue;
      }
      const auto append = draft_.encoding == Encoding::kText ? append_raw : append_json;
      append({edge.lo, edge.hi}, first_ + edge.target, spellings);
      if (draft_.automaton.deterministic) continue;
      spell_trie(spellings, 0, edges);
      spellings.clear();
    }
    if (draft_.automaton.deterministic) spell_trie(spellings, 0, edges);
    at(first_ + i).disjoint = draft_.automaton.deterministic;
    tables_.num_bytes_ += static_cast<int64_t>((edges.size() * sizeof(ByteEdge)));
    at(first_ + i).edges = std::move(edges);
  }

  // Sequences that share their first `depth` bytes: appends an edge for each range of the next byte.
  void spell_trie(std::vector<Spelling>& spellings, int depth, std::vector<ByteEdge>& edges) {
    const auto place = static_cast<size_t>(depth);
    std::stable_sort(spellings.begin(), spellings.end(), [&](const Spelling& a, const Spelling& b) {
      return a.bytes.lo[place] < b.bytes.lo[place];
    });
    budget_.add_steps(static_cast<int64_t>(spellings.size()));
    for (size_t begin = 0, end = 0; begin < spellings.size() && !budget_.spent(); begin = end) {
      const uint8_t lo = spellings[begin].bytes.lo[place];
      const uint8_t hi = spellings[begin].bytes.hi[place];
      while (end < spellings.size() && spellings[end].bytes.lo[place] == lo) ++end;
      int32_t target = spellings[begin].target;
      if (spellings[begin].bytes.length > depth + 1) {
        std::vector<Spelling> longer(spellings.begin() + static_cast<int64_t>(begin),
                                     spellings.begin() + static_cast<int64_t>(end));
        std::vector<ByteEdge> inner;
        spell_trie(longer, depth + 1, inner);
        target = shared_state(std::move(inner));
      }
      if (!edges.empty() && edges.back().target == target && edges.back().hi + 1 == lo) {
        edges.back().hi = hi;
      } else {
        edges.push_back({lo, hi, false, false, target});
      }
    }
  }

  // States inside a character with the same edges are one state.
  int32_t shared_state(std::vector<ByteEdge> edges) {
    std::vector<std::array<int32_t, 3>> key;
    key.reserve(edges.size());
    for (const ByteEdge& edge : edges) key.push_back({edge.lo, edge.hi, edge.target});
    const auto [known, is_new] = shared_.try_emplace(std::move(key), 0);
    if (is_new) {
      known->second = new_state();
      tables_.num_bytes_ += static_cast<int64_t>(edges.size() * sizeof(ByteEdge));
      at(known->second).edges = std::move(edges);
    }
    return known->second;
  }

  void mark_counts(int32_t body) {
    for (ByteEdge& edge : at(body).edges) {
      edge.needs_min = edge.lo == '"';
      edge.counts = !edge.needs_min;
    }
  }

  ByteTables& tables_;
  int rule_;
  const RuleDraft& draft_;
  Budget& budget_;
  int32_t first_ = 0;
  std::map<std::vector<std::array<int32_t, 3>>, int32_t> shared_;
};

void ByteTables::add(int rule, const RuleDraft& draft, bool nullable, Budget& budget) {
  TableRule& entry = rules_[static_cast<size_t>(rule)];
  entry.start = RuleSpeller(*this, rule, draft, budget).spell();
  entry.nullable = nullable;
  entry.min_count = draft.min_count;
  entry.max_count = draft.max_count;
}

// How many calls must be open at once to complete each state, kEndless where it cannot be completed:
// backwards from the final states in order of rising need (as Dijkstra's algorithm goes through distances).
std::vector<int32_t> ByteTables::needs() const {
  struct Backward {
    int32_t source;
    int32_t rule;  // of the call; -1 for a byte
  };
  const size_t n = states_.size();
  std::vector<std::vector<Backward>> backward(n);
  std::vector<std::vector<int32_t>> ready(1);  // states by need
  for (size_t i = 0; i < n; ++i) {
    const auto source = static_cast<int32_t>(i);
    for (const ByteEdge& edge : states_[i].edges)
      backward[static_cast<size_t>(edge.target)].push_back({source, -1});
    for (const RuleCall& c : states_[i].calls)
      backward[static_cast<size_t>(c.target)].push_back({source, c.rule});
    if (states_[i].is_final) ready[0].push_back(source);
  }
  struct Waiting {
    int32_t source;
    int32_t need;
  };
  std::vector<std::vector<Waiting>> waiting(rules_.size());  // for a rule's start to be known
  std::vector<int32_t> need(n, kEndless);
  const auto propose = [&](int32_t state, int32_t value) {
    if (static_cast<size_t>(value) >= ready.size()) ready.resize(static_cast<size_t>(value) + 1);
    ready[static_cast<size_t>(value)].push_back(state);
  };
  for (int32_t value = 0; static_cast<size_t>(value) < ready.size(); ++value) {
    for (size_t k = 0; k < ready[static_cast<size_t>(value)].size(); ++k) {
      const int32_t state = ready[static_cast<size_t>(value)][k];
      if (need[static_cast<size_t>(state)] != kEndless) continue;
      need[static_cast<size_t>(state)] = value;
      for (const Backward& edge : backward[static_cast<size_t>(state)]) {
        if (edge.rule < 0) {
          propose(edge.source, value);
          continue;
        }
        const int32_t inner = need[static_cast<size_t>(rules_[static_cast<size_t>(edge.rule)].start)];
        if (inner == kEndless) {
          waiting[static_cast<size_t>(edge.rule)].push_back({edge.source, value});
        } else {
          propose(edge.source, std::max(value, inner + 1));
        }
      }
      const int32_t rule = states_[static_cast<size_t>(state)].rule;
      if (rules_[static_cast<size_t>(rule)].start != state) continue;
      for (const Waiting& w : waiting[static_cast<size_t>(rule)])
        propose(w.source, std::max(w.need, value + 1));
    }
  }
  return need;
}

Tables ByteTables::flattened(const std::vector<int32_t>& needs) const {
  const auto alive = [&](int32_t state) { return needs[static_cast<size_t>(state)] != kEndless; };
  Tables tables;
  tables.rules = rules_;
  std::vector<int32_t> numbers(states_.size(), -1);
  int32_t count = 0;
  for (size_t i = 0; i < states_.size(); ++i) {
    if (alive(static_cast<int32_t>(i))) numbers[i] = count++;
  }
  const auto number = [&](int32_t state) { return numbers[static_cast<size_t>(state)]; };
  tables.states.reserve(static_cast<size_t>(count));
  for (size_t i = 0; i < states_.size(); ++i) {
    if (numbers[i] < 0) continue;
    const State& from = states_[i];
    TableState state{.first_edge = static_cast<int32_t>(tables.edges.size()),
                     .first_call = static_cast<int32_t>(tables.calls.size()),
                     .rule = from.rule,
                     .need = needs[i],
                     .is_final = from.is_final,
                     .disjoint = from.disjoint};
    for (const ByteEdge& edge : from.edges) {
      if (!alive(edge.target)) continue;
      tables.edges.push_back(edge);
      tables.edges.back().target = number(edge.target);
    }
    for (const RuleCall& c : from.calls) {
      if (!alive(c.target) || !alive(rules_[static_cast<size_t>(c.rule)].start)) continue;
      tables.calls.push_back({c.rule, number(c.target)});
    }
    state.num_edges = static_cast<int32_t>(tables.edges.size()) - state.first_edge;
    state.num_calls = static_cast<int32_t>(tables.calls.size()) - state.first_call;
    tables.states.push_back(state);
  }
  for (TableRule& rule : tables.rules) rule.start = number(rule.start);
  return tables;
}

Result<Tables> ByteTables::finish(int root, int max_depth) && {
  const std::vector<int32_t> need = needs();
  const int32_t root_need = need[static_cast<size_t>(rules_[static_cast<size_t>(root)].start)];
  if (root_need == kEndless) return invalid("no finite text can match");
  if (root_need > max_depth) {
    return limit_reached("every text that matches nests deeper than " + std::to_string(max_depth) + " rules");
  }
  Tables tables = flattened(need);
  tables.root = root;
  tables.max_depth = max_depth;
  find_plain_runs(tables);
  return tables;
}

}  // namespace heed::grammar
