#include "grammar/matcher.h"

#include <algorithm>

#include "base/check.h"
#include "grammar/code_points.h"

namespace heed {

using grammar::Recognizer;

namespace {

constexpr int64_t kCostlyWalk = 200;        // nodes of a trie; cheaper masks are not worth keeping
constexpr int64_t kForgetStep = 32 * 1024;  // bytes

void set_bit(std::span<uint32_t> mask, int32_t token) {
  mask[static_cast<size_t>(token / 32)] |= 1u << (token % 32);
}

// Plain texts of so many code points or fewer are accepted from an item on.
int32_t plain_run(const grammar::Tables& tables, const Recognizer::Item& item) {
  const grammar::TableState& state = tables.state(item.state);
  const grammar::TableRule& rule = tables.rule(state.rule);
  const bool counted = state.plain_run == grammar::kEndless && rule.max_count != grammar::kEndless;
  return counted ? rule.max_count - item.count : state.plain_run;
}

constexpr int32_t kNotSimple = -1;

// The state, if a text has one reading whose next byte leads to at most one more and nothing is counted.
int32_t simple_state(const Recognizer& recognizer) {
  const std::span<const Recognizer::Item> items = recognizer.items();
  if (items.size() != 1) return kNotSimple;
  const grammar::TableState& state = recognizer.tables().state(items[0].state);
  const grammar::TableRule& rule = recognizer.tables().rule(state.rule);
  const bool is_counted = rule.min_count > 0 || rule.max_count != grammar::kEndless;
  return state.disjoint && !is_counted ? items[0].state : kNotSimple;
}

int32_t next_state(const grammar::Tables& tables, int32_t state, uint8_t byte) {
  for (const grammar::ByteEdge& edge : tables.edges_of(tables.state(state))) {
    if (edge.lo <= byte && byte <= edge.hi) return edge.target;
  }
  return kNotSimple;
}

}  // namespace

Matcher::Matcher(MaskCache& masks, int max_rollback)
    : masks_(&masks),
      recognizer_(masks.grammar().tables()),
      max_rollback_(static_cast<size_t>(std::max(1, max_rollback))) {}

bool Matcher::fill_mask(std::span<uint32_t> mask) {
  const TokenTrie& trie = masks_->trie();
  CHECK(ssize(mask) >= trie.mask_words(), mask.size(), trie.mask_words());
  std::fill(mask.begin(), mask.end(), 0);
  if (ended_) return false;
  if (!masks_->find(recognizer_, mask)) find_mask(mask);
  if (can_end()) {
    for (const int32_t token : trie.end_tokens()) set_bit(mask, token);
  }
  return std::any_of(mask.begin(), mask.end(), [](uint32_t word) { return word != 0; });
}

void Matcher::find_mask(std::span<uint32_t> mask) {
  const TokenTrie& trie = masks_->trie();
  const grammar::Tables& tables = recognizer_.tables();
  std::vector<Recognizer::Item> settled;  // all plain tokens are decided by their length
  std::vector<Recognizer::Item> open;
  int32_t longest = -1;
  for (const Recognizer::Item& item : recognizer_.items()) {
    const int32_t run = plain_run(tables, item);
    longest = std::max(longest, run);
    const bool is_settled = tables.state(item.state).plain_exact;
    (is_settled ? settled : open).push_back(item);
  }
  const std::span<const uint32_t> plain = trie.plain_mask(longest);
  if (longest > 0) std::copy(plain.begin(), plain.end(), mask.begin());
  if (longest >= trie.longest_plain()) {
    settled.insert(settled.end(), open.begin(), open.end());
    open.clear();
  }
  nodes_walked_ = 0;
  recognizer_.start_trace();
  if (!settled.empty()) walk(trie.not_plain(), settled, mask);
  if (!open.empty()) walk(trie.all(), open, mask);
  const Recognizer::Trace trace = recognizer_.take_trace();
  if (nodes_walked_ >= kCostlyWalk) masks_->keep(recognizer_, trace, mask);
}

// Sets the bits of the tokens of a trie that some of the items allow.
//
// Most of a walk is inside one automaton, with one reading and nothing to call or complete: there the state
// alone is followed, and the recognizer catches up where more than that happens.
void Matcher::walk(const TokenTrie::Trie& trie, std::span<const Recognizer::Item> items,
                   std::span<uint32_t> mask) {
  const grammar::Tables& tables = recognizer_.tables();
  const int64_t before = recognizer_.size();
  recognizer_.push_subset(items);
  std::vector<uint8_t> path(static_cast<size_t>(masks_->trie().longest_token()) + 1);
  std::vector<int32_t> simple(path.size(), kNotSimple);  // the one state after each byte of the path
  simple[0] = simple_state(recognizer_);
  const auto step = [&](size_t depth, uint8_t byte) {
    path[depth] = byte;
    if (simple[depth - 1] != kNotSimple) {
      const int32_t target = next_state(tables, simple[depth - 1], byte);
      if (target == kNotSimple) return false;
      simple[depth] = target;
      const grammar::TableState& state = tables.state(target);
      if (state.is_quiet() && state.need <= tables.state(simple[depth - 1]).need) return true;
    }
    for (auto at = static_cast<size_t>(recognizer_.size() - before); at < depth; ++at)
      recognizer_.push(path[at]);
    const bool allowed = recognizer_.push(byte);
    simple[depth] = allowed ? simple_state(recognizer_) : kNotSimple;
    return allowed;
  };
  for (int i = 0; i < trie.size(); ++nodes_walked_) {
    const TokenTrie::Node& node = trie.node(i);
    recognizer_.pop_to(std::min(recognizer_.size(), before + node.depth));
    if (!step(node.depth, node.byte)) {
      i = node.end;
      continue;
    }
    for (const int32_t token : trie.tokens_of(i)) set_bit(mask, token);
    ++i;
  }
  recognizer_.pop_to(before);
}

bool Matcher::push(std::string_view text) {
  const int64_t before = recognizer_.size();
  for (const char c : text) {
    if (recognizer_.push(static_cast<uint8_t>(c))) continue;
    recognizer_.pop_to(before);
    return false;
  }
  return true;
}

void Matcher::remember(int64_t size_before) {
  sizes_.push_back(size_before);
  if (sizes_.size() > max_rollback_) sizes_.pop_front();
  if (recognizer_.num_bytes() < 2 * bytes_at_last_forget_ + kForgetStep) return;
  recognizer_.forget_before(sizes_.front());
  bytes_at_last_forget_ = recognizer_.num_bytes();
}

bool Matcher::accept(int32_t token) {
  const TokenTrie& trie = masks_->trie();
  if (ended_ || token < 0 || token >= trie.vocabulary_size()) return false;
  if (trie.is_end_token(token)) {
    if (!recognizer_.can_end()) return false;
    ended_ = true;
    remember(recognizer_.size());
    return true;
  }
  return accept_bytes(trie.bytes_of(token));
}

bool Matcher::accept_bytes(std::string_view text) {
  const int64_t before = recognizer_.size();
  if (ended_ || text.empty() || !push(text)) return false;
  remember(before);
  return true;
}

void Matcher::rollback(int tokens) {
  CHECK(tokens >= 0 && tokens <= num_undoable(), tokens, num_undoable());
  if (tokens == 0) return;
  ended_ = false;  // only the last token can have been an end token
  const size_t keep = sizes_.size() - static_cast<size_t>(tokens);
  recognizer_.pop_to(sizes_[keep]);
  sizes_.resize(keep);
}

std::string Matcher::forced_text(int max_bytes) {
  const int64_t before = recognizer_.size();
  const grammar::Tables& tables = recognizer_.tables();
  std::string text;
  while (!ended_ && !recognizer_.can_end() && static_cast<int>(text.size()) < max_bytes) {
    int only = -1;
    bool is_forced = true;
    for (const Recognizer::Item& item : recognizer_.items()) {
      for (const grammar::ByteEdge& edge : tables.edges_of(tables.state(item.state))) {
        is_forced = is_forced && edge.lo == edge.hi && (only < 0 || only == edge.lo);
        only = edge.lo;
      }
    }
    if (!is_forced || only < 0 || !recognizer_.push(static_cast<uint8_t>(only))) break;
    text += static_cast<char>(only);
  }
  recognizer_.pop_to(before);
  while (!text.empty() && !grammar::code_points(text)) text.pop_back();
  return text;
}

}  // namespace heed
