#include "text/bpe.h"

#include <algorithm>
#include <bit>

#include "text/byte_tokens.h"
#include "text/unicode.h"

namespace heed {
namespace {

constexpr char32_t kLowEnd = 0x800;

// As an error shows the place of a merge.
std::string merge_place(size_t rank) { return "model.merges[" + std::to_string(rank) + "]"; }

}  // namespace

BpeWorkspace::BpeWorkspace(size_t text_bytes)
    : cache_(std::clamp<size_t>(std::bit_ceil(text_bytes / 16 + 1), 16, 1 << 15)) {}

Result<Bpe> Bpe::of(const JsonFields& fields) {
  Bpe bpe;
  const Json* vocab = TRY(fields.require("vocab"));
  bpe.vocabulary_ = TRY(Vocabulary::from_object(*vocab, fields.place() + ".vocab"));
  bpe.unknown_ = TRY(fields.optional_text("unk_token"));
  bpe.prefix_ = TRY(fields.text("continuing_subword_prefix", ""));
  bpe.suffix_ = TRY(fields.text("end_of_word_suffix", ""));
  bpe.fuse_unknown_ = TRY(fields.flag("fuse_unk", false));
  bpe.byte_fallback_ = TRY(fields.flag("byte_fallback", false));
  bpe.ignore_merges_ = TRY(fields.flag("ignore_merges", false));
  bpe.byte_ids_ = byte_token_ids(bpe.vocabulary_);
  for (char32_t c = 0; c < kLowEnd; ++c) {
    std::string text;
    append_utf8(text, c);
    bpe.low_ids_.push_back(bpe.vocabulary_.find(text).value_or(-1));
  }
  const Json* merges = TRY(fields.array("merges"));
  TRY(bpe.read_merges(*merges));
  return bpe;
}

Status Bpe::read_merges(const Json& merges) {
  merges_.reserve(merges.size());
  constexpr const char* kAccepted = R"( must be "left right" or ["left", "right"])";
  size_t rank = 0;
  for (const Json& merge : merges) {
    if (merge.is_string()) {
      const auto& text = merge.get_ref<const std::string&>();
      if (text.starts_with("#version")) continue;
      const size_t space = text.find(' ');
      if (space == std::string::npos || text.find(' ', space + 1) != std::string::npos) {
        return invalid(merge_place(rank) + kAccepted + ", is " + quoted_text(text));
      }
      TRY(add_merge(std::string_view(text).substr(0, space), std::string_view(text).substr(space + 1),
                    rank++));
    } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
      TRY(add_merge(merge[0].get_ref<const std::string&>(), merge[1].get_ref<const std::string&>(), rank++));
    } else {
      return invalid(merge_place(rank) + kAccepted);
    }
  }
  return {};
}

Status Bpe::add_merge(std::string_view left, std::string_view right, size_t rank) {
  const auto missing = [&](std::string_view token) {
    return invalid(merge_place(rank) + ": " + quoted_text(token) + " is not in the vocabulary");
  };
  const std::optional<int> left_id = vocabulary_.find(left);
  if (!left_id) return missing(left);
  const std::optional<int> right_id = vocabulary_.find(right);
  if (!right_id) return missing(right);
  if (right.size() < prefix_.size()) return missing(right);
  const std::string merged = std::string(left).append(right.substr(prefix_.size()));
  const std::optional<int> id = vocabulary_.find(merged);
  if (!id) return missing(merged);
  merges_.set(*left_id, *right_id, {static_cast<int>(rank), *id});
  return {};
}

std::optional<int> Bpe::id_of_character(std::string_view word, size_t at, size_t length,
                                        std::string& buffer) const {
  const bool prefixed = at > 0 && !prefix_.empty();
  const bool suffixed = at + length == word.size() && !suffix_.empty();
  if (!prefixed && !suffixed && length <= 2) {
    const char32_t c = code_point_at(word, at).value;
    if (c < kLowEnd) {
      if (low_ids_[c] >= 0) return low_ids_[c];
      buffer.assign(word, at, length);
      return {};
    }
  }
  buffer.clear();
  if (prefixed) buffer += prefix_;
  buffer.append(word, at, length);
  if (suffixed) buffer += suffix_;
  return vocabulary_.find(buffer);
}

