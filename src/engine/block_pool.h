// Uniform pages of cache memory: who holds them, and which are worth finding again.
//
//   free      no holder, content unknown
//   held      one or more holders; with a key once its content is complete
//   cached    no holder, but a key: can be found and shared again until its memory is needed, oldest first
//
// All memory is taken when it is made: nothing here allocates later, and every operation takes constant time.
#pragma once
#include <cstdint>
#include <vector>

#include "base/siphash.h"
#include "tensor/device.h"

namespace heed {

// What a page holds: all tokens of its sequence up to its end, for one cache group.
struct PageKey {
  Hash128 prefix;
  int group = -1;  // -1: no key
  bool operator==(const PageKey&) const = default;
};

class BlockPool {
 public:
  BlockPool(int64_t page_bytes, int pages, Device& device = host_device());

  // A page without a key for the caller to hold, or -1 if every page is held. May forget the oldest cached
  // page.
  int take();
  // One more holder of a page that find() gave.
  void share(int page);
  // One holder less.
  void give_back(int page);

  // Makes a held page findable, unless another page with that key is.
  void set_key(int page, const PageKey& key);
  int find(const PageKey& key) const;  // -1 if there is none
  // Forgets all cached pages and the keys of held ones.
  void forget();

  int pages() const { return static_cast<int>(states_.size()); }
  int held_pages() const { return pages() - available_pages(); }
  int available_pages() const { return static_cast<int>(free_.size()) + cached_; }
  int cached_pages() const { return cached_; }
  int holders(int page) const { return states_[page].holders; }
  char* memory() const { return static_cast<char*>(memory_.data()); }
  int64_t bytes() const { return memory_.bytes(); }
  // What the states, lists and index of so many pages take at most.
  static int64_t state_bytes(int64_t pages) {
    return pages * static_cast<int64_t>(sizeof(State) + sizeof(int) + 4 * sizeof(int32_t));
  }
  // Every page is free, held or cached, each list and the index agree. Aborts if not.
  void check() const;

 private:
  struct State {
    PageKey key;
    int holders = 0;
    int older = -1, newer = -1;  // neighbours among the cached pages, while there
  };
  size_t home_of(const PageKey& key) const;
  void drop_key(int page);
  void link_newest(int page);
  void unlink(int page);

  Buffer memory_;
  std::vector<State> states_;
  std::vector<int> free_;
  int oldest_ = -1, newest_ = -1, cached_ = 0;
  // Page of each key: open addressing with linear probing, -1 where empty, never more than half full.
  std::vector<int32_t> index_;
};

}  // namespace heed
