#include <algorithm>
#include <array>
#include <optional>

#include "text/jinja_parser.h"

namespace heed::jinja {
namespace {

std::optional<Comparison> comparison_of(TokenType type) {
  switch (type) {
    case TokenType::kEqual:
      return Comparison::kEqual;
    case TokenType::kNotEqual:
      return Comparison::kNotEqual;
    case TokenType::kLess:
      return Comparison::kLess;
    case TokenType::kLessEqual:
      return Comparison::kLessEqual;
    case TokenType::kGreater:
      return Comparison::kGreater;
    case TokenType::kGreaterEqual:
      return Comparison::kGreaterEqual;
    default:
      return std::nullopt;
  }
}

std::optional<NodeType> product_of(TokenType type) {
  switch (type) {
    case TokenType::kMultiply:
      return NodeType::kMultiply;
    case TokenType::kDivide:
      return NodeType::kDivide;
    case TokenType::kFloorDivide:
      return NodeType::kFloorDivide;
    case TokenType::kModulo:
      return NodeType::kModulo;
    default:
      return std::nullopt;
  }
}

}  // namespace

Result<NodePtr> Parser::finish(NodePtr node) const {
  int tallest = 0;
  for_each_child(*node, [&tallest](const Node& child) { tallest = std::max(tallest, child.height); });
  node->height = tallest + 1;
  if (node->height > kMaxTreeHeight) {
    return limit_reached(what_ + ": line " + std::to_string(node->line) + ": more than " +
                         std::to_string(kMaxTreeHeight) + " nested expressions and statements");
  }
  return node;
}

Result<NodePtr> Parser::binary(NodeType type, NodePtr left, NodePtr right, int line) const {
  NodePtr node = make(type, line);
  node->first = std::move(left);
  node->second = std::move(right);
  return finish(std::move(node));
}

// One expression, or a tuple of several with commas between them.
Result<NodePtr> Parser::parse_tuple(bool simplified, bool with_conditional, bool in_parentheses,
                                    bool with_namespace) {
  const int line = current().line;
  Nodes items;
  bool is_tuple = false;
  while (true) {
    if (!items.empty()) TRY(expect(TokenType::kComma, ","));
    if (at(TokenType::kVariableEnd) || at(TokenType::kBlockEnd) || at(TokenType::kRightParenthesis)) break;
    if (simplified) {
      items.push_back(TRY(parse_primary(with_namespace)));
    } else {
      items.push_back(TRY(with_conditional ? parse_conditional() : parse_or()));
    }
    if (!at(TokenType::kComma)) break;
    is_tuple = true;
  }
  if (!is_tuple && !items.empty()) return std::move(items[0]);
  if (!is_tuple && !in_parentheses) return fail("expected an expression");
  NodePtr node = make(NodeType::kTuple, line);
  node->list = std::move(items);
  return finish(std::move(node));
}

Result<NodePtr> Parser::parse_conditional() {
  const Nested nested(depth_);
  TRY(check_nesting());
  NodePtr node = TRY(parse_or());
  while (at_name("if")) {
    NodePtr conditional = make(NodeType::kConditional, take().line);
    conditional->first = std::move(node);
    conditional->second = TRY(parse_or());
    if (skip_name("else")) conditional->third = TRY(parse_conditional());
    node = TRY(finish(std::move(conditional)));
  }
  return node;
}

Result<NodePtr> Parser::parse_or() {
  NodePtr node = TRY(parse_and());
  while (at_name("or")) {
    const int line = take().line;
    NodePtr right = TRY(parse_and());
    node = TRY(binary(NodeType::kOr, std::move(node), std::move(right), line));
  }
  return node;
}

Result<NodePtr> Parser::parse_and() {
  NodePtr node = TRY(parse_not());
  while (at_name("and")) {
    const int line = take().line;
    NodePtr right = TRY(parse_not());
    node = TRY(binary(NodeType::kAnd, std::move(node), std::move(right), line));
  }
  return node;
}

Result<NodePtr> Parser::parse_not() {
  if (!at_name("not")) return parse_compare();
  const Nested nested(depth_);
  TRY(check_nesting());
  NodePtr node = make(NodeType::kNot, take().line);
  node->first = TRY(parse_not());
  return finish(std::move(node));
}

Result<NodePtr> Parser::parse_compare() {
  NodePtr node = make(NodeType::kCompare, current().line);
  node->first = TRY(parse_sum());
  while (true) {
    if (const auto comparison = comparison_of(current().type)) {
      take();
      node->operators.push_back(*comparison);
    } else if (skip_name("in")) {
      node->operators.push_back(Comparison::kIn);
    } else if (at_name("not") && look_ahead().type == TokenType::kName && look_ahead().text == "in") {
      take(), take();
      node->operators.push_back(Comparison::kNotIn);
    } else {
      break;
    }
    node->list.push_back(TRY(parse_sum()));
  }
  if (node->list.empty()) return std::move(node->first);
  return finish(std::move(node));
}

Result<NodePtr> Parser::parse_sum() {
  NodePtr node = TRY(parse_concat());
  while (at(TokenType::kAdd) || at(TokenType::kSubtract)) {
    const NodeType type = at(TokenType::kAdd) ? NodeType::kAdd : NodeType::kSubtract;
    const int line = take().line;
    NodePtr right = TRY(parse_concat());
    node = TRY(binary(type, std::move(node), std::move(right), line));
  }
  return node;
}

Result<NodePtr> Parser::parse_concat() {
  NodePtr first = TRY(parse_product());
  if (!at(TokenType::kTilde)) return first;
  NodePtr node = make(NodeType::kConcat, current().line);
  node->list.push_back(std::move(first));
  while (skip(TokenType::kTilde)) node->list.push_back(TRY(parse_product()));
  return finish(std::move(node));
}

Result<NodePtr> Parser::parse_product() {
  NodePtr node = TRY(parse_power());
  while (const auto type = product_of(current().type)) {
    const int line = take().line;
    NodePtr right = TRY(parse_power());
    node = TRY(binary(*type, std::move(node), std::move(right), line));
  }
  return node;
}

Result<NodePtr> Parser::parse_power() {
  NodePtr node = TRY(parse_unary(true));
  while (at(TokenType::kPower)) {
    const int line = take().line;
    NodePtr right = TRY(parse_unary(true));
    node = TRY(binary(NodeType::kPower, std::move(node), std::move(right), line));
  }
  return node;
}

Result<NodePtr> Parser::parse_unary(bool with_filter) {
  NodePtr node;
  if (at(TokenType::kSubtract) || at(TokenType::kAdd)) {
    const Nested nested(depth_);
    TRY(check_nesting());
    const NodeType type = at(TokenType::kSubtract) ? NodeType::kNegate : NodeType::kPlus;
    NodePtr sign = make(type, take().line);
    sign->first = TRY(parse_unary(false));
    node = TRY(finish(std::move(sign)));
  } else {
    node = TRY(parse_primary(false));
  }
  node = TRY(parse_postfix(std::move(node)));
  return with_filter ? parse_filters(std::move(node)) : Result<NodePtr>(std::move(node));
}

Result<NodePtr> Parser::parse_name(bool with_namespace) {
  const Token& token = take();
  if (token.text == "true" || token.text == "True" || token.text == "false" || token.text == "False") {
    NodePtr node = make(NodeType::kBoolean, token.line);
    node->flag = token.text[0] == 't' || token.text[0] == 'T';
    return node;
  }
  if (token.text == "none" || token.text == "None") return make(NodeType::kNone, token.line);
  if (with_namespace && skip(TokenType::kDot)) {
    NodePtr node = make(NodeType::kAttributeOf, token.line);
    node->name = token.text;
    node->text = TRY(expect_any_name());
    return node;
  }
  NodePtr node = make(NodeType::kName, token.line);
  node->name = token.text;
  return node;
}

Result<NodePtr> Parser::parse_primary(bool with_namespace) {
  const Token& token = current();
  switch (token.type) {
    case TokenType::kName:
      return parse_name(with_namespace);
    case TokenType::kText: {
      NodePtr node = make(NodeType::kText, token.line);
      while (at(TokenType::kText)) node->text += take().text;
      return node;
    }
    case TokenType::kInteger: {
      NodePtr node = make(NodeType::kInteger, token.line);
      node->integer = take().integer;
      return node;
    }
    case TokenType::kReal: {
      NodePtr node = make(NodeType::kReal, token.line);
      node->real = take().real;
      return node;
    }
    case TokenType::kLeftParenthesis: {
      const Nested nested(depth_);
      TRY(check_nesting());
      take();
      NodePtr node = TRY(parse_tuple(false, true, true, false));
      TRY(expect(TokenType::kRightParenthesis, ")"));
      return node;
    }
    case TokenType::kLeftBracket:
      return parse_list();
    case TokenType::kLeftBrace:
      return parse_dict();
    default:
      return fail(token.text.empty() ? "unexpected end of the template" : "unexpected '" + token.text + "'");
  }
}

Result<NodePtr> Parser::parse_list() {
  NodePtr node = make(NodeType::kList, take().line);
  while (!at(TokenType::kRightBracket)) {
    if (!node->list.empty()) TRY(expect(TokenType::kComma, ","));
    if (at(TokenType::kRightBracket)) break;
    node->list.push_back(TRY(parse_expression()));
  }
  TRY(expect(TokenType::kRightBracket, "]"));
  return finish(std::move(node));
}

Result<NodePtr> Parser::parse_dict() {
  NodePtr node = make(NodeType::kDict, take().line);
  while (!at(TokenType::kRightBrace)) {
    if (!node->list.empty()) TRY(expect(TokenType::kComma, ","));
    if (at(TokenType::kRightBrace)) break;
    node->list.push_back(TRY(parse_expression()));
    TRY(expect(TokenType::kColon, ":"));
    node->list.push_back(TRY(parse_expression()));
  }
  TRY(expect(TokenType::kRightBrace, "}"));
  return finish(std::move(node));
}

Result<NodePtr> Parser::parse_postfix(NodePtr node) {
  while (true) {
    if (at(TokenType::kDot) || at(TokenType::kLeftBracket)) {
      node = TRY(parse_subscript(std::move(node)));
    } else if (at(TokenType::kLeftParenthesis)) {
      node = TRY(parse_call(std::move(node)));
    } else {
      return node;
    }
  }
}

Result<NodePtr> Parser::parse_filters(NodePtr node) {
  while (true) {
    if (at(TokenType::kPipe)) {
      node = TRY(parse_filter(std::move(node), false));
    } else if (at_name("is")) {
      node = TRY(parse_test(std::move(node)));
    } else if (at(TokenType::kLeftParenthesis)) {
      node = TRY(parse_call(std::move(node)));
    } else {
      return node;
    }
  }
}

Result<NodePtr> Parser::parse_subscript(NodePtr node) {
  const int line = current().line;
  if (skip(TokenType::kDot)) {
    if (at(TokenType::kName)) {
      NodePtr attribute = make(NodeType::kGetAttribute, line);
      attribute->first = std::move(node);
      attribute->name = take().text;
      return finish(std::move(attribute));
    }
    if (!at(TokenType::kInteger)) return fail("expected a name or a number");
    NodePtr index = make(NodeType::kInteger, line);
    index->integer = take().integer;
    return binary(NodeType::kGetItem, std::move(node), std::move(index), line);
  }
  take();
  Nodes indices;
  while (!at(TokenType::kRightBracket)) {
    if (!indices.empty()) TRY(expect(TokenType::kComma, ","));
    indices.push_back(TRY(parse_subscribed()));
  }
  TRY(expect(TokenType::kRightBracket, "]"));
  if (indices.size() == 1) return binary(NodeType::kGetItem, std::move(node), std::move(indices[0]), line);
  for (const NodePtr& index : indices) {
    if (index->type == NodeType::kSlice) return fail("a slice among several indices");
  }
  NodePtr tuple = make(NodeType::kTuple, line);
  tuple->list = std::move(indices);
  tuple = TRY(finish(std::move(tuple)));
  return binary(NodeType::kGetItem, std::move(node), std::move(tuple), line);
}

// An index or a slice: start:stop:step, each of which may be left out.
Result<NodePtr> Parser::parse_subscribed() {
  const int line = current().line;
  NodePtr start;
  if (!at(TokenType::kColon)) {
    start = TRY(parse_expression());
    if (!at(TokenType::kColon)) return start;
  }
  take();
  NodePtr node = make(NodeType::kSlice, line);
  node->first = std::move(start);
  const auto at_end = [this] {
    return at(TokenType::kColon) || at(TokenType::kRightBracket) || at(TokenType::kComma);
  };
  if (!at_end()) node->second = TRY(parse_expression());
  if (skip(TokenType::kColon) && !at(TokenType::kRightBracket) && !at(TokenType::kComma)) {
    node->third = TRY(parse_expression());
  }
  return finish(std::move(node));
}

Result<NodePtr> Parser::parse_call(NodePtr node) {
  NodePtr call = make(NodeType::kCall, current().line);
  call->first = std::move(node);
  TRY(parse_arguments(*call));
  for (size_t i = 0; i < call->keywords.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      if (call->keywords[i].name == call->keywords[j].name) {
        return fail("keyword argument repeated: " + call->keywords[i].name);
      }
    }
  }
  return finish(std::move(call));
}

