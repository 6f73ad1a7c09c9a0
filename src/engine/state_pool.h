// Slots of recurrent state: one for each sequence that runs, and others that hold snapshots of finished
// prefixes, to go on from.
//
// A snapshot is the state after an exact number of tokens, found by the hash of all of them. The oldest used
// is forgotten when a new one needs its slot. All memory is taken when the pool is made.
#pragma once
#include <cstdint>
#include <list>
#include <unordered_map>
#include <vector>

#include "attention/state_spec.h"
#include "base/siphash.h"
#include "model/weights.h"
#include "tensor/device.h"

namespace heed {

class StatePool {
 public:
  // `live` slots for sequences and `snapshots` for snapshots, in the memory of `device`.
  StatePool(StateLayout layout, int live, int snapshots, Device& device = host_device());

  // A slot of zeros for the caller's sequence, or of anything; -1 if all are taken.
  int take(bool zeroed = true);
  void give_back(int slot);

  // A slot for a snapshot under way, forgetting the one longest unused if need be; -1 if every one is under
  // way.
  int begin_snapshot();
  // It is complete: findable, unless one of that key is already.
  void finish_snapshot(int slot, const Hash128& key);
  void drop_snapshot(int slot);  // under way
  // Forgets it if it is there.
  void forget(const Hash128& key);
  void forget_all();
  bool has(const Hash128& key) const { return index_.contains(key); }
  // Copies the snapshot, which must be there, to a sequence's slot.
  void restore(const Hash128& key, int slot);

  // Of every model layer, each [slots, ...].
  std::vector<Tensors> layers() const;
  const StateLayout& layout() const { return layout_; }
  char* memory() const { return static_cast<char*>(memory_.data()); }
  int64_t bytes() const { return memory_.bytes(); }
  int live() const { return live_; }
  int taken() const { return live_ - static_cast<int>(free_.size()); }
  int snapshots() const { return static_cast<int>(index_.size()); }
  // Every slot is free, taken, a snapshot or one under way, and no slot twice; `taken` and `under_way` are
  // all there are. Aborts if not.
  void check(const std::vector<int>& taken, const std::vector<int>& under_way) const;
  // What the lists and the index of so many snapshots take at most.
  static int64_t index_bytes(int64_t snapshots) { return snapshots * 160; }

 private:
  struct KeyHash {
    size_t operator()(const Hash128& key) const { return key.low; }
  };
  struct Snapshot {
    Hash128 key;
    int slot;
  };
  char* address(int slot) const { return memory() + slot * layout_.slot_bytes(); }

  StateLayout layout_;
  Device& device_;
  int live_;
  Buffer memory_;
  std::vector<int> free_;  // live slots
  std::vector<int> free_snapshots_;
  std::list<Snapshot> used_;  // snapshots, the one used last first
  std::unordered_map<Hash128, std::list<Snapshot>::iterator, KeyHash> index_;
};

}  // namespace heed