Status Bpe::encode(std::string_view word, BpeWorkspace& workspace, std::vector<int>& ids) const {
  if (word.empty()) return {};
  if (ignore_merges_) {
    if (const std::optional<int> id = vocabulary_.find(word)) {
      ids.push_back(*id);
      return {};
    }
  }
  BpeWorkspace::CachedWord* cached = nullptr;
  if (word.size() <= BpeWorkspace::kMaxCachedBytes) {
    cached = &workspace.cache_[std::hash<std::string_view>{}(word) & (workspace.cache_.size() - 1)];
    if (cached->word == word) {
      ids.insert(ids.end(), cached->ids.begin(), cached->ids.end());
      return {};
    }
  }
  TRY(start(word, workspace));
  merge(workspace);
  const size_t first = ids.size();
  for (const BpeWorkspace::Symbol& symbol : workspace.symbols_) {
    if (symbol.alive) ids.push_back(symbol.id);
  }
  if (cached != nullptr) {
    cached->word = word;
    cached->ids.assign(ids.begin() + static_cast<std::ptrdiff_t>(first), ids.end());
  }
  return {};
}

// The word's characters as symbols.
Status Bpe::start(std::string_view word, BpeWorkspace& workspace) const {
  std::vector<BpeWorkspace::Symbol>& symbols = workspace.symbols_;
  symbols.clear();
  const auto add = [&](int id) { symbols.push_back({id, static_cast<int>(symbols.size()) - 1, -1, true}); };
  int pending = -1;  // the unknown token that waits for its end
  for (size_t i = 0; i < word.size();) {
    const size_t length = code_point_at(word, i).length;
    const std::optional<int> id = id_of_character(word, i, length, workspace.buffer_);
    i += length;
    if (id) {
      if (pending >= 0) add(pending);
      pending = -1;
      add(*id);
      continue;
    }
    if (byte_fallback_) {
      const auto lacks = [&](char byte) { return byte_ids_[static_cast<unsigned char>(byte)] < 0; };
      if (std::none_of(workspace.buffer_.begin(), workspace.buffer_.end(), lacks)) {
        for (const char byte : workspace.buffer_) add(byte_ids_[static_cast<unsigned char>(byte)]);
        continue;  // an unknown character before these still waits: so does the reference
      }
    }
    if (!unknown_) continue;
    if (pending >= 0 && fuse_unknown_) continue;
    if (pending >= 0) add(pending);
    const std::optional<int> unknown = vocabulary_.find(*unknown_);
    if (!unknown) return invalid("the unknown token " + quoted_text(*unknown_) + " is not in the vocabulary");
    pending = *unknown;
  }
  if (pending >= 0) add(pending);
  for (size_t k = 0; k + 1 < symbols.size(); ++k) symbols[k].next = static_cast<int>(k) + 1;
  return {};
}

// Merges by rank, then from left to right. The queue may hold merges that no longer stand: they are
// recognised by the id that the pair at their place would give now.
void Bpe::merge(BpeWorkspace& workspace) const {
  std::vector<BpeWorkspace::Symbol>& symbols = workspace.symbols_;
  std::vector<BpeWorkspace::Merge>& queue = workspace.queue_;
  const auto later = [](const BpeWorkspace::Merge& a, const BpeWorkspace::Merge& b) {
    return a.rank != b.rank ? a.rank > b.rank : a.position > b.position;
  };
  const auto at = [&](int position) -> BpeWorkspace::Symbol& {
    return symbols[static_cast<size_t>(position)];
  };
  const auto consider = [&](int left, int right) {
    const PairMap::Target* target = merges_.find(at(left).id, at(right).id);
    if (target != nullptr) queue.push_back({target->rank, left, target->id});
    return target != nullptr;
  };
  queue.clear();
  for (int i = 0; i + 1 < static_cast<int>(symbols.size()); ++i) consider(i, i + 1);
  std::make_heap(queue.begin(), queue.end(), later);
  while (!queue.empty()) {
    const BpeWorkspace::Merge top = queue.front();
    std::pop_heap(queue.begin(), queue.end(), later);
    queue.pop_back();
    BpeWorkspace::Symbol& left = at(top.position);
    if (!left.alive || left.next < 0) continue;
    BpeWorkspace::Symbol& right = at(left.next);
    const PairMap::Target* now = merges_.find(left.id, right.id);
    if (now == nullptr || now->id != top.id) continue;
    left.id = top.id;
    left.next = right.next;
    right.alive = false;
    if (right.next >= 0) at(right.next).previous = top.position;
    if (left.previous >= 0 && consider(left.previous, top.position))
      std::push_heap(queue.begin(), queue.end(), later);
    if (left.next >= 0 && consider(top.position, left.next))
      std::push_heap(queue.begin(), queue.end(), later);
  }
}

}  // namespace heed
