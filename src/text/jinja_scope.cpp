#include "text/jinja_scope.h"

#include <algorithm>
#include <map>
#include <set>
#include <tuple>

#include "text/jinja_builtins.h"
#include "text/jinja_lexer.h"

namespace heed::jinja {
namespace {

// Copies of symbol tables while branches are compared; real templates stay below a hundred thousand.
constexpr int64_t kMaxCopiedSymbols = 4'000'000;

// The slots of one function. A variable's identity is its frame's level and its name, so frames that follow
// each other share slots; `variant` keeps a loop's filter, which runs interleaved with the body, apart.
struct Slots {
  Slots* parent = nullptr;
  Function* function = nullptr;
  std::map<std::tuple<int, int, std::string>, int> indices;

  int slot(int level, int variant, const std::string& name) {
    const auto [entry, added] = indices.try_emplace({level, variant, name}, function->num_slots);
    if (added) ++function->num_slots;
    return entry->second;
  }
};

struct Variable {
  Slots* slots = nullptr;
  int index = -1;
};

enum class LoadKind { kParameter, kContext, kAlias, kNothing };
struct SymbolLoad {
  LoadKind kind = LoadKind::kNothing;
  Variable alias;
  std::string name;
};

// The names that one frame of the template refers to.
struct Symbols {
  Slots* slots;
  const Symbols* parent;
  int level;
  int variant = 0;
  std::map<std::string, Variable> references;
  std::map<int, SymbolLoad> loads;
  std::set<std::string> stores;

  Symbols(Slots* of, const Symbols* outer)
      : slots(of), parent(outer), level(outer == nullptr ? 0 : outer->level + 1) {}

  const Variable* find(const std::string& name) const {
    for (const Symbols* frame = this; frame != nullptr; frame = frame->parent) {
      const auto found = frame->references.find(name);
      if (found != frame->references.end()) return &found->second;
    }
    return nullptr;
  }
  int define(const std::string& name, SymbolLoad load) {
    const int index = slots->slot(level, variant, name);
    references[name] = {slots, index};
    loads[index] = std::move(load);
    return index;
  }
  int parameter(const std::string& name) {
    stores.insert(name);
    return define(name, {LoadKind::kParameter, {}, {}});
  }
  void store(const std::string& name) {
    stores.insert(name);
    if (references.contains(name)) return;
    const Variable* outer = parent == nullptr ? nullptr : parent->find(name);
    define(name, outer == nullptr ? SymbolLoad{} : SymbolLoad{LoadKind::kAlias, *outer, {}});
  }
  void load(const std::string& name) {
    if (find(name) == nullptr) define(name, {LoadKind::kContext, {}, name});
  }
  int64_t size() const { return static_cast<int64_t>(references.size() + loads.size() + stores.size()); }

  // After an `if`: what only some branches assign keeps its outer value in the others.
  void merge(const std::vector<Symbols>& branches) {
    std::set<std::string> assigned;
    for (const Symbols& branch : branches) {
      std::set_difference(branch.stores.begin(), branch.stores.end(), stores.begin(), stores.end(),
                          std::inserter(assigned, assigned.end()));
    }
    for (const Symbols& branch : branches) {
      for (const auto& [name, variable] : branch.references) references[name] = variable;
      for (const auto& [index, load] : branch.loads) loads[index] = load;
      stores.insert(branch.stores.begin(), branch.stores.end());
    }
    for (const std::string& name : assigned) {
      const Variable* outer = parent == nullptr ? nullptr : parent->find(name);
      SymbolLoad& load = loads[references.at(name).index];
      load = outer == nullptr ? SymbolLoad{LoadKind::kContext, {}, name}
                              : SymbolLoad{LoadKind::kAlias, *outer, {}};
    }
  }
};

// Where names are being resolved. In a soft frame (inside `if`) unknown filters fail only when they run.
struct Frame {
  Symbols* symbols;
  Slots* slots;
  bool soft = false;
};

// Which of `names` the nodes read without having assigned them before.
class Undeclared {
 public:
  explicit Undeclared(std::set<std::string> names) : names_(std::move(names)) {}
  std::set<std::string> in(const std::vector<NodePtr>& body) {
    for (const NodePtr& node : body) visit(*node);
    return std::move(found_);
  }

 private:
  void visit(const Node& node) {
    if (node.type == NodeType::kName) {
      if (!node.flag && names_.contains(node.name)) {
        found_.insert(node.name);
      } else {
        names_.erase(node.name);
      }
    }
    if (node.type != NodeType::kBlock) for_each_child(node, [this](const Node& child) { visit(child); });
  }
  std::set<std::string> names_;
  std::set<std::string> found_;
};

class ScopePass {
 public:
  explicit ScopePass(const std::string& what) : what_(what) {}

