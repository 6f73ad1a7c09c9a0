// The objects that stand for running code: activations, macros and loops.
#pragma once
#include "text/jinja_ast.h"
#include "text/jinja_value.h"

namespace heed::jinja {

// The variables of one call of a function; macros and loops inside see it by reference.
struct ActivationObject : Object {
  Value parent;  // the activation around it, missing for a template or block
  Values slots;
  void clear() override { parent = Value(), slots.clear(); }
};

struct MacroObject : Object {
  const Node* node = nullptr;
  Value activation;  // where it was defined
  void clear() override { activation = Value(); }
};

// `loop`: one element ahead at most is taken from the iterator, when the template asks what comes next.
struct LoopObject : Object {
  const Node* node = nullptr;
  Value activation;  // around a recursive loop
  Value iterable, iterator;
  Value before, current, after;
  Value changed;  // what `changed` saw last
  int64_t index0 = -1;
  int64_t length = -1;
  int64_t depth0 = 0;
  void clear() override { activation = iterable = iterator = before = current = after = changed = Value(); }
};

}  // namespace heed::jinja
