#include "engine/draft_policy.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

namespace heed {
namespace {

TEST(TimeLine, finds_the_line_through_what_was_measured) {
  TimeLine line(0.995);
  EXPECT_FALSE(line.known());
  EXPECT_EQ(line.at(5), 0);
  for (int round = 0; round < 20; ++round) {
    for (const int x : {1, 2, 8}) line.add(x, 0.010 + 0.001 * x);
  }
  EXPECT_NEAR(line.slope(), 0.001, 1e-9);
  EXPECT_NEAR(line.at(4), 0.014, 1e-9);
}

TEST(TimeLine, takes_one_place_for_level_and_never_goes_below_zero) {
  TimeLine line(0.995);
  for (int i = 0; i < 10; ++i) line.add(3, 0.02);
  EXPECT_EQ(line.slope(), 0);
  EXPECT_NEAR(line.at(100), 0.02, 1e-9);
  TimeLine falling(0.995);
  falling.add(1, 0.03);
  falling.add(9, 0.01);
  EXPECT_EQ(falling.slope(), 0);
  EXPECT_GT(falling.at(1000), 0);
}

TEST(TimeLine, forgets_what_is_long_past) {
  TimeLine line(0.995);
  for (int i = 0; i < 100; ++i) line.add(i % 4, 1);
  for (int i = 0; i < 3000; ++i) line.add(i % 4, 2);
  EXPECT_NEAR(line.at(2), 2, 0.01);
}

// A machine whose steps take fixed + per_token * tokens, and a drafter that is right with `right` everywhere.
struct Machine {
  double fixed, per_token, guessing, right;
};

DraftPolicy taught(const Machine& m, int most, DraftRecord& record) {
  DraftPolicy policy(most, /*adaptive=*/true);
  for (int i = 0; i < 400; ++i) {
    policy.took_step(1 + i % 16, m.fixed + m.per_token * (1 + i % 16));
    policy.took_guesses(1, m.guessing);
  }
  std::mt19937 random(1);
  std::bernoulli_distribution right(m.right);
  for (int i = 0; i < 4000; ++i) {
    int kept = 0;
    while (kept < most && right(random)) ++kept;
    DraftRecord one;
    policy.saw(most, kept, one);
    record.tried += one.tried;
    record.right += one.right;
  }
  return policy;
}

int planned(DraftPolicy& policy, const DraftRecord& record, int running) {
  std::vector<DraftPolicy::Want> wants(running, {.record = &record, .room = 100});
  policy.plan(wants, running);
  return wants.front().guesses;
}

// Tokens a second of one sequence that always guesses n.
double rate(const Machine& m, int n) {
  double tokens = 1;
  for (int i = 1; i <= n; ++i) tokens += std::pow(m.right, i);
  return tokens / (m.fixed + m.per_token * (1 + n) + (n > 0 ? m.guessing : 0));
}

TEST(DraftPolicy, guesses_as_many_as_are_fastest) {
  for (const Machine& m :
       {Machine{10e-3, 0.1e-3, 1e-3, 0.8}, Machine{10e-3, 1e-3, 1e-3, 0.8}, Machine{10e-3, 3e-3, 0.5e-3, 0.8},
        Machine{10e-3, 0.1e-3, 2e-3, 0.4}, Machine{10e-3, 2e-3, 0, 0.6}}) {
    DraftRecord record;
    DraftPolicy policy = taught(m, 15, record);
    int best = 0;
    for (int n = 1; n <= 15; ++n) best = rate(m, n) > rate(m, best) ? n : best;
    const int chosen = planned(policy, record, 1);
    EXPECT_GT(rate(m, chosen), 0.98 * rate(m, best)) << chosen << " instead of " << best;
  }
}

TEST(DraftPolicy, does_not_guess_where_that_is_slower_but_tries_again) {
  DraftRecord record;
  DraftPolicy policy = taught({10e-3, 9e-3, 5e-3, 0.3}, 7, record);
  int tries = 0;
  for (int i = 0; i < 500; ++i) tries += planned(policy, record, 1) > 0 ? 1 : 0;
  EXPECT_GT(tries, 2);
  EXPECT_LT(tries, 20);
}

TEST(DraftPolicy, does_not_hold_slow_first_guesses_against_the_drafter) {
  const Machine machine = {10e-3, 0.1e-3, 0.5e-3, 0.7};
  DraftRecord record;
  DraftPolicy policy = taught(machine, 7, record);
  const int usual = planned(policy, record, 1);
  for (int i = 0; i < 3; ++i) policy.took_guesses(1, 1);  // kernels are loaded
  for (int i = 0; i < 25; ++i) policy.took_guesses(1, machine.guessing);
  EXPECT_EQ(planned(policy, record, 1), usual);
  EXPECT_GT(usual, 2);
}

TEST(DraftPolicy, guesses_less_where_many_sequences_fill_the_step) {
  DraftRecord record;
  DraftPolicy policy = taught({10e-3, 0.5e-3, 0.2e-3, 0.7}, 15, record);
  const int alone = planned(policy, record, 1);
  const int in_company = planned(policy, record, 64);
  EXPECT_GT(alone, 3);
  EXPECT_LT(in_company, alone);
}

TEST(DraftPolicy, trusts_a_request_as_its_guesses_turned_out) {
  DraftRecord usual;
  DraftPolicy policy = taught({10e-3, 1e-3, 0.5e-3, 0.7}, 15, usual);
  const DraftRecord good = {.tried = 100, .right = 97}, bad = {.tried = 100, .right = 5};
  EXPECT_GT(planned(policy, good, 1), planned(policy, usual, 1));
  EXPECT_LT(planned(policy, bad, 1), planned(policy, usual, 1));
}

TEST(DraftPolicy, never_exceeds_the_room) {
  DraftRecord record;
  DraftPolicy policy = taught({10e-3, 0.01e-3, 0, 0.95}, 15, record);
  std::vector<DraftPolicy::Want> wants = {{.record = &record, .room = 2}, {.record = &record, .room = 0}};
  policy.plan(wants, 2);
  EXPECT_EQ(wants[0].guesses, 2);
  EXPECT_EQ(wants[1].guesses, 0);
}

TEST(DraftPolicy, that_does_not_adapt_always_guesses_the_most) {
  DraftPolicy policy(6, /*adaptive=*/false);
  DraftRecord record;
  EXPECT_EQ(planned(policy, record, 1), 6);
  for (int i = 0; i < 100; ++i) {
    policy.took_step(7, 1);
    policy.saw(6, 0, record);
  }
  EXPECT_EQ(planned(policy, record, 1), 6);
}

}  // namespace
}  // namespace heed
