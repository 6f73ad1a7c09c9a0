// SentencePiece models as tokenizer.json documents.
//
// A space becomes U+2581 by the normaliser, so pieces hold it and no pre-tokenizer is needed. The space
// before the text is put before every stretch of text between special tokens, as the field's fast tokenizers
// do; SentencePiece itself puts it before the first only.
#include <algorithm>
#include <unordered_map>

#include "formats/in_quotes.h"
#include "text/tokenizer_document.h"
#include "text/vocabulary_files.h"

namespace heed {
namespace {

constexpr std::string_view kSpace = "\u2581";
// Merges are found by looking at every cut of every piece, so a long piece would cost its length squared.
constexpr size_t kMaxPieceBytes = 1024;

struct Merge {
  std::string_view left;
  std::string_view right;
  float score = 0;
};

// Pieces that text is built from: the others are cut out of the text before, or stand for bytes.
bool takes_part(PieceType type) { return type == PieceType::kNormal || type == PieceType::kUnused; }

// SentencePiece joins the pair whose joined piece has the best score. The same, as an order of pairs: by
// falling score, of one score by falling length of the left and the right part, then by the ids of the piece
// and its parts.
std::vector<Merge> merges_of(const SentencePieceModel& model) {
  std::unordered_map<std::string_view, size_t> ids;
  for (size_t id = 0; id < model.pieces.size(); ++id) {
    if (takes_part(model.pieces[id].type)) ids.emplace(model.pieces[id].text, id);
  }
  std::vector<Merge> merges;
  for (const SentencePiece& piece : model.pieces) {
    if (!takes_part(piece.type)) continue;
    const std::string_view text = piece.text;
    const auto first = std::ssize(merges);
    for (size_t cut = 1; cut < text.size(); ++cut) {
      if (!ids.contains(text.substr(0, cut)) || !ids.contains(text.substr(cut))) continue;
      merges.push_back({text.substr(0, cut), text.substr(cut), piece.score});
    }
    std::ranges::sort(merges.begin() + first, merges.end(), {},
                      [&](const Merge& merge) { return std::pair(ids.at(merge.left), ids.at(merge.right)); });
  }
  std::ranges::stable_sort(merges, [](const Merge& a, const Merge& b) {
    if (a.score != b.score) return a.score > b.score;
    if (a.left.size() != b.left.size()) return a.left.size() > b.left.size();
    return a.right.size() > b.right.size();
  });
  return merges;
}

std::string unknown_piece(const SentencePieceModel& model) {
  return model.unk_id < 0 ? "" : model.pieces[static_cast<size_t>(model.unk_id)].text;
}

Json pairs_of(const SentencePieceModel& model) {
  Json merges = Json::array();
  for (const Merge& merge : merges_of(model)) merges.push_back(Json::array({merge.left, merge.right}));
  return merges;
}

Json bpe_model(const SentencePieceModel& model, Json merges) {
  Json vocabulary = Json::object();
  for (size_t id = 0; id < model.pieces.size(); ++id) vocabulary[model.pieces[id].text] = id;
  const std::string unknown = unknown_piece(model);
  return {{"type", "BPE"},
          {"dropout", nullptr},
          {"unk_token", unknown.empty() ? Json(nullptr) : Json(unknown)},
          {"continuing_subword_prefix", nullptr},
          {"end_of_word_suffix", nullptr},
          {"fuse_unk", true},
          {"byte_fallback", model.byte_fallback},
          {"ignore_merges", false},
          {"vocab", std::move(vocabulary)},
          {"merges", std::move(merges)}};
}

Json unigram_model(const SentencePieceModel& model) {
  Json vocabulary = Json::array();
  for (const SentencePiece& piece : model.pieces)
    vocabulary.push_back(Json::array({piece.text, piece.score}));
  return {{"type", "Unigram"},
          {"unk_id", model.unk_id < 0 ? Json(nullptr) : Json(model.unk_id)},
          {"byte_fallback", model.byte_fallback},
          {"vocab", std::move(vocabulary)}};
}

std::string base64(std::string_view bytes) {
  constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  for (size_t i = 0; i < bytes.size(); i += 3) {
    uint32_t group = 0;
    for (size_t k = 0; k < 3; ++k) {
      group = group << 8 | (i + k < bytes.size() ? static_cast<unsigned char>(bytes[i + k]) : 0u);
    }
    for (size_t k = 0; k < 4; ++k) {
      const bool is_padding = i + k > bytes.size();
      text += is_padding ? '=' : kDigits[group >> (18 - 6 * k) & 63u];
    }
  }
  return text;
}

std::string_view space_of(const SentencePieceModel& model) { return model.escape_whitespaces ? kSpace : " "; }

Json normalizer_of(const SentencePieceModel& model) {
  std::vector<Json> parts;
  if (!model.precompiled_charsmap.empty()) {
    parts.push_back({{"type", "Precompiled"}, {"precompiled_charsmap", base64(model.precompiled_charsmap)}});
  }
  if (model.remove_extra_whitespaces) {
    parts.push_back({{"type", "Strip"}, {"strip_left", true}, {"strip_right", true}});
    parts.push_back({{"type", "Replace"}, {"pattern", {{"Regex", " {2,}"}}}, {"content", " "}});
  }
  if (model.add_dummy_prefix) parts.push_back({{"type", "Prepend"}, {"prepend", space_of(model)}});
  if (model.escape_whitespaces) parts.push_back(replace_part(" ", kSpace));
  return sequence("normalizers", std::move(parts));
}

Json decoder_of(const SentencePieceModel& model) {
  std::vector<Json> parts;
  if (model.escape_whitespaces) parts.push_back(replace_part(kSpace, " "));
  if (model.byte_fallback) parts.push_back({{"type", "ByteFallback"}});
  parts.push_back({{"type", "Fuse"}});
  if (model.add_dummy_prefix)
    parts.push_back({{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}});
  return sequence("decoders", std::move(parts));
}

Json added_tokens_of(const SentencePieceModel& model) {
  Json tokens = Json::array();
  for (size_t id = 0; id < model.pieces.size(); ++id) {
    const SentencePiece& piece = model.pieces[id];
    const bool special = piece.type == PieceType::kControl || piece.type == PieceType::kUnknown;
    if (!special && piece.type != PieceType::kUserDefined) continue;
    tokens.push_back(added_token(static_cast<int64_t>(id), piece.text, special));
  }
  return tokens;
}

Status check_pieces(const SentencePieceModel& model, const std::string& name) {
  for (size_t id = 0; id < model.pieces.size(); ++id) {
    const std::string& text = model.pieces[id].text;
    if (!is_utf8(text)) return invalid(name + ": token " + std::to_string(id) + " is not UTF-8");
    if (text.size() > kMaxPieceBytes) {
      return limit_reached(name + ": token " + in_quotes(text) + " is longer than " +
                           std::to_string(kMaxPieceBytes) + " bytes");
    }
  }
  return {};
}

Result<std::vector<PlacedToken>> placed(const SentencePieceModel& model, bool wanted, int id,
                                        const std::string& what) {
  if (!wanted) return std::vector<PlacedToken>{};
  if (id < 0) return invalid(what + " is to be added, but the vocabulary has none");
  return std::vector<PlacedToken>{{id, model.pieces[static_cast<size_t>(id)].text}};
}

}  // namespace

Result<Json> tokenizer_json_of_sentencepiece(const SentencePieceModel& model, SentencePieceOptions options,
                                             const std::string& name) {
  const bool is_bpe = model.kind == SentencePieceModel::Kind::kBpe;
  if (!is_bpe && model.kind != SentencePieceModel::Kind::kUnigram) {
    return unsupported(name + ": a SentencePiece model of words or characters; BPE and Unigram are read");
  }
  if (model.treat_whitespace_as_suffix) {
    return unsupported(name + ": a SentencePiece model with spaces after words (treat_whitespace_as_suffix)");
  }
  TRY(check_pieces(model, name));
  std::vector<PlacedToken> before = TRY(placed(model, options.add_bos, model.bos_id, name + ": a bos token"));
  std::vector<PlacedToken> after = TRY(placed(model, options.add_eos, model.eos_id, name + ": an eos token"));
  if (is_bpe && options.merges.is_null()) options.merges = pairs_of(model);
  return tokenizer_document(added_tokens_of(model), normalizer_of(model), nullptr, around_text(before, after),
                            decoder_of(model),
                            is_bpe ? bpe_model(model, std::move(options.merges)) : unigram_model(model));
}

}  // namespace heed
