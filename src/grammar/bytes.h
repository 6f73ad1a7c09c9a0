// ByteTables: automata over code points, spelled out in bytes and joined to the tables of one grammar.
#pragma once
#include <vector>

#include "grammar/compile.h"

namespace heed::grammar {

class ByteTables {
 public:
  explicit ByteTables(int num_rules) : rules_(static_cast<size_t>(num_rules)) {}

  void add(int rule, const RuleDraft& draft, bool nullable, Budget& budget);
  int64_t num_bytes() const { return num_bytes_; }

  // Without what cannot be completed; an error if then nothing is left.
  Result<Tables> finish(int root, int max_depth) &&;

 private:
  friend class RuleSpeller;
  struct State {
    std::vector<ByteEdge> edges;
    std::vector<RuleCall> calls;
    int32_t rule = 0;
    bool is_final = false;
    bool disjoint = true;
  };

  std::vector<int32_t> needs() const;
  Tables flattened(const std::vector<int32_t>& needs) const;

  std::vector<State> states_;
  std::vector<TableRule> rules_;
  int64_t num_bytes_ = 0;
};

// Fills in plain_run and plain_exact of all states.
void find_plain_runs(Tables& tables);

}  // namespace heed::grammar
