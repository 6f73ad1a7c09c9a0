// How many tokens are worth guessing, for each sequence of the next step.
//
// A guess at place i of a sequence is right with a probability P_i (the product of what was seen of the
// places up to i), and costs what one more token costs in a step. With the time of a step taken as fixed +
// per_token
// * tokens, as measured, the rate
//     (sequences + sum of P_i over all guesses) / (fixed + per_token * (sequences + guesses) + guessing)
// is largest where a guess is made if and only if P_i > rate * per_token. Where even that rate is below the
// one without guesses nobody guesses, but for a try now and then. docs/speculation.md.
#pragma once
#include <array>
#include <span>

#include "engine/proposer.h"

namespace heed {

// y = fixed + slope * x through measurements, of which older ones count less and less.
class TimeLine {
 public:
  // memory: of a measurement's weight after another one.
  explicit TimeLine(double memory) : memory_(memory) {}
  void add(double x, double seconds);
  bool known() const { return weight_ > 0; }
  double at(double x) const;  // seconds; 0 where nothing was measured
  double slope() const;       // at least 0

 private:
  double memory_;
  double weight_ = 0, x_ = 0, y_ = 0, xx_ = 0, xy_ = 0;
};

// What is known of one request's guesses.
struct DraftRecord {
  int tried = 0, right = 0;  // places looked at, up to the first wrong one; and of those the right ones
};

class DraftPolicy {
 public:
  // Without `adaptive` every sequence always guesses `most`.
  DraftPolicy(int most, bool adaptive) : most_(most), adaptive_(adaptive) {}

  void took_step(int tokens, double seconds) { step_.add(tokens, seconds); }
  void took_guesses(int sequences, double seconds) { guessing_.add(sequences, seconds); }
  // Of `run` guesses of a sequence the first `kept` were right.
  void saw(int run, int kept, DraftRecord& record);

  struct Want {
    const DraftRecord* record = nullptr;
    int room = 0;     // most that may be guessed
    int guesses = 0;  // the answer
  };
  // `running`: sequences of the next step, those of `wants` among them.
  void plan(std::span<Want> wants, int running);

 private:
  double right_at(int place, const DraftRecord& record) const;
  double fill(std::span<Want> wants, int running, double rate) const;

  int most_;
  bool adaptive_;
  TimeLine step_{0.995};
  // Of guesses there may be few, and the first take long: memory is touched, kernels are loaded and recorded.
  TimeLine guessing_{0.8};
  struct Place {
    double tried = 0, right = 0;
  };
  std::array<Place, kMostDrafts> places_ = {};  // of all requests, older ones counting less
  Place all_;
  int idle_ = 0;  // plans without guesses since the last try
};

}  // namespace heed
