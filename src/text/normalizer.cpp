#include "text/normalizer.h"

#include <algorithm>

#include "text/byte_level.h"
#include "text/sequence.h"

namespace heed {
namespace {

constexpr const char* kAcceptedNormalizers =
    "NFC, NFD, NFKC, NFKD, Lowercase, Strip, StripAccents, Replace, Prepend, Precompiled, BertNormalizer, "
    "Nmt, "
    "ByteLevel or Sequence";

Result<NormalizerStep> normalizer_step(const JsonFields& fields) {
  const std::string type = TRY(fields.text("type"));
  if (type == "NFC") return NormalizerStep(NormalForm{.compose = true});
  if (type == "NFD") return NormalizerStep(NormalForm{});
  if (type == "NFKC") return NormalizerStep(NormalForm{.compose = true, .compatibility = true});
  if (type == "NFKD") return NormalizerStep(NormalForm{.compatibility = true});
  if (type == "Lowercase") return NormalizerStep(Lowercase{});
  if (type == "StripAccents") return NormalizerStep(StripAccents{});
  if (type == "Nmt") return NormalizerStep(NmtCleaning{});
  if (type == "ByteLevel") return NormalizerStep(ByteLevelNormalizer{});
  if (type == "Strip") {
    return NormalizerStep(StripEnds{TRY(fields.flag("strip_left")), TRY(fields.flag("strip_right"))});
  }
  if (type == "Prepend") return NormalizerStep(Prepend{TRY(fields.text("prepend"))});
  if (type == "Replace") {
    // One at a time: an error on the way out of a braced list would leak the members before it.
    Replace replace{TRY(Pattern::of(fields)), ""};
    replace.content = TRY(fields.text("content"));
    return NormalizerStep(std::move(replace));
  }
  if (type == "BertNormalizer") {
    const bool lowercase = TRY(fields.flag("lowercase"));
    return NormalizerStep(BertCleaning{TRY(fields.flag("clean_text")),
                                       TRY(fields.flag("handle_chinese_chars")),
                                       TRY(fields.flag("strip_accents", lowercase)), lowercase});
  }
  if (type == "Precompiled") {
    Result<Charsmap> map = Charsmap::from_base64(TRY(fields.text("precompiled_charsmap")));
    if (!map.ok()) return std::move(map).error().within(fields.place());
    return NormalizerStep(std::move(map).value());
  }
  return unsupported(fields.place() + ".type " + quoted_text(type) +
                     " is unknown; accepted: " + kAcceptedNormalizers);
}

template <class Keep>
std::string filtered(std::string_view text, Keep keep) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size();) {
    const CodePoint c = code_point_at(text, i);
    if (keep(c.value)) out += text.substr(i, c.length);
    i += c.length;
  }
  return out;
}

std::string lowercased(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size();) {
    const CodePoint c = code_point_at(text, i);
    append_lowercase(out, c.value);
    i += c.length;
  }
  return out;
}

// Neural machine translation's cleaning: controls go, odd spaces become plain ones.
std::string nmt_cleaned(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size();) {
    const CodePoint c = code_point_at(text, i);
    const char32_t v = c.value;
    i += c.length;
    if ((v >= 1 && v <= 8) || v == 0xB || (v >= 0xE && v <= 0x1F) || v == 0x7F || v == 0x8F || v == 0x9F)
      continue;
    const bool space = v == 9 || v == 0xA || v == 0xC || v == 0xD || v == 0x1680 ||
                       (v >= 0x200B && v <= 0x200F) || v == 0x2028 || v == 0x2029 || v == 0x2581 ||
                       v == 0xFEFF || v == 0xFFFD;
    append_utf8(out, space ? ' ' : v);
  }
  return out;
}

std::string bert_cleaned(std::string_view given, const BertCleaning& options) {
  std::string text(given);
  if (options.clean_text) {
    std::string cleaned;
    for (size_t i = 0; i < text.size();) {
      const CodePoint c = code_point_at(text, i);
      i += c.length;
      const bool kept_control = c.value == '\t' || c.value == '\n' || c.value == '\r';
      if (c.value == kReplacementCharacter || (is_control_or_private(c.value) && !kept_control)) continue;
      append_utf8(cleaned, is_white_space(c.value) ? ' ' : c.value);
    }
    text = std::move(cleaned);
  }
  if (options.handle_chinese_chars) {
    std::string spaced;
    for (size_t i = 0; i < text.size();) {
      const CodePoint c = code_point_at(text, i);
      const bool chinese = is_bert_chinese(c.value);
      if (chinese) spaced += ' ';
      spaced.append(text, i, c.length);
      if (chinese) spaced += ' ';
      i += c.length;
    }
    text = std::move(spaced);
  }
  if (options.strip_accents) {
    text = filtered(normalize_unicode(text, {}), [](char32_t c) { return !is_nonspacing_mark(c); });
  }
  return options.lowercase ? lowercased(text) : text;
}

