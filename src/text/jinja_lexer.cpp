#include "text/jinja_lexer.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>

#include "base/ascii.h"
#include "text/jinja_unicode.h"

namespace heed::jinja {
namespace {

struct Operator {
  std::string_view text;
  TokenType type;
};
// The longer ones first.
constexpr Operator kOperators[] = {{"//", TokenType::kFloorDivide},
                                   {"**", TokenType::kPower},
                                   {"==", TokenType::kEqual},
                                   {"!=", TokenType::kNotEqual},
                                   {">=", TokenType::kGreaterEqual},
                                   {"<=", TokenType::kLessEqual},
                                   {"+", TokenType::kAdd},
                                   {"-", TokenType::kSubtract},
                                   {"/", TokenType::kDivide},
                                   {"*", TokenType::kMultiply},
                                   {"%", TokenType::kModulo},
                                   {"~", TokenType::kTilde},
                                   {"[", TokenType::kLeftBracket},
                                   {"]", TokenType::kRightBracket},
                                   {"(", TokenType::kLeftParenthesis},
                                   {")", TokenType::kRightParenthesis},
                                   {"{", TokenType::kLeftBrace},
                                   {"}", TokenType::kRightBrace},
                                   {">", TokenType::kGreater},
                                   {"<", TokenType::kLess},
                                   {"=", TokenType::kAssign},
                                   {".", TokenType::kDot},
                                   {":", TokenType::kColon},
                                   {"|", TokenType::kPipe},
                                   {",", TokenType::kComma},
                                   {";", TokenType::kSemicolon}};

int digit_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return 99;
}

std::string normalize_line_breaks(std::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] != '\r') {
      out += source[i];
      continue;
    }
    out += '\n';
    if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
  }
  if (!out.empty() && out.back() == '\n') out.pop_back();
  return out;
}

// Where white space that starts at byte `at` ends.
size_t skip_space(std::string_view text, size_t at) {
  while (at < text.size()) {
    size_t next = at;
    if (!is_space(next_code_point(text, next))) break;
    at = next;
  }
  return at;
}

// The text of a string literal between its quotes, with Python's escapes resolved.
class Unescaper {
 public:
  explicit Unescaper(std::string_view text) : text_(text) {}

  Result<std::string> run() {
    while (at_ < text_.size()) {
      if (text_[at_] != '\\') {
        out_ += text_[at_++];
        continue;
      }
      TRY(escape());
    }
    return std::move(out_);
  }

 private:
  Status escape() {
    const char c = text_[++at_];
    if (static_cast<unsigned char>(c) >= 0x80) return spell_out();
    ++at_;
    static constexpr std::string_view kNames = "\\'\"abfnrtv";
    static constexpr std::string_view kValues = "\\'\"\a\b\f\n\r\t\v";
    if (const size_t found = kNames.find(c); found != std::string_view::npos) {
      out_ += kValues[found];
      return {};
    }
    switch (c) {
      case '\n':
        return {};
      case 'x':
        return hexadecimal(2);
      case 'u':
        return hexadecimal(4);
      case 'U':
        return hexadecimal(8);
      case 'N':
        return unsupported("escapes by name (\\N{...}) are not supported");
      default:
        break;
    }
    if (c >= '0' && c <= '7') return octal();
    out_ += '\\';
    out_ += c;
    return {};
  }

  // As Python does it: other characters are escaped before escapes are resolved, so this backslash takes the
  // one of that escape, which stays as text.
  Status spell_out() {
    const char32_t c = next_code_point(text_, at_);
    char buffer[16];
    std::snprintf(buffer, sizeof buffer,
                  c < 0x100     ? "x%02x"
                  : c < 0x10000 ? "u%04x"
                                : "U%08x",
                  static_cast<unsigned>(c));
    out_ += '\\';
    out_ += buffer;
    return {};
  }

  Status hexadecimal(int digits) {
    char32_t value = 0;
    for (int i = 0; i < digits; ++i, ++at_) {
      const int digit = at_ < text_.size() ? digit_value(text_[at_]) : 99;
      if (digit > 15) return invalid("truncated escape in a string");
      value = value * 16 + static_cast<char32_t>(digit);
    }
    return code_point(value);
  }