Status Parser::parse_arguments(Node& call) {
  TRY(expect(TokenType::kLeftParenthesis, "("));
  bool require_comma = false;
  while (!at(TokenType::kRightParenthesis)) {
    if (require_comma) {
      TRY(expect(TokenType::kComma, ","));
      if (at(TokenType::kRightParenthesis)) break;
    }
    TRY(parse_argument(call));
    require_comma = true;
  }
  constexpr size_t kMaxArguments = 255;
  if (call.arguments.size() + call.keywords.size() > kMaxArguments) return fail("more than 255 arguments");
  return expect(TokenType::kRightParenthesis, ")");
}

Status Parser::parse_argument(Node& call) {
  const auto wrong = [this] { return fail("invalid syntax for function call expression"); };
  if (at(TokenType::kMultiply)) {
    if (call.star || call.star_star) return wrong();
    take();
    call.star = TRY(parse_expression());
  } else if (at(TokenType::kPower)) {
    if (call.star_star) return wrong();
    take();
    call.star_star = TRY(parse_expression());
  } else if (at(TokenType::kName) && look_ahead().type == TokenType::kAssign) {
    if (call.star_star) return wrong();
    std::string name = take().text;
    take();
    NodePtr value = TRY(parse_expression());
    call.keywords.push_back({std::move(name), std::move(value)});
  } else {
    if (call.star || call.star_star || !call.keywords.empty()) return wrong();
    call.arguments.push_back(TRY(parse_expression()));
  }
  return {};
}

