// Suffix decoding: occurrences and guesses against searches that compare everything with everything.
#include <gmock/gmock.h>

#include <map>
#include <random>

#include "engine/suffix_index.h"
#include "engine/suffix_proposer.h"
#include "tests/engine/asks.h"

namespace heed {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

// Texts one behind the other; kEnd stands between them.
using TokenIds = std::vector<int>;

std::vector<std::pair<int, int>> plain_matches(const TokenIds& all, int oldest, const TokenIds& text,
                                               int longest) {
  std::vector<std::pair<int, int>> matches;  // next, length
  for (int next = static_cast<int>(all.size()) - 1; next > oldest; --next) {
    if (all[next] == SuffixIndex::kEnd) continue;
    int length = 0;
    while (length < longest && length < std::ssize(text) && next - 1 - length >= oldest &&
           all[next - 1 - length] == text[text.size() - 1 - length]) {
      ++length;
    }
    if (length >= SuffixIndex::kShortest) matches.emplace_back(next, length);
  }
  std::stable_sort(matches.begin(), matches.end(),
                   [](const auto& a, const auto& b) { return a.second > b.second; });
  return matches;
}

TEST(SuffixIndex, finds_what_a_plain_search_finds) {
  std::mt19937 random(5);
  for (int round = 0; round < 400; ++round) {
    const int capacity = 8 + static_cast<int>(random() % 90);
    const auto alphabet = 2 + random() % 4;
    SuffixIndex index(capacity, 4);  // a small table: runs share places in it
    TokenIds all;
    TokenIds text;
    std::vector<SuffixIndex::Match> found;
    for (int i = 0; i < 120; ++i) {
      if (random() % 30 == 0) {
        index.separate();
        all.push_back(SuffixIndex::kEnd);
        text.clear();
      }
      text.push_back(static_cast<int>(random() % alphabet));
      all.push_back(text.back());
      index.append(text.back());
      if (i % 40 == 39) index.forget_before(i - 30);
      const int longest = 2 + static_cast<int>(random() % 14);
      index.find(text, longest, found);
      const int gone = i < 39 ? 0 : (i + 1) / 40 * 40 - 1 - 30;
      const int oldest = std::max({0, static_cast<int>(all.size()) - capacity, gone});
      const auto want = plain_matches(all, oldest, text, longest);
      ASSERT_EQ(found.size(), want.size()) << round << " " << i;
      for (size_t n = 0; n < want.size(); ++n) {
        ASSERT_EQ(found[n].next, want[n].first) << round << " " << i;
        ASSERT_EQ(found[n].length, want[n].second) << round << " " << i;
      }
    }
  }
}

TEST(SuffixIndex, looks_at_no_more_than_it_may) {
  SuffixIndex index(1 << 12, 8);
  TokenIds text;
  for (int i = 0; i < 100'000; ++i) {
    index.append(7);
    text.push_back(7);
  }
  std::vector<SuffixIndex::Match> found;
  index.find(text, 20, found);
  EXPECT_EQ(found.size(), 128U);
  EXPECT_EQ(found.front().next, 99'999);  // the newest that something follows
  EXPECT_EQ(found.front().length, 20);
}

// ---- Guesses.

TokenIds guesses_of(Proposer& proposer, const TokenIds& tokens, int most = 16, uint64_t request = 1) {
  TokenIds drafts;
  proposer.propose({.tokens = tokens, .request = request}, most, drafts);
  return drafts;
}

void answer_with(Proposer& proposer, const TokenIds& answer, uint64_t request, bool is_private = false) {
  proposer.finished({.tokens = answer, .request = request, .is_private = is_private});
}

TEST(SuffixProposer, the_more_frequent_continuation_is_guessed) {
  EXPECT_THAT(guesses_of(*suffix_proposer({}), {1, 2, 4, 9, 1, 2, 4, 8, 1, 2, 3, 1, 2}, 1), ElementsAre(4));
  EXPECT_THAT(guesses_of(*suffix_proposer({}), {1, 2, 4, 9, 1, 2, 3, 1, 2}, 1), ElementsAre(3));  // the newer
  EXPECT_THAT(guesses_of(*suffix_proposer({}), {1, 2, 3, 4}), IsEmpty());
}

TEST(SuffixProposer, a_longer_match_is_worth_more_guesses) {
  EXPECT_THAT(guesses_of(*suffix_proposer({}), {1, 2, 5, 6, 7, 8, 1, 2}), ElementsAre(5, 6));
  EXPECT_THAT(guesses_of(*suffix_proposer({}), {1, 2, 3, 5, 6, 7, 8, 1, 2, 3}), ElementsAre(5, 6, 7));
  EXPECT_THAT(guesses_of(*suffix_proposer({.factor = 2}), {1, 2, 5, 6, 7, 8, 1, 2}), ElementsAre(5, 6, 7, 8));
  EXPECT_THAT(guesses_of(*suffix_proposer({.depth = 4, .factor = 2}), {1, 2, 5, 6, 7, 8, 1, 2}),
              ElementsAre(5, 6));
  EXPECT_THAT(guesses_of(*suffix_proposer({.factor = 9}), {1, 2, 5, 6, 7, 8, 1, 2}, 3), ElementsAre(5, 6, 7));
}

TEST(SuffixProposer, guesses_end_where_they_get_unlikely) {
  const TokenIds text = {1, 2, 3, 4, 1, 2, 3,
                         5, 1, 2, 6, 1, 2};  // 3: two in three; then 4 or 5: one in three
  EXPECT_THAT(guesses_of(*suffix_proposer({.factor = 2, .least_probability = 0.3F}), text),
              ElementsAre(3, 5, 1, 2));
  EXPECT_THAT(guesses_of(*suffix_proposer({.factor = 2, .least_probability = 0.5F}), text), ElementsAre(3));
  EXPECT_THAT(guesses_of(*suffix_proposer({.factor = 2, .least_probability = 0.7F}), text), IsEmpty());
}

TEST(SuffixProposer, earlier_answers_are_remembered_first_in_first_out) {
  const auto proposer = suffix_proposer({.requests = 2});
  answer_with(*proposer, {1, 2, 3, 4}, 1);
  EXPECT_THAT(guesses_of(*proposer, {9, 1, 2}, 16, 2), ElementsAre(3, 4));
  answer_with(*proposer, {9, 1, 2, 5, 6}, 2);
  EXPECT_THAT(guesses_of(*proposer, {9, 1, 2}, 16, 3), ElementsAre(5, 6));
  EXPECT_THAT(guesses_of(*proposer, {8, 3, 4}, 16, 4), IsEmpty());  // no match goes from one into the next
  answer_with(*proposer, {}, 3);
  answer_with(*proposer, {7, 7}, 4);
  EXPECT_THAT(guesses_of(*proposer, {8, 2, 3}, 16, 5), IsEmpty());  // the first is forgotten
  EXPECT_THAT(guesses_of(*proposer, {8, 9, 1}, 16, 6), ElementsAre(2, 5));
  const auto none = suffix_proposer({.requests = 0});
  answer_with(*none, {1, 2, 3, 4}, 1);
  EXPECT_THAT(guesses_of(*none, {9, 1, 2}, 16, 2), IsEmpty());
}

TEST(SuffixProposer, private_texts_are_neither_remembered_nor_shown_others) {
  const auto proposer = suffix_proposer({});
  answer_with(*proposer, {1, 2, 3, 4}, 1, /*is_private=*/true);
  EXPECT_THAT(guesses_of(*proposer, {9, 1, 2}, 16, 2), IsEmpty());
  answer_with(*proposer, {1, 2, 3, 4}, 3);
  TokenIds drafts;
  const TokenIds text = {9, 1, 2};
  proposer->propose({.tokens = text, .request = 4, .is_private = true}, 16, drafts);
  EXPECT_THAT(drafts, IsEmpty());
}

// The guesses that counting by hand gives: for every length of match, along the most frequent continuation.
TokenIds plain_guesses(const TokenIds& text, const SuffixOptions& options, int most) {
  TokenIds best;
  double best_score = 0;
  for (int length = options.depth - 1; length >= SuffixIndex::kShortest; --length) {
    std::vector<int> places;
    for (const auto& [next, agree] : plain_matches(text, 0, text, options.depth - 1)) {
      if (agree >= length) places.push_back(next);
    }
    TokenIds guesses;
    double score = 0;
    double probability = 1;
    const int room =
        std::min({most, static_cast<int>(std::floor(static_cast<float>(length) * options.factor)),
                  options.depth - length});
    while (std::ssize(guesses) < room && !places.empty()) {
      std::map<int, int> counts;
      for (const int place : places)
        if (place < std::ssize(text)) ++counts[text[place]];
      if (counts.empty()) break;
      int frequent = -1;
      for (const int place : places) {
        if (place >= std::ssize(text)) continue;
        if (frequent < 0 || counts[text[place]] > counts[frequent]) frequent = text[place];
      }
      probability *= static_cast<double>(counts[frequent]) / static_cast<double>(places.size());
      if (probability < options.least_probability) break;
      guesses.push_back(frequent);
      score += probability;
      std::erase_if(places, [&](int place) { return place >= std::ssize(text) || text[place] != frequent; });
      for (int& place : places) ++place;
    }
    if (score > best_score) best_score = score, best = guesses;
  }
  return best;
}

TEST(SuffixProposer, equals_counting_by_hand) {
  std::mt19937 random(9);
  int long_ones = 0;
  for (int round = 0; round < 2000; ++round) {
    const SuffixOptions options = {.depth = 3 + static_cast<int>(random() % 12),
                                   .factor = 0.5F * static_cast<float>(1 + random() % 6),
                                   .least_probability = 0.1F * static_cast<float>(random() % 8)};
    const auto proposer = suffix_proposer(options);
    TokenIds text;
    const auto alphabet = 2 + random() % 5;
    while (text.size() < 60) {
      text.push_back(static_cast<int>(random() % alphabet));
      if (text.size() % 7 != 0) continue;  // asked now and then: it takes in what has come since
      const TokenIds got = guesses_of(*proposer, text, 8, static_cast<uint64_t>(round));
      ASSERT_EQ(got, plain_guesses(text, options, 8)) << round << ", " << text.size();
      long_ones += got.size() > 2 ? 1 : 0;
    }
  }
  EXPECT_GT(long_ones, 1000);
}

TEST(SuffixEngine, an_answer_given_before_takes_few_steps) {
  const Golden golden = read_golden("qwen3_next");
  const std::vector<Ask> asks = {{.prompt = golden.input, .max_tokens = 40}};
  const auto want = run_all(*start(golden_folder("qwen3_next"), {}), asks);
  EngineOptions options;
  options.speculative = {.method = "suffix", .tokens = 8, .adaptive = false};
  const auto engine = start(golden_folder("qwen3_next"), options);
  uint64_t steps = 0;
  for (const bool again : {false, true}) {
    const uint64_t before = engine->stats().steps;
    EXPECT_EQ(run_all(*engine, asks), want);
    engine->drain();
    const uint64_t taken = engine->stats().steps - before;
    EXPECT_TRUE(!again || taken < steps / 2) << taken << " of " << steps;
    steps = taken;
  }
}

}  // namespace
}  // namespace heed
