#include "text/unigram.h"

#include <algorithm>
#include <limits>

#include "text/byte_tokens.h"
#include "text/unicode.h"

namespace heed {
namespace {

constexpr double kUnknownPenalty = 10;  // below the least probable token

}  // namespace

Result<Unigram> Unigram::of(const JsonFields& fields) {
  Unigram model;
  const Json* vocab = TRY(fields.array("vocab"));
  if (vocab->size() > static_cast<size_t>(kMaxTokenId)) return fields.error("vocab", "shorter");
  model.vocabulary_.reserve(vocab->size());
  double least = std::numeric_limits<double>::infinity();
  for (size_t i = 0; i < vocab->size(); ++i) {
    const Json& entry = (*vocab)[i];
    if (!entry.is_array() || entry.size() != 2 || !entry[0].is_string() || !entry[1].is_number()) {
      return invalid(fields.place() + ".vocab[" + std::to_string(i) + "] must be [token, log probability]");
    }
    model.vocabulary_.add(entry[0].get_ref<const std::string&>(), static_cast<int>(i));
    model.scores_.push_back(entry[1].get<double>());
    least = std::min(least, model.scores_.back());
  }
  model.unknown_score_ = least - kUnknownPenalty;
  std::vector<std::string_view> texts;
  texts.reserve(vocab->size());
  for (int id = 0; id < model.vocabulary_.end_id(); ++id) texts.push_back(model.vocabulary_.text(id));
  model.trie_ = Trie(texts);
  if (fields.find("unk_id") != nullptr) {
    if (vocab->empty()) return fields.error("vocab", "an array with the unknown token");
    model.unknown_ =
        static_cast<int>(TRY(fields.integer("unk_id", 0, static_cast<int64_t>(vocab->size()) - 1)));
  }
  model.byte_fallback_ = TRY(fields.flag("byte_fallback", false));
  model.byte_ids_ = byte_token_ids(model.vocabulary_);
  return model;
}

Status Unigram::find_best(std::string_view word, std::vector<Step>& best) const {
  best.assign(word.size() + 1, {});
  for (size_t begin = 0; begin < word.size();) {
    const double score = best[begin].score;
    const auto reach = [&](size_t end, double new_score, int id) {
      Step& step = best[end];
      if (step.begin == kNone || new_score > step.score) step = {new_score, id, begin};
    };
    const size_t length = code_point_at(word, begin).length;
    bool has_character = false;
    trie_.for_each_prefix(word.substr(begin), [&](int id, size_t token_length) {
      reach(begin + token_length, scores_[static_cast<size_t>(id)] + score, id);
      has_character = has_character || token_length == length;
    });
    if (!has_character) {
      if (!unknown_)
        return invalid("a character is not in the vocabulary, which has no unknown token (unk_id)");
      reach(begin + length, unknown_score_ + score, *unknown_);
    }
    begin += length;
  }
  return {};
}

Status Unigram::encode(std::string_view word, std::vector<int>& ids) const {
  std::vector<Step> best;
  TRY(find_best(word, best));
  std::vector<ByteSpan> pieces;  // from the last to the first; neighbours that are unknown fused
  bool fusing = false;
  for (size_t end = word.size(); end > 0; end = best[end].begin) {
    const bool unknown = unknown_ && best[end].id == *unknown_;
    if (unknown && fusing) {
      pieces.back().begin = best[end].begin;
    } else {
      pieces.push_back({best[end].begin, end});
    }
    fusing = unknown;
  }
  for (auto piece = pieces.rbegin(); piece != pieces.rend(); ++piece) {
    TRY(add_piece(word.substr(piece->begin, piece->end - piece->begin), ids));
  }
  return {};
}

Status Unigram::add_piece(std::string_view piece, std::vector<int>& ids) const {
  if (const std::optional<int> id = vocabulary_.find(piece)) {
    ids.push_back(*id);
    return {};
  }
  const auto lacks = [&](char byte) { return byte_ids_[static_cast<unsigned char>(byte)] < 0; };
  if (byte_fallback_ && std::none_of(piece.begin(), piece.end(), lacks)) {
    for (const char byte : piece) ids.push_back(byte_ids_[static_cast<unsigned char>(byte)]);
    return {};
  }
  if (!unknown_) return invalid("a character is not in the vocabulary, which has no unknown token (unk_id)");
  ids.push_back(*unknown_);
  return {};
}

}  // namespace heed
