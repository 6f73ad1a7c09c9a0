// A trie over byte strings that finds all its entries which begin at a place of a text.
//
// Children lie side by side, sorted; built without recursion in time linear in the entries. Immutable once
// built.
#pragma once
#include <cstdint>
#include <string_view>
#include <vector>

namespace heed {

class Trie {
 public:
  Trie() = default;
  // Entries may come in any order; empty ones are never found, and of equal ones the last counts.
  explicit Trie(const std::vector<std::string_view>& entries);

  // Calls visit(index of the entry, its length) for every entry that `text` starts with, shortest first.
  template <class Visit>
  void for_each_prefix(std::string_view text, Visit visit) const {
    if (nodes_.empty()) return;
    int node = 0;
    for (size_t i = 0; i < text.size(); ++i) {
      node = child(node, static_cast<unsigned char>(text[i]));
      if (node < 0) return;
      if (nodes_[static_cast<size_t>(node)].entry >= 0) visit(nodes_[static_cast<size_t>(node)].entry, i + 1);
    }
  }

 private:
  struct Node {
    int first_child = 0;
    int num_children = 0;
    int entry = -1;
    unsigned char label = 0;
  };
  int child(int node, unsigned char label) const;

  std::vector<Node> nodes_;         // the root first, the children of one node side by side
  std::vector<int> root_children_;  // by label; -1: none
};

}  // namespace heed
