// Arrays of the host's that ops are about to read, carried to their device in one copy. On the host itself
// nothing is copied: ops read the arrays where they lie.
//
//   upload.begin(bytes);
//   args.ids = upload.add(ids);   // an address on the device; `ids` is there once it is sent
//   upload.send();
//
// The same calls with the same sizes give the same addresses again, as long as no begin() asked for more than
// any before it.
#pragma once
#include <cstring>
#include <span>
#include <vector>

#include "base/checked.h"
#include "tensor/device.h"

namespace heed {

class Upload {
 public:
  explicit Upload(Device& device);

  // Forgets what was added. `bytes`: room for all that will be, each rounded up to kAlign.
  void begin(int64_t bytes);
  // `room`: elements that its place has, for more of them in another round.
  template <class T>
  const T* add(const std::vector<T>& values, int64_t room = 0) {
    return add(values.data(), std::ssize(values), room);
  }
  template <class T>
  const T* add(const T* values, int64_t count, int64_t room = 0) {
    if (device_.is_host()) return values;
    return reinterpret_cast<const T*>(
        place(values, count * int64_t{sizeof(T)}, std::max(count, room) * int64_t{sizeof(T)}));
  }
  void send();

  // The copy on the device; another after it had to grow.
  const void* base() const { return there_.data(); }
  int64_t capacity() const { return there_.bytes(); }

  static constexpr int64_t kAlign = 256;
  static int64_t rounded(int64_t bytes) { return round_up(bytes, kAlign); }

 private:
  const char* place(const void* values, int64_t bytes, int64_t room);

  Device& device_;
  Buffer here_, there_;
  int64_t used_ = 0;
  std::unique_ptr<Fence> sent_;
};

// Small arrays that never change or move, such as frequencies: copied to the device when they are first asked
// for.
class Constants {
 public:
  explicit Constants(Device& device) : device_(device) {}
  const float* at(const std::vector<float>& values);

 private:
  struct Copy {
    const float* values;
    Buffer memory;
  };
  Device& device_;
  std::vector<Copy> copies_;
};

}  // namespace heed
