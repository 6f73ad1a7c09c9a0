#include "text/tokenizer.h"

#include <algorithm>
#include <variant>

#include "text/added_tokens.h"
#include "text/bpe.h"
#include "text/decoder.h"
#include "text/json_fields.h"
#include "text/normalizer.h"
#include "text/post_processor.h"
#include "text/pre_tokenizer.h"
#include "text/unicode.h"
#include "text/unigram.h"
#include "text/wordpiece.h"

namespace heed {

using TokenModel = std::variant<Bpe, Unigram, WordPiece, WordLevel>;

struct TokenizerParts {
  TokenModel model;
  Normalizer normalizer;
  AddedTokens added;
  PreTokenizer pre_tokenizer;
  PostProcessor post_processor;
  Decoder decoder;

  const Vocabulary& vocabulary() const {
    return std::visit([](const auto& kind) -> const Vocabulary& { return kind.vocabulary(); }, model);
  }
  // Null for an unknown id.
  std::optional<std::string_view> token(int id) const {
    if (const std::string* content = added.text(id)) return *content;
    if (!vocabulary().has(id)) return {};
    return vocabulary().text(id);
  }
};

namespace {

// Files of before the models had a type: told apart by their members.
Result<std::string> model_type(const JsonFields& fields) {
  if (fields.find("type") != nullptr) return fields.text("type");
  const Json* vocab = TRY(fields.require("vocab"));
  if (vocab->is_array()) return std::string("Unigram");
  if (fields.find("merges") != nullptr) return std::string("BPE");
  return std::string(fields.find("max_input_chars_per_word") != nullptr ? "WordPiece" : "WordLevel");
}

Result<TokenModel> model_of(const Json& json) {
  const JsonFields fields = TRY(JsonFields::of(json, "model"));
  const std::string type = TRY(model_type(fields));
  if (type == "BPE") return TokenModel(TRY(Bpe::of(fields)));
  if (type == "Unigram") return TokenModel(TRY(Unigram::of(fields)));
  if (type == "WordPiece") return TokenModel(TRY(WordPiece::of(fields)));
  if (type == "WordLevel") return TokenModel(TRY(WordLevel::of(fields)));
  return unsupported("model.type " + quoted_text(type) +
                     " is unknown; accepted: BPE, Unigram, WordPiece or WordLevel");
}

Result<std::unique_ptr<const TokenizerParts>> parts_of(const Json& json) {
  if (!json.is_object()) return invalid("must be an object with a model");
  const JsonFields fields = TRY(JsonFields::of(json, "tokenizer"));
  static const Json null_value;
  const auto member = [&](const char* name) -> const Json& {
    const Json* found = fields.find(name);
    return found == nullptr ? null_value : *found;
  };
  const Json* model_json = TRY(fields.require("model"));
  TokenModel model = TRY(model_of(*model_json));
  Normalizer normalizer = TRY(Normalizer::of(member("normalizer"), "normalizer"));
  const Vocabulary& vocabulary =
      std::visit([](const auto& kind) -> const Vocabulary& { return kind.vocabulary(); }, model);
  AddedTokens added = TRY(AddedTokens::of(member("added_tokens"), vocabulary, normalizer));
  PreTokenizer pre_tokenizer = TRY(PreTokenizer::of(member("pre_tokenizer"), "pre_tokenizer"));
  PostProcessor post_processor = TRY(PostProcessor::of(member("post_processor"), "post_processor"));
  Decoder decoder = TRY(Decoder::of(member("decoder"), "decoder"));
  return std::make_unique<const TokenizerParts>(
      TokenizerParts{std::move(model), std::move(normalizer), std::move(added), std::move(pre_tokenizer),
                     std::move(post_processor), std::move(decoder)});
}

}  // namespace

Tokenizer::Tokenizer(std::unique_ptr<const TokenizerParts> parts) : parts_(std::move(parts)) {}
Tokenizer::Tokenizer(Tokenizer&& other) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&& other) noexcept = default;
Tokenizer::~Tokenizer() = default;

Result<Tokenizer> Tokenizer::from_json(const Json& tokenizer_json, const std::string& what) {
  auto parts = parts_of(tokenizer_json);
  if (!parts.ok()) return std::move(parts).error().within(what);
  return Tokenizer(std::move(parts).value());
}

Result<Tokenizer> Tokenizer::load_json(const std::string& path) {
  return from_json(TRY(read_json(path)), path);
}

Result<std::vector<int>> Tokenizer::encode(std::string_view text, EncodeOptions options) const {
  std::string valid;
  valid.reserve(text.size());
  repair_utf8(text, false, valid);
  PieceList list = TRY(parts_->added.split(std::move(valid), parts_->normalizer, options.parse_special));
  TRY(parts_->pre_tokenizer.apply(list));

  std::vector<int> ids;
  ids.reserve(text.size() / 3 + 8);
  std::optional<BpeWorkspace> workspace;
  for (const Piece& piece : list.pieces) {
    if (piece.token >= 0) {
      ids.push_back(piece.token);
      continue;
    }
    const std::string_view word = list.view(piece);
    if (const Bpe* bpe = std::get_if<Bpe>(&parts_->model)) {
      if (!workspace) workspace.emplace(list.text.size());
      TRY(bpe->encode(word, *workspace, ids));
    } else if (const Unigram* unigram = std::get_if<Unigram>(&parts_->model)) {
      TRY(unigram->encode(word, ids));
    } else if (const WordPiece* pieces = std::get_if<WordPiece>(&parts_->model)) {
      TRY(pieces->encode(word, ids));
    } else {
      TRY(std::get<WordLevel>(parts_->model).encode(word, ids));
    }
  }
  return parts_->post_processor.apply(std::move(ids), options.add_special);
}

std::string Tokenizer::decode(std::span<const int> ids, bool skip_special) const {
  StreamDecoder stream(*this, skip_special);
  std::string text;
  for (const int id : ids) text += stream.push(id);
  return text + stream.finish();
}

int Tokenizer::vocab_size() const { return std::max(parts_->vocabulary().end_id(), parts_->added.end_id()); }

std::optional<int> Tokenizer::id_of(std::string_view token) const {
  const std::optional<int> added = parts_->added.find(token);
  return added ? added : parts_->vocabulary().find(token);
}

std::string_view Tokenizer::token_of(int id) const { return parts_->token(id).value_or(std::string_view()); }

bool Tokenizer::is_special(int id) const {
  const std::optional<std::string_view> token = parts_->token(id);
  return token && parts_->added.is_special(*token);
}

std::string Tokenizer::bytes_of(int id) const {
  const std::optional<std::string_view> token = parts_->token(id);
  if (!token) return "";
  return parts_->added.is_special(*token) ? std::string(*token) : parts_->decoder.bytes_within_text(*token);
}

StreamDecoder::StreamDecoder(const Tokenizer& tokenizer, bool skip_special)
    : parts_(tokenizer.parts_.get()),
      skip_special_(skip_special),
      stream_(std::make_unique<DecoderStream>(parts_->decoder)) {}
StreamDecoder::StreamDecoder(StreamDecoder&& other) noexcept = default;
StreamDecoder& StreamDecoder::operator=(StreamDecoder&& other) noexcept = default;
StreamDecoder::~StreamDecoder() = default;

std::string StreamDecoder::push(int id) {
  std::string text;
  const std::optional<std::string_view> token = parts_->token(id);
  if (token && !(skip_special_ && parts_->added.is_special(*token))) stream_->push(*token, text);
  return text;
}

std::string StreamDecoder::finish() {
  std::string text;
  stream_->finish(text);
  return text;
}

}  // namespace heed
