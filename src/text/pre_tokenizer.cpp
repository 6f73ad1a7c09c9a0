#include "text/pre_tokenizer.h"

#include <algorithm>

#include "text/byte_level.h"
#include "text/sequence.h"
#include "text/split.h"
#include "text/unicode.h"

namespace heed {
namespace {

constexpr const char* kAcceptedPreTokenizers =
    "ByteLevel, Split, Metaspace, Whitespace, WhitespaceSplit, BertPreTokenizer, Punctuation, Digits, "
    "CharDelimiterSplit, FixedLength or Sequence";

constexpr const char* kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

Result<SplitBehavior> behavior_of(const JsonFields& fields, std::optional<std::string> otherwise = {}) {
  const std::string name = TRY(fields.text("behavior", std::move(otherwise)));
  if (name == "Removed") return SplitBehavior::kRemoved;
  if (name == "Isolated") return SplitBehavior::kIsolated;
  if (name == "MergedWithPrevious") return SplitBehavior::kMergedWithPrevious;
  if (name == "MergedWithNext") return SplitBehavior::kMergedWithNext;
  if (name == "Contiguous") return SplitBehavior::kContiguous;
  return fields.error("behavior", "Removed, Isolated, MergedWithPrevious, MergedWithNext or Contiguous");
}

Status add_steps(const JsonFields& fields, std::vector<PreTokenizerStep>& steps) {
  const std::string type = TRY(fields.text("type"));
  if (type == "ByteLevel") {
    const ByteLevel step{TRY(fields.flag("add_prefix_space")), TRY(fields.flag("use_regex", true))};
    steps.emplace_back(step);
  } else if (type == "Split") {
    PatternSplit split{TRY(Pattern::of(fields)), SplitBehavior::kIsolated, false};
    split.behavior = TRY(behavior_of(fields));
    split.invert = TRY(fields.flag("invert", false));
    steps.emplace_back(std::move(split));
  } else if (type == "Metaspace") {
    steps.emplace_back(TRY(metaspace_of(fields)));
  } else if (type == "Whitespace") {
    steps.emplace_back(WordsAndSymbols{});
  } else if (type == "WhitespaceSplit") {
    steps.emplace_back(CharacterSplit{is_white_space, 0, SplitBehavior::kRemoved});
  } else if (type == "BertPreTokenizer") {
    steps.emplace_back(CharacterSplit{is_white_space, 0, SplitBehavior::kRemoved});
    steps.emplace_back(CharacterSplit{is_punctuation, 0, SplitBehavior::kIsolated});
  } else if (type == "Punctuation") {
    steps.emplace_back(CharacterSplit{is_punctuation, 0, TRY(behavior_of(fields, "Isolated"))});
  } else if (type == "Digits") {
    const bool individual = TRY(fields.flag("individual_digits"));
    steps.emplace_back(
        CharacterSplit{is_number, 0, individual ? SplitBehavior::kIsolated : SplitBehavior::kContiguous});
  } else if (type == "CharDelimiterSplit") {
    steps.emplace_back(CharacterSplit{nullptr, TRY(fields.character("delimiter")), SplitBehavior::kRemoved});
  } else if (type == "FixedLength") {
    steps.emplace_back(FixedLength{TRY(fields.integer("length", 1, INT32_MAX, 5))});
  } else {
    return unsupported(fields.place() + ".type " + quoted_text(type) +
                       " is unknown; accepted: " + kAcceptedPreTokenizers);
  }
  return {};
}

const Regex& gpt2_regex() {
  static const Regex regex = [] {
    Result<Regex> compiled = Regex::compile(kGpt2Pattern);
    CHECK(compiled.ok(), compiled.error().message);
    return std::move(compiled).value();
  }();
  return regex;
}

// Rewrites every unfinished piece: `rewrite(text of the piece, piece, out)` appends its new text to `out` and
// gives its new origin_bytes.
template <class Rewrite>
void rewrite_pieces(PieceList& list, Rewrite rewrite) {
  std::string out;
  out.reserve(list.text.size() + list.text.size() / 4 + list.pieces.size());
  for (Piece& piece : list.pieces) {
    const std::string_view text = list.view(piece);
    const size_t begin = out.size();
    if (piece.token >= 0) {
      out += text;
    } else {
      piece.origin_bytes = rewrite(text, piece, out);
    }
    piece.begin = begin;
    piece.end = out.size();
  }
  list.text = std::move(out);
}

// Where spaces become `replacement`, and it is put before pieces as the scheme says.
void replace_spaces(PieceList& list, const Metaspace& metaspace) {
  rewrite_pieces(list, [&](std::string_view text, const Piece& piece, std::string& out) {
    const bool marked = text.starts_with(metaspace.replacement) || text.starts_with(' ');
    const bool wanted = metaspace.scheme == Metaspace::Scheme::kAlways ||
                        (metaspace.scheme == Metaspace::Scheme::kFirst && piece.origin_bytes > 0);
    const bool prepend = wanted && !marked;
    if (prepend) out += metaspace.replacement;
    size_t origin_bytes = piece.origin_bytes > 0 && prepend ? metaspace.replacement.size() : 0;
    for (size_t i = 0; i < text.size(); ++i) {
      const size_t before = out.size();
      if (text[i] == ' ') {
        out += metaspace.replacement;
      } else {
        out += text[i];
      }
      if (i < piece.origin_bytes) origin_bytes += out.size() - before;
    }
    return origin_bytes;
  });
}

void prepend_spaces(PieceList& list) {
  rewrite_pieces(list, [](std::string_view text, const Piece& piece, std::string& out) {
    const bool prepend = !text.starts_with(' ');
    if (prepend) out += ' ';
    out += text;
    return piece.origin_bytes + (prepend && piece.origin_bytes > 0 ? 1 : 0);
  });
}

void to_byte_level(PieceList& list) {
  rewrite_pieces(list, [](std::string_view text, const Piece& piece, std::string& out) {
    const size_t begin = out.size();
    append_byte_level(out, text.substr(0, piece.origin_bytes));
    const size_t origin_bytes = out.size() - begin;
    append_byte_level(out, text.substr(piece.origin_bytes));
    return origin_bytes;
  });
}

void find_words_and_symbols(std::string_view text, std::vector<ByteSpan>& matches) {
  enum class Kind { kSpace, kWord, kSymbol };
  Kind run = Kind::kSpace;
  for (size_t i = 0; i < text.size();) {
    const CodePoint c = code_point_at(text, i);
    const Kind kind = is_word(c.value) ? Kind::kWord : is_white_space(c.value) ? Kind::kSpace : Kind::kSymbol;
    if (kind != Kind::kSpace && kind == run) {
      matches.back().end += c.length;
    } else if (kind != Kind::kSpace) {
      matches.push_back({i, i + c.length});
    }
    run = kind;
    i += c.length;
  }
}

struct Apply {
  PieceList& list;

