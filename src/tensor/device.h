// Device: whose memory tensors lie in while ops run on them, and how bytes get there and back. The host is
// one; an accelerator is another, whose memory the host can neither read nor write.
//
// What a Device is asked to do is done in order with the ops on it. An accelerator does both later than they
// are called: only download() and wait() wait. One thread at a time, which calls enter() first.
#pragma once
#include <cstdint>
#include <memory>
#include <string>

#include "tensor/tensor.h"

namespace heed {

// A moment in the order of what a device does.
class Fence {
 public:
  virtual ~Fence() = default;
  virtual void set() = 0;   // now
  virtual void wait() = 0;  // until all before the last set() is done; at once where there was none
  // From the earlier one's last moment to this one's, both past and of fences that keep time.
  virtual double seconds_since(const Fence& earlier) const = 0;
};

// Work recorded once, to be run again at the price of one call. It reads and writes the same addresses again.
class Recording {
 public:
  virtual ~Recording() = default;
};

class Device {
 public:
  virtual ~Device() = default;
  Device() = default;
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  virtual bool is_host() const { return false; }
  // For Stream::device; null on the host.
  virtual void* stream() = 0;
  // Makes it the calling thread's device.
  virtual void enter() {}

  // Not initialised. The buffer may outlive the device.
  virtual Buffer take(int64_t bytes) = 0;
  // Of the host's memory, from and to which copies are fast and need not be waited for.
  virtual Buffer take_pinned(int64_t bytes) = 0;

  // `from` may change as soon as it returns, unless it is pinned: then when the copy is done.
  virtual void upload(void* to, const void* from, int64_t bytes) = 0;
  virtual void download(void* to, const void* from, int64_t bytes) = 0;
  // The same without waiting: `to` is pinned, and has it once a fence is reached that was set behind.
  virtual void download_later(void* to, const void* from, int64_t bytes) = 0;
  virtual void copy(void* to, const void* from, int64_t bytes) = 0;  // within its memory
  virtual void zero(void* at, int64_t bytes) = 0;
  virtual void wait() = 0;
  virtual std::unique_ptr<Fence> make_fence() = 0;        // which the device must outlive
  virtual std::unique_ptr<Fence> make_timed_fence() = 0;  // one that keeps time
  // words[places[i]] = values[i]; all of it in the device's memory, and no place twice.
  virtual void scatter(int32_t* words, const int32_t* places, const int32_t* values, int64_t count) = 0;
  // tokens[places[i]] = ids[rows[i]], or 0 where that is below 0: tokens that were drawn in its memory.
  virtual void feed(int32_t* tokens, const int32_t* places, const int32_t* ids, const int32_t* rows,
                    int64_t count) = 0;

  // Takes the scratch memory of ops now, so that none has to take more.
  virtual void reserve_scratch(int64_t /*bytes*/) {}
  // Ops between begin and end are recorded, not run. finish_recording is null where that is not possible, and
  // so is begin_recording false.
  virtual bool begin_recording() { return false; }
  virtual std::unique_ptr<Recording> finish_recording() { return nullptr; }
  virtual void replay(const Recording& /*recording*/) {}
  // Whether all that it reads and writes is still where it was.
  virtual bool is_valid(const Recording& /*recording*/) const { return false; }
};

// The memory of this process.
Device& host_device();

}  // namespace heed