  Status run(Node& root) {
    root.function = std::make_unique<Function>();
    Slots slots{.parent = nullptr, .function = root.function.get(), .indices = {}};
    Symbols symbols(&slots, nullptr);
    TRY(analyze(symbols, root.body));
    TRY(resolve_all(root.body, {&symbols, &slots}));
    for (const std::string& name : symbols.stores) {
      root.function->names.emplace_back(name, symbols.references.at(name).index);
    }
    root.loads = loads_of(symbols, slots);
    root.constant = texts_;
    return {};
  }

 private:
  Error fail(const Node& node, const std::string& message) const {
    return syntax_error(what_, node.line, message);
  }

  // Which symbols a frame has: declared while its own statements, but not inner frames, are looked at.
  Status analyze(Symbols& symbols, const std::vector<NodePtr>& nodes) {
    for (const NodePtr& node : nodes) TRY(analyze(symbols, *node));
    return {};
  }

  Status analyze(Symbols& symbols, const Node& node) {
    switch (node.type) {
      case NodeType::kName:
        if (node.flag) {
          symbols.store(node.name);
        } else {
          symbols.load(node.name);
        }
        return {};
      case NodeType::kAttributeOf:
        symbols.load(node.name);
        return {};
      case NodeType::kMacro:
        symbols.store(node.name);
        return {};
      case NodeType::kIf:
        return analyze_if(symbols, node);
      case NodeType::kSet:
        TRY(analyze(symbols, *node.second));
        return analyze(symbols, *node.first);
      case NodeType::kFor:
        return analyze(symbols, *node.second);
      case NodeType::kCallBlock:
        return node.first ? analyze(symbols, *node.first) : Status();
      case NodeType::kFilterBlock:
      case NodeType::kSetBlock:
        return analyze(symbols, *node.first);
      case NodeType::kWith:
        return analyze(symbols, node.other);
      case NodeType::kScope:
      case NodeType::kBlock:
        return {};
      default:
        break;
    }
    Status status;
    for_each_child(node, [&](const Node& child) {
      if (status.ok()) status = analyze(symbols, child);
    });
    return status;
  }

  Status analyze_if(Symbols& symbols, const Node& node) {
    TRY(analyze(symbols, *node.first));
    copied_ += 3 * symbols.size();
    if (copied_ > kMaxCopiedSymbols) return limit_reached(what_ + ": too many names and branches");
    std::vector<Symbols> branches(3, symbols);
    TRY(analyze(branches[0], node.body));
    TRY(analyze(branches[1], node.list));
    TRY(analyze(branches[2], node.other));
    symbols.merge(branches);
    return {};
  }

  static void declare(Symbols& symbols, const Node& target) {
    if (target.type == NodeType::kName) symbols.parameter(target.name);
    for (const NodePtr& item : target.list) declare(symbols, *item);
  }

  static Slot address(const Variable& variable, const Slots* from) {
    Slot slot{.hops = 0, .index = variable.index};
    for (; from != variable.slots; from = from->parent) ++slot.hops;
    return slot;
  }

  static std::vector<Load> loads_of(const Symbols& symbols, const Slots& slots) {
    std::vector<Load> loads;
    for (const auto& [index, load] : symbols.loads) {
      if (load.kind == LoadKind::kParameter) continue;
      Load out{.from = Load::From::kNothing, .target = index, .source = {}, .name = load.name};
      if (load.kind == LoadKind::kContext) out.from = Load::From::kContext;
      if (load.kind == LoadKind::kAlias) {
        out.from = Load::From::kVariable;
        out.source = address(load.alias, &slots);
      }
      loads.push_back(std::move(out));
    }
    return loads;
  }

  Status resolve_all(const std::vector<NodePtr>& nodes, const Frame& frame) {
    for (const NodePtr& node : nodes) {
      if (node) TRY(resolve(*node, frame));
    }
    return {};
  }

  Status resolve_one(const NodePtr& node, const Frame& frame) {
    return node ? resolve(*node, frame) : Status();
  }

