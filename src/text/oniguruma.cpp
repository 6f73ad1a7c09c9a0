#include "text/oniguruma.h"

#include <array>
#include <initializer_list>
#include <optional>
#include <vector>

#include "text/unicode.h"

namespace heed {
namespace {

constexpr int kMaxClassDepth = 32;

// The members of \w, as items of a PCRE2 class: some symbols are alphabetic, and Oniguruma adds the Latin-1
// numbers.
constexpr std::string_view kWordItems =
    "\\p{L}\\p{M}\\p{Nd}\\p{Nl}\\p{Pc}\\x{b2}\\x{b3}\\x{b9}\\x{bc}-\\x{be}\\x{24b6}-\\x{24e9}"
    "\\x{1f130}-\\x{1f149}\\x{1f150}-\\x{1f169}\\x{1f170}-\\x{1f189}";
constexpr std::string_view kHexItems = "0-9A-Fa-f";

struct NamedItems {
  std::string_view name;
  std::string_view items;
};

constexpr std::array<NamedItems, 13> kPosixClasses = {{{"alpha", "\\p{Alphabetic}"},
                                                       {"alnum", "\\p{Alphabetic}\\p{Nd}"},
                                                       {"blank", "\\p{Zs}\\t"},
                                                       {"cntrl", "\\p{Cc}"},
                                                       {"digit", "\\p{Nd}"},
                                                       {"lower", "\\p{Lowercase}"},
                                                       {"punct", "\\p{P}\\p{S}"},
                                                       {"space", "\\s"},
                                                       {"upper", "\\p{Uppercase}"},
                                                       {"xdigit", kHexItems},
                                                       {"word", kWordItems},
                                                       {"ascii", "\\x{0}-\\x{7f}"},
                                                       {"any", "\\x{0}-\\x{10ffff}"}}};

constexpr std::array<NamedItems, 7> kLongCategories = {{{"letter", "\\p{L}"},
                                                        {"mark", "\\p{M}"},
                                                        {"number", "\\p{N}"},
                                                        {"punctuation", "\\p{P}"},
                                                        {"symbol", "\\p{S}"},
                                                        {"separator", "\\p{Z}"},
                                                        {"other", "\\p{C}"}}};

constexpr std::array<std::string_view, 8> kBinaryProperties = {
    "alphabetic",           "lowercase",  "uppercase",   "emoji",
    "extendedpictographic", "whitespace", "ideographic", "math"};

std::string_view find_items(std::string_view name) {
  for (const NamedItems& named : kPosixClasses) {
    if (named.name == name) return named.items;
  }
  for (const NamedItems& named : kLongCategories) {
    if (named.name == name) return named.items;
  }
  return {};
}

std::string joined(std::initializer_list<std::string_view> parts) {
  std::string all;
  for (const std::string_view part : parts) all += part;
  return all;
}

// A set of characters: the items of a PCRE2 class, and what has to stand beside that class as an expression.
struct CharacterSet {
  std::string items;
  std::vector<std::string> others;

  void add(std::string_view set_items, bool negated) {
    if (negated) {
      others.push_back(joined({"[^", set_items, "]"}));
    } else {
      items += set_items;
    }
  }
  std::string expression(bool negated) const {
    if (others.empty()) return joined({negated ? "[^" : "[", items, "]"});
    std::string any;
    if (!items.empty()) any = joined({"[", items, "]"});
    for (const std::string& other : others) any += joined({any.empty() ? "" : "|", other});
    return negated ? joined({"(?:(?!", any, ")(?s:.))"}) : joined({"(?:", any, ")"});
  }
};

class Translator {
 public:
  explicit Translator(std::string_view pattern) : pattern_(pattern) {}

  Result<std::string> run() {
    while (at_ < pattern_.size()) {
      Status status = next_piece();
      if (!status.ok()) return std::move(status).error();
    }
    return guard_trailing_run(out_);
  }

 private:
  bool next_is(std::string_view text) const { return pattern_.substr(at_).starts_with(text); }

  // Copies or rewrites one atom, quantifier, group opening or closing.
  Status next_piece() {
    const char c = pattern_[at_];
    if (c == '(') return open_group();
    if (c == ')') return close_group();
    if (c == '{' || c == '*' || c == '+' || c == '?') return quantifier();
    last_atom_ = out_.size();
    if (c == '[') {
      out_ += TRY(character_class(0));
    } else if (c == '\\') {
      TRY(escape());
    } else {
      const int length = code_point_at(pattern_, at_).length;
      out_ += pattern_.substr(at_, length);
      at_ += length;
    }
    return {};
  }

