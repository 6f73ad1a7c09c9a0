#include <algorithm>

#include "text/jinja_parser.h"

namespace heed::jinja {
namespace {

// Marks the names of an assignment's target as assigned; false if it is not something to assign to.
bool mark_assigned(Node& node) {
  if (node.type == NodeType::kAttributeOf) return true;
  if (node.type == NodeType::kName) {
    node.flag = true;
    return true;
  }
  if (node.type != NodeType::kTuple) return false;
  return std::all_of(node.list.begin(), node.list.end(),
                     [](const NodePtr& item) { return mark_assigned(*item); });
}

}  // namespace

bool Parser::skip(TokenType type) {
  if (!at(type)) return false;
  take();
  return true;
}

bool Parser::skip_name(std::string_view name) {
  if (!at_name(name)) return false;
  take();
  return true;
}

Status Parser::expect(TokenType type, std::string_view shown) {
  if (skip(type)) return {};
  const std::string& found = current().text;
  return fail("expected '" + std::string(shown) + "', got " +
              (found.empty() ? "the end" : "'" + found.substr(0, 40) + "'"));
}

Status Parser::expect_name(std::string_view name) {
  if (!at_name(name)) return expect(TokenType::kEnd, name);
  take();
  return {};
}

Result<std::string> Parser::expect_any_name() {
  if (!at(TokenType::kName)) return fail("expected a name, got '" + current().text.substr(0, 40) + "'");
  return take().text;
}

Status Parser::check_nesting() const {
  if (depth_ <= kMaxNesting) return {};
  return limit_reached(what_ + ": line " + std::to_string(current().line) + ": nested deeper than " +
                       std::to_string(kMaxNesting) + " levels");
}

Result<NodePtr> Parser::run() {
  NodePtr root = make(NodeType::kRoot, 1);
  TRY(parse_body(root->body, {}));
  return finish(std::move(root));
}

Status Parser::parse_body(Nodes& body, Names ends) {
  const Nested nested(depth_);
  TRY(check_nesting());
  while (!at(TokenType::kEnd)) {
    if (at(TokenType::kData) || at(TokenType::kVariableBegin)) {
      body.push_back(TRY(parse_output()));
      continue;
    }
    TRY(expect(TokenType::kBlockBegin, "{%"));
    if (!at(TokenType::kName)) return fail("tag name expected");
    if (std::any_of(ends.begin(), ends.end(), [this](std::string_view end) { return at_name(end); }))
      return {};
    body.push_back(TRY(parse_statement()));
    TRY(expect(TokenType::kBlockEnd, "%}"));
  }
  if (ends.size() == 0) return {};
  return fail("unexpected end of the template, '" + std::string(*std::prev(ends.end())) + "' expected");
}

Status Parser::parse_block(Nodes& body, Names ends) {
  skip(TokenType::kColon);
  TRY(expect(TokenType::kBlockEnd, "%}"));
  return parse_body(body, ends);
}

Status Parser::parse_closed(Nodes& body, std::string_view end) {
  TRY(parse_block(body, {end}));
  take();
  return {};
}

// Data and expressions up to the next tag.
Result<NodePtr> Parser::parse_output() {
  NodePtr node = make(NodeType::kOutput, current().line);
  while (true) {
    if (at(TokenType::kData)) {
      NodePtr data = make(NodeType::kText, current().line);
      data->text = take().text;
      node->list.push_back(std::move(data));
    } else if (skip(TokenType::kVariableBegin)) {
      node->list.push_back(TRY(parse_tuple(false, true, false, false)));
      TRY(expect(TokenType::kVariableEnd, "}}"));
    } else {
      return finish(std::move(node));
    }
  }
}

Result<NodePtr> Parser::parse_statement() {
  const std::string& name = current().text;
  if (name == "if") return parse_if();
  if (name == "for") return parse_for();
  if (name == "set") return parse_set();
  if (name == "macro") return parse_macro();
  if (name == "call") return parse_call_block();
  if (name == "generation") return parse_generation();
  if (name == "filter") return parse_filter_block();
  if (name == "with") return parse_with();
  if (name == "autoescape") return parse_autoescape();
  if (name == "block") return parse_named_block();
  if (name == "break") return parse_loop_control(NodeType::kBreak);
  if (name == "continue") return parse_loop_control(NodeType::kContinue);
  if (name == "print") {
    NodePtr node = make(NodeType::kOutput, take().line);
    while (!at(TokenType::kBlockEnd)) {
      if (!node->list.empty()) TRY(expect(TokenType::kComma, ","));
      node->list.push_back(TRY(parse_expression()));
    }
    return finish(std::move(node));
  }
  if (name == "include" || name == "import" || name == "from" || name == "extends") {
    return unsupported(what_ + ": line " + std::to_string(current().line) +
                       ": a chat template stands alone: '" + name + "' is not supported");
  }
  return fail("unknown tag '" + name + "'");
}

Result<NodePtr> Parser::parse_if() {
  NodePtr node = make(NodeType::kIf, take().line);
  node->first = TRY(parse_tuple(false, false, false, false));
  TRY(parse_block(node->body, {"elif", "else", "endif"}));
  while (at_name("elif")) {
    NodePtr branch = make(NodeType::kIf, take().line);
    branch->first = TRY(parse_tuple(false, false, false, false));
    TRY(parse_block(branch->body, {"elif", "else", "endif"}));
    node->list.push_back(TRY(finish(std::move(branch))));
  }
  if (take().text == "else") TRY(parse_closed(node->other, "endif"));
  return finish(std::move(node));
}

Result<NodePtr> Parser::parse_for() {
  NodePtr node = make(NodeType::kFor, take().line);
  node->first = TRY(parse_target(false));
  TRY(expect_name("in"));
  node->second = TRY(parse_tuple(false, false, false, false));
  if (skip_name("if")) node->third = TRY(parse_expression());
  node->flag = skip_name("recursive");
  ++loops_;
  TRY(parse_block(node->body, {"endfor", "else"}));
  --loops_;
  // The else branch of a recursive loop is in a function of its own, outside of the loops around it.
  const int loops = loops_;
  if (node->flag) loops_ = 0;
  if (take().text == "else") TRY(parse_closed(node->other, "endfor"));
  loops_ = loops;
  return finish(std::move(node));
}

Result<NodePtr> Parser::parse_set() {
  const int line = take().line;
  NodePtr target = TRY(parse_target(true));
  if (skip(TokenType::kAssign)) {
    NodePtr value = TRY(parse_tuple(false, true, false, false));
    return binary(NodeType::kSet, std::move(target), std::move(value), line);
  }
  NodePtr node = make(NodeType::kSetBlock, line);
  node->first = std::move(target);
  node->second = TRY(parse_filter(nullptr, false));
  TRY(parse_closed(node->body, "endset"));
  return finish(std::move(node));
}

Status Parser::parse_signature(Node& node) {
  TRY(expect(TokenType::kLeftParenthesis, "("));
  while (!at(TokenType::kRightParenthesis)) {
    if (!node.list.empty()) TRY(expect(TokenType::kComma, ","));
    NodePtr parameter = TRY(parse_target_name());
    for (const NodePtr& other : node.list) {
      if (other->name == parameter->name) return fail("duplicate argument '" + parameter->name + "'");
    }
    if (skip(TokenType::kAssign)) {
      node.other.push_back(TRY(parse_expression()));
    } else if (!node.other.empty()) {
      return fail("non-default argument follows default argument");
    }
    node.list.push_back(std::move(parameter));
    constexpr size_t kMaxParameters = 255;
    if (node.list.size() > kMaxParameters) return fail("more than 255 parameters");
  }
  return expect(TokenType::kRightParenthesis, ")");
}

Result<NodePtr> Parser::parse_macro() {
  NodePtr node = make(NodeType::kMacro, take().line);
  node->name = TRY(parse_target_name())->name;
  TRY(parse_signature(*node));
  const int loops = std::exchange(loops_, 0);
  TRY(parse_closed(node->body, "endmacro"));
  loops_ = loops;
  return finish(std::move(node));
}

Result<NodePtr> Parser::parse_call_block() {
  NodePtr node = make(NodeType::kCallBlock, take().line);
  if (at(TokenType::kLeftParenthesis)) TRY(parse_signature(*node));
  node->first = TRY(parse_expression());
  if (node->first->type != NodeType::kCall) return fail("expected call");
  const int loops = std::exchange(loops_, 0);
  TRY(parse_closed(node->body, "endcall"));
  loops_ = loops;
  return finish(std::move(node));
}

// The assistant's part of a conversation, which training marks: here a call block that calls itself.
Result<NodePtr> Parser::parse_generation() {
  NodePtr node = make(NodeType::kCallBlock, take().line);
  const int loops = std::exchange(loops_, 0);
  TRY(parse_closed(node->body, "endgeneration"));
  loops_ = loops;
  return finish(std::move(node));
}

Result<NodePtr> Parser::parse_filter_block() {
  NodePtr node = make(NodeType::kFilterBlock, take().line);
  node->first = TRY(parse_filter(nullptr, true));
  TRY(parse_closed(node->body, "endfilter"));
  return finish(std::move(node));
}

Result<NodePtr> Parser::parse_with() {
  NodePtr node = make(NodeType::kWith, take().line);
  while (!at(TokenType::kBlockEnd)) {
    if (!node->list.empty()) TRY(expect(TokenType::kComma, ","));
    node->list.push_back(TRY(parse_target(false)));
    TRY(expect(TokenType::kAssign, "="));
    node->other.push_back(TRY(parse_expression()));
  }
  TRY(parse_closed(node->body, "endwith"));
  return finish(std::move(node));
}

Result<NodePtr> Parser::parse_autoescape() {
  NodePtr node = make(NodeType::kScope, take().line);
  NodePtr option = TRY(parse_expression());
  if (option->type != NodeType::kBoolean || option->flag) {
    return unsupported(what_ + ": line " + std::to_string(node->line) +
                       ": only 'autoescape false' is supported");
  }
  TRY(parse_closed(node->body, "endautoescape"));
  return finish(std::move(node));
}

Result<NodePtr> Parser::parse_named_block() {
  NodePtr node = make(NodeType::kBlock, take().line);
  node->name = TRY(expect_any_name());
  if (at_name("scoped") || at_name("required")) {
    return unsupported(what_ + ": line " + std::to_string(node->line) + ": '" + current().text +
                       "' blocks are not supported");
  }
  const int loops = std::exchange(loops_, 0);
  TRY(parse_closed(node->body, "endblock"));
  loops_ = loops;
  skip_name(node->name);
  return finish(std::move(node));
}

Result<NodePtr> Parser::parse_loop_control(NodeType type) {
  if (loops_ == 0) return fail("'" + current().text + "' outside of a loop");
  return make(type, take().line);
}

// What stands left of an assignment or after `for`: names, tuples of them and, if asked for, namespace
// attributes.
Result<NodePtr> Parser::parse_target(bool with_namespace) {
  NodePtr target = TRY(parse_tuple(true, true, false, with_namespace));
  if (!mark_assigned(*target)) return fail("cannot assign to this expression");
  return target;
}

Result<NodePtr> Parser::parse_target_name() {
  static constexpr std::string_view kConstants[] = {"true", "false", "none", "True", "False", "None"};
  NodePtr node = make(NodeType::kName, current().line);
  node->flag = true;
  node->name = TRY(expect_any_name());
  if (std::find(std::begin(kConstants), std::end(kConstants), node->name) != std::end(kConstants)) {
    return fail("cannot assign to '" + node->name + "'");
  }
  return node;
}

Result<NodePtr> parse_template(std::string_view source, const std::string& what) {
  return Parser(TRY(tokenize(source, what)), what).run();
}

}  // namespace heed::jinja
