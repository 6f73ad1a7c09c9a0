// Tokens of a chat template: Jinja's, with trim_blocks and lstrip_blocks on and one final line break dropped.
//
// Line breaks in the source are \n, \r or \r\n and become \n. Source: the behaviour of jinja2 3.1.6.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace heed::jinja {

enum class TokenType : uint8_t {
  kEnd,
  kData,
  kVariableBegin,
  kVariableEnd,
  kBlockBegin,
  kBlockEnd,
  kName,
  kText,
  kInteger,
  kReal,
  kAdd,
  kSubtract,
  kDivide,
  kFloorDivide,
  kMultiply,
  kModulo,
  kPower,
  kTilde,
  kLeftBracket,
  kRightBracket,
  kLeftParenthesis,
  kRightParenthesis,
  kLeftBrace,
  kRightBrace,
  kEqual,
  kNotEqual,
  kGreater,
  kGreaterEqual,
  kLess,
  kLessEqual,
  kAssign,
  kDot,
  kColon,
  kPipe,
  kComma,
  kSemicolon,
};

struct Token {
  TokenType type = TokenType::kEnd;
  int line = 1;
  std::string text;  // of data, names and texts; of operators their spelling
  int64_t integer = 0;
  double real = 0;
};

// `what` names the template in errors, which also give the line.
Result<std::vector<Token>> tokenize(std::string_view source, const std::string& what);

Error syntax_error(const std::string& what, int line, const std::string& message);

}  // namespace heed::jinja