  Status open_group() {
    groups_.push_back(out_.size());
    out_ += '(';
    ++at_;
    if (next_is("?#")) {
      const size_t end = pattern_.find(')', at_);
      if (end == std::string_view::npos) return invalid("a comment without its )");
      out_ += pattern_.substr(at_, end - at_);
      at_ = end;
      return {};
    }
    if (!next_is("?")) return {};
    // The options between (? and : or ) have one letter of another meaning.
    size_t end = at_ + 1;
    while (end < pattern_.size() && std::string_view("imxs-").find(pattern_[end]) != std::string_view::npos)
      ++end;
    const bool options =
        end > at_ + 1 && end < pattern_.size() && (pattern_[end] == ':' || pattern_[end] == ')');
    if (!options) {
      // (?<name>, (?=, (?!, (?<=, (?>, (?: : the question mark belongs to the group and is no quantifier.
      out_ += '?';
      ++at_;
      return {};
    }
    for (; at_ < end; ++at_) out_ += pattern_[at_] == 'm' ? 's' : pattern_[at_];
    return {};
  }

  Status close_group() {
    if (!groups_.empty()) {
      last_atom_ = groups_.back();
      groups_.pop_back();
    }
    out_ += ')';
    ++at_;
    return {};
  }

  Status quantifier() {
    if (pattern_[at_] != '{') {
      out_ += pattern_[at_++];
      return {};
    }
    size_t end = at_ + 1;
    while (end < pattern_.size() &&
           std::string_view("0123456789,").find(pattern_[end]) != std::string_view::npos)
      ++end;
    if (end == at_ + 1 || end == pattern_.size() || pattern_[end] != '}') {
      last_atom_ = out_.size();
      out_ += "\\{";
      ++at_;
      return {};
    }
    std::string bounds(pattern_.substr(at_, end + 1 - at_));
    if (bounds[1] == ',') bounds.insert(bounds.begin() + 1, '0');
    out_ += bounds;
    at_ = end + 1;
    if (next_is("+")) {  // not possessive in this syntax: one or more of the repetition
      out_ = joined({std::string_view(out_).substr(0, last_atom_),
                     "(?:", std::string_view(out_).substr(last_atom_), ")+"});
      ++at_;
    }
    return {};
  }

  // An escape outside a class, at the backslash.
  Status escape() {
    if (at_ + 1 >= pattern_.size()) return invalid("a backslash at the end");
    const char c = pattern_[at_ + 1];
    const std::string word = joined({"[", kWordItems, "]"});
    at_ += 2;
    switch (c) {
      case 'w':
        out_ += word;
        return {};
      case 'W':
        out_ += joined({"[^", kWordItems, "]"});
        return {};
      case 'h':
        out_ += joined({"[", kHexItems, "]"});
        return {};
      case 'H':
        out_ += joined({"[^", kHexItems, "]"});
        return {};
      case 'b':
        out_ += joined({"(?:(?<=", word, ")(?!", word, ")|(?<!", word, ")(?=", word, "))"});
        return {};
      case 'B':
        out_ += joined({"(?:(?<=", word, ")(?=", word, ")|(?<!", word, ")(?!", word, "))"});
        return {};
      case 'v':
        out_ += "\\x{b}";
        return {};
      case 'O':
        out_ += "(?s:.)";
        return {};
      case 'u':
        out_ += TRY(four_digits());
        return {};
      case 'p':
      case 'P': {
        CharacterSet set;
        TRY(property(c == 'P', set));
        out_ += set.expression(false);
        return {};
      }
      default:
        break;
    }
    const int length = code_point_at(pattern_, at_ - 1).length;
    if (length == 1) out_ += '\\';  // a character of more bytes needs no escape
    out_ += pattern_.substr(at_ - 1, length);
    at_ += length - 1;
    return {};
  }

  Result<std::string> four_digits() {
    if (at_ + 4 > pattern_.size()) return invalid("\\u without four hexadecimal digits");
    const std::string digits(pattern_.substr(at_, 4));
    if (digits.find_first_not_of("0123456789abcdefABCDEF") != std::string::npos) {
      return invalid("\\u without four hexadecimal digits");
    }
    at_ += 4;
    return joined({"\\x{", digits, "}"});
  }

