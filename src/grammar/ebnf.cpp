#include "grammar/ebnf.h"

#include <algorithm>

#include "grammar/pattern_text.h"

namespace heed::grammar {
namespace {

bool is_name_char(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
         c == '.';
}
bool begins_name(char c) { return is_name_char(c) && c != '.' && c != '-' && !(c >= '0' && c <= '9'); }

class EbnfParser {
 public:
  EbnfParser(std::string_view text, int max_rules) : text_(text, "grammar"), max_rules_(max_rules) {}

  Result<EbnfRules> parse() {
    skip();
    while (!text_.done()) {
      if (!begins_name(text_.peek())) return text_.error("expected the name of a rule");
      const std::string name = take_name();
      const auto rule = static_cast<size_t>(number_of(name));
      skip();
      if (!text_.take("::=")) return text_.error("expected ::= behind the name of a rule");
      if (defined_[rule]) return text_.error("rule \"" + name + "\" is defined twice");
      defined_[rule] = true;
      skip();
      Syntax body = TRY(alternatives(0));
      result_.rules[rule] = std::move(body);
      if (static_cast<int>(result_.rules.size()) > max_rules_) {
        return limit_reached("grammar: more than " + std::to_string(max_rules_) + " rules");
      }
    }
    for (size_t i = 0; i < defined_.size(); ++i) {
      if (!defined_[i]) return invalid("grammar: rule \"" + result_.names[i] + "\" is used but not defined");
    }
    const auto root = numbers_.find("root");
    if (root == numbers_.end()) return invalid("grammar: there is no rule \"root\"");
    result_.root = root->second;
    return std::move(result_);
  }

 private:
  void skip() {
    while (!text_.done()) {
      if (text_.peek() == '#') {
        while (!text_.done() && text_.peek() != '\n') text_.go_to(text_.at() + 1);
      } else if (!text_.take(" ") && !text_.take("\t") && !text_.take("\n") && !text_.take("\r")) {
        return;
      }
    }
  }

  std::string take_name() {
    std::string name;
    for (; is_name_char(text_.peek()); text_.go_to(text_.at() + 1)) name += text_.peek();
    return name;
  }

  int number_of(const std::string& name) {
    const auto [at, is_new] = numbers_.try_emplace(name, static_cast<int>(result_.rules.size()));
    if (is_new) {
      result_.rules.emplace_back();
      result_.names.push_back(name);
      defined_.push_back(false);
    }
    return at->second;
  }

  // A name before ::= is the next rule, not a part of this one.
  bool at_next_rule() {
    if (!begins_name(text_.peek())) return false;
    const size_t before = text_.at();
    take_name();
    skip();
    const bool found = text_.take("::=");
    text_.go_to(before);
    return found;
  }

  Result<Syntax> alternatives(int depth) {
    if (depth > kMaxGroupDepth) return limit_reached("grammar: groups nested too deep");
    std::vector<Syntax> options;
    do {
      skip();
      std::vector<Syntax> terms;
      while (!text_.done() && text_.peek() != '|' && text_.peek() != ')' && !at_next_rule()) {
        terms.push_back(TRY(repeated(depth)));
        skip();
      }
      options.push_back(sequence(std::move(terms)));
    } while (text_.take("|"));
    return options.size() == 1 ? std::move(options[0]) : choice(std::move(options));
  }

  Result<Syntax> repeated(int depth) {
    Syntax term = TRY(primary(depth));
    for (int i = 0;; ++i) {
      const size_t before = text_.at();
      skip();
      PatternText::Bounds bounds;
      if (text_.take("*")) {
        bounds = {0, kUnbounded};
      } else if (text_.take("+")) {
        bounds = {1, kUnbounded};
      } else if (text_.take("?")) {
        bounds = {0, 1};
      } else if (text_.take("{")) {
        const std::optional<PatternText::Bounds> read = TRY(text_.bounds());
        if (!read) return text_.error("expected {m}, {m,} or {m,n}");
        bounds = *read;
      } else {
        text_.go_to(before);
        return term;
      }
      if (i >= kMaxGroupDepth) return limit_reached("grammar: too many repetitions of one thing");
      term = repeat(std::move(term), bounds.min, bounds.max);
    }
  }

  Result<Syntax> primary(int depth) {
    if (text_.take("(")) {
      if (text_.peek() == '=' || text_.peek() == '!') return text_.refused("look-ahead is");
      Syntax inner = TRY(alternatives(depth + 1));
      if (!text_.take(")")) return text_.error("a group without its )");
      return inner;
    }
    if (text_.take("\"")) return quoted('"');
    if (text_.take("'")) return quoted('\'');
    if (text_.take("[")) return char_class();
    if (text_.take(".")) return chars({{0, kLastCodePoint}});
    if (begins_name(text_.peek())) {
      const std::string name = take_name();
      if (text_.peek() == '(') return text_.refused("macros are");
      return call(number_of(name));
    }
    return text_.error("expected a literal, a class, a group or the name of a rule");
  }

  Result<Syntax> quoted(char quote) {
    std::vector<Syntax> parts;
    while (text_.peek() != quote || text_.done()) {
      if (text_.done() || text_.peek() == '\n') return text_.error("a literal without its closing quote");
      const int32_t c = TRY(literal_char());
      parts.push_back(chars({{c, c}}));
    }
    text_.go_to(text_.at() + 1);
    return sequence(std::move(parts));
  }

  Result<Syntax> char_class() {
    const bool negated = text_.take("^");
    CodePointSet set;
    while (!text_.take("]")) {
      if (text_.done()) return text_.error("a class without its ]");
      const int32_t lo = TRY(literal_char());
      int32_t hi = lo;
      if (text_.peek() == '-' && text_.peek(1) != ']') {
        text_.take("-");
        hi = TRY(literal_char());
      }
      if (hi < lo) return text_.error("a range whose ends are out of order");
      set.push_back({lo, hi});
    }
    return chars(negated ? complement(set) : set);
  }

  Result<int32_t> literal_char() {
    if (!text_.take("\\")) return text_.code_point();
    if (text_.take("n")) return '\n';
    if (text_.take("r")) return '\r';
    if (text_.take("t")) return '\t';
    if (text_.take("x")) return scalar(text_.hex(2, 2));
    if (text_.take("u")) return scalar(text_.hex(4, 4));
    if (text_.take("U")) return scalar(text_.hex(8, 8));
    constexpr std::string_view kThemselves = "\\\"'[]-^";
    if (text_.done() || kThemselves.find(text_.peek()) == std::string_view::npos) {
      return text_.error("an unknown escape");
    }
    return text_.code_point();
  }

  Result<int32_t> scalar(Result<int32_t> c) const {
    if (c.ok() && *c >= 0xD800 && *c <= 0xDFFF) return text_.error("a surrogate is not a code point");
    return c;
  }

  PatternText text_;
  int max_rules_;
  EbnfRules result_;
  std::map<std::string, int> numbers_;
  std::vector<bool> defined_;
};

}  // namespace

Result<EbnfRules> parse_ebnf(std::string_view text, int max_rules) {
  return EbnfParser(text, max_rules).parse();
}

}  // namespace heed::grammar
