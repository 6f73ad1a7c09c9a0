// The scope pass: gives every name of a template its variable, and every filter and test its function.
//
// Jinja decides at compile time which variable a name means, and its rules can be seen from outside: a loop's
// body starts each round with copies of what it will assign, `if` opens no scope, a macro sees the variables
// around it as they are when it runs. This pass decides the same way. Source: the behaviour of jinja2 3.1.6.
#pragma once
#include <string>

#include "base/result.h"
#include "text/jinja_ast.h"

namespace heed::jinja {

// Fills in the slots, loads, functions and builtins of the tree. `what` names the template in errors.
Status resolve_names(Node& root, const std::string& what);

}  // namespace heed::jinja