  Status octal() {
    --at_;
    char32_t value = 0;
    for (int i = 0; i < 3 && at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '7'; ++i, ++at_) {
      value = value * 8 + static_cast<char32_t>(digit_value(text_[at_]));
    }
    return code_point(value);
  }

  Status code_point(char32_t value) {
    if (value > 0x10ffff || (value >= 0xd800 && value < 0xe000)) {
      return invalid("an escape in a string is not a Unicode character");
    }
    append_code_point(out_, value);
    return {};
  }

  std::string_view text_;
  size_t at_ = 0;
  std::string out_;
};

class Lexer {
 public:
  Lexer(std::string source, const std::string& what) : source_(std::move(source)), what_(what) {}

  Result<std::vector<Token>> run() {
    while (at_ < source_.size()) TRY(root());
    tokens_.push_back({.type = TokenType::kEnd, .line = line_, .text = ""});
    return std::move(tokens_);
  }

 private:
  Error error(const std::string& message) const { return syntax_error(what_, line_, message); }
  char peek(size_t ahead = 0) const { return at_ + ahead < source_.size() ? source_[at_ + ahead] : '\0'; }
  bool starts(std::string_view text, size_t at) const {
    return std::string_view(source_).substr(std::min(at, source_.size())).starts_with(text);
  }

  // Moves to byte `to`, counting lines.
  void advance(size_t to) {
    line_ += static_cast<int>(std::count(source_.begin() + static_cast<ptrdiff_t>(at_),
                                         source_.begin() + static_cast<ptrdiff_t>(to), '\n'));
    line_starting_ = to > at_ ? source_[to - 1] == '\n' : line_starting_;
    at_ = to;
  }

  // The data before a tag at byte `tag`, whose sign may strip white space from its end.
  void data(size_t tag, char sign, bool is_variable) {
    const std::string_view text = std::string_view(source_).substr(at_, tag - at_);
    std::string_view kept = text;
    if (sign == '-') {
      kept = strip(text, nullptr, false, true);
    } else if (sign != '+' && !is_variable) {
      const size_t line_start = text.rfind('\n') + 1;  // npos + 1 is 0
      const bool at_line_start = line_start > 0 || line_starting_;
      const bool blank = line_start < text.size() && skip_space(text, line_start) == text.size();
      if (at_line_start && blank) kept = text.substr(0, line_start);
    }
    if (!kept.empty())
      tokens_.push_back({.type = TokenType::kData, .line = line_, .text = std::string(kept)});
    advance(tag);
  }

  static char sign_of(char c) { return c == '-' || c == '+' ? c : '\0'; }

  // Data up to the next tag, and the tag.
  Status root() {
    size_t tag = at_;
    do {
      tag = source_.find('{', tag);
      if (tag == std::string::npos) {
        tokens_.push_back({.type = TokenType::kData, .line = line_, .text = source_.substr(at_)});
        advance(source_.size());
        return {};
      }
      ++tag;
    } while (tag >= source_.size() || (source_[tag] != '{' && source_[tag] != '%' && source_[tag] != '#'));
    const char kind = source_[tag--];
    const char sign = tag + 2 < source_.size() ? sign_of(source_[tag + 2]) : '\0';
    data(tag, sign, kind == '{');
    const size_t behind = tag + 2 + (sign != '\0' ? 1 : 0);
    if (kind == '#') return comment(behind);
    if (kind == '%') {
      if (const size_t content = raw_begin(behind); content != 0) return raw(content);
    }
    const auto begin = kind == '{' ? TokenType::kVariableBegin : TokenType::kBlockBegin;
    tokens_.push_back({.type = begin, .line = line_, .text = source_.substr(tag, 2)});
    advance(behind);
    return inside(kind == '{');
  }

  // The end of a tag that closes with `close` ("#}" or "%}") at byte `at`; 0 if there is none.
  size_t tag_end(size_t at, std::string_view close) const {
    if (starts("+", at) && starts(close, at + 1)) return at + 3;
    if (starts("-", at) && starts(close, at + 1)) return skip_space(source_, at + 3);
    if (!starts(close, at)) return 0;
    return starts("\n", at + 2) ? at + 3 : at + 2;
  }