  Status resolve(Node& node, const Frame& frame) {
    switch (node.type) {
      case NodeType::kName:
      case NodeType::kAttributeOf:
        return resolve_name(node, frame);
      case NodeType::kConditional:
      case NodeType::kIf:
        return resolve_parts(node, {frame.symbols, frame.slots, true});
      case NodeType::kFilter:
      case NodeType::kTest:
        return resolve_builtin(node, frame);
      case NodeType::kFor:
        return resolve_for(node, frame);
      case NodeType::kSetBlock:
        return resolve_set_block(node, frame);
      case NodeType::kMacro:
        return resolve_macro(node, frame);
      case NodeType::kCallBlock:
        TRY(resolve_macro(node, frame));
        return resolve_one(node.first, frame);
      case NodeType::kFilterBlock:
        return resolve_filter_block(node, frame);
      case NodeType::kWith:
        return resolve_with(node, frame);
      case NodeType::kScope:
        return resolve_scope(node, frame);
      case NodeType::kBlock:
        return resolve_block(node);
      case NodeType::kText:
        node.constant = texts_++;
        return {};
      default:
        return resolve_parts(node, frame);
    }
  }

  Status resolve_parts(Node& node, const Frame& frame) {
    TRY(resolve_one(node.first, frame));
    TRY(resolve_one(node.second, frame));
    TRY(resolve_one(node.third, frame));
    TRY(resolve_all(node.list, frame));
    TRY(resolve_all(node.body, frame));
    TRY(resolve_all(node.other, frame));
    TRY(resolve_all(node.arguments, frame));
    for (const Keyword& keyword : node.keywords) TRY(resolve_one(keyword.value, frame));
    TRY(resolve_one(node.star, frame));
    return resolve_one(node.star_star, frame);
  }

  Status resolve_name(Node& node, const Frame& frame) {
    const Variable* variable = frame.symbols->find(node.name);
    if (variable == nullptr) return fail(node, "'" + node.name + "' cannot be used here");
    node.slot = address(*variable, frame.slots);
    return {};
  }

  Status resolve_builtin(Node& node, const Frame& frame) {
    const bool is_filter = node.type == NodeType::kFilter;
    node.builtin = is_filter ? find_filter(node.name) : find_test(node.name);
    if (node.builtin == nullptr && !frame.soft) {
      return fail(node, std::string(is_filter ? "no filter" : "no test") + " named '" + node.name + "'");
    }
    return resolve_parts(node, frame);
  }

  Status resolve_for(Node& node, const Frame& frame) {
    if (assigns_loop(node)) return fail(node, "'loop' cannot be assigned inside of a loop");
    TRY(resolve_one(node.second, frame));
    Slots own;
    Slots* slots = frame.slots;
    if (node.flag) {
      node.function = std::make_unique<Function>();
      own = {.parent = frame.slots, .function = node.function.get(), .indices = {}};
      slots = &own;
    }
    Symbols body(slots, frame.symbols);
    if (node.flag || !Undeclared({"loop"}).in(node.body).empty()) node.loop = body.parameter("loop");
    declare(body, *node.first);
    TRY(analyze(body, node.body));
    TRY(resolve_one(node.first, {&body, slots}));
    TRY(resolve_all(node.body, {&body, slots}));
    node.loads = loads_of(body, *slots);
    if (node.third) TRY(resolve_filter_of_loop(node, frame, slots));
    if (node.other.empty()) return {};
    Symbols otherwise(slots, frame.symbols);
    TRY(analyze(otherwise, node.other));
    TRY(resolve_all(node.other, {&otherwise, slots}));
    node.other_loads = loads_of(otherwise, *slots);
    return {};
  }

  Status resolve_filter_of_loop(Node& node, const Frame& frame, Slots* slots) {
    Symbols test(slots, frame.symbols);
    test.variant = ++variants_;
    declare(test, *node.first);
    TRY(analyze(test, *node.third));
    node.test_target = copy_target(*node.first);
    TRY(resolve(*node.test_target, {&test, slots}));
    TRY(resolve(*node.third, {&test, slots}));
    node.test_loads = loads_of(test, *slots);
    return {};
  }

  static NodePtr copy_target(const Node& target) {
    NodePtr copy = std::make_unique<Node>(target.type, target.line);
    copy->name = target.name;
    copy->flag = target.flag;
    for (const NodePtr& item : target.list) copy->list.push_back(copy_target(*item));
    return copy;
  }

  static bool assigns_loop(const Node& node) {
    if (node.type == NodeType::kName) return node.flag && node.name == "loop";
    bool found = false;
    const bool is_signature = node.type == NodeType::kMacro || node.type == NodeType::kCallBlock;
    const bool has_parameters = is_signature || node.type == NodeType::kWith;
    for_each_child(node, [&](const Node& child) {
      const bool is_parameter =
          has_parameters && std::any_of(node.list.begin(), node.list.end(),
                                        [&child](const NodePtr& target) { return target.get() == &child; });
      found = found || (!is_parameter && assigns_loop(child));
    });
    return found;
  }

