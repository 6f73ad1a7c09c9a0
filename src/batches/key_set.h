// The custom_ids of a batch as keyed hashes: 16 to 43 bytes each, however long they are.
//
// Hashes are compared instead of the ids: with 126 bits under a random key, ten million ids collide by chance
// with a probability below 1e-24, and nobody can choose some that do.
#pragma once
#include <cstdint>
#include <string_view>
#include <vector>

#include "base/siphash.h"

namespace heed {

class KeySet {
 public:
  explicit KeySet(int64_t max_keys);

  // A name of some kind; kinds have names of their own.
  Hash128 key(char kind, std::string_view name) const;

  // Remembers a key as done earlier. False: the set is full.
  bool add_done(const Hash128& key);
  bool contains(const Hash128& key) const;

  enum class Met { kNew, kDone, kAgain, kFull };
  // Remembers that the key was met in this pass. kDone: known by add_done, met for the first time; kAgain:
  // met before.
  Met meet(const Hash128& key);

 private:
  size_t find(const Hash128& key) const;
  bool grow();
  bool add(const Hash128& key, uint64_t met);

  Hash128 secret_ = random_key();
  int64_t max_keys_;
  int64_t count_ = 0;
  std::vector<Hash128> slots_;  // open addressing; of `low`, bit 0 says met, bit 1 taken
};

}  // namespace heed