  // A comment or raw block that begins where the source ends may stay open.
  Status end_of_source() {
    advance(source_.size());
    return {};
  }

  Status comment(size_t from) {
    for (size_t at = from; at < source_.size(); ++at) {
      if (const size_t end = tag_end(at, "#}"); end != 0) {
        advance(end);
        return {};
      }
    }
    if (from >= source_.size()) return end_of_source();
    return error("missing end of comment tag");
  }

  // Where the content of a raw block starts whose tag continues at byte `at`; 0 if it is another tag.
  size_t raw_begin(size_t at) const {
    at = skip_space(source_, at);
    if (!starts("raw", at)) return 0;
    at = skip_space(source_, at + 3);
    if (starts("-%}", at)) return skip_space(source_, at + 3);
    return starts("%}", at) ? at + 2 : 0;
  }

  Status raw(size_t content) {
    advance(content);
    for (size_t tag = source_.find("{%", at_); tag != std::string::npos; tag = source_.find("{%", tag + 1)) {
      const char sign = tag + 2 < source_.size() ? sign_of(source_[tag + 2]) : '\0';
      const size_t name = skip_space(source_, tag + 2 + (sign != '\0' ? 1 : 0));
      if (!starts("endraw", name)) continue;
      const size_t end = tag_end(skip_space(source_, name + 6), "%}");
      if (end == 0) continue;
      data(tag, sign, false);
      advance(end);
      return {};
    }
    if (content >= source_.size()) return end_of_source();
    return error("missing end of raw directive");
  }

  // Tokens up to the end of the variable or block tag.
  Status inside(bool is_variable) {
    std::string open;  // the brackets that are still open
    while (at_ < source_.size()) {
      if (open.empty()) {
        if (const size_t end = inside_end(is_variable); end != 0) {
          const auto type = is_variable ? TokenType::kVariableEnd : TokenType::kBlockEnd;
          tokens_.push_back({.type = type, .line = line_, .text = is_variable ? "}}" : "%}"});
          advance(end);
          return {};
        }
      }
      TRY(token(open));
    }
    return {};
  }

  size_t inside_end(bool is_variable) const {
    if (!is_variable) return tag_end(at_, "%}");
    if (starts("-}}", at_)) return skip_space(source_, at_ + 3);
    return starts("}}", at_) ? at_ + 2 : 0;
  }

  Status token(std::string& open) {
    if (const size_t behind = skip_space(source_, at_); behind != at_) {
      advance(behind);
      return {};
    }
    const char c = peek();
    if (is_ascii_digit(c)) return number();
    size_t next = at_;
    if (is_word(next_code_point(source_, next))) return name();
    if (c == '\'' || c == '"') return text(c);
    return operation(open);
  }

  // The end of digits with single underscores between them, from byte `at`; `at` itself if there are none.
  size_t digits_end(size_t at) const {
    while (at < source_.size() && is_ascii_digit(source_[at])) {
      ++at;
      if (at + 1 < source_.size() && source_[at] == '_' && is_ascii_digit(source_[at + 1])) ++at;
    }
    return at;
  }

  // The end of a float at at_, 0 if there is none.
  size_t float_end() const {
    if (at_ > 0 && source_[at_ - 1] == '.') return 0;
    const size_t whole = digits_end(at_);
    size_t fraction = whole;
    if (starts(".", whole)) fraction = digits_end(whole + 1);
    if (fraction == whole + 1) fraction = whole;
    size_t exponent = fraction;
    if (exponent < source_.size() && (source_[exponent] == 'e' || source_[exponent] == 'E')) {
      ++exponent;
      if (exponent < source_.size() && sign_of(source_[exponent]) != '\0') ++exponent;
      const size_t end = digits_end(exponent);
      if (end > exponent) return end;
    }
    return fraction > whole ? fraction : 0;
  }

