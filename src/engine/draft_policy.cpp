#include "engine/draft_policy.h"

#include <algorithm>

namespace heed {
namespace {

constexpr double kMemory = 0.995;  // of a guess's weight after another one
constexpr double kFirst = 0.7;     // taken for right at each place, before anything is known
constexpr double kDoubt = 4;       // guesses for which that stands
constexpr int kTryAfter = 50;      // plans

}  // namespace

void TimeLine::add(double x, double seconds) {
  for (double* sum : {&weight_, &x_, &y_, &xx_, &xy_}) *sum *= memory_;
  weight_ += 1;
  x_ += x;
  y_ += seconds;
  xx_ += x * x;
  xy_ += x * seconds;
}

double TimeLine::slope() const {
  if (weight_ == 0) return 0;
  const double spread = xx_ / weight_ - (x_ / weight_) * (x_ / weight_);
  const double together = xy_ / weight_ - (x_ / weight_) * (y_ / weight_);
  return spread > 1e-3 ? std::max(together / spread, 0.0) : 0;
}

double TimeLine::at(double x) const {
  if (weight_ == 0) return 0;
  const double mean = y_ / weight_;
  return std::max(mean + slope() * (x - x_ / weight_), 0.05 * mean);
}

void DraftPolicy::saw(int run, int kept, DraftRecord& record) {
  const int looked_at = std::min(kept + 1, run);
  for (int i = 0; i < looked_at; ++i) {
    for (Place* place : {&places_[i], &all_}) {
      place->tried = place->tried * kMemory + 1;
      place->right = place->right * kMemory + (i < kept ? 1 : 0);
    }
  }
  record.tried += looked_at;
  record.right += kept;
}

// A place's share of all requests, scaled by how this one does beside them.
double DraftPolicy::right_at(int place, const DraftRecord& record) const {
  const auto share = [](double right, double tried, double usual) {
    return (right + kDoubt * usual) / (tried + kDoubt);
  };
  const double usual = share(all_.right, all_.tried, kFirst);
  const double here = share(places_[place].right, places_[place].tried, usual);
  const double own = share(record.right, record.tried, usual);
  return std::min(here * own / usual, 0.999);
}

// Takes every guess that is worth its time at `rate`; the rate that this comes to.
double DraftPolicy::fill(std::span<Want> wants, int running, double rate) const {
  const double least = rate * step_.slope();
  double tokens = running;
  int guesses = 0;
  int guessing = 0;
  for (Want& want : wants) {
    double right = 1;
    want.guesses = 0;
    while (want.guesses < std::min(want.room, most_)) {
      right *= right_at(want.guesses, *want.record);
      if (right <= least) break;
      tokens += right;
      ++want.guesses;
    }
    guesses += want.guesses;
    guessing += want.guesses > 0 ? 1 : 0;
  }
  const double seconds = step_.at(running + guesses) + (guessing > 0 ? guessing_.at(guessing) : 0);
  return seconds > 0 ? tokens / seconds : 0;
}

void DraftPolicy::plan(std::span<Want> wants, int running) {
  const auto all = [&] {
    for (Want& want : wants) want.guesses = std::min(want.room, most_);
  };
  if (!adaptive_ || !step_.known()) return all();
  const double without = step_.at(running) > 0 ? running / step_.at(running) : 0;
  double rate = without;
  for (int round = 0; round < 3; ++round) rate = fill(wants, running, rate);
  const bool pays = rate > without && std::any_of(wants.begin(), wants.end(),
                                                  [](const Want& want) { return want.guesses > 0; });
  if (pays) {
    idle_ = 0;
    return;
  }
  for (Want& want : wants) want.guesses = 0;
  // What was measured may have changed: one sequence finds out.
  if (++idle_ < kTryAfter || wants.empty()) return;
  idle_ = 0;
  wants.front().guesses = std::min(wants.front().room, most_);
}

}  // namespace heed
