#include "text/wordpiece.h"

#include <algorithm>

#include "text/unicode.h"

namespace heed {
namespace {

Status add_unknown(const Vocabulary& vocabulary, const std::string& unknown, std::vector<int>& ids) {
  const std::optional<int> id = vocabulary.find(unknown);
  if (!id) return invalid("the unknown token " + quoted_text(unknown) + " is not in the vocabulary");
  ids.push_back(*id);
  return {};
}

}  // namespace

Result<WordPiece> WordPiece::of(const JsonFields& fields) {
  WordPiece model;
  const Json* vocab = TRY(fields.require("vocab"));
  model.vocabulary_ = TRY(Vocabulary::from_object(*vocab, fields.place() + ".vocab"));
  model.unknown_ = TRY(fields.text("unk_token"));
  model.prefix_ = TRY(fields.text("continuing_subword_prefix"));
  model.max_characters_ = TRY(fields.integer("max_input_chars_per_word", 0, INT32_MAX));
  for (int id = 0; id < model.vocabulary_.end_id(); ++id) {
    model.longest_ = std::max(model.longest_, model.vocabulary_.text(id).size());
  }
  return model;
}

Status WordPiece::encode(std::string_view word, std::vector<int>& ids) const {
  if (count_code_points(word) > max_characters_) return add_unknown(vocabulary_, unknown_, ids);
  const size_t before = ids.size();
  std::string piece;
  for (size_t begin = 0; begin < word.size();) {
    piece = begin > 0 ? prefix_ : std::string();
    const size_t prefix_size = piece.size();
    // No token is longer than the longest; the cut may fall into a character, whose pieces are in no
    // vocabulary.
    piece.append(word, begin, std::min(word.size() - begin, longest_));
    std::optional<int> id;
    while (piece.size() > prefix_size && !(id = vocabulary_.find(piece))) {
      do {
        piece.pop_back();
      } while (piece.size() > prefix_size && (word[begin + piece.size() - prefix_size] & 0xC0) == 0x80);
    }
    if (!id) {
      ids.resize(before);
      return add_unknown(vocabulary_, unknown_, ids);
    }
    ids.push_back(*id);
    begin += piece.size() - prefix_size;
  }
  return {};
}

Result<WordLevel> WordLevel::of(const JsonFields& fields) {
  WordLevel model;
  const Json* vocab = TRY(fields.require("vocab"));
  model.vocabulary_ = TRY(Vocabulary::from_object(*vocab, fields.place() + ".vocab"));
  model.unknown_ = TRY(fields.text("unk_token"));
  return model;
}

Status WordLevel::encode(std::string_view word, std::vector<int>& ids) const {
  if (const std::optional<int> id = vocabulary_.find(word)) {
    ids.push_back(*id);
    return {};
  }
  return add_unknown(vocabulary_, unknown_, ids);
}

}  // namespace heed
