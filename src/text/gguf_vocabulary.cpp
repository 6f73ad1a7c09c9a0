// GGUF vocabularies as tokenizer.json documents.
#include <unordered_set>

#include "formats/in_quotes.h"
#include "text/split_patterns.h"
#include "text/tokenizer_document.h"
#include "text/vocabulary_files.h"

namespace heed {
namespace {

std::string full_key(std::string_view key) { return "tokenizer.ggml." + std::string(key); }

// What was read, or `otherwise` where the key is missing; a key of the wrong type stays an error.
template <class T>
Result<T> or_else(Result<T> read, T otherwise) {
  if (!read.ok() && read.error().code == ErrorCode::kNotFound) return otherwise;
  return read;
}

Result<bool> flag(const Gguf& gguf, std::string_view key, bool otherwise) {
  return or_else(gguf.boolean(full_key(key)), otherwise);
}

// The tokens with their types and scores, held in the form of SentencePiece pieces for every kind of
// vocabulary.
Result<std::vector<SentencePiece>> read_tokens(const Gguf& gguf) {
  const auto texts = TRY(gguf.texts(full_key("tokens")));
  const auto types =
      TRY(or_else(gguf.integers(full_key("token_type")), std::vector<int64_t>(texts.size(), 1)));
  const auto scores = TRY(or_else(gguf.floats(full_key("scores")), std::vector<float>(texts.size(), 0.0f)));
  if (texts.empty()) return invalid(gguf.path() + ": the vocabulary is empty");
  if (types.size() < texts.size() || scores.size() < texts.size()) {
    return invalid(gguf.path() + ": " + std::to_string(texts.size()) + " tokens, but " +
                   std::to_string(types.size()) + " types and " + std::to_string(scores.size()) + " scores");
  }
  std::vector<SentencePiece> tokens;
  std::unordered_set<std::string> seen;
  for (size_t id = 0; id < texts.size(); ++id) {
    const std::string what = gguf.path() + ": token " + std::to_string(id);
    if (!is_utf8(texts[id])) return invalid(what + " is not UTF-8");
    SentencePiece token{std::string(texts[id]), scores[id], PieceType::kNormal};
    // Some vocabularies have empty places; nothing can spell the name that they get here by chance.
    if (token.text.empty()) token.text = "[EMPTY_" + std::to_string(id) + "]";
    if (types[id] >= 1 && types[id] <= 6) token.type = static_cast<PieceType>(types[id]);
    if (!(token.score > -1e30f && token.score < 1e30f))
      return invalid(what + ": its score is not a finite number");
    if (!seen.insert(token.text).second)
      return invalid(what + ": " + in_quotes(token.text) + " appears twice");
    tokens.push_back(std::move(token));
  }
  return tokens;
}

// The id of a special token, or -1 where there is none; writers put ids past the vocabulary for "none".
Result<int> special_id(const Gguf& gguf, std::string_view key, int64_t otherwise, size_t num_tokens) {
  const int64_t id = TRY(or_else(gguf.integer(full_key(key)), otherwise));
  return id >= 0 && id < static_cast<int64_t>(num_tokens) ? static_cast<int>(id) : -1;
}

// Without types, at least the tokens that are named by id are no ordinary text.
Status mark_special(const Gguf& gguf, std::vector<SentencePiece>& tokens) {
  if (gguf.has(full_key("token_type"))) return {};
  for (const std::string_view key :
       {"bos_token_id", "eos_token_id", "padding_token_id", "unknown_token_id"}) {
    const int id = TRY(special_id(gguf, key, -1, tokens.size()));
    if (id >= 0) tokens[static_cast<size_t>(id)].type = PieceType::kControl;
  }
  return {};
}

Result<std::vector<PlacedToken>> placed(const Gguf& gguf, const std::vector<SentencePiece>& tokens,
                                        bool wanted, std::string_view key, int64_t otherwise) {
  if (!wanted) return std::vector<PlacedToken>{};
  const int id = TRY(special_id(gguf, key, otherwise, tokens.size()));
  if (id < 0) {
    return invalid(gguf.path() + ": a token is to be added to the text, but " + full_key(key) +
                   " names none");
  }
  return std::vector<PlacedToken>{{id, tokens[static_cast<size_t>(id)].text}};
}

Json added_tokens_of(const std::vector<SentencePiece>& tokens) {
  Json added = Json::array();
  for (size_t id = 0; id < tokens.size(); ++id) {
    const PieceType type = tokens[id].type;
    const bool special = type == PieceType::kControl || type == PieceType::kUnknown;
    if (!special && type != PieceType::kUserDefined) continue;
    added.push_back(added_token(static_cast<int64_t>(id), tokens[id].text, special));
  }
  return added;
}

Json ids_of(const std::vector<SentencePiece>& tokens) {
  Json ids = Json::object();
  for (size_t id = 0; id < tokens.size(); ++id) ids[tokens[id].text] = id;
  return ids;
}

Result<std::string> charsmap_of(const Gguf& gguf) {
  std::string bytes;
  for (const int64_t byte :
       TRY(or_else(gguf.integers(full_key("precompiled_charsmap")), std::vector<int64_t>{}))) {
    bytes += static_cast<char>(byte);
  }
  return bytes;
}

Result<bool> has_byte_tokens(const std::vector<SentencePiece>& tokens, const std::string& path) {
  std::unordered_set<std::string_view> bytes;
  for (const SentencePiece& token : tokens) {
    if (token.type == PieceType::kByte) bytes.insert(token.text);
  }
  for (int byte = 0; byte < 256 && !bytes.empty(); ++byte) {
    if (!bytes.contains(byte_piece(byte)))
      return invalid(path + ": the byte token " + byte_piece(byte) + " is missing");
  }
  return !bytes.empty();
}

// "a b" as ["a", "b"]. The first part may itself be a space.
Result<Json> merges_of(const Gguf& gguf) {
  Json merges = Json::array();
  for (const std::string_view merge : TRY(gguf.texts(full_key("merges")))) {
    const size_t cut = merge.find(' ', 1);
    if (cut == std::string_view::npos || cut + 1 == merge.size() || !is_utf8(merge)) {
      return invalid(gguf.path() + ": merge " + in_quotes(merge) + " is not two parts with a space between");
    }
    merges.push_back(Json::array({merge.substr(0, cut), merge.substr(cut + 1)}));
  }
  return merges;
}

// "llama" and "t5": a SentencePiece model in other clothes.
Result<Json> sentencepiece_document(const Gguf& gguf, bool is_unigram) {
  SentencePieceModel model;
  if (!is_unigram && !gguf.has(full_key("scores"))) {
    return invalid(gguf.path() + ": key " + in_quotes(full_key("scores")) +
                   " is missing; merges follow from the scores");
  }
  model.pieces = TRY(read_tokens(gguf));
  const size_t count = model.pieces.size();
  model.kind = is_unigram ? SentencePieceModel::Kind::kUnigram : SentencePieceModel::Kind::kBpe;
  model.byte_fallback = TRY(has_byte_tokens(model.pieces, gguf.path()));
  model.unk_id = TRY(special_id(gguf, "unknown_token_id", is_unigram ? 2 : 0, count));
  model.bos_id = TRY(special_id(gguf, "bos_token_id", is_unigram ? -1 : 1, count));
  model.eos_id = TRY(special_id(gguf, "eos_token_id", is_unigram ? 1 : 2, count));
  model.precompiled_charsmap = TRY(charsmap_of(gguf));
  model.add_dummy_prefix = TRY(flag(gguf, "add_space_prefix", true));
  model.remove_extra_whitespaces = is_unigram && TRY(flag(gguf, "remove_extra_whitespaces", false));
  SentencePieceOptions options;
  options.add_bos = TRY(flag(gguf, "add_bos_token", !is_unigram));
  options.add_eos = TRY(flag(gguf, "add_eos_token", is_unigram));
  return tokenizer_json_of_sentencepiece(model, options, gguf.path());
}

// "gemma4": characters and not bytes, spaces as U+2581, one word from end to end, and <0x0A> for what has no
// token. Its pre-tokenizer has no key, or one that nobody reads. llama.cpp cuts around line breaks, which its
// look-up of merges cannot take; here they merge like all else, as in tokenizer.json.
Result<Json> gemma4_document(const Gguf& gguf) {
  SentencePieceModel model;
  model.pieces = TRY(read_tokens(gguf));
  const size_t count = model.pieces.size();
  model.kind = SentencePieceModel::Kind::kBpe;
  model.byte_fallback = TRY(has_byte_tokens(model.pieces, gguf.path()));
  model.unk_id = TRY(special_id(gguf, "unknown_token_id", -1, count));
  model.bos_id = TRY(special_id(gguf, "bos_token_id", -1, count));
  model.eos_id = TRY(special_id(gguf, "eos_token_id", -1, count));
  model.add_dummy_prefix = TRY(flag(gguf, "add_space_prefix", false));
  model.remove_extra_whitespaces = false;
  SentencePieceOptions options;
  options.add_bos = true;  // whatever the file says: early ones say false, and llama.cpp adds it
  options.add_eos = TRY(flag(gguf, "add_eos_token", false));
  options.merges = TRY(merges_of(gguf));
  return tokenizer_json_of_sentencepiece(model, std::move(options), gguf.path());
}

Json byte_level_part() {
  return {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", false}};
}

Result<Json> byte_level_document(const Gguf& gguf) {
  const std::string_view pre = TRY(or_else(gguf.text(full_key("pre")), std::string_view("default")));
  const SplitPatterns* split = find_split_patterns(pre);
  if (split == nullptr) {
    return unsupported(gguf.path() + ": pre-tokenizer " + in_quotes(pre) + ", known are " +
                       known_split_patterns());
  }
  std::vector<SentencePiece> tokens = TRY(read_tokens(gguf));
  TRY(mark_special(gguf, tokens));
  const bool add_bos = TRY(flag(gguf, "add_bos_token", split->adds_bos));
  const bool add_eos = TRY(flag(gguf, "add_eos_token", false));
  const auto before = TRY(placed(gguf, tokens, add_bos, "bos_token_id", -1));
  const auto after = TRY(placed(gguf, tokens, add_eos, "eos_token_id", -1));

  Json merges = TRY(merges_of(gguf));

  std::vector<Json> parts;
  for (const std::string_view pattern : split->patterns) {
    parts.push_back(
        {{"type", "Split"}, {"pattern", {{"Regex", pattern}}}, {"behavior", "Isolated"}, {"invert", false}});
  }
  parts.push_back(byte_level_part());
  Json model = {{"type", "BPE"},
                {"dropout", nullptr},
                {"unk_token", nullptr},
                {"continuing_subword_prefix", nullptr},
                {"end_of_word_suffix", nullptr},
                {"fuse_unk", false},
                {"byte_fallback", false},
                {"ignore_merges", split->ignore_merges},
                {"vocab", ids_of(tokens)},
                {"merges", std::move(merges)}};
  return tokenizer_document(added_tokens_of(tokens), nullptr, sequence("pretokenizers", std::move(parts)),
                            around_text(before, after), byte_level_part(), std::move(model));
}

// GGUF marks the beginning of a word with U+2581, where WordPiece marks its continuation with "##".
std::string word_piece_text(const SentencePiece& token) {
  constexpr std::string_view kSpace = "\u2581";
  const std::string& text = token.text;
  if (text.starts_with(kSpace)) return text.substr(kSpace.size());
  const bool in_brackets = text.starts_with('[') && text.ends_with(']');
  return in_brackets || token.type != PieceType::kNormal ? text : "##" + text;
}

Result<Json> word_piece_document(const Gguf& gguf) {
  std::vector<SentencePiece> tokens = TRY(read_tokens(gguf));
  std::unordered_set<std::string> seen;
  for (SentencePiece& token : tokens) {
    token.text = word_piece_text(token);
    if (token.text.empty() || !seen.insert(token.text).second) {
      return invalid(gguf.path() + ": token " + in_quotes(token.text) +
                     " is empty or appears twice as a WordPiece token");
    }
  }
  const int unknown = TRY(special_id(gguf, "unknown_token_id", 100, tokens.size()));
  if (unknown < 0) return invalid(gguf.path() + ": WordPiece needs an unknown token, none is named");
  const bool add_bos = TRY(flag(gguf, "add_bos_token", true));
  const bool add_sep = TRY(flag(gguf, "add_sep_token", true));
  // The misspelling is the format's.
  const auto before = TRY(placed(gguf, tokens, add_bos, "bos_token_id", 101));
  const auto after = TRY(placed(gguf, tokens, add_sep, "seperator_token_id", 102));
  const bool lowercase = TRY(flag(gguf, "normalizer.lowercase", true));
  const bool strip_accents = TRY(flag(gguf, "normalizer.strip_accents", lowercase));
  Json normalizer = {{"type", "BertNormalizer"},
                     {"clean_text", true},
                     {"handle_chinese_chars", true},
                     {"strip_accents", strip_accents},
                     {"lowercase", lowercase}};
  Json model = {{"type", "WordPiece"},
                {"unk_token", tokens[static_cast<size_t>(unknown)].text},
                {"continuing_subword_prefix", "##"},
                {"max_input_chars_per_word", 100},
                {"vocab", ids_of(tokens)}};
  return tokenizer_document(added_tokens_of(tokens), std::move(normalizer), {{"type", "BertPreTokenizer"}},
                            around_text(before, after),
                            {{"type", "WordPiece"}, {"prefix", "##"}, {"cleanup", true}}, std::move(model));
}

}  // namespace

Result<Json> tokenizer_json_of_gguf(const Gguf& gguf) {
  const std::string_view model = TRY(gguf.text(full_key("model")));
  if (model == "llama") return sentencepiece_document(gguf, false);
  if (model == "gemma4") return gemma4_document(gguf);
  if (model == "t5") return sentencepiece_document(gguf, true);
  if (model == "gpt2") return byte_level_document(gguf);
  if (model == "bert") return word_piece_document(gguf);
  return unsupported(gguf.path() + ": vocabulary model " + in_quotes(model) +
                     ", known are llama, gemma4, t5, gpt2, bert");
}

}  // namespace heed
