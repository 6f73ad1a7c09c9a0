#include "grammar/regex.h"

#include "grammar/pattern_text.h"

namespace heed::grammar {
namespace {

const CodePointSet digit_set = {{'0', '9'}};
const CodePointSet word_set = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
const CodePointSet space_set = {{'\t', '\r'},     {' ', ' '},       {0xA0, 0xA0},     {0x1680, 0x1680},
                                {0x2000, 0x200A}, {0x2028, 0x2029}, {0x202F, 0x202F}, {0x205F, 0x205F},
                                {0x3000, 0x3000}, {0xFEFF, 0xFEFF}};
const CodePointSet line_ends = {{'\n', '\n'}, {'\r', '\r'}, {0x2028, 0x2029}};

Syntax of_kind(Syntax::Kind kind) { return Syntax{kind}; }

class RegexParser {
 public:
  explicit RegexParser(std::string_view pattern) : text_(pattern, "regular expression") {}

  Result<Syntax> parse() {
    Syntax result = TRY(alternatives(0));
    if (!text_.done()) return text_.error("an unmatched )");
    return result;
  }

 private:
  Result<Syntax> alternatives(int depth) {
    if (depth > kMaxGroupDepth) return limit_reached("regular expression: groups nested too deep");
    std::vector<Syntax> options;
    do {
      std::vector<Syntax> terms;
      while (!text_.done() && text_.peek() != '|' && text_.peek() != ')') {
        terms.push_back(TRY(quantified(depth)));
      }
      options.push_back(sequence(std::move(terms)));
    } while (text_.take("|"));
    return options.size() == 1 ? std::move(options[0]) : choice(std::move(options));
  }

  Result<Syntax> quantified(int depth) {
    Syntax term = TRY(atom(depth));
    const std::optional<PatternText::Bounds> bounds = TRY(quantifier());
    if (!bounds) return term;
    if (term.kind == Syntax::Kind::kBegin || term.kind == Syntax::Kind::kEnd) {
      return text_.error("a quantifier behind an anchor");
    }
    text_.take("?");
    if (text_.peek() == '+') return text_.refused("possessive quantifiers are");
    if (text_.peek() == '*' || text_.peek() == '?') return text_.error("a quantifier behind a quantifier");
    return repeat(std::move(term), bounds->min, bounds->max);
  }

  Result<std::optional<PatternText::Bounds>> quantifier() {
    using Some = std::optional<PatternText::Bounds>;
    if (text_.take("*")) return Some({0, kUnbounded});
    if (text_.take("+")) return Some({1, kUnbounded});
    if (text_.take("?")) return Some({0, 1});
    const size_t before = text_.at();
    if (!text_.take("{")) return Some();
    Some bounds = TRY(text_.bounds());
    if (!bounds) text_.go_to(before);
    return bounds;
  }

  Result<Syntax> atom(int depth) {
    if (text_.take("(")) return group(depth);
    if (text_.take("[")) return chars(TRY(char_class()));
    if (text_.take(".")) return chars(complement(line_ends));
    if (text_.take("^")) return of_kind(Syntax::Kind::kBegin);
    if (text_.take("$")) return of_kind(Syntax::Kind::kEnd);
    if (text_.take("\\")) return chars(TRY(escape(false)));
    if (text_.peek() == '*' || text_.peek() == '+' || text_.peek() == '?') {
      return text_.error("a quantifier without something to repeat");
    }
    const int32_t c = TRY(text_.code_point());
    return chars({{c, c}});
  }

  Result<Syntax> group(int depth) {
    if (text_.take("?")) {
      if (text_.peek() == '=' || text_.peek() == '!') return text_.refused("look-ahead is");
      if (text_.peek() == '>') return text_.refused("atomic groups are");
      if (text_.take("P")) {
        if (text_.peek() != '<') return text_.refused("back-references are");
      }
      if (text_.take("<")) {
        if (text_.peek() == '=' || text_.peek() == '!') return text_.refused("look-behind is");
        while (!text_.done() && text_.peek() != '>') TRY(text_.code_point());
        if (!text_.take(">")) return text_.error("a group's name without its >");
      } else if (!text_.take(":")) {
        return text_.refused("flags in the expression are");
      }
    }
    Syntax inner = TRY(alternatives(depth + 1));
    if (!text_.take(")")) return text_.error("a group without its )");
    return inner;
  }