  Status number() {
    Token token{.type = TokenType::kReal, .line = line_, .text = ""};
    size_t end = float_end();
    int base = 10;
    size_t start = at_;
    if (end == 0) {
      token.type = TokenType::kInteger;
      end = integer_end(base, start);
    }
    std::string spelled = source_.substr(start, end - start);
    std::erase(spelled, '_');
    if (token.type == TokenType::kReal) {
      token.real = std::strtod(spelled.c_str(), nullptr);
    } else if (std::from_chars(spelled.data(), spelled.data() + spelled.size(), token.integer, base).ec !=
               std::errc()) {
      return error("the integer " + spelled + " is beyond 64 bits");
    }
    tokens_.push_back(std::move(token));
    advance(end);
    return {};
  }

  // The end of the integer at at_; sets its base and where its digits start.
  size_t integer_end(int& base, size_t& start) const {
    const char mark = static_cast<char>(peek() == '0' ? peek(1) | 0x20 : '\0');
    const int marked = mark == 'b' ? 2 : mark == 'o' ? 8 : mark == 'x' ? 16 : 0;
    if (marked != 0) {
      size_t end = at_ + 2;
      while (true) {
        const size_t digit = starts("_", end) ? end + 1 : end;
        if (digit >= source_.size() || digit_value(source_[digit]) >= marked) break;
        end = digit + 1;
      }
      if (end > at_ + 2) {
        base = marked;
        start = at_ + 2;
        return end;
      }
    }
    if (peek() != '0') return digits_end(at_);
    size_t end = at_ + 1;
    while (starts("0", end) || starts("_0", end)) end += source_[end] == '_' ? 2 : 1;
    return end;
  }

  Status name() {
    size_t end = at_;
    while (end < source_.size()) {
      size_t next = end;
      if (!is_word(next_code_point(source_, next))) break;
      end = next;
    }
    constexpr size_t kMaxNameBytes = 256;
    if (end - at_ > kMaxNameBytes) return error("a name of more than 256 bytes");
    tokens_.push_back({.type = TokenType::kName, .line = line_, .text = source_.substr(at_, end - at_)});
    advance(end);
    return {};
  }

  Status text(char quote) {
    size_t end = at_ + 1;
    while (end < source_.size() && source_[end] != quote) end += source_[end] == '\\' ? 2 : 1;
    if (end >= source_.size()) return error(std::string("unexpected char ") + quote);
    auto content = Unescaper(std::string_view(source_).substr(at_ + 1, end - at_ - 1)).run();
    if (!content.ok()) return error(content.error().message);
    tokens_.push_back({.type = TokenType::kText, .line = line_, .text = *std::move(content)});
    advance(end + 1);
    return {};
  }

  Status operation(std::string& open) {
    const auto* found = std::find_if(std::begin(kOperators), std::end(kOperators),
                                     [this](const Operator& op) { return starts(op.text, at_); });
    if (found == std::end(kOperators)) return error(std::string("unexpected char '") + peek() + "'");
    const char c = found->text[0];
    if (c == '{' || c == '(' || c == '[') open += c == '{' ? '}' : c == '(' ? ')' : ']';
    if (c == '}' || c == ')' || c == ']') {
      if (open.empty()) return error(std::string("unexpected '") + c + "'");
      if (open.back() != c)
        return error(std::string("unexpected '") + c + "', expected '" + open.back() + "'");
      open.pop_back();
    }
    tokens_.push_back({.type = found->type, .line = line_, .text = std::string(found->text)});
    advance(at_ + found->text.size());
    return {};
  }

  std::string source_;
  const std::string& what_;
  size_t at_ = 0;
  int line_ = 1;
  bool line_starting_ = true;
  std::vector<Token> tokens_;
};

}  // namespace

Error syntax_error(const std::string& what, int line, const std::string& message) {
  return invalid(what + ": line " + std::to_string(line) + ": " + message);
}

Result<std::vector<Token>> tokenize(std::string_view source, const std::string& what) {
  if (!is_valid_utf8(source)) return invalid(what + ": the template is not valid UTF-8");
  return Lexer(normalize_line_breaks(source), what).run();
}

}  // namespace heed::jinja
