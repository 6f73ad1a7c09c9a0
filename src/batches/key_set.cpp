#include "batches/key_set.h"

#include <span>
#include <string>
#include <utility>

namespace heed {
namespace {

constexpr uint64_t kMet = 1;
constexpr uint64_t kTaken = 2;
constexpr uint64_t kFlags = kMet | kTaken;
constexpr size_t kFirstSlots = 1024;

bool same(const Hash128& a, const Hash128& b) {
  return a.high == b.high && (a.low & ~kFlags) == (b.low & ~kFlags);
}

}  // namespace

KeySet::KeySet(int64_t max_keys) : max_keys_(max_keys), slots_(kFirstSlots) {}

Hash128 KeySet::key(char kind, std::string_view name) const {
  const std::string text = kind + std::string(name);
  return siphash(secret_, std::as_bytes(std::span(text)));
}

// The slot that holds the key, or the free one where it belongs. There always is a free one.
size_t KeySet::find(const Hash128& key) const {
  const size_t mask = slots_.size() - 1;
  size_t at = key.high & mask;
  while ((slots_[at].low & kTaken) != 0 && !same(slots_[at], key)) at = (at + 1) & mask;
  return at;
}

bool KeySet::grow() {
  if (count_ >= max_keys_) return false;
  if (static_cast<size_t>(count_) * 4 < slots_.size() * 3) return true;
  const std::vector<Hash128> old = std::exchange(slots_, std::vector<Hash128>(slots_.size() * 2));
  for (const Hash128& slot : old) {
    if ((slot.low & kTaken) != 0) slots_[find(slot)] = slot;
  }
  return true;
}

bool KeySet::add(const Hash128& key, uint64_t met) {
  if (!grow()) return false;
  slots_[find(key)] = {(key.low & ~kFlags) | kTaken | met, key.high};
  ++count_;
  return true;
}

bool KeySet::add_done(const Hash128& key) { return contains(key) || add(key, 0); }

bool KeySet::contains(const Hash128& key) const { return (slots_[find(key)].low & kTaken) != 0; }

KeySet::Met KeySet::meet(const Hash128& key) {
  Hash128& slot = slots_[find(key)];
  if ((slot.low & kTaken) == 0) return add(key, kMet) ? Met::kNew : Met::kFull;
  if ((slot.low & kMet) != 0) return Met::kAgain;
  slot.low |= kMet;
  return Met::kDone;
}

}  // namespace heed
