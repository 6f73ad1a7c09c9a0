#include "text/trie.h"

#include <algorithm>
#include <numeric>

namespace heed {

Trie::Trie(const std::vector<std::string_view>& entries) {
  std::vector<int> order(entries.size());
  std::iota(order.begin(), order.end(), 0);
  const auto text = [&](int entry) { return entries[static_cast<size_t>(entry)]; };
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return text(a) < text(b); });

  struct Range {  // of `order`: the entries below one node
    size_t lo, hi, depth;
  };
  std::vector<Range> ranges = {{0, order.size(), 0}};
  nodes_.emplace_back();
  for (size_t node = 0; node < nodes_.size(); ++node) {
    auto [lo, hi, depth] = ranges[node];
    while (lo < hi && text(order[lo]).size() == depth) nodes_[node].entry = order[lo++];
    nodes_[node].first_child = static_cast<int>(nodes_.size());
    while (lo < hi) {
      const char label = text(order[lo])[depth];
      size_t end = lo;
      while (end < hi && text(order[end])[depth] == label) ++end;
      nodes_.push_back({0, 0, -1, static_cast<unsigned char>(label)});
      ranges.push_back({lo, end, depth + 1});
      ++nodes_[node].num_children;
      lo = end;
    }
  }
  root_children_.assign(256, -1);
  for (int i = 0; i < nodes_[0].num_children; ++i) {
    const int at = nodes_[0].first_child + i;
    root_children_[nodes_[static_cast<size_t>(at)].label] = at;
  }
}

int Trie::child(int node, unsigned char label) const {
  if (node == 0) return root_children_[label];
  const Node& parent = nodes_[static_cast<size_t>(node)];
  const auto first = nodes_.begin() + parent.first_child;
  const auto last = first + parent.num_children;
  const auto found = std::lower_bound(
      first, last, label, [](const Node& child, unsigned char wanted) { return child.label < wanted; });
  return found == last || found->label != label ? -1 : static_cast<int>(found - nodes_.begin());
}

}  // namespace heed
