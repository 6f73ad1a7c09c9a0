// A hash map from a pair of token ids to the rank of their merge and the id of what they merge to.
#pragma once
#include <bit>
#include <cstdint>
#include <vector>

namespace heed {

class PairMap {
 public:
  struct Target {
    int rank;
    int id;
  };

  void reserve(size_t num_pairs) { slots_.assign(std::bit_ceil(num_pairs * 2 + 16), {kFree, {0, 0}}); }

  // Replaces what the pair had. There must be room: reserve() first.
  void set(int left, int right, Target target) {
    slots_[slot_of(key_of(left, right))] = {key_of(left, right), target};
  }

  const Target* find(int left, int right) const {
    if (slots_.empty()) return nullptr;
    const Slot& slot = slots_[slot_of(key_of(left, right))];
    return slot.key == kFree ? nullptr : &slot.target;
  }

 private:
  struct Slot {
    uint64_t key;
    Target target;
  };
  static constexpr uint64_t kFree = UINT64_MAX;  // no pair: ids are below 2^31

  static uint64_t key_of(int left, int right) {
    return static_cast<uint64_t>(left) << 32 | static_cast<uint32_t>(right);
  }
  size_t slot_of(uint64_t key) const {
    const size_t mask = slots_.size() - 1;
    size_t slot =
        key * 0x9E3779B97F4A7C15 >> 20 & mask;  // Fibonacci hashing: the high bits are the mixed ones
    while (slots_[slot].key != kFree && slots_[slot].key != key) slot = (slot + 1) & mask;
    return slot;
  }

  std::vector<Slot> slots_;
};

}  // namespace heed
