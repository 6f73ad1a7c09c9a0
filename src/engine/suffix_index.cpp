#include "engine/suffix_index.h"

#include <algorithm>

namespace heed {
namespace {

constexpr int kMostMatches = 128;  // occurrences that are counted
constexpr int kMostSteps = 512;    // places looked at for each table

}  // namespace

SuffixIndex::SuffixIndex(int64_t capacity, int table_bits) : capacity_(capacity), table_bits_(table_bits) {
  for (Table& table : tables_) table.last.resize(size_t{1} << table_bits);
}

int64_t SuffixIndex::bytes(int64_t capacity, int table_bits) {
  const auto runs = static_cast<int64_t>(kRuns.size());
  const auto token = static_cast<int64_t>(sizeof(int)) + runs * static_cast<int64_t>(sizeof(int32_t));
  // Lists may have grown to twice of what they hold.
  return 2 * capacity * token + runs * (int64_t{1} << table_bits) * static_cast<int64_t>(sizeof(int64_t));
}

template <class Back>
size_t SuffixIndex::hash(int run, Back back) const {
  uint64_t sum = 0;
  for (int i = 0; i < run; ++i) sum = (sum + static_cast<uint32_t>(back(i)) + 1) * 0x9E3779B97F4A7C15U;
  return static_cast<size_t>(sum >> (64 - table_bits_));
}

int SuffixIndex::at(int64_t place) const {
  const bool is_there = place >= oldest_ && place < end_ && place >= end_ - capacity_;
  return is_there ? tokens_[slot(place)] : kEnd;
}

void SuffixIndex::append(int token) {
  const size_t here = slot(end_++);
  const auto put = [here](auto& list, auto value) {
    if (list.size() <= here) list.resize(here + 1);
    list[here] = value;
  };
  put(tokens_, token);
  for (size_t i = 0; i < kRuns.size(); ++i) {
    Table& table = tables_[i];
    put(table.earlier, int32_t{0});
    if (token == kEnd || end_ < kRuns[i]) continue;
    int64_t& last = table.last[hash(kRuns[i], [&](int back) { return at(end_ - 1 - back); })];
    if (last > 0 && end_ - last < capacity_) table.earlier[here] = static_cast<int32_t>(end_ - last);
    last = end_;
  }
}

void SuffixIndex::search(size_t which, std::span<const int> text, int longest,
                         std::vector<Match>& matches) const {
  const int run = kRuns[which];
  const auto size = static_cast<int>(text.size());
  if (size < run || longest < run) return;
  const auto back = [&](int i) { return text[static_cast<size_t>(size - 1 - i)]; };
  const Table& table = tables_[which];
  int64_t place = table.last[hash(run, back)];
  for (int steps = 0; steps < kMostSteps && std::ssize(matches) < kMostMatches; ++steps) {
    if (place <= oldest_ || place <= end_ - capacity_) return;
    int length = 0;
    while (length < std::min(longest, size) && at(place - 1 - length) == back(length)) ++length;
    // A longer run's table has found those that are as long already.
    const bool is_new = which == 0 || length < kRuns[which - 1] || longest < kRuns[which - 1];
    if (length >= run && is_new && at(place) != kEnd) matches.push_back({.next = place, .length = length});
    const int32_t distance = table.earlier[slot(place - 1)];
    if (distance == 0) return;
    place -= distance;
  }
}

void SuffixIndex::find(std::span<const int> text, int longest, std::vector<Match>& matches) const {
  matches.clear();
  for (size_t i = 0; i < kRuns.size(); ++i) search(i, text, longest, matches);
  std::sort(matches.begin(), matches.end(), [](const Match& a, const Match& b) {
    return a.length != b.length ? a.length > b.length : a.next > b.next;
  });
}

}  // namespace heed