  // Behind its backslash. A set of one for a literal.
  Result<CodePointSet> escape(bool in_class) {
    if (text_.take("d")) return digit_set;
    if (text_.take("D")) return complement(digit_set);
    if (text_.take("w")) return word_set;
    if (text_.take("W")) return complement(word_set);
    if (text_.take("s")) return space_set;
    if (text_.take("S")) return complement(space_set);
    if (text_.peek() == 'p' || text_.peek() == 'P') return text_.refused("Unicode properties (\\p) are");
    if (text_.peek() == 'B' || (text_.peek() == 'b' && !in_class)) {
      return text_.refused("word boundaries (\\b) are");
    }
    if (text_.peek() == 'k' || (text_.peek() >= '1' && text_.peek() <= '9')) {
      return text_.refused("back-references are");
    }
    const int32_t c = TRY(escaped_code_point());
    return CodePointSet{{c, c}};
  }

  Result<int32_t> escaped_code_point() {
    constexpr std::string_view kNames = "tnvfrb0";
    constexpr std::string_view kValues{"\t\n\v\f\r\b\0", 7};
    const size_t named = text_.done() ? std::string_view::npos : kNames.find(text_.peek());
    if (named != std::string_view::npos) {
      text_.take(kNames.substr(named, 1));
      return kValues[named];
    }
    if (text_.take("x")) return text_.hex(2, 2);
    if (text_.take("u")) return unicode_escape();
    if (text_.take("c")) {
      const int32_t letter = TRY(text_.code_point()) | 0x20;
      if (letter < 'a' || letter > 'z') return text_.error("\\c without a letter");
      return letter - 'a' + 1;
    }
    const int32_t c = TRY(text_.code_point());
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9')) {
      return text_.error("an unknown escape");
    }
    return c;
  }

  Result<int32_t> unicode_escape() {
    if (text_.take("{")) {
      const int32_t c = TRY(text_.hex(1, 6));
      if (!text_.take("}")) return text_.error("\\u{ without its }");
      return c;
    }
    const int32_t c = TRY(text_.hex(4, 4));
    if (c < 0xD800 || c > 0xDFFF) return c;
    if (c <= 0xDBFF && text_.take("\\u")) {
      const int32_t low = TRY(text_.hex(4, 4));
      if (low >= 0xDC00 && low <= 0xDFFF) return 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00);
    }
    return text_.error("half of a surrogate pair");
  }

  // Behind its [.
  Result<CodePointSet> char_class() {
    const bool negated = text_.take("^");
    CodePointSet set;
    while (!text_.take("]")) {
      if (text_.done()) return text_.error("a class without its ]");
      const CodePointSet first = TRY(class_member());
      if (text_.peek() != '-' || text_.peek(1) == ']') {
        set.insert(set.end(), first.begin(), first.end());
        continue;
      }
      text_.take("-");
      const CodePointSet last = TRY(class_member());
      const bool points = is_one(first) && is_one(last);
      if (!points || first[0].lo > last[0].lo) return text_.error("a range whose ends are out of order");
      set.push_back({first[0].lo, last[0].lo});
    }
    return negated ? complement(set) : normalized(std::move(set));
  }

  static bool is_one(const CodePointSet& set) { return set.size() == 1 && set[0].lo == set[0].hi; }

  Result<CodePointSet> class_member() {
    if (text_.take("\\")) {
      if (text_.take("-")) return CodePointSet{{'-', '-'}};
      return escape(true);
    }
    const int32_t c = TRY(text_.code_point());
    return CodePointSet{{c, c}};
  }

  PatternText text_;
};

}  // namespace

Result<Syntax> parse_regex(std::string_view pattern) { return RegexParser(pattern).parse(); }

Syntax searching(Syntax pattern) {
  const Syntax anything = repeat(chars({{0, kLastCodePoint}}), 0, kUnbounded);
  return sequence({anything, std::move(pattern), anything});
}

}  // namespace heed::grammar