std::string_view stripped(std::string_view text, const StripEnds& ends) {
  while (ends.left && !text.empty()) {
    const CodePoint c = code_point_at(text, 0);
    if (!is_white_space(c.value)) break;
    text.remove_prefix(c.length);
  }
  while (ends.right && !text.empty()) {
    const CodePoint c = code_point_before(text, text.size());
    if (!is_white_space(c.value)) break;
    text.remove_suffix(c.length);
  }
  return text;
}

// Rewrites a text. All but the last three work character by character, so that what became of the first
// character of the input is what they make of its bytes alone.
struct Rewrite {
  NormalizedText& normalized;

  template <class Function>
  Status both(Function function) const {
    const std::string_view origin = std::string_view(normalized.text).substr(0, normalized.origin_bytes);
    const size_t origin_bytes = origin.empty() ? 0 : function(origin).size();
    normalized.text = function(normalized.text);
    normalized.origin_bytes = std::min(origin_bytes, normalized.text.size());
    return {};
  }

  Status operator()(NormalForm form) const {
    return both([form](std::string_view text) { return normalize_unicode(text, form); });
  }
  Status operator()(const Lowercase&) const { return both(lowercased); }
  Status operator()(const StripAccents&) const {
    return both([](std::string_view text) {
      return filtered(text, [](char32_t c) { return !is_combining_mark(c); });
    });
  }
  Status operator()(const NmtCleaning&) const { return both(nmt_cleaned); }
  Status operator()(const ByteLevelNormalizer&) const {
    return both([](std::string_view text) {
      std::string out;
      append_byte_level(out, text);
      return out;
    });
  }
  Status operator()(const BertCleaning& options) const {
    return both([&](std::string_view text) { return bert_cleaned(text, options); });
  }
  Status operator()(const StripEnds& ends) const {
    const std::string_view text = stripped(normalized.text, ends);
    const auto removed = static_cast<size_t>(text.data() - normalized.text.data());
    const size_t origin_bytes = normalized.origin_bytes > removed ? normalized.origin_bytes - removed : 0;
    normalized.text = std::string(text);
    normalized.origin_bytes = std::min(origin_bytes, normalized.text.size());
    return {};
  }
  Status operator()(const Prepend& prepend) const {
    if (normalized.text.empty()) return {};
    normalized.text.insert(0, prepend.text);
    if (normalized.origin_bytes > 0) normalized.origin_bytes += prepend.text.size();
    return {};
  }
  // A replacement stems from the last character it replaces.
  Status operator()(const Replace& replace) const {
    std::vector<ByteSpan> matches;
    if (!normalized.text.empty()) TRY(replace.pattern.find_all(normalized.text, matches));
    if (matches.empty()) return {};
    const std::string_view text = normalized.text;
    std::string out;
    out.reserve(text.size());
    size_t origin_bytes = normalized.origin_bytes;
    size_t copied = 0;
    for (const ByteSpan& match : matches) {
      out.append(text.substr(copied, match.begin - copied)).append(replace.content);
      if (match.end <= normalized.origin_bytes) {
        origin_bytes += replace.content.size() - (match.end - match.begin);
      } else if (match.begin < normalized.origin_bytes) {
        origin_bytes -= normalized.origin_bytes - match.begin;
      }
      copied = match.end;
    }
    normalized.text = out.append(text.substr(copied));
    normalized.origin_bytes = origin_bytes;
    return {};
  }
  // Where the map drops the first character, the tokenizers package counts the next one as the first.
  Status operator()(const Charsmap& map) const {
    const bool at_origin = normalized.origin_bytes > 0;
    normalized.text = map.normalize(normalized.text);
    normalized.origin_bytes =
        at_origin && !normalized.text.empty() ? code_point_at(normalized.text, 0).length : 0;
    return {};
  }
};

}  // namespace

Result<Normalizer> Normalizer::of(const Json& json, const std::string& place) {
  Normalizer normalizer;
  const auto add = [&](const JsonFields& fields) -> Status {
    normalizer.steps_.push_back(TRY(normalizer_step(fields)));
    return {};
  };
  TRY(for_each_in_sequence(json, place, "normalizers", add));
  return normalizer;
}

Status Normalizer::apply(NormalizedText& normalized) const {
  for (const NormalizerStep& step : steps_) TRY(std::visit(Rewrite{normalized}, step));
  return {};
}

}  // namespace heed
