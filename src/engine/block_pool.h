// Uniform pages of cache memory: who holds them, and which are worth finding again.
//
//   free      no holder, content unknown
//   held      one or more holders; with a key once its content is complete
//   cached    no holder, but a key: can be found and shared again until its memory is needed, oldest first
#pragma once
#include <cstdint>
#include <list>
#include <optional>
#include <unordered_map>
#include <vector>

#include "base/siphash.h"
#include "tensor/tensor.h"

namespace heed {

// What a page holds: all tokens of its sequence up to its end, for one cache group.
struct PageKey {
  Hash128 prefix;
  int group = 0;
  bool operator==(const PageKey&) const = default;
};

class BlockPool {
 public:
  BlockPool(int64_t page_bytes, int pages);

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
  int available_pages() const { return static_cast<int>(free_.size() + cached_.size()); }
  int cached_pages() const { return static_cast<int>(cached_.size()); }
  int holders(int page) const { return states_[page].holders; }
  char* memory() const { return static_cast<char*>(memory_.data()); }

 private:
  struct State {
    int holders = 0;
    std::optional<PageKey> key;
    std::list<int>::iterator place;  // in cached_, while there
  };
  struct KeyHash {
    size_t operator()(const PageKey& key) const {
      return key.prefix.low ^ (static_cast<uint64_t>(key.group) << 1);
    }
  };
  void drop_key(int page);

  Buffer memory_;
  std::vector<State> states_;
  std::vector<int> free_;
  std::list<int> cached_;  // oldest first
  std::unordered_map<PageKey, int, KeyHash> index_;
};

}  // namespace heed
