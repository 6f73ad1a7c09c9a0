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
      ids_there_(device.take(kMostDrawn * int64_t{sizeof(int32_t)})),
      ids_here_(device.take_pinned(kMostDrawn * int64_t{sizeof(int32_t)})) {}

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

Tensor DeviceRun::step(Batch& batch, const std::function<Tensor()>& forward, std::span<const DrawRow> draws) {
  const auto rows = std::ssize(batch.logit_rows);
  CHECK(draws.empty() || std::ssize(draws) == rows, draws.size(), rows);
  Stopwatch watch;
  std::optional<BatchShape> shape = shape_to_record(batch);
  if (shape && !batch_.send(batch, /*recorded=*/true)) shape.reset();
  if (!shape) batch_.send(batch, /*recorded=*/false);
  const DrawRow* how = nullptr;
  const bool is_greedy =
      std::all_of(draws.begin(), draws.end(), [](const DrawRow& d) { return d.temperature == 0; });
  if (!is_greedy && draw_ != nullptr && rows <= kMostDrawn) {
    draws_.begin(rows * int64_t{sizeof(DrawRow)} + Upload::kAlign);
    how = draws_.add(draws.data(), rows);
    draws_.send();
  }
  times_.send_seconds += watch.lap();
  const Tensor logits = shape ? replay(recorded_[*shape], forward) : run(forward);
  times_.launch_seconds += watch.lap();
  Tensor here;
  const bool can_say = how != nullptr || (is_greedy && arg_max_ != nullptr);
  if (draws.empty() || !can_say || rows > kMostDrawn || !draw(logits, how, rows)) {
    drawn_ = {};
    here = to_host(logits, rows);
  }
  times_.wait_seconds += watch.lap();
  ++times_.steps;
  return here;
}

// drawn(), or false if there is a row of whose token the device is not sure. rows null: the likeliest, which
// run() has found.
bool DeviceRun::draw(const Tensor& logits, const DrawRow* rows, int64_t count) {
  auto* ids = static_cast<int32_t*>(ids_there_.data());
  if (rows != nullptr)
    draw_(stream_, {.x = logits.slice(0, count), .rows = rows, .id_offsets = id_offsets_, .ids = ids});
  device_.download(ids_here_.data(), ids, count * int64_t{sizeof(int32_t)});
  drawn_ = {static_cast<const int32_t*>(ids_here_.data()), static_cast<size_t>(count)};
  return std::find(drawn_.begin(), drawn_.end(), -1) == drawn_.end();
}

// The ops, and then what is likeliest: it costs little, and whether it is wanted may change from step to
// step.
Tensor DeviceRun::run(const std::function<Tensor()>& forward) {
  const Tensor logits = forward();
  if (arg_max_ != nullptr && logits.defined() && logits.size[0] <= kMostDrawn)
    arg_max_(stream_, {.x = logits, .ids = static_cast<int32_t*>(ids_there_.data())});
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
