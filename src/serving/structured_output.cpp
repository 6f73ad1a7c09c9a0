#include "serving/structured_output.h"

#include <algorithm>

namespace heed {

// The state of one answer. The engine's thread calls narrow and accept; the mask in between may be found by
// the helper thread meanwhile.
class StructuredOutput::Constraint {
 public:
  Constraint(std::shared_ptr<CompiledGrammar> grammar, std::string begin_behind)
      : grammar_(std::move(grammar)),
        matcher_(grammar_->masks, 0),
        begin_behind_(std::move(begin_behind)),
        begun_(begin_behind_.empty()),
        mask_(static_cast<size_t>(grammar_->trie->mask_words())) {}

  void find_mask() {
    const std::lock_guard lock(mutex_);
    if (has_mask_ || !begun_) return;
    matcher_.fill_mask(mask_);
    has_mask_ = true;
  }

  void narrow(std::span<uint32_t> allowed) {
    find_mask();
    const std::lock_guard lock(mutex_);
    if (!begun_) return;
    const size_t words = std::min(allowed.size(), mask_.size());
    for (size_t i = 0; i < words; ++i) allowed[i] &= mask_[i];
    std::fill(allowed.begin() + static_cast<std::ptrdiff_t>(words), allowed.end(), 0);
  }

  // True if the next mask may be found ahead.
  bool accept(int token) {
    const std::lock_guard lock(mutex_);
    if (begun_) {
      const bool allowed = matcher_.accept(token);
      CHECK(allowed, "a token that its grammar's mask let through");
      has_mask_ = false;
      return true;
    }
    if (token < grammar_->trie->vocabulary_size()) seen_ += grammar_->trie->bytes_of(token);
    return look_for_begin();
  }

 private:
  bool look_for_begin() {
    const size_t found = seen_.find(begin_behind_);
    if (found == std::string::npos) {
      const size_t keep = std::min(seen_.size(), begin_behind_.size() - 1);
      seen_.erase(0, seen_.size() - keep);
      return false;
    }
    begun_ = true;
    std::string rest = seen_.substr(found + begin_behind_.size());
    rest.erase(0, std::min(rest.find_first_not_of(" \n"), rest.size()));
    // A token may hold the end of the reasoning and the begin of the answer. If the latter is not what the
    // grammar wants, the answer begins behind it.
    if (!rest.empty()) matcher_.accept_bytes(rest);
    seen_.clear();
    return true;
  }

  std::mutex mutex_;
  std::shared_ptr<CompiledGrammar> grammar_;
  Matcher matcher_;
  std::string begin_behind_;
  std::string seen_;  // the end of the text so far, while not begun
  bool begun_;
  bool has_mask_ = false;
  std::vector<uint32_t> mask_;
};

StructuredOutput::StructuredOutput(const Tokenizer& tokenizer, std::vector<int> end_tokens,
                                   int64_t kept_bytes)
    : tokenizer_(tokenizer),
      end_tokens_(std::move(end_tokens)),
      kept_bytes_(kept_bytes),
      thread_([this] { work(); }) {}

StructuredOutput::~StructuredOutput() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

std::shared_ptr<const TokenTrie> StructuredOutput::trie() {
  std::call_once(trie_made_, [this] {
    std::vector<std::string> bytes(static_cast<size_t>(tokenizer_.vocab_size()));
    for (int id = 0; id < tokenizer_.vocab_size(); ++id) {
      // Special tokens are no text: a JSON string must not hold one.
      if (!tokenizer_.is_special(id)) bytes[static_cast<size_t>(id)] = tokenizer_.bytes_of(id);
    }
    trie_ = std::make_shared<const TokenTrie>(std::move(bytes), end_tokens_);
  });
  return trie_;
}

Result<std::shared_ptr<CompiledGrammar>> StructuredOutput::compile(const OutputFormat& format) {
  using Kind = OutputFormat::Kind;
  switch (format.kind) {
    case Kind::kText:
      break;
    case Kind::kJsonObject:
      return compile("object", [] { return Grammar::json_object(); });
    case Kind::kJsonSchema:
      return compile("schema " + to_text(format.schema),
                     [&] { return Grammar::from_json_schema(format.schema); });
    case Kind::kRegex:
      return compile("regex " + format.text, [&] { return Grammar::from_regex(format.text); });
    case Kind::kChoice:
      return compile("choice " + to_text(Json(format.choices)),
                     [&] { return Grammar::from_choice(format.choices); });
    case Kind::kEbnf:
      return compile("ebnf " + format.text, [&] { return Grammar::from_ebnf(format.text); });
  }
  return std::shared_ptr<CompiledGrammar>();
}

Result<std::shared_ptr<CompiledGrammar>> StructuredOutput::compile(
    const std::string& key, const std::function<Result<Grammar>()>& make) {
  {
    const std::lock_guard lock(mutex_);
    if (const auto found = by_key_.find(key); found != by_key_.end()) {
      kept_.splice(kept_.begin(), kept_, found->second);
      return found->second->grammar;
    }
  }
  auto compiled = std::make_shared<CompiledGrammar>(TRY(make()), trie());
  const std::lock_guard lock(mutex_);
  if (by_key_.contains(key)) return compiled;  // another thread was as quick
  kept_.push_front({key, compiled});
  by_key_[key] = kept_.begin();
  num_bytes_ += compiled->grammar.num_bytes();
  while (num_bytes_ > kept_bytes_ && kept_.size() > 1) {
    num_bytes_ -= kept_.back().grammar->grammar.num_bytes();
    by_key_.erase(kept_.back().key);
    kept_.pop_back();
  }
  return compiled;
}

namespace {

// The engine's end of a constraint.
template <class Constraint, class Ahead>
class Handle : public TokenConstraint {
 public:
  Handle(std::shared_ptr<Constraint> constraint, Ahead ahead)
      : constraint_(std::move(constraint)), ahead_(std::move(ahead)) {}
  void narrow(std::span<uint32_t> allowed) override { constraint_->narrow(allowed); }
  void accept(int token) override {
    if (constraint_->accept(token)) ahead_(constraint_);
  }

 private:
  std::shared_ptr<Constraint> constraint_;
  Ahead ahead_;
};

}  // namespace

std::unique_ptr<TokenConstraint> StructuredOutput::constrain(std::shared_ptr<CompiledGrammar> grammar,
                                                             const std::string& begin_behind) {
  auto constraint = std::make_shared<Constraint>(std::move(grammar), begin_behind);
  find_ahead(constraint);
  auto ahead = [this](const std::shared_ptr<Constraint>& next) { find_ahead(next); };
  return std::make_unique<Handle<Constraint, decltype(ahead)>>(std::move(constraint), ahead);
}

void StructuredOutput::find_ahead(std::shared_ptr<Constraint> constraint) {
  const std::lock_guard lock(mutex_);
  ahead_.push_back(std::move(constraint));
  wake_.notify_one();
}

void StructuredOutput::work() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    wake_.wait(lock, [&] { return stopping_ || !ahead_.empty(); });
    while (!ahead_.empty() && !stopping_) {
      const std::shared_ptr<Constraint> next = std::move(ahead_.front());
      ahead_.pop_front();
      lock.unlock();
      next->find_mask();
      lock.lock();
    }
  }
}

}  // namespace heed
