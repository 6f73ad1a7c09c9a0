#include "engine/device_run.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "engine/runner.h"

namespace heed {
namespace {

// Sizes that steps are padded to, so that few recordings serve all. Sequences that are not there would need
// states that are not there either.
int bucket_of(int sequences, bool stateful) {
  if (stateful) return sequences;
  constexpr int kStep = 8;
  int size = 1;
  while (size < kStep && size < sequences) size *= 2;
  return std::max(size, (sequences + kStep - 1) / kStep * (sequences > kStep / 2 ? kStep : 0));
}

class Stopwatch {
 public:
  // Seconds since the last lap.
  double lap() {
    const Clock::time_point now = Clock::now();
    return std::chrono::duration<double>(now - std::exchange(last_, now)).count();
  }

 private:
  using Clock = std::chrono::steady_clock;
  Clock::time_point last_ = Clock::now();
};

constexpr int64_t kMostDrawn = 1024;

// The batch's shape, if all its sequences are alike.
std::optional<BatchShape> shape_of(const Batch& batch) {
  const int sequences = batch.sequences();
  const auto tokens = static_cast<int>(batch.tokens.size());
  const auto logits = static_cast<int>(batch.logit_rows.size());
  if (tokens % sequences != 0 || logits % sequences != 0) return {};
  const BatchShape shape = {sequences, tokens / sequences, logits / sequences, !batch.state_saves.empty()};
  for (int s = 0; s < sequences; ++s) {
    if (batch.seq_start[s] != s * shape.tokens) return {};
    for (int i = 0; i < shape.logits; ++i) {
      if (batch.logit_rows[s * shape.logits + i] != (s + 1) * shape.tokens - shape.logits + i) return {};
    }
  }
  if (shape.saves && std::ssize(batch.state_saves) != tokens - sequences) return {};
  for (int i = 0; i < std::ssize(batch.state_saves); ++i) {
    const int each = shape.tokens - 1;
    if (batch.state_saves[i].token != i / each * shape.tokens + i % each) return {};
  }
  return shape;
}

}  // namespace

DeviceRun::DeviceRun(Device& device, DeviceTables& tables, const RunPlan& plan, const Stream& stream,
                     const DeviceBatch::Use& use)
    : device_(device),
      records_(plan.recordings),
      stateful_(!plan.states.empty()),
      batch_(device, tables, plan, stream, use),
      constants_(device),
      arg_max_(plan.place.kernels->arg_max),
      draw_(plan.place.kernels->draw),
      stream_(stream),
      draws_(device),
      ids_there_(device.take(kMostDrawn * int64_t{sizeof(int32_t)})) {
  for (Drawn& each : drawn_here_)
    each = {device.take_pinned(kMostDrawn * int64_t{sizeof(int32_t)}), device.make_fence()};
}

// Of steps of one token, padded to few sizes; and of those that end with guesses, as they come, of few
// sequences: launches are no great part of what takes longer. Nothing else repeats often enough.
std::optional<BatchShape> DeviceRun::shape_to_record(Batch& batch) const {
  constexpr int kMostSequences = 512;
  constexpr int kMostGuessing = 4;
  constexpr int kMostTokens = 17;  // of those
  if (!records_ || !batch.images.empty()) return {};
  std::optional<BatchShape> shape = shape_of(batch);
  if (!shape || shape->logits == 0) return {};
  if (shape->tokens == 1 && shape->sequences <= kMostSequences) {
    shape->sequences = bucket_of(shape->sequences, stateful_);
    pad_batch(batch, shape->sequences);
    return shape;
  }
  const bool is_small = shape->sequences <= kMostGuessing && shape->tokens <= kMostTokens;
  return is_small && shape->tokens - shape->logits <= 1 ? shape : std::nullopt;
}

SentStep DeviceRun::send(Batch& batch, const std::function<Tensor()>& forward,
                         std::span<const DrawRow> draws) {
  const auto rows = std::ssize(batch.logit_rows);
  CHECK(draws.empty() || std::ssize(draws) == rows, draws.size(), rows);
  Stopwatch watch;
  const int64_t number = ++times_.steps;
  const int64_t replayed = times_.replayed;
  if (trace_) trace_->begin(number);
  std::optional<BatchShape> shape = shape_to_record(batch);
  if (shape && !batch_.send(batch, /*recorded=*/true)) shape.reset();
  if (shape) shape->sparse = batch_.is_sparse();
  if (!shape) batch_.send(batch, /*recorded=*/false);
  const BatchFeed& feed = batch.feed;
  if (const auto count = std::ssize(feed.places); count > 0) {
    device_.feed(const_cast<int32_t*>(batch.arrays.tokens), feed.on_device.places, ids_there(),
                 feed.on_device.rows, count);
  }
  const DrawRow* how = nullptr;
  const bool is_greedy =
      std::all_of(draws.begin(), draws.end(), [](const DrawRow& d) { return d.temperature == 0; });
  if (!is_greedy && draw_ != nullptr && rows <= kMostDrawn) {
    draws_.begin(rows * int64_t{sizeof(DrawRow)} + Upload::kAlign);
    how = draws_.add(draws.data(), rows);
    draws_.send();
  }
  times_.send_seconds += watch.lap();
  if (trace_) trace_->sent(number);
  SentStep sent = {.rows = rows, .number = number};
  sent.logits = shape ? replay(recorded_[*shape], forward) : run(forward);
  const bool can_say = how != nullptr || (is_greedy && arg_max_ != nullptr);
  sent.draws = !draws.empty() && can_say && rows <= kMostDrawn;
  if (sent.draws) {
    if (how != nullptr) {  // else run() has found the likeliest
      draw_(stream_,
            {.x = sent.logits.slice(0, rows), .rows = how, .id_offsets = id_offsets_, .ids = ids_there()});
    }
    Drawn& here = drawn_here_[sent.number % 2];
    device_.download_later(here.ids.data(), ids_there(), rows * int64_t{sizeof(int32_t)});
    here.there->set();
  }
  times_.launch_seconds += watch.lap();
  if (trace_) trace_->launched(number, times_.replayed > replayed);
  return sent;
}

Tensor DeviceRun::read(const SentStep& sent) {
  CHECK(sent.number >= times_.steps - 1, sent.number, times_.steps);
  const bool is_newest = sent.number == times_.steps;
  Stopwatch watch;
  if (trace_) trace_->wait(sent.number);
  Tensor here;
  drawn_ = {};
  if (sent.draws) {
    const Drawn& drawn = drawn_here_[sent.number % 2];
    drawn.there->wait();
    drawn_ = {static_cast<const int32_t*>(drawn.ids.data()), static_cast<size_t>(sent.rows)};
  }
  const bool is_sure = std::find(drawn_.begin(), drawn_.end(), -1) == drawn_.end();
  if (is_newest && !(sent.draws && is_sure)) {
    drawn_ = {};
    here = to_host(sent.logits, sent.rows);
  }
  times_.wait_seconds += watch.lap();
  if (trace_) trace_->read(sent.number);
  return here;
}

// The ops, and then what is likeliest: it costs little, and whether it is wanted may change from step to
// step.
Tensor DeviceRun::run(const std::function<Tensor()>& forward) {
  const Tensor logits = forward();
  if (arg_max_ != nullptr && logits.defined() && logits.size[0] <= kMostDrawn)
    arg_max_(stream_, {.x = logits, .ids = ids_there()});
  return logits;
}

Tensor DeviceRun::replay(Recorded& recorded, const std::function<Tensor()>& forward) {
  const bool is_good = recorded.recording != nullptr && recorded.addresses == batch_.address_key() &&
                       device_.is_valid(*recorded.recording);
  if (is_good) {
    ++times_.replayed;
    device_.replay(*recorded.recording);
    return recorded.logits;
  }
  if (!std::exchange(recorded.warm, true) || !device_.begin_recording()) return run(forward);
  recorded.logits = run(forward);
  recorded.recording = device_.finish_recording();
  recorded.addresses = batch_.address_key();
  device_.replay(*recorded.recording);
  return recorded.logits;
}

Tensor DeviceRun::to_host(const Tensor& logits, int64_t rows) {
  if (rows == 0) return {};
  const Tensor wanted = logits.slice(0, rows);
  if (wanted.bytes() > logits_.bytes())
    logits_ = device_.take_pinned(std::max(wanted.bytes(), 2 * logits_.bytes()));
  Tensor here = wanted;
  here.data = logits_.data();
  device_.download(here.data, wanted.data, wanted.bytes());
  return here;
}

}  // namespace heed
