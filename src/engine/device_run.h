// Batches of one kind on an accelerator, such as a model's steps or its drafter's guesses: each goes there in
// one copy, the ops run, and the logits come back. Those in which every sequence has equally many tokens are
// recorded once for each shape and then replayed, which saves the host the launch of every op.
//
// A step is sent, and read later: the next may be sent in between, and can run on tokens that this one draws.
#pragma once
#include <array>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "engine/device_batch.h"
#include "engine/step_trace.h"

namespace heed {

// Where the host's time of these steps went.
struct DeviceTimes {
  int64_t steps = 0, replayed = 0;
  double send_seconds = 0;    // the batch: plans, copies
  double launch_seconds = 0;  // ops, or the recording
  double wait_seconds = 0;    // for the logits or tokens
};

// A step that may still be under way.
struct SentStep {
  Tensor logits;       // where the ops put them; good until the next step
  int64_t rows = 0;    // of them that are wanted
  int64_t number = 0;  // of the step
  bool draws = false;  // the device draws their tokens
};

// What recordings are told apart by: `tokens` of each sequence, logits of the last `logits` of them, and
// whether states are saved: then those behind all tokens but the last.
struct BatchShape {
  int sequences = 0, tokens = 0, logits = 0;
  bool saves = false;
  bool sparse = false;  // DeviceBatch::is_sparse
  // clang-tidy takes the 0 that this compares with for a pointer.
  auto operator<=>(const BatchShape&) const = default;  // NOLINT(modernize-use-nullptr)
};

class DeviceRun {
 public:
  DeviceRun(Device& device, DeviceTables& tables, const RunPlan& plan, const Stream& stream,
            const DeviceBatch::Use& use);

  // `forward` runs the ops on the batch, whose padding may have changed, and gives logits on the device.
  // `draws`: one for each row of logits, where only the tokens are wanted; else empty.
  SentStep send(Batch& batch, const std::function<Tensor()>& forward, std::span<const DrawRow> draws);
  // Waits for the step, which is one of the last two sent. Returns its logits on the host, valid until the
  // next step; where drawn() can say all tokens they stay where they are, and the tensor is undefined. So it
  // is too where another step was sent since, and drawn() says -1 where the device was not sure.
  Tensor read(const SentStep& sent);
  Tensor step(Batch& batch, const std::function<Tensor()>& forward, std::span<const DrawRow> draws) {
    return read(send(batch, forward, draws));
  }
  // Of the last step read: the token of each row of logits, as its place there.
  std::span<const int32_t> drawn() const { return drawn_; }
  // Places stand for other tokens than their number: DrawArgs, in the device's memory.
  void set_id_offsets(const int32_t* offsets) { id_offsets_ = offsets; }

  const std::vector<const AttentionPlan*>& plans() const { return batch_.plans(); }
  Constants& constants() { return constants_; }
  const DeviceTimes& times() const { return times_; }
  // From now on it is noted when each step runs.
  void trace() { trace_ = std::make_unique<StepTrace>(device_); }
  std::vector<TracedStep> take_traced() { return trace_ ? trace_->take() : std::vector<TracedStep>(); }

 private:
  struct Recorded {
    bool warm = false;  // has run without being recorded: all that ops set up on first use is there
    std::pair<const void*, const void*> addresses;
    std::unique_ptr<Recording> recording;
    Tensor logits;
  };
  std::optional<BatchShape> shape_to_record(Batch& batch) const;
  Tensor run(const std::function<Tensor()>& forward);
  Tensor replay(Recorded& recorded, const std::function<Tensor()>& forward);
  Tensor to_host(const Tensor& logits, int64_t rows);
  int32_t* ids_there() { return static_cast<int32_t*>(ids_there_.data()); }

  Device& device_;
  bool records_, stateful_;
  DeviceBatch batch_;
  Constants constants_;
  std::map<BatchShape, Recorded> recorded_;
  void (*arg_max_)(Stream&, const ArgMaxArgs&);
  void (*draw_)(Stream&, const DrawArgs&);
  Stream stream_;
  Upload draws_;
  Buffer logits_, ids_there_;  // of up to kMostDrawn rows
  // What steps drew, by turns.
  struct Drawn {
    Buffer ids;
    std::unique_ptr<Fence> there;
  };
  std::array<Drawn, 2> drawn_here_;
  const int32_t* id_offsets_ = nullptr;
  std::span<const int32_t> drawn_;
  DeviceTimes times_;
  std::unique_ptr<StepTrace> trace_;  // null: nobody wants to know
};

}  // namespace heed
