#include "engine/suffix_proposer.h"

#include <algorithm>
#include <deque>
#include <unordered_map>

#include "engine/suffix_index.h"

namespace heed {
namespace {

constexpr int64_t kTextTokens = 32768;  // of one request that are looked through
constexpr int kTextBits = 11;
constexpr int64_t kAnswerTokens = int64_t{1} << 19;  // of all earlier answers
constexpr int kAnswerBits = 17;

struct Guesses {
  std::vector<int> tokens;
  double expected = 0;  // of them that are right, by the counts
};

// Follows the occurrences for as long as they agree often enough.
class Follower {
 public:
  Follower(const SuffixIndex& index, double least) : index_(index), least_(least) {}

  // At most `most` guesses.
  Guesses follow(std::span<const SuffixIndex::Match> matches, int most) {
    places_.clear();
    for (const SuffixIndex::Match& match : matches) places_.push_back(match.next);
    Guesses guesses;
    double probability = 1;
    for (int i = 0; i < most; ++i) {
      const size_t all = places_.size();
      const int token = most_frequent();
      if (token == SuffixIndex::kEnd) break;
      probability *= static_cast<double>(places_.size()) / static_cast<double>(all);
      if (probability < least_) break;
      guesses.tokens.push_back(token);
      guesses.expected += probability;
      for (int64_t& place : places_) ++place;
    }
    return guesses;
  }

 private:
  // The token that follows most often, of equally frequent ones that of the first match; keeps where it
  // follows.
  int most_frequent() {
    counts_.clear();
    int most = 0;
    for (const int64_t place : places_) {
      const int token = index_.at(place);
      if (token != SuffixIndex::kEnd) most = std::max(most, ++counts_[token]);
    }
    const auto found = std::find_if(places_.begin(), places_.end(), [&](int64_t place) {
      const auto count = counts_.find(index_.at(place));
      return count != counts_.end() && count->second == most;
    });
    if (found == places_.end()) return SuffixIndex::kEnd;
    const int best = index_.at(*found);
    std::erase_if(places_, [&](int64_t place) { return index_.at(place) != best; });
    return best;
  }

  const SuffixIndex& index_;
  double least_;
  std::vector<int64_t> places_;
  std::unordered_map<int, int> counts_;
};

class SuffixProposer : public Proposer {
 public:
  explicit SuffixProposer(const SuffixOptions& options) : options_(options) {}
  std::string_view name() const override { return "suffix"; }

  void propose(const TextSoFar& text, int most, std::vector<int>& drafts) override {
    Text& own = texts_[text.request];
    const auto size = std::ssize(text.tokens);
    // One that is longer than what is kept begins where that begins.
    own.taken = std::max(own.taken, size - kTextTokens);
    for (; own.taken < size; ++own.taken) own.index.append(text.tokens[static_cast<size_t>(own.taken)]);
    Guesses best = best_of(own.index, text.tokens, most);
    if (!text.is_private && answers_) {
      Guesses other = best_of(*answers_, text.tokens, most);
      if (other.expected > best.expected) best = std::move(other);
    }
    drafts = std::move(best.tokens);
  }

  void finished(const TextSoFar& text) override {
    texts_.erase(text.request);
    const std::span<const int> answer = text.tokens.subspan(static_cast<size_t>(text.prompt));
    if (text.is_private || options_.requests == 0 || answer.empty()) return;
    if (!answers_) answers_ = std::make_unique<SuffixIndex>(kAnswerTokens, kAnswerBits);
    starts_.push_back(answers_->end());
    for (const int token : answer) answers_->append(token);
    answers_->separate();
    if (std::ssize(starts_) > options_.requests) starts_.pop_front();
    while (starts_.size() > 1 && starts_.front() < answers_->end() - kAnswerTokens) starts_.pop_front();
    answers_->forget_before(starts_.front());
  }

  int64_t most_bytes(int sequences) const override {
    const int64_t answers = options_.requests > 0 ? SuffixIndex::bytes(kAnswerTokens, kAnswerBits) : 0;
    return answers + sequences * SuffixIndex::bytes(kTextTokens, kTextBits);
  }

 private:
  // For each length, the occurrences that agree in at least that say how it may go on; the length whose
  // guesses are expected to be right most often wins, and the longer one of equals.
  Guesses best_of(const SuffixIndex& index, std::span<const int> tokens, int most) {
    index.find(tokens, options_.depth - 1, matches_);
    Follower follower(index, options_.least_probability);
    Guesses best;
    for (size_t i = 0; i < matches_.size(); ++i) {
      const bool is_last = i + 1 == matches_.size();
      const int below = is_last ? SuffixIndex::kShortest - 1 : matches_[i + 1].length;
      const int room = std::min(most, worth_of(below, matches_[i].length));
      if (room <= best.expected) continue;
      Guesses guesses = follower.follow(std::span(matches_).first(i + 1), room);
      if (guesses.expected > best.expected) best = std::move(guesses);
    }
    return best;
  }

  // Most guesses that a length above `below` and up to `longest` allows.
  int worth_of(int below, int longest) const {
    int worth = 0;
    for (int length = below + 1; length <= longest; ++length) {
      const auto by_factor = static_cast<int>(static_cast<float>(length) * options_.factor + 1e-4F);
      worth = std::max(worth, std::min(by_factor, options_.depth - length));
    }
    return worth;
  }

  struct Text {
    SuffixIndex index = SuffixIndex(kTextTokens, kTextBits);
    int64_t taken = 0;  // tokens that it has
  };
  SuffixOptions options_;
  std::unordered_map<uint64_t, Text> texts_;  // of running requests
  std::unique_ptr<SuffixIndex> answers_;      // of finished ones, from the first on
  std::deque<int64_t> starts_;                // of those answers
  std::vector<SuffixIndex::Match> matches_;   // kept for its memory
};

}  // namespace

std::unique_ptr<Proposer> suffix_proposer(const SuffixOptions& options) {
  return std::make_unique<SuffixProposer>(options);
}

}  // namespace heed
