// The syntax tree of a chat template, and the variables its names stand for.
//
// One kind of node for all, with the parts named by role; a list of what each type keeps where follows. The
// parser (jinja_parser.h) builds it, the scope pass (jinja_scope.h) gives every name its variable, and the
// interpreter (jinja_interpreter.h) only reads it, from any number of threads.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace heed::jinja {

struct Builtin;
struct Node;
using NodePtr = std::unique_ptr<Node>;

enum class NodeType : uint8_t {
  // Expressions
  kText,
  kInteger,
  kReal,
  kBoolean,
  kNone,         // constants
  kName,         // name; store: assigned here
  kAttributeOf,  // a namespace attribute to assign to: name, text = attribute
  kTuple,
  kList,  // list
  kDict,  // list: key, value, key, value, ...
  kNot,
  kNegate,
  kPlus,  // first
  kAnd,
  kOr,
  kAdd,
  kSubtract,
  kMultiply,
  kDivide,
  kFloorDivide,
  kModulo,
  kPower,         // first, second
  kConcat,        // list
  kCompare,       // first; list: operands; operators
  kConditional,   // first if second else third (may be null)
  kGetAttribute,  // first, name
  kGetItem,       // first, second
  kSlice,         // first: start, second: stop, third: step (each may be null)
  kCall,          // first; arguments
  kFilter,
  kTest,  // first (null: the text of the enclosing block), name, builtin; arguments
  // Statements
  kOutput,  // list; text data are kText nodes
  kIf,      // first: test; body; list: the elif nodes (kIf); other: else
  kFor,  // first: target, second: iterated, third: filter (may be null); body; other: else; flag: recursive
  kSet,  // first: target, second: value
  kSetBlock,     // first: target, second: filter (may be null); body
  kMacro,        // name; list: parameters (kName), other: defaults of the last ones; body
  kCallBlock,    // first: call (null for `generation`); list, other, body as a macro
  kFilterBlock,  // first: filter; body
  kWith,         // list: targets, other: values; body
  kScope,        // body
  kBlock,        // name; body
  kBreak,
  kContinue,
  kRoot,  // body
};

enum class Comparison : uint8_t {
  kEqual,
  kNotEqual,
  kLess,
  kLessEqual,
  kGreater,
  kGreaterEqual,
  kIn,
  kNotIn
};

// A variable: slot `index` of the activation `hops` functions further out.
struct Slot {
  int hops = 0;
  int index = -1;
};

// What a variable starts as when its frame is entered.
struct Load {
  enum class From : uint8_t { kContext, kVariable, kNothing };
  From from = From::kNothing;
  int target = -1;   // slot of the current function
  Slot source;       // kVariable
  std::string name;  // kContext
};

// What an activation of a function (template, macro, call block, recursive loop, block) needs.
struct Function {
  int num_slots = 0;
  std::vector<int> parameters;                 // slots of a macro's parameters
  int caller = -1, kwargs = -1, varargs = -1;  // slots; -1 where the body does not use them
  bool uses_caller = false;                    // whether a caller may be given, in its slot or as a parameter
  std::vector<std::pair<std::string, int>> names;  // of a template's own frame, for its blocks
};

struct Keyword {
  std::string name;
  NodePtr value;
};

struct Node {
  NodeType type;
  bool flag = false;  // kName: assigned; kBoolean: the value; kFor: recursive
  int line = 1;
  int height = 1;     // of the tree under it
  int constant = -1;  // kText: its number among the template's texts; kRoot: how many there are
  std::string name;
  std::string text;
  union {
    int64_t integer = 0;
    double real;
  };
  NodePtr first, second, third;
  std::vector<NodePtr> list, body, other;
  std::vector<Comparison> operators;  // of a kCompare, one per operand

  // Arguments of a call, filter or test.
  std::vector<NodePtr> arguments;
  std::vector<Keyword> keywords;
  NodePtr star, star_star;
  const Builtin* builtin = nullptr;

  // Filled in by the scope pass.
  Slot slot;                      // kName, kAttributeOf, kMacro: its variable
  int loop = -1;                  // kFor: slot of `loop`, -1 where the body does not use it
  std::vector<Load> loads;        // of the frame of the body
  std::vector<Load> other_loads;  // kFor: of the else branch
  std::vector<Load> test_loads;   // kFor: of the filter
  NodePtr test_target;            // kFor: the target as the filter sees it
  std::unique_ptr<Function> function;

  Node(NodeType node_type, int at_line) : type(node_type), line(at_line) {}
};

// Calls `visit` on every child, in the order in which Jinja's own compiler looks at them.
template <class Visit>
void for_each_child(const Node& node, const Visit& visit) {
  const auto one = [&visit](const NodePtr& child) {
    if (child) visit(*child);
  };
  const auto all = [&one](const std::vector<NodePtr>& children) {
    for (const NodePtr& child : children) one(child);
  };
  if (node.type == NodeType::kFor) {
    one(node.first), one(node.second), all(node.body), all(node.other), one(node.third);
    return;
  }
  if (node.type == NodeType::kIf) {
    one(node.first), all(node.body), all(node.list), all(node.other);
    return;
  }
  if (node.type == NodeType::kFilterBlock) {
    all(node.body), one(node.first);
    return;
  }
  one(node.first), one(node.second), one(node.third);
  all(node.list), all(node.other), all(node.body);
  all(node.arguments);
  for (const Keyword& keyword : node.keywords) one(keyword.value);
  one(node.star), one(node.star_star);
}

}  // namespace heed::jinja
