#include "text/vocabulary.h"

#include <bit>
#include <functional>

#include "text/json_fields.h"

namespace heed {

void Vocabulary::reserve(size_t num_tokens) {
  texts_.reserve(num_tokens);
  grow(std::bit_ceil(num_tokens * 2 + 16));
}

void Vocabulary::grow(size_t num_slots) {
  if (num_slots <= slots_.size()) return;
  const std::vector<int> old = std::move(slots_);
  slots_.assign(num_slots, -1);
  for (const int id : old) {
    if (id >= 0) slots_[slot_of(text(id))] = id;
  }
}

// Where the token is, or the empty slot where it would go.
size_t Vocabulary::slot_of(std::string_view token) const {
  const size_t mask = slots_.size() - 1;
  size_t slot = std::hash<std::string_view>{}(token)&mask;
  while (slots_[slot] >= 0 && text(slots_[slot]) != token) slot = (slot + 1) & mask;
  return slot;
}

bool Vocabulary::add(std::string_view token, int id) {
  if (has(id)) return false;
  if (static_cast<size_t>(id) >= texts_.size()) texts_.resize(static_cast<size_t>(id) + 1);
  if (static_cast<size_t>(num_texts_ + 1) * 2 > slots_.size()) grow(std::max<size_t>(16, slots_.size() * 2));
  CHECK(letters_.size() + token.size() < UINT32_MAX, letters_.size());  // files are far smaller
  texts_[static_cast<size_t>(id)] = {static_cast<uint32_t>(letters_.size()),
                                     static_cast<uint32_t>(token.size())};
  letters_.insert(letters_.end(), token.begin(), token.end());
  int& slot = slots_[slot_of(token)];
  if (slot < 0) ++num_texts_;
  slot = id;
  return true;
}

Result<Vocabulary> Vocabulary::from_object(const Json& json, const std::string& place) {
  if (!json.is_object()) return invalid(place + " must be an object of token: id, is " + json.type_name());
  Vocabulary vocabulary;
  vocabulary.reserve(json.size());
  for (const auto& [token, value] : json.items()) {
    const std::optional<int> id = token_id(value);
    if (!id) {
      return invalid(place + ": the id of " + quoted_text(token) + " must be a whole number from 0 to " +
                     std::to_string(kMaxTokenId) + ", is " + to_text(value).substr(0, 40));
    }
    if (!vocabulary.add(token, *id)) {
      return invalid(place + ": " + quoted_text(vocabulary.text(*id)) + " and " + quoted_text(token) +
                     " have the same id " + std::to_string(*id));
    }
  }
  return vocabulary;
}

std::optional<int> Vocabulary::find(std::string_view token) const {
  if (slots_.empty()) return {};
  const int id = slots_[slot_of(token)];
  return id < 0 ? std::optional<int>() : id;
}

bool Vocabulary::has(int id) const {
  return id >= 0 && static_cast<size_t>(id) < texts_.size() &&
         texts_[static_cast<size_t>(id)].length != kHole;
}

std::string_view Vocabulary::text(int id) const {
  if (!has(id)) return {};
  const Place place = texts_[static_cast<size_t>(id)];
  return {letters_.data() + place.begin, place.length};
}

}  // namespace heed
