// Recognizer: follows a text byte by byte through a grammar, and back.
//
// It is Earley's algorithm with its items as a graph-structured stack. After each byte there is a set of
// items (state, frame): where in its rule a reading of the text is, and which call of the rule it belongs to.
// A frame is one (rule, place in the text) and lists its callers: where to go on once the rule has matched.
// Readings of one text share frames, so ambiguity costs polynomial, not exponential, memory, and a
// left-recursive call just adds a caller to the frame that is already there.
//
//   text       {  "  a  "  :  1 ...
//   items      each byte appends a set; rollback truncates to an earlier one
//   frames     appended with the set where the call happened, never changed after it; so truncated along with
//   it
//
// A call in tail position takes over its caller's callers, so right recursion and lists keep the stack flat.
// Frames and sets that can no longer be reached are dropped now and then (forget_before), so memory follows
// the nesting, not the length, of the text.
//
// Bounds: at most kMaxItems items and kMaxCallers new callers a byte; a grammar so ambiguous that it passes
// them loses readings, never soundness: what is accepted matches the grammar and can be completed.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "grammar/tables.h"

namespace heed::grammar {

class Recognizer {
 public:
  static constexpr int kMaxItems = 512;
  static constexpr int kMaxCallers = 1024;
  static constexpr int kMaxReturns = 2048;

  struct Item {
    int32_t state;
    int32_t frame;
    int32_t count;  // of counted characters so far
    bool operator==(const Item&) const = default;
  };
  struct Frame {
    int32_t rule;
    int32_t first_caller;  // a list, newest first; kNone ends it
    int32_t depth;
  };
  struct Caller {
    int32_t state;  // where to go on; kAccept for the whole text
    int32_t frame;
    int32_t next;
  };
  static constexpr int32_t kNone = -1;
  static constexpr int32_t kAccept = -1;

  explicit Recognizer(const Tables& tables);  // keeps a reference

  // The next byte of the text; false, and nothing changes, if no text that matches goes on so.
  bool push(uint8_t byte);
  // Repeats the newest set with some of its items: a way to follow these alone. Undone by pop_to.
  void push_subset(std::span<const Item> items);
  // Back to the set that was the newest when size() was `size`.
  void pop_to(int64_t size);

  int64_t size() const { return first_set_ + static_cast<int64_t>(sets_.size()); }
  std::span<const Item> items() const;
  bool can_end() const { return sets_.back().accepts; }
  // Whether any byte may follow.
  bool can_continue() const;

  // Drops sets older than that of this size; pop_to reaches back to it at most.
  void forget_before(int64_t size);

  const Tables& tables() const { return tables_; }
  const Frame& frame(int32_t i) const { return frames_[static_cast<size_t>(i)]; }
  const Caller& caller(int32_t i) const { return callers_[static_cast<size_t>(i)]; }
  int64_t num_bytes() const;

  // What the walks since start_trace() have looked at, for the cache of masks.
  struct Trace {
    int32_t first_new_frame = 0;
    std::vector<int32_t>
        consulted;          // frames older than the walk whose callers were looked at, oldest look first
    int32_t max_depth = 0;  // the deepest that was asked for, of frames and needs
  };
  void start_trace();
  Trace take_trace();

 private:
  struct Set {
    int32_t first_item;
    int32_t first_frame;
    int32_t first_caller;
    bool accepts;  // the text may end here
  };

  void begin_set();
  void add(int32_t state, int32_t frame, int32_t count);
  void close_set();
  void complete(int32_t frame);
  void call(const RuleCall& c, int32_t frame);
  void enter(int32_t frame);
  int32_t frame_of(int32_t rule, int32_t depth);
  void add_caller(int32_t frame, int32_t state, int32_t parent);
  bool fits(int32_t depth);
  void consult(int32_t frame);
  void take(const Item& item, const ByteEdge& edge);
  bool is_new(const Item& item);

  const Tables& tables_;
  std::vector<Set> sets_;
  std::vector<Item> items_;
  std::vector<Frame> frames_;
  std::vector<Caller> callers_;
  int64_t first_set_ = 0;
  int returns_ = 0;             // while the newest set is being built
  std::vector<int32_t> table_;  // of its items by their hash, once there are many; an item's number plus 1
  bool tracing_ = false;
  Trace trace_;
};

}  // namespace heed::grammar
