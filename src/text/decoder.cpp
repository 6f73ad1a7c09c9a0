#include "text/decoder.h"

#include <utility>

#include "text/byte_level.h"
#include "text/byte_tokens.h"
#include "text/sequence.h"
#include "text/unicode.h"

namespace heed {
namespace {

constexpr size_t kMaxSteps = 64;
constexpr const char* kAcceptedDecoders =
    "ByteLevel, Replace, ByteFallback, Fuse, Strip, Metaspace, WordPiece, BPEDecoder, CTC or Sequence";

Result<DecoderStep> decoder_step(const JsonFields& fields) {
  const std::string type = TRY(fields.text("type"));
  if (type == "ByteLevel") return DecoderStep(ByteLevelDecoder{});
  if (type == "ByteFallback") return DecoderStep(ByteFallback{});
  if (type == "Fuse") return DecoderStep(Fuse{});
  if (type == "Replace") {
    Replace replace{TRY(Pattern::of(fields)), ""};
    replace.content = TRY(fields.text("content"));
    return DecoderStep(std::move(replace));
  }
  if (type == "Strip") {
    StripDecoder strip;
    append_utf8(strip.content, TRY(fields.character("content")));
    strip.start = TRY(fields.integer("start", 0, INT32_MAX));
    strip.stop = TRY(fields.integer("stop", 0, INT32_MAX));
    return DecoderStep(std::move(strip));
  }
  if (type == "Metaspace") {
    Metaspace metaspace = TRY(metaspace_of(fields));
    return DecoderStep(
        MetaspaceDecoder{std::move(metaspace.replacement), metaspace.scheme != Metaspace::Scheme::kNever});
  }
  if (type == "WordPiece") {
    WordPieceDecoder word_piece;
    word_piece.prefix = TRY(fields.text("prefix"));
    word_piece.cleanup = TRY(fields.flag("cleanup"));
    return DecoderStep(std::move(word_piece));
  }
  if (type == "BPEDecoder") return DecoderStep(BpeDecoder{TRY(fields.text("suffix"))});
  if (type == "CTC") {
    CtcDecoder ctc;
    ctc.pad = TRY(fields.text("pad_token"));
    ctc.delimiter = TRY(fields.text("word_delimiter_token"));
    ctc.cleanup = TRY(fields.flag("cleanup"));
    return DecoderStep(std::move(ctc));
  }
  return unsupported(fields.place() + ".type " + quoted_text(type) +
                     " is unknown; accepted: " + kAcceptedDecoders);
}

std::string replaced(std::string_view text, std::string_view from, std::string_view to) {
  std::string out;
  const Status status = append_replaced(out, text, Pattern::literal(std::string(from)), to);
  CHECK(status.ok());  // a literal has no limits to reach
  return out;
}

// The spaces and short forms that English word pieces leave behind.
std::string cleaned_up(std::string text) {
  constexpr std::pair<const char*, const char*> kForms[] = {
      {" .", "."},   {" ?", "?"},           {" !", "!"},   {" ,", ","},     {" ' ", "'"},   {" n't", "n't"},
      {" 'm", "'m"}, {" do not", " don't"}, {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}};
  for (const auto& [from, to] : kForms) text = replaced(text, from, to);
  return text;
}

std::string text_of_bytes(const std::string& bytes) {
  if (is_valid_utf8(bytes)) return bytes;
  std::string marks;
  for (size_t i = 0; i < bytes.size(); ++i) append_utf8(marks, kReplacementCharacter);
  return marks;
}

bool takes_parts(const DecoderStep& step) {
  return std::holds_alternative<StripDecoder>(step) || std::holds_alternative<Fuse>(step);
}

bool makes_one_token(const DecoderStep& step) {
  return std::holds_alternative<ByteLevelDecoder>(step) || std::holds_alternative<Fuse>(step);
}

}  // namespace

Result<Decoder> Decoder::of(const Json& json, const std::string& place) {
  Decoder decoder;
  const auto add = [&](const JsonFields& fields) -> Status {
    if (decoder.steps_.size() == kMaxSteps) {
      return limit_reached(place + ": more than " + std::to_string(kMaxSteps) + " steps");
    }
    decoder.steps_.push_back({TRY(decoder_step(fields))});
    return {};
  };
  TRY(for_each_in_sequence(json, place, "decoders", add));
  if (json.is_null()) decoder.steps_.push_back({JoinWithSpaces{}});
  decoder.plan();
  return decoder;
}

void Decoder::plan() {
  bool later_take_parts = true;
  for (size_t i = steps_.size(); i-- > 0;) {
    steps_[i].waits = makes_one_token(steps_[i].what) && !later_take_parts;
    later_take_parts = later_take_parts && takes_parts(steps_[i].what);
  }
  bool one_token = false;
  for (PlannedStep& step : steps_) {
    step.one_token = one_token;
    if (makes_one_token(step.what)) one_token = !step.waits;
  }
}

namespace {

// What a step makes of one token that neither begins nor ends a text.
struct BytesWithinText {
  std::string bytes;

