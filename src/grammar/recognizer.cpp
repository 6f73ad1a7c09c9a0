#include "grammar/recognizer.h"

#include <algorithm>

#include "base/check.h"

namespace heed::grammar {
namespace {

constexpr size_t kFewItems = 16;
constexpr int kFewCallers = 16;

}  // namespace

Recognizer::Recognizer(const Tables& tables) : tables_(tables) {
  begin_set();
  const TableRule& root = tables_.rule(tables_.root);
  sets_.back().accepts = root.nullable;
  add_caller(frame_of(tables_.root, 0), kAccept, kNone);
  add(root.start, 0, 0);
  close_set();
}

std::span<const Recognizer::Item> Recognizer::items() const {
  return {items_.data() + sets_.back().first_item,
          items_.size() - static_cast<size_t>(sets_.back().first_item)};
}

bool Recognizer::can_continue() const {
  for (const Item& item : items()) {
    const TableState& state = tables_.state(item.state);
    const TableRule& rule = tables_.rule(state.rule);
    for (const ByteEdge& edge : tables_.edges_of(state)) {
      if ((!edge.counts || item.count < rule.max_count) &&
          (!edge.needs_min || item.count >= rule.min_count)) {
        return true;
      }
    }
  }
  return false;
}

void Recognizer::begin_set() {
  sets_.push_back({static_cast<int32_t>(items_.size()), static_cast<int32_t>(frames_.size()),
                   static_cast<int32_t>(callers_.size()), false});
  returns_ = 0;
}

void Recognizer::take(const Item& item, const ByteEdge& edge) {
  int32_t count = item.count;
  if (edge.counts || edge.needs_min) {
    const TableRule& rule = tables_.rule(tables_.state(item.state).rule);
    if (edge.needs_min && count < rule.min_count) return;
    if (edge.counts && count >= rule.max_count) return;
    if (edge.counts) ++count;
  }
  add(edge.target, item.frame, count);
}

bool Recognizer::push(uint8_t byte) {
  const auto begin = static_cast<size_t>(sets_.back().first_item);
  const size_t end = items_.size();
  begin_set();
  for (size_t i = begin; i < end; ++i) {
    const Item item = items_[i];
    const TableState& state = tables_.state(item.state);
    for (const ByteEdge& edge : tables_.edges_of(state)) {
      if (byte < edge.lo || byte > edge.hi) continue;
      take(item, edge);
      if (state.disjoint) break;
    }
  }
  close_set();
  if (sets_.back().accepts || !items().empty()) return true;
  pop_to(size() - 1);
  return false;
}

void Recognizer::push_subset(std::span<const Item> items) {
  const std::vector<Item> kept(items.begin(), items.end());
  begin_set();
  items_.insert(items_.end(), kept.begin(), kept.end());
}

void Recognizer::pop_to(int64_t size) {
  const int64_t keep = size - first_set_;
  DCHECK(keep >= 1 && keep <= static_cast<int64_t>(sets_.size()), keep, sets_.size());
  if (keep == static_cast<int64_t>(sets_.size())) return;
  const Set& dropped = sets_[static_cast<size_t>(keep)];
  items_.resize(static_cast<size_t>(dropped.first_item));
  frames_.resize(static_cast<size_t>(dropped.first_frame));
  callers_.resize(static_cast<size_t>(dropped.first_caller));
  sets_.resize(static_cast<size_t>(keep));
}

bool Recognizer::fits(int32_t depth) {
  if (tracing_) trace_.max_depth = std::max(trace_.max_depth, depth);
  return depth <= tables_.max_depth;
}

void Recognizer::add(int32_t state, int32_t frame, int32_t count) {
  if (state == kAccept) {
    sets_.back().accepts = true;
    return;
  }
  if (!fits(frames_[static_cast<size_t>(frame)].depth + tables_.state(state).need)) return;
  const auto first = static_cast<size_t>(sets_.back().first_item);
  if (items_.size() - first >= kMaxItems) return;
  const Item item{state, frame, count};
  if (is_new(item)) items_.push_back(item);
}

// Whether the newest set lacks an item. A few are looked through; many are found by their hash.
bool Recognizer::is_new(const Item& item) {
  const auto first = static_cast<size_t>(sets_.back().first_item);
  if (items_.size() - first < kFewItems) {
    return std::find(items_.begin() + static_cast<int64_t>(first), items_.end(), item) == items_.end();
  }
  const auto slot_of = [&](const Item& wanted) {
    uint64_t hash = static_cast<uint64_t>(wanted.state) * 0x9E3779B97F4A7C15u;
    hash = (hash ^ static_cast<uint64_t>(wanted.frame)) * 0x9E3779B97F4A7C15u;
    hash = (hash ^ static_cast<uint64_t>(wanted.count)) * 0x9E3779B97F4A7C15u;
    size_t slot = static_cast<size_t>(hash >> 32) % table_.size();
    while (table_[slot] != 0 && items_[static_cast<size_t>(table_[slot]) - 1] != wanted)
      slot = (slot + 1) % table_.size();
    return slot;
  };
  if (items_.size() - first == kFewItems) {
    table_.assign(4 * kMaxItems, 0);
    for (size_t i = first; i < items_.size(); ++i) table_[slot_of(items_[i])] = static_cast<int32_t>(i) + 1;
  }
  const size_t slot = slot_of(item);
  if (table_[slot] != 0) return false;
  table_[slot] = static_cast<int32_t>(items_.size()) + 1;
  return true;
}

// Completes and calls until nothing new turns up; then items that no byte can move are dropped.
void Recognizer::close_set() {
  const auto first = static_cast<size_t>(sets_.back().first_item);
  bool has_ends = false;
  for (size_t i = first; i < items_.size(); ++i) {
    const Item item = items_[i];
    const TableState& state = tables_.state(item.state);
    has_ends = has_ends || state.num_edges == 0;
    if (state.is_quiet()) continue;
    if (state.is_final) complete(item.frame);
    for (const RuleCall& c : tables_.calls_of(state)) call(c, item.frame);
  }
  if (!has_ends) return;
  items_.erase(std::remove_if(items_.begin() + static_cast<int64_t>(first), items_.end(),
                              [&](const Item& item) { return tables_.state(item.state).num_edges == 0; }),
               items_.end());
}

void Recognizer::complete(int32_t frame) {
  if (frame >= sets_.back().first_frame) return;  // the empty match: its callers have gone on already
  consult(frame);
  for (int32_t i = frames_[static_cast<size_t>(frame)].first_caller; i != kNone;
       i = callers_[static_cast<size_t>(i)].next) {
    if (++returns_ > kMaxReturns) return;
    const Caller caller = callers_[static_cast<size_t>(i)];
    add(caller.state, caller.frame, 0);
  }
}

void Recognizer::call(const RuleCall& c, int32_t frame) {
  const TableRule& rule = tables_.rule(c.rule);
  const int32_t depth = frames_[static_cast<size_t>(frame)].depth;
  const int32_t inside = tables_.state(rule.start).need;
  if (tables_.state(c.target).is_end() && frame < sets_.back().first_frame) {
    if (!fits(depth + inside)) return;
    const int32_t callee = frame_of(c.rule, depth);
    consult(frame);
    for (int32_t i = frames_[static_cast<size_t>(frame)].first_caller; i != kNone;
         i = callers_[static_cast<size_t>(i)].next) {
      if (++returns_ > kMaxReturns) break;
      const Caller caller = callers_[static_cast<size_t>(i)];
      add_caller(callee, caller.state, caller.frame);
    }
    enter(callee);
    return;
  }
  if (!fits(depth + std::max(1 + inside, tables_.state(c.target).need))) return;
  const int32_t callee = frame_of(c.rule, depth + 1);
  add_caller(callee, c.target, frame);
  enter(callee);
}

// A frame whose callers were all past the bounds could never be completed.
void Recognizer::enter(int32_t frame) {
  const Frame& entered = frames_[static_cast<size_t>(frame)];
  if (entered.first_caller != kNone) add(tables_.rule(entered.rule).start, frame, 0);
}

int32_t Recognizer::frame_of(int32_t rule, int32_t depth) {
  for (auto i = static_cast<size_t>(sets_.back().first_frame); i < frames_.size(); ++i) {
    if (frames_[i].rule == rule) return static_cast<int32_t>(i);
  }
  frames_.push_back({rule, kNone, depth});
  return static_cast<int32_t>(frames_.size()) - 1;
}

void Recognizer::add_caller(int32_t frame, int32_t state, int32_t parent) {
  if (callers_.size() - static_cast<size_t>(sets_.back().first_caller) >= kMaxCallers) return;
  int32_t& first = frames_[static_cast<size_t>(frame)].first_caller;
  int looked_at = 0;  // one that comes twice costs time only, so a long list is not searched
  for (int32_t i = first; i != kNone && looked_at < kFewCallers;
       i = callers_[static_cast<size_t>(i)].next, ++looked_at) {
    const Caller& known = callers_[static_cast<size_t>(i)];
    if (known.state == state && known.frame == parent) return;
  }
  callers_.push_back({state, parent, first});
  first = static_cast<int32_t>(callers_.size()) - 1;
}

void Recognizer::start_trace() {
  tracing_ = true;
  trace_.first_new_frame = static_cast<int32_t>(frames_.size());
  trace_.consulted.clear();
  trace_.max_depth = 0;
}

Recognizer::Trace Recognizer::take_trace() {
  tracing_ = false;
  return std::move(trace_);
}

void Recognizer::consult(int32_t frame) {
  if (!tracing_ || frame >= trace_.first_new_frame) return;
  if (std::find(trace_.consulted.begin(), trace_.consulted.end(), frame) == trace_.consulted.end()) {
    trace_.consulted.push_back(frame);
  }
}

// Keeps what the remaining sets reach. Frames and callers only point to older ones or to their own set's, and
// keep their order, so each set's part stays in one piece.
void Recognizer::forget_before(int64_t size) {
  const auto drop = static_cast<size_t>(size - 1 - first_set_);
  DCHECK(drop < sets_.size());
  std::vector<int32_t> frame_numbers(frames_.size(), kNone);
  std::vector<int32_t> open;
  const auto reach = [&](int32_t frame) {
    if (frame == kNone || frame_numbers[static_cast<size_t>(frame)] != kNone) return;
    frame_numbers[static_cast<size_t>(frame)] = 0;
    open.push_back(frame);
  };
  for (auto i = static_cast<size_t>(sets_[drop].first_item); i < items_.size(); ++i) reach(items_[i].frame);
  std::vector<bool> keep_caller(callers_.size(), false);
  while (!open.empty()) {
    const int32_t frame = open.back();
    open.pop_back();
    for (int32_t i = frames_[static_cast<size_t>(frame)].first_caller; i != kNone;
         i = callers_[static_cast<size_t>(i)].next) {
      keep_caller[static_cast<size_t>(i)] = true;
      reach(callers_[static_cast<size_t>(i)].frame);
    }
  }
  // How many are kept before each old number.
  std::vector<int32_t> caller_numbers(callers_.size() + 1, 0);
  for (size_t i = 0; i < callers_.size(); ++i)
    caller_numbers[i + 1] = caller_numbers[i] + (keep_caller[i] ? 1 : 0);
  std::vector<int32_t> frames_before(frames_.size() + 1, 0);
  for (size_t i = 0; i < frames_.size(); ++i) {
    frames_before[i + 1] = frames_before[i] + (frame_numbers[i] != kNone ? 1 : 0);
  }
  const auto new_frame = [&](int32_t i) {
    return i == kNone ? kNone : frames_before[static_cast<size_t>(i)];
  };
  const auto new_caller = [&](int32_t i) {
    return i == kNone ? kNone : caller_numbers[static_cast<size_t>(i)];
  };
  for (size_t i = 0; i < frames_.size(); ++i) {
    if (frame_numbers[i] == kNone) continue;
    frames_[static_cast<size_t>(frames_before[i])] = {frames_[i].rule, new_caller(frames_[i].first_caller),
                                                      frames_[i].depth};
  }
  for (size_t i = 0; i < callers_.size(); ++i) {
    if (!keep_caller[i]) continue;
    callers_[static_cast<size_t>(caller_numbers[i])] = {callers_[i].state, new_frame(callers_[i].frame),
                                                        new_caller(callers_[i].next)};
  }
  const int32_t first_item = sets_[drop].first_item;
  for (auto i = static_cast<size_t>(first_item); i < items_.size(); ++i) {
    items_[i - static_cast<size_t>(first_item)] = {items_[i].state, new_frame(items_[i].frame),
                                                   items_[i].count};
  }
  items_.resize(items_.size() - static_cast<size_t>(first_item));
  for (size_t i = drop; i < sets_.size(); ++i) {
    const Set& set = sets_[i];
    sets_[i - drop] = {set.first_item - first_item, frames_before[static_cast<size_t>(set.first_frame)],
                       caller_numbers[static_cast<size_t>(set.first_caller)], set.accepts};
  }
  sets_.resize(sets_.size() - drop);
  frames_.resize(static_cast<size_t>(frames_before.back()));
  callers_.resize(static_cast<size_t>(caller_numbers.back()));
  first_set_ += static_cast<int64_t>(drop);
}

int64_t Recognizer::num_bytes() const {
  return static_cast<int64_t>(sets_.size() * sizeof(Set) + items_.size() * sizeof(Item) +
                              frames_.size() * sizeof(Frame) + callers_.size() * sizeof(Caller));
}

}  // namespace heed::grammar