Result<std::string> Parser::parse_dotted_name() {
  std::string name = TRY(expect_any_name());
  while (skip(TokenType::kDot)) name += "." + TRY(expect_any_name());
  return name;
}

// A chain of filters; the first has no bar before it if `start_inline`. A null node: the enclosing block's
// text.
Result<NodePtr> Parser::parse_filter(NodePtr node, bool start_inline) {
  while (at(TokenType::kPipe) || start_inline) {
    if (!start_inline) take();
    start_inline = false;
    NodePtr filter = make(NodeType::kFilter, current().line);
    filter->first = std::move(node);
    filter->name = TRY(parse_dotted_name());
    if (at(TokenType::kLeftParenthesis)) TRY(parse_arguments(*filter));
    node = TRY(finish(std::move(filter)));
  }
  return node;
}

Result<NodePtr> Parser::parse_test(NodePtr node) {
  NodePtr test = make(NodeType::kTest, take().line);
  const bool negated = skip_name("not");
  test->first = std::move(node);
  test->name = TRY(parse_dotted_name());
  constexpr std::array kStarts = {TokenType::kName, TokenType::kText,      TokenType::kInteger,
                                  TokenType::kReal, TokenType::kLeftBrace, TokenType::kLeftBracket};
  if (at(TokenType::kLeftParenthesis)) {
    TRY(parse_arguments(*test));
  } else if (std::find(kStarts.begin(), kStarts.end(), current().type) != kStarts.end() && !at_name("else") &&
             !at_name("or") && !at_name("and")) {
    if (at_name("is")) return fail("tests with `is` cannot be chained");
    NodePtr argument = TRY(parse_primary(false));
    test->arguments.push_back(TRY(parse_postfix(std::move(argument))));
  }
  test = TRY(finish(std::move(test)));
  if (!negated) return test;
  NodePtr inverse = make(NodeType::kNot, test->line);
  inverse->first = std::move(test);
  return finish(std::move(inverse));
}

}  // namespace heed::jinja