  std::string operator()(const JoinWithSpaces&) const { return " " + bytes; }
  std::string operator()(const ByteLevelDecoder&) const { return bytes_of_token(bytes).value_or(bytes); }
  std::string operator()(const ByteFallback&) const {
    const std::optional<char> byte = byte_of_token(bytes);
    return byte ? std::string(1, *byte) : bytes;
  }
  std::string operator()(const Replace& replace) const {
    if (!is_valid_utf8(bytes)) return bytes;
    std::string text;
    return append_replaced(text, bytes, replace.pattern, replace.content).ok() ? text : bytes;
  }
  std::string operator()(const MetaspaceDecoder& metaspace) const {
    return replaced(bytes, metaspace.replacement, " ");
  }
  std::string operator()(const WordPieceDecoder& pieces) const {
    return bytes.starts_with(pieces.prefix) ? bytes.substr(pieces.prefix.size()) : " " + bytes;
  }
  std::string operator()(const BpeDecoder& bpe) const { return replaced(bytes, bpe.suffix, " "); }
  std::string operator()(const CtcDecoder& ctc) const { return replaced(bytes, ctc.delimiter, " "); }
  template <class Other>
  std::string operator()(const Other&) const {
    return bytes;
  }
};

}  // namespace

std::string Decoder::bytes_within_text(std::string_view token) const {
  std::string bytes(token);
  for (const PlannedStep& step : steps_) bytes = std::visit(BytesWithinText{bytes}, step.what);
  return bytes;
}

// What a step does with the next token.
struct DecoderStream::Take {
  DecoderStream& stream;
  size_t index;
  std::string token;
  std::string& out;

  State& state() const { return stream.states_[index]; }
  const Decoder::PlannedStep& planned() const { return stream.decoder_->steps_[index]; }
  void next(std::string text) const { stream.pass(index + 1, std::move(text), out); }
  bool first() const { return !std::exchange(state().started, true); }

  void operator()(const JoinWithSpaces&) {
    if (!first()) token.insert(token.begin(), ' ');
    next(std::move(token));
  }
  void operator()(const ByteLevelDecoder&) {
    state().held += bytes_of_token(token).value_or(token);
    if (planned().waits) return;
    std::string text;
    const size_t used = repair_utf8(state().held, true, text);
    state().held.erase(0, used);
    if (!text.empty()) next(std::move(text));
  }
  void operator()(const ByteFallback&) {
    if (const std::optional<char> byte = byte_of_token(token)) {
      state().held += *byte;
      return;
    }
    if (!state().held.empty()) next(text_of_bytes(std::exchange(state().held, {})));
    next(std::move(token));
  }
  void operator()(const Fuse&) {
    if (planned().waits) {
      state().held += token;
    } else {
      next(std::move(token));
    }
  }
  void operator()(const Replace& replace) {
    std::string text;
    const Status status = append_replaced(text, token, replace.pattern, replace.content);
    next(status.ok() ? std::move(text) : std::move(token));
  }
  void operator()(const StripDecoder& strip) {
    if (!planned().one_token) state() = {};
    std::string text;
    for (size_t i = 0; i < token.size();) {
      const size_t length = code_point_at(token, i).length;
      const std::string_view c = std::string_view(token).substr(i, length);
      i += length;
      const bool wanted = c == strip.content;
      if (!state().begun && wanted && state().stripped < strip.start) {
        ++state().stripped;
        continue;
      }
      state().begun = true;
      if (wanted && state().trailing < strip.stop) {
        ++state().trailing;
      } else if (wanted) {
        text += c;  // in place of the first of those that wait, which are the same
      } else {
        for (; state().trailing > 0; --state().trailing) text += strip.content;
        text += c;
      }
    }
    next(std::move(text));
  }
  void operator()(const MetaspaceDecoder& metaspace) {
    const bool drop = first() && metaspace.drops_first;
    next(replaced(token, metaspace.replacement, drop ? "" : " "));
  }
  void operator()(const WordPieceDecoder& pieces) {
    if (!first()) {
      if (token.starts_with(pieces.prefix)) {
        token.erase(0, pieces.prefix.size());
      } else {
        token.insert(token.begin(), ' ');
      }
    }
    next(pieces.cleanup ? cleaned_up(std::move(token)) : std::move(token));
  }
  void operator()(const BpeDecoder& bpe) {
    if (!first()) next(replaced(state().held, bpe.suffix, " "));
    state().held = std::move(token);
  }
  void operator()(const CtcDecoder& ctc) {
    const bool repeated = !first() && state().held == token;
    state().held = token;
    if (repeated) return;
    std::string text = replaced(token, ctc.pad, "");
    if (ctc.cleanup) text = replaced(cleaned_up(std::move(text)), ctc.delimiter, " ");
    if (!text.empty()) next(std::move(text));
  }
};

// What a step passes on when no token follows.
struct DecoderStream::End {
  DecoderStream& stream;
  size_t index;
  std::string& out;

  State& state() const { return stream.states_[index]; }
  void next(std::string text) const { stream.pass(index + 1, std::move(text), out); }

  void operator()(const ByteLevelDecoder&) const {
    std::string text;
    repair_utf8(state().held, false, text);
    next(std::move(text));
  }
  void operator()(const ByteFallback&) const {
    if (!state().held.empty()) next(text_of_bytes(state().held));
  }
  void operator()(const Fuse&) const { next(state().held); }
  void operator()(const BpeDecoder& bpe) const {
    if (state().started) next(replaced(state().held, bpe.suffix, ""));
  }
  template <class Other>
  void operator()(const Other&) const {}
};

void DecoderStream::pass(size_t step, std::string token, std::string& out) {
  if (step == decoder_->steps_.size()) {
    out += token;
    return;
  }
  std::visit(Take{*this, step, std::move(token), out}, decoder_->steps_[step].what);
}

void DecoderStream::finish(std::string& out) {
  for (size_t i = 0; i < states_.size(); ++i) std::visit(End{*this, i, out}, decoder_->steps_[i].what);
}

}  // namespace heed