  Status resolve_set_block(Node& node, const Frame& frame) {
    Symbols inner(frame.slots, frame.symbols);
    TRY(analyze(inner, node.body));
    TRY(resolve_all(node.body, {&inner, frame.slots}));
    TRY(resolve_one(node.first, frame));
    TRY(resolve_one(node.second, {&inner, frame.slots}));
    node.loads = loads_of(inner, *frame.slots);
    return {};
  }

  Status resolve_filter_block(Node& node, const Frame& frame) {
    Symbols inner(frame.slots, frame.symbols);
    TRY(analyze(inner, node.body));
    TRY(analyze(inner, *node.first));
    TRY(resolve_all(node.body, {&inner, frame.slots}));
    TRY(resolve_one(node.first, {&inner, frame.slots}));
    node.loads = loads_of(inner, *frame.slots);
    return {};
  }

  Status resolve_with(Node& node, const Frame& frame) {
    Symbols inner(frame.slots, frame.symbols);
    for (const NodePtr& target : node.list) declare(inner, *target);
    TRY(analyze(inner, node.body));
    TRY(resolve_all(node.other, frame));
    TRY(resolve_all(node.list, {&inner, frame.slots}));
    TRY(resolve_all(node.body, {&inner, frame.slots}));
    node.loads = loads_of(inner, *frame.slots);
    return {};
  }

  Status resolve_scope(Node& node, const Frame& frame) {
    Symbols inner(frame.slots, frame.symbols);
    TRY(analyze(inner, node.body));
    TRY(resolve_all(node.body, {&inner, frame.slots}));
    node.loads = loads_of(inner, *frame.slots);
    return {};
  }

  Status resolve_block(Node& node) {
    if (!blocks_.insert(node.name).second) return fail(node, "block '" + node.name + "' defined twice");
    node.function = std::make_unique<Function>();
    Slots slots{.parent = nullptr, .function = node.function.get(), .indices = {}};
    Symbols symbols(&slots, nullptr);
    TRY(analyze(symbols, node.body));
    TRY(resolve_all(node.body, {&symbols, &slots}));
    node.loads = loads_of(symbols, slots);
    return {};
  }

  // A macro or the body of a call block: a function of its own.
  Status resolve_macro(Node& node, const Frame& frame) {
    if (node.type == NodeType::kMacro) node.slot = address(*frame.symbols->find(node.name), frame.slots);
    node.function = std::make_unique<Function>();
    Function& function = *node.function;
    Slots slots{.parent = frame.slots, .function = &function, .indices = {}};
    Symbols symbols(&slots, frame.symbols);
    for (const NodePtr& parameter : node.list)
      function.parameters.push_back(symbols.parameter(parameter->name));
    TRY(analyze(symbols, node.other));
    TRY(analyze(symbols, node.body));
    TRY(declare_specials(node, symbols));
    TRY(resolve_all(node.other, {&symbols, &slots}));
    TRY(resolve_all(node.body, {&symbols, &slots}));
    node.loads = loads_of(symbols, slots);
    return {};
  }

  // The parameters a macro has without naming them, where its body uses them: caller, kwargs, varargs.
  Status declare_specials(const Node& node, Symbols& symbols) {
    const auto parameter_at = [&node](std::string_view name) {
      const auto found = std::find_if(node.list.begin(), node.list.end(),
                                      [name](const NodePtr& parameter) { return parameter->name == name; });
      return found == node.list.end() ? -1 : static_cast<int>(found - node.list.begin());
    };
    Function& function = *node.function;
    const std::set<std::string> used = Undeclared({"caller", "kwargs", "varargs"}).in(node.body);
    if (used.contains("caller")) {
      function.uses_caller = true;
      const int at = parameter_at("caller");
      if (at < 0) {
        function.caller = symbols.parameter("caller");
      } else if (node.list.size() - static_cast<size_t>(at) > node.other.size()) {
        return fail(node, "the parameter 'caller' must have a default");
      }
    }
    if (used.contains("kwargs") && parameter_at("kwargs") < 0) function.kwargs = symbols.parameter("kwargs");
    if (used.contains("varargs") && parameter_at("varargs") < 0)
      function.varargs = symbols.parameter("varargs");
    return {};
  }

  const std::string& what_;
  std::set<std::string> blocks_;
  int64_t copied_ = 0;
  int variants_ = 0;
  int texts_ = 0;
};

}  // namespace

Status resolve_names(Node& root, const std::string& what) { return ScopePass(what).run(root); }

}  // namespace heed::jinja
