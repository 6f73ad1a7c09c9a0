#include "grammar/token_trie.h"

#include <algorithm>

#include "grammar/code_points.h"

namespace heed {
namespace {

// The length of a plain token in code points, else -1.
int plain_length(std::string_view bytes) {
  int length = 0;
  for (size_t at = 0; at < bytes.size(); ++length) {
    const std::optional<int32_t> c = grammar::next_code_point(bytes, at);
    if (!c || *c < 0x20 || *c == '"' || *c == '\\') return -1;
  }
  return length <= TokenTrie::kMaxPlainLength ? length : -1;
}

// ids: of tokens in the order of their bytes.
TokenTrie::Trie build(const std::vector<int32_t>& ids, const std::vector<std::string>& bytes) {
  TokenTrie::Trie trie;
  std::vector<int32_t> path;  // the nodes of the last token's prefixes
  std::string_view last;
  for (const int32_t id : ids) {
    const std::string_view token = bytes[static_cast<size_t>(id)];
    size_t common = 0;
    while (common < std::min(last.size(), token.size()) && last[common] == token[common]) ++common;
    const auto next = static_cast<int32_t>(trie.nodes.size());
    for (; path.size() > common; path.pop_back()) trie.nodes[static_cast<size_t>(path.back())].end = next;
    for (size_t i = common; i < token.size(); ++i) {
      path.push_back(static_cast<int32_t>(trie.nodes.size()));
      trie.nodes.push_back({static_cast<uint8_t>(token[i]), static_cast<uint16_t>(i + 1), 0,
                            static_cast<int32_t>(trie.tokens.size())});
    }
    trie.tokens.push_back(id);
    last = token;
  }
  const auto size = static_cast<int32_t>(trie.nodes.size());
  for (const int32_t node : path) trie.nodes[static_cast<size_t>(node)].end = size;
  trie.nodes.push_back({0, 0, size, static_cast<int32_t>(trie.tokens.size())});
  return trie;
}

}  // namespace

TokenTrie::TokenTrie(std::vector<std::string> token_bytes, const std::vector<int32_t>& end_tokens)
    : token_bytes_(std::move(token_bytes)) {
  for (const int32_t id : end_tokens) {
    if (id < 0 || id >= vocabulary_size()) continue;
    end_tokens_.push_back(id);
    token_bytes_[static_cast<size_t>(id)].clear();
  }
  std::vector<int32_t> ids;
  for (int32_t id = 0; id < vocabulary_size(); ++id) {
    std::string& bytes = token_bytes_[static_cast<size_t>(id)];
    if (bytes.size() > kMaxTokenBytes) bytes.clear();
    if (!bytes.empty()) ids.push_back(id);
    longest_token_ = std::max(longest_token_, static_cast<int>(bytes.size()));
  }
  std::sort(ids.begin(), ids.end(), [&](int32_t a, int32_t b) {
    const int order = bytes_of(a).compare(bytes_of(b));
    return order != 0 ? order < 0 : a < b;
  });
  all_ = build(ids, token_bytes_);

  std::vector<std::vector<int32_t>> by_length(1);
  std::erase_if(ids, [&](int32_t id) {
    const int length = plain_length(bytes_of(id));
    if (length < 0) return false;
    if (static_cast<size_t>(length) >= by_length.size()) by_length.resize(static_cast<size_t>(length) + 1);
    by_length[static_cast<size_t>(length)].push_back(id);
    return true;
  });
  not_plain_ = build(ids, token_bytes_);
  std::vector<uint32_t> mask(static_cast<size_t>(mask_words()), 0);
  for (const std::vector<int32_t>& tokens : by_length) {
    for (const int32_t id : tokens) mask[static_cast<size_t>(id / 32)] |= 1u << (id % 32);
    plain_masks_.push_back(mask);
  }
}

bool TokenTrie::is_end_token(int32_t token) const {
  return std::find(end_tokens_.begin(), end_tokens_.end(), token) != end_tokens_.end();
}

std::span<const uint32_t> TokenTrie::plain_mask(int32_t max_length) const {
  return plain_masks_[static_cast<size_t>(std::clamp(max_length, 0, longest_plain()))];
}

}  // namespace heed
