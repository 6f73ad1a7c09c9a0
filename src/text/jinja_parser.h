// Parser of chat templates: tokens to a syntax tree, by Jinja's own grammar (jinja2 3.1.6), recursive
// descent.
//
// Statements are in jinja_parse_statements.cpp, expressions in jinja_parse_expressions.cpp. Nesting, and the
// height of the tree (long chains of operators lean to one side), are limited, so whatever walks the tree may
// recurse.
#pragma once
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/jinja_ast.h"
#include "text/jinja_lexer.h"

namespace heed::jinja {

inline constexpr int kMaxNesting = 100;     // of brackets and blocks in the source
inline constexpr int kMaxTreeHeight = 400;  // Python's own compiler gives up at about 200

// The kRoot node of a template; `what` names it in errors.
Result<NodePtr> parse_template(std::string_view source, const std::string& what);

class Parser {
 public:
  Parser(std::vector<Token> tokens, const std::string& what) : tokens_(std::move(tokens)), what_(what) {}
  Result<NodePtr> run();

 private:
  using Names = std::initializer_list<std::string_view>;
  using Nodes = std::vector<NodePtr>;

  // Tokens
  const Token& current() const { return tokens_[at_]; }
  const Token& look_ahead() const { return tokens_[std::min(at_ + 1, tokens_.size() - 1)]; }
  const Token& take() { return at_ + 1 < tokens_.size() ? tokens_[at_++] : tokens_[at_]; }
  bool at(TokenType type) const { return current().type == type; }
  bool at_name(std::string_view name) const { return at(TokenType::kName) && current().text == name; }
  bool skip(TokenType type);
  bool skip_name(std::string_view name);
  Status expect(TokenType type, std::string_view shown);
  Status expect_name(std::string_view name);
  Result<std::string> expect_any_name();
  Error fail(const std::string& message) const { return syntax_error(what_, current().line, message); }

  // Nodes
  static NodePtr make(NodeType type, int line) { return std::make_unique<Node>(type, line); }
  Result<NodePtr> finish(NodePtr node) const;  // checks the height
  Result<NodePtr> binary(NodeType type, NodePtr left, NodePtr right, int line) const;

  // Statements
  Status parse_body(Nodes& body, Names ends);   // up to one of the tags `ends`, whose name is then current
  Status parse_block(Nodes& body, Names ends);  // the end of this tag first
  Status parse_closed(Nodes& body, std::string_view end);  // and takes the closing tag's name
  Result<NodePtr> parse_statement();
  Result<NodePtr> parse_output();
  Result<NodePtr> parse_if();
  Result<NodePtr> parse_for();
  Result<NodePtr> parse_set();
  Result<NodePtr> parse_macro();
  Result<NodePtr> parse_call_block();
  Result<NodePtr> parse_generation();
  Result<NodePtr> parse_filter_block();
  Result<NodePtr> parse_with();
  Result<NodePtr> parse_autoescape();
  Result<NodePtr> parse_named_block();
  Result<NodePtr> parse_loop_control(NodeType type);
  Status parse_signature(Node& node);
  Result<NodePtr> parse_target(bool with_namespace);
  Result<NodePtr> parse_target_name();

  // Expressions
  Result<NodePtr> parse_tuple(bool simplified, bool with_conditional, bool in_parentheses,
                              bool with_namespace);
  Result<NodePtr> parse_expression() { return parse_conditional(); }
  Result<NodePtr> parse_conditional();
  Result<NodePtr> parse_or();
  Result<NodePtr> parse_and();
  Result<NodePtr> parse_not();
  Result<NodePtr> parse_compare();
  Result<NodePtr> parse_sum();
  Result<NodePtr> parse_concat();
  Result<NodePtr> parse_product();
  Result<NodePtr> parse_power();
  Result<NodePtr> parse_unary(bool with_filter);
  Result<NodePtr> parse_primary(bool with_namespace);
  Result<NodePtr> parse_name(bool with_namespace);
  Result<NodePtr> parse_list();
  Result<NodePtr> parse_dict();
  Result<NodePtr> parse_postfix(NodePtr node);
  Result<NodePtr> parse_filters(NodePtr node);
  Result<NodePtr> parse_subscript(NodePtr node);
  Result<NodePtr> parse_subscribed();
  Result<NodePtr> parse_call(NodePtr node);
  Result<NodePtr> parse_filter(NodePtr node, bool start_inline);
  Result<NodePtr> parse_test(NodePtr node);
  Result<std::string> parse_dotted_name();
  Status parse_arguments(Node& call);
  Status parse_argument(Node& call);

  struct Nested {  // one more level, for as long as it lives
    explicit Nested(int& depth) : depth_(depth) { ++depth_; }
    ~Nested() { --depth_; }
    Nested(const Nested&) = delete;
    Nested& operator=(const Nested&) = delete;
    int& depth_;
  };
  Status check_nesting() const;

  std::vector<Token> tokens_;
  const std::string& what_;
  size_t at_ = 0;
  int depth_ = 0;
  int loops_ = 0;  // the loops around the current statement, within the same macro
};

}  // namespace heed::jinja
