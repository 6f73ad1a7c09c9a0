// The tokens of a model: text to id and back, in one block of memory.
//
// Immutable once built; look-ups are safe from several threads. Ids are 0 to kMaxTokenId, with holes.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace heed {

class Vocabulary {
 public:
  void reserve(size_t num_tokens);
  // False, and no change, where the id is taken. A text that is there already gets the later id, as a text:
  // both ids keep it (Unigram vocabularies repeat texts).
  bool add(std::string_view token, int id);

  // From an object of text: id. An error names the token.
  static Result<Vocabulary> from_object(const Json& json, const std::string& place);

  std::optional<int> find(std::string_view token) const;
  std::string_view text(int id) const;  // empty for a hole
  bool has(int id) const;
  int end_id() const { return static_cast<int>(texts_.size()); }  // one past the largest id
  int num_texts() const { return num_texts_; }                    // distinct ones

 private:
  struct Place {
    uint32_t begin = 0;
    uint32_t length = kHole;
  };
  static constexpr uint32_t kHole = UINT32_MAX;

  size_t slot_of(std::string_view token) const;
  void grow(size_t num_slots);

  std::vector<char> letters_;
  std::vector<Place> texts_;  // by id
  std::vector<int> slots_;    // open addressing: id or -1
  int num_texts_ = 0;
};

}  // namespace heed
