// Things with ids in the order in which they were made, and pages of that order.
#pragma once
#include <cstdint>
#include <functional>
#include <iterator>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace heed {

struct PageQuery {
  std::string after;  // the id before the page; empty: from the start
  int limit = 20;
  bool oldest_first = false;
};

template <class T>
struct Page {
  std::vector<const T*> items;
  bool has_more = false;
};

// T has `id` and `made_ns`, both unique. Pointers hold until their item is erased.
template <class T>
class Shelf {
 public:
  T* find(const std::string& id) {
    const auto found = ages_.find(id);
    return found == ages_.end() ? nullptr : &items_.at(found->second);
  }
  T& put(T item) {
    ages_[item.id] = item.made_ns;
    return items_.insert_or_assign(item.made_ns, std::move(item)).first->second;
  }
  void erase(const std::string& id) {
    const auto found = ages_.find(id);
    if (found == ages_.end()) return;
    items_.erase(found->second);
    ages_.erase(found);
  }
  int64_t size() const { return std::ssize(items_); }
  // A time of making that is later than any here, and not before `now_ns`.
  int64_t next_ns(int64_t now_ns) const {
    return items_.empty() ? now_ns : std::max(now_ns, items_.rbegin()->first + 1);
  }
  std::map<int64_t, T>& by_age() { return items_; }  // the oldest first

  // Nothing where `after` is not here.
  std::optional<Page<T>> page(const PageQuery& query, const std::function<bool(const T&)>& wanted) const {
    std::optional<int64_t> after;
    if (!query.after.empty()) {
      const auto found = ages_.find(query.after);
      if (found == ages_.end()) return std::nullopt;
      after = found->second;
    }
    if (query.oldest_first) {
      return fill(after ? items_.upper_bound(*after) : items_.begin(), items_.end(), query.limit, wanted);
    }
    const auto first = after ? std::make_reverse_iterator(items_.find(*after)) : items_.rbegin();
    return fill(first, items_.rend(), query.limit, wanted);
  }

 private:
  template <class Iterator>
  static Page<T> fill(Iterator at, Iterator end, int limit, const std::function<bool(const T&)>& wanted) {
    Page<T> page;
    for (; at != end && !page.has_more; ++at) {
      if (!wanted(at->second)) continue;
      page.has_more = std::ssize(page.items) == limit;
      if (!page.has_more) page.items.push_back(&at->second);
    }
    return page;
  }

  std::map<int64_t, T> items_;
  std::map<std::string, int64_t> ages_;  // made_ns by id
};

}  // namespace heed
