// Grammars for requests: compiled within limits, kept for the next request that asks the same, and run as
// token constraints with masks found while the model computes.
#pragma once
#include <condition_variable>
#include <deque>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "engine/request.h"
#include "grammar/grammar.h"
#include "grammar/matcher.h"
#include "serving/answer.h"
#include "text/tokenizer.h"

namespace heed {

// A compiled grammar with the masks found so far. Immutable but for the masks; shared by requests.
struct CompiledGrammar {
  CompiledGrammar(Grammar compiled, std::shared_ptr<const TokenTrie> tokens)
      : grammar(std::move(compiled)), trie(std::move(tokens)), masks(grammar, *trie) {}

  Grammar grammar;
  std::shared_ptr<const TokenTrie> trie;
  MaskCache masks;
};

class StructuredOutput {
 public:
  // `tokenizer` outlives this. `end_tokens` may end an answer where its grammar lets it end.
  StructuredOutput(const Tokenizer& tokenizer, std::vector<int> end_tokens,
                   int64_t kept_bytes = int64_t{256} << 20);
  ~StructuredOutput();

  // From any thread. Compiles, or finds what an equal format was compiled to; kText has no grammar.
  Result<std::shared_ptr<CompiledGrammar>> compile(const OutputFormat& format);
  // The same for a grammar that `make` compiles; `key` tells such grammars apart.
  Result<std::shared_ptr<CompiledGrammar>> compile(const std::string& key,
                                                   const std::function<Result<Grammar>()>& make);

  // One answer's constraint. `begin_behind`: text, such as the end of reasoning, up to which (itself
  // included) the answer is free; empty: from the start.
  std::unique_ptr<TokenConstraint> constrain(std::shared_ptr<CompiledGrammar> grammar,
                                             const std::string& begin_behind);

 private:
  class Constraint;
  struct Kept {
    std::string key;
    std::shared_ptr<CompiledGrammar> grammar;
  };
  std::shared_ptr<const TokenTrie> trie();
  void find_ahead(std::shared_ptr<Constraint> constraint);
  void work();

  const Tokenizer& tokenizer_;
  std::vector<int> end_tokens_;
  int64_t kept_bytes_;
  std::once_flag trie_made_;
  std::shared_ptr<const TokenTrie> trie_;

  std::mutex mutex_;
  std::list<Kept> kept_;  // last used first; guarded by mutex_, as all below
  std::unordered_map<std::string, std::list<Kept>::iterator> by_key_;
  int64_t num_bytes_ = 0;
  std::deque<std::shared_ptr<Constraint>> ahead_;  // whose next masks are wanted
  std::condition_variable wake_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace heed
