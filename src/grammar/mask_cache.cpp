#include <algorithm>

#include "grammar/matcher.h"

namespace heed {

using grammar::Recognizer;

namespace {

constexpr size_t kMaxItems = 64;  // places with more readings than this are not kept
constexpr size_t kMaxKey = 2048;
constexpr size_t kMaxOfOneHead = 32;  // entries with equal items, which differ in the stack below

// The part of a stack that a walk looked at, with frames numbered in the order in which they turn up.
class Place {
 public:
  Place(const Recognizer& recognizer, int longest_token) : recognizer_(recognizer) {
    for (const Recognizer::Item& item : recognizer.items()) {
      const grammar::Tables& tables = recognizer.tables();
      const grammar::TableRule& rule = tables.rule(tables.state(item.state).rule);
      key_.insert(key_.end(),
                  {item.state, number_of(item.frame), std::min(rule.max_count - item.count, longest_token),
                   std::clamp(rule.min_count - item.count, 0, longest_token)});
    }
  }

  const std::vector<int32_t>& key() const { return key_; }
  uint64_t head() const {
    uint64_t hash = 0xcbf29ce484222325u;
    for (const int32_t word : key_) hash = (hash ^ static_cast<uint64_t>(word)) * 0x100000001b3u;
    return hash;
  }

  void look_at(int32_t frame) { append_callers(number_of(frame), key_); }

  // Whether looking at the same frames here gives the same key.
  bool matches(const std::vector<int32_t>& key) {
    if (key.size() < key_.size() || !std::equal(key_.begin(), key_.end(), key.begin())) return false;
    while (key_.size() < key.size()) {
      const size_t before = key_.size();
      append_callers(key[before], key_);
      if (key_.size() > key.size()) return false;
      if (!std::equal(key_.begin() + static_cast<int64_t>(before), key_.end(),
                      key.begin() + static_cast<int64_t>(before))) {
        return false;
      }
    }
    return true;
  }

  int32_t least_depth() const {
    int32_t depth = INT32_MAX;
    for (const int32_t frame : frames_) depth = std::min(depth, recognizer_.frame(frame).depth);
    return depth;
  }
  int32_t greatest_depth() const {
    int32_t depth = 0;
    for (const int32_t frame : frames_) depth = std::max(depth, recognizer_.frame(frame).depth);
    return depth;
  }

 private:
  int32_t number_of(int32_t frame) {
    if (frame == Recognizer::kNone) return -1;
    const auto at = std::find(frames_.begin(), frames_.end(), frame);
    if (at != frames_.end()) return static_cast<int32_t>(at - frames_.begin());
    frames_.push_back(frame);
    return static_cast<int32_t>(frames_.size()) - 1;
  }

  // [number, count of callers, (state, number) of each].
  void append_callers(int32_t number, std::vector<int32_t>& key) {
    const size_t at = key.size();
    key.insert(key.end(), {number, 0});
    const int32_t frame = frames_[static_cast<size_t>(number)];
    for (int32_t i = recognizer_.frame(frame).first_caller; i != Recognizer::kNone;
         i = recognizer_.caller(i).next) {
      key.insert(key.end(), {recognizer_.caller(i).state, number_of(recognizer_.caller(i).frame)});
      ++key[at + 1];
    }
  }

  const Recognizer& recognizer_;
  std::vector<int32_t> key_;
  std::vector<int32_t> frames_;
};

}  // namespace

bool MaskCache::find(const Recognizer& recognizer, std::span<uint32_t> mask) {
  if (recognizer.items().size() > kMaxItems) return false;
  const Place here(recognizer, trie_.longest_token());
  const std::lock_guard lock(mutex_);
  const auto [begin, end] = by_head_.equal_range(here.head());
  for (auto at = begin; at != end; ++at) {
    const auto entry = at->second;
    Place place = here;
    if (!place.matches(entry->key)) continue;
    if (place.greatest_depth() + entry->depth_gain > grammar_.tables().max_depth) continue;
    std::copy(entry->mask.begin(), entry->mask.end(), mask.begin());
    entries_.splice(entries_.begin(), entries_, entry);
    return true;
  }
  return false;
}

void MaskCache::keep(const Recognizer& recognizer, const Recognizer::Trace& trace,
                     std::span<const uint32_t> mask) {
  // A walk that met the greatest depth has a mask that depends on it.
  if (recognizer.items().size() > kMaxItems || trace.max_depth > grammar_.tables().max_depth) return;
  Place place(recognizer, trie_.longest_token());
  Entry entry;
  entry.head = place.head();
  for (const int32_t frame : trace.consulted) place.look_at(frame);
  if (place.key().size() > kMaxKey) return;
  entry.key = place.key();
  entry.depth_gain = std::max(0, trace.max_depth - place.least_depth());
  entry.mask.assign(mask.begin(), mask.begin() + trie_.mask_words());
  const auto cost = [](const Entry& e) {
    return static_cast<int64_t>(sizeof(Entry) + 64 + (e.key.size() + e.mask.size()) * sizeof(uint32_t));
  };

  const std::lock_guard lock(mutex_);
  const auto drop = [&](std::unordered_multimap<uint64_t, std::list<Entry>::iterator>::iterator at) {
    num_bytes_ -= cost(*at->second);
    entries_.erase(at->second);
    by_head_.erase(at);
  };
  if (by_head_.count(entry.head) >= kMaxOfOneHead) drop(by_head_.find(entry.head));
  num_bytes_ += cost(entry);
  entries_.push_front(std::move(entry));
  by_head_.emplace(entries_.front().head, entries_.begin());
  while (num_bytes_ > max_bytes_ && entries_.size() > 1) {
    const auto [begin, end] = by_head_.equal_range(entries_.back().head);
    drop(std::find_if(begin, end, [&](const auto& at) { return at.second == std::prev(entries_.end()); }));
  }
}

int MaskCache::size() const {
  const std::lock_guard lock(mutex_);
  return static_cast<int>(entries_.size());
}

}  // namespace heed