  Status operator()(const PatternSplit& step) const {
    return split_pieces(list, step.behavior, step.invert,
                        [&](std::string_view text, std::vector<ByteSpan>& matches) {
                          return step.pattern.find_all(text, matches);
                        });
  }
  Status operator()(const CharacterSplit& step) const {
    return split_pieces(
        list, step.behavior, false, [&](std::string_view text, std::vector<ByteSpan>& matches) {
          for (size_t i = 0; i < text.size();) {
            const CodePoint c = code_point_at(text, i);
            const bool match = step.matches != nullptr ? step.matches(c.value) : c.value == step.character;
            if (match) matches.push_back({i, i + c.length});
            i += c.length;
          }
          return Status();
        });
  }
  Status operator()(const WordsAndSymbols&) const {
    return split_pieces(list, SplitBehavior::kRemoved, true,
                        [](std::string_view text, std::vector<ByteSpan>& matches) {
                          find_words_and_symbols(text, matches);
                          return Status();
                        });
  }
  Status operator()(const ByteLevel& step) const {
    if (step.add_prefix_space) prepend_spaces(list);
    if (step.use_regex) {
      TRY(split_pieces(list, SplitBehavior::kIsolated, false,
                       [](std::string_view text, std::vector<ByteSpan>& matches) {
                         return gpt2_regex().find_all(text, matches);
                       }));
    }
    to_byte_level(list);
    return {};
  }
  Status operator()(const Metaspace& step) const {
    replace_spaces(list, step);
    if (!step.split) return {};
    const Pattern marker = Pattern::literal(step.replacement);
    return split_pieces(list, SplitBehavior::kMergedWithNext, false,
                        [&](std::string_view text, std::vector<ByteSpan>& matches) {
                          return marker.find_all(text, matches);
                        });
  }
  Status operator()(const FixedLength& step) const {
    return split_pieces(list, SplitBehavior::kIsolated, false,
                        [&](std::string_view text, std::vector<ByteSpan>& matches) {
                          int64_t count = 0;
                          for (size_t i = 0; i < text.size(); ++count) {
                            const size_t length = code_point_at(text, i).length;
                            if (count % step.length == 0) matches.push_back({i, i});
                            matches.back().end = i += length;
                          }
                          return Status();
                        });
  }
};

}  // namespace

Result<Metaspace> metaspace_of(const JsonFields& fields) {
  Metaspace metaspace;
  append_utf8(metaspace.replacement, TRY(fields.character("replacement")));
  const std::string scheme = TRY(fields.text("prepend_scheme", "always"));
  if (scheme != "first" && scheme != "always" && scheme != "never") {
    return fields.error("prepend_scheme", "first, always or never");
  }
  metaspace.scheme = scheme == "first"    ? Metaspace::Scheme::kFirst
                     : scheme == "always" ? Metaspace::Scheme::kAlways
                                          : Metaspace::Scheme::kNever;
  // The older name for the scheme: false is "never", and true what the scheme says.
  if (!TRY(fields.flag("add_prefix_space", true))) metaspace.scheme = Metaspace::Scheme::kNever;
  metaspace.split = TRY(fields.flag("split", true));
  return metaspace;
}

Result<PreTokenizer> PreTokenizer::of(const Json& json, const std::string& place) {
  PreTokenizer pre_tokenizer;
  TRY(for_each_in_sequence(json, place, "pretokenizers", [&](const JsonFields& fields) {
    return add_steps(fields, pre_tokenizer.steps_);
  }));
  return pre_tokenizer;
}

Status PreTokenizer::apply(PieceList& list) const {
  for (const PreTokenizerStep& step : steps_) TRY(std::visit(Apply{list}, step));
  return {};
}

}  // namespace heed