  // \p{...} after the p: adds the property to `set`.
  Status property(bool negated, CharacterSet& set) {
    const size_t end = pattern_.find('}', at_);
    if (!next_is("{") || end == std::string_view::npos) return invalid("\\p without {name}");
    std::string_view given = pattern_.substr(at_ + 1, end - at_ - 1);
    at_ = end + 1;
    if (given.starts_with('^')) {
      negated = !negated;
      given.remove_prefix(1);
    }
    std::string name;  // as Oniguruma compares it: lower case, without separators
    for (const char c : given) {
      if (c != ' ' && c != '_' && c != '-') name += static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
    }
    if (name.empty() || name.find_first_not_of("abcdefghijklmnopqrstuvwxyz") != std::string::npos) {
      return invalid(joined({"\\p{", given, "}: no such property"}));
    }
    if (const std::string_view items = find_items(name); !items.empty()) {
      set.add(items, negated);
      return {};
    }
    bool plain = name.size() <= 2;  // a general category
    for (const std::string_view binary : kBinaryProperties) plain = plain || name == binary;
    if (name.size() <= 2) name[0] = static_cast<char>(name[0] - 32);
    set.items += joined({negated ? "\\P{" : "\\p{", plain ? "" : "sc:", name, "}"});
    return {};
  }

  // A class at its [; leaves at_ behind its ].
  Result<std::string> character_class(int depth) {
    if (depth > kMaxClassDepth) return limit_reached("character classes nested too deep");
    ++at_;
    const bool negated = next_is("^");
    if (negated) ++at_;
    std::vector<CharacterSet> parts(1);  // to be intersected
    bool first = true;
    while (true) {
      if (at_ >= pattern_.size()) return invalid("a character class without its ]");
      if (pattern_[at_] == ']' && !first) break;
      if (next_is("&&")) {
        parts.emplace_back();
        at_ += 2;
      } else {
        TRY(class_item(depth, parts.back()));
      }
      first = false;
    }
    ++at_;
    if (parts.size() == 1) return parts[0].expression(negated);
    std::string all;
    for (const CharacterSet& part : parts) all += joined({"(?=", part.expression(false), ")"});
    return negated ? joined({"(?:(?!", all, ")(?s:.))"}) : joined({"(?:", all, "(?s:.))"});
  }

  Status class_item(int depth, CharacterSet& set) {
    if (next_is("[:")) {
      const size_t end = pattern_.find(":]", at_);
      if (end != std::string_view::npos) {
        std::string_view name = pattern_.substr(at_ + 2, end - at_ - 2);
        const bool negated = name.starts_with('^');
        if (negated) name.remove_prefix(1);
        const std::string_view items = find_items(name);
        if (items.empty()) return invalid(joined({"[:", name, ":]: no such class"}));
        set.add(items, negated);
        at_ = end + 2;
        return {};
      }
    }
    if (pattern_[at_] == '[') {
      set.others.push_back(TRY(character_class(depth + 1)));
      return {};
    }
    if (pattern_[at_] == '\\') return class_escape(set);
    const int length = code_point_at(pattern_, at_).length;
    if (pattern_[at_] == ']') set.items += '\\';  // first in its class, a member
    set.items += pattern_.substr(at_, length);
    at_ += length;
    return {};
  }

  Status class_escape(CharacterSet& set) {
    if (at_ + 1 >= pattern_.size()) return invalid("a backslash at the end");
    const char c = pattern_[at_ + 1];
    at_ += 2;
    switch (c) {
      case 'w':
      case 'W':
        set.add(kWordItems, c == 'W');
        return {};
      case 'h':
      case 'H':
        set.add(kHexItems, c == 'H');
        return {};
      case 'v':
        set.items += "\\x{b}";
        return {};
      case 'u':
        set.items += TRY(four_digits());
        return {};
      case 'p':
      case 'P':
        return property(c == 'P', set);
      default:
        break;
    }
    const int length = code_point_at(pattern_, at_ - 1).length;
    if (length == 1) set.items += '\\';  // a character of more bytes needs no escape
    set.items += pattern_.substr(at_ - 1, length);
    at_ += length - 1;
    return {};
  }

  // \s+$ fails at every place of a long run of spaces, each time after going over all of it: a square of
  // steps. Where the first place of a run has failed its others must too, so only that one is tried.
  std::string guard_trailing_run(const std::string& pattern) const {
    return pattern_ == "\\s+$" ? joined({"(?:\\G|(?<!\\s))", pattern}) : pattern;
  }

  std::string_view pattern_;
  size_t at_ = 0;
  std::string out_;
  std::vector<size_t> groups_;  // where the open groups begin in out_
  size_t last_atom_ = 0;        // where the last atom begins in out_
};

}  // namespace

Result<std::string> pcre_from_oniguruma(std::string_view pattern) { return Translator(pattern).run(); }

}  // namespace heed
