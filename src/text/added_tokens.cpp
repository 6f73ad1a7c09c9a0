#include "text/added_tokens.h"

#include <algorithm>

#include "text/json_fields.h"
#include "text/split.h"
#include "text/unicode.h"

namespace heed {

Result<AddedTokens::Token> AddedTokens::token_of(const Json& json, const std::string& place) {
  const JsonFields fields = TRY(JsonFields::of(json, place));
  Token token;
  token.content = TRY(fields.text("content"));
  TRY(fields.integer("id", 0, kMaxTokenId));
  token.single_word = TRY(fields.flag("single_word", false));
  token.lstrip = TRY(fields.flag("lstrip", false));
  token.rstrip = TRY(fields.flag("rstrip", false));
  token.special = TRY(fields.flag("special", false));
  token.normalized = TRY(fields.flag("normalized", !token.special));
  return token;
}

Result<AddedTokens> AddedTokens::of(const Json& json, const Vocabulary& vocabulary,
                                    const Normalizer& normalizer) {
  AddedTokens added;
  if (json.is_null()) return added;
  if (!json.is_array()) return invalid("added_tokens must be an array");
  std::vector<Token> given;
  for (size_t i = 0; i < json.size(); ++i) {
    given.push_back(TRY(token_of(json[i], "added_tokens[" + std::to_string(i) + "]")));
  }
  std::vector<Token> specials;
  for (const Token& token : given) {
    if (!token.special || token.content.empty()) continue;
    if (added.specials_.emplace(token.content, true).second) specials.push_back(token);
  }
  std::vector<Token> plain;
  for (const Token& token : given) added.add(token, vocabulary, plain);
  specials.insert(specials.end(), plain.begin(), plain.end());
  TRY(added.build_sets(specials, normalizer));
  return added;
}

void AddedTokens::add(const Token& token, const Vocabulary& vocabulary, std::vector<Token>& plain) {
  if (token.content.empty()) return;
  std::optional<int> id = find(token.content);
  if (id && tokens_.at(*id) == token) return;
  if (!id) id = vocabulary.find(token.content);
  if (!id) id = std::max(end_id_, vocabulary.num_texts());
  ids_[token.content] = *id;
  tokens_[*id] = token;
  end_id_ = std::max(end_id_, *id + 1);
  if (!specials_.contains(token.content)) plain.push_back(token);
}

Status AddedTokens::build_sets(const std::vector<Token>& tokens, const Normalizer& normalizer) {
  std::vector<std::string> given;
  std::vector<std::string> normalized;
  for (const Token& token : tokens) {
    if (!token.normalized) {
      given.push_back(token.content);
      given_.ids.push_back(ids_.at(token.content));
      continue;
    }
    NormalizedText text{token.content, 0};
    TRY(normalizer.apply(text));
    normalized.push_back(std::move(text.text));
    normalized_.ids.push_back(ids_.at(token.content));
  }
  given_.trie = Trie({given.begin(), given.end()});
  normalized_.trie = Trie({normalized.begin(), normalized.end()});
  return {};
}

Result<PieceList> AddedTokens::split(std::string text, const Normalizer& normalizer,
                                     bool parse_special) const {
  PieceList list;
  list.text = std::move(text);
  if (list.text.empty()) return list;
  const size_t origin_bytes = code_point_at(list.text, 0).length;
  split_at(given_, parse_special, {0, list.text.size(), origin_bytes}, list.text, list.pieces);
  if (normalizer.empty() && normalized_.ids.empty()) return list;

  PieceList result;
  result.text.reserve(list.text.size());
  for (const Piece& piece : list.pieces) {
    const size_t begin = result.text.size();
    if (piece.token >= 0) {
      result.text += list.view(piece);
      result.pieces.push_back({begin, result.text.size(), piece.origin_bytes, piece.token});
      continue;
    }
    NormalizedText normalized{std::string(list.view(piece)), piece.origin_bytes};
    TRY(normalizer.apply(normalized));
    result.text += normalized.text;
    split_at(normalized_, parse_special, {begin, result.text.size(), normalized.origin_bytes},
             normalized.text, result.pieces);
  }
  return result;
}

// Appends the parts of `piece`, whose text is `text`.
void AddedTokens::split_at(const Set& set, bool parse_special, const Piece& piece, std::string_view text,
                           std::vector<Piece>& pieces) const {
  const auto add = [&](size_t begin, size_t end, int token) {
    if (begin >= end) return;
    pieces.push_back(part_of(piece, begin, end));
    pieces.back().token = token;
  };
  size_t done = 0;
  for (size_t i = 0; i < text.size();) {
    size_t length = 0;
    int entry = -1;
    set.trie.for_each_prefix(text.substr(i), [&](int found, size_t found_length) {
      entry = found;
      length = found_length;
    });
    if (entry < 0) {
      ++i;
      continue;
    }
    size_t begin = i;
    size_t end = i + length;
    i = end;
    const int id = set.ids[static_cast<size_t>(entry)];
    const Token& token = tokens_.at(id);
    if (!parse_special && specials_.contains(token.content)) continue;
    if (token.single_word) {
      const bool word_before = begin > 0 && is_word(code_point_before(text, begin).value);
      const bool word_behind = end < text.size() && is_word(code_point_at(text, end).value);
      if (word_before || word_behind) continue;
    }
    while (token.lstrip && begin > done && is_white_space(code_point_before(text, begin).value)) {
      begin -= code_point_before(text, begin).length;
    }
    while (token.rstrip && end < text.size() && is_white_space(code_point_at(text, end).value)) {
      end += code_point_at(text, end).length;
    }
    // A match may begin within the space that the one before took; the reference then goes back to the
    // match's end.
    if (done < begin) add(done, begin, -1);
    add(begin, end, id);
    done = end;
  }
  add(done, text.size(), -1);
}

std::optional<int> AddedTokens::find(std::string_view content) const {
  const auto found = ids_.find(std::string(content));
  return found == ids_.end() ? std::optional<int>() : found->second;
}

const std::string* AddedTokens::text(int id) const {
  const auto found = tokens_.find(id);
  return found == tokens_.end() ? nullptr : &found->second.content;
}

bool AddedTokens::is_special(std::string_view content) const {
  return specials_.contains(std::string(content));
}

}  // namespace heed
