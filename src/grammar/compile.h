// GrammarBuilder: collects rules as automata over code points and makes the tables of a grammar of them.
#pragma once
#include <vector>

#include "grammar/automaton.h"
#include "grammar/grammar.h"

namespace heed::grammar {

enum class Encoding {
  kText,        // code points stand for themselves
  kJsonString,  // a JSON string in quotes whose value the automaton accepts; no character is escaped without
                // need
};

struct RuleDraft {
  Automaton automaton;
  Encoding encoding = Encoding::kText;
  bool counted =
      false;  // state 1 is the body of a string: code points that leave it are counted, a quote needs min
  int32_t min_count = 0;
  int32_t max_count = kEndless;
};

class GrammarBuilder {
 public:
  explicit GrammarBuilder(const GrammarLimits& limits)
      : limits_(limits), budget_(limits.max_states, limits.max_steps) {}

  Budget& budget() { return budget_; }
  const GrammarLimits& limits() const { return limits_; }
  int num_rules() const { return static_cast<int>(drafts_.size()); }

  int add_rule();  // to be defined before finish()
  void define(int rule, RuleDraft draft) { drafts_[static_cast<size_t>(rule)] = std::move(draft); }

  // Whether the limits still hold; else the error that says which does not.
  Status within_limits() const;

  Result<Grammar> finish(int root);

 private:
  std::vector<bool> nullable_rules();
  Status make_deterministic(Automaton& automaton);

  GrammarLimits limits_;
  Budget budget_;
  std::vector<RuleDraft> drafts_;
};

}  // namespace heed::grammar
