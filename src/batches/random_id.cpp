#include "batches/random_id.h"

#include <algorithm>

#include "base/siphash.h"

namespace heed {
namespace {

constexpr std::string_view kDigits = "0123456789abcdef";
constexpr size_t kNumDigits = 32;

}  // namespace

std::string random_id(std::string_view prefix) {
  const Hash128 bits = random_key();
  std::string id(prefix);
  for (uint64_t word : {bits.low, bits.high}) {
    for (int i = 0; i < 16; ++i, word >>= 4) id += kDigits[word & 15];
  }
  return id;
}

bool is_random_id(std::string_view prefix, std::string_view id) {
  if (!id.starts_with(prefix) || id.size() != prefix.size() + kNumDigits) return false;
  id.remove_prefix(prefix.size());
  return std::all_of(id.begin(), id.end(), [](char c) { return kDigits.find(c) != std::string_view::npos; });
}

}  // namespace heed
