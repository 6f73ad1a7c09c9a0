"""Templates and conversations on which Heed's engine is compared with jinja2: real ones, and random ones by a grammar."""
import json
import pathlib
import random

TOOL = {"type": "function", "function": {
    "name": "get_weather", "description": "The weather of a city <now> & later",
    "parameters": {"type": "object", "properties": {
        "city": {"type": "string", "description": "A city's name"},
        "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
        "days": {"type": ["integer", "null"], "default": 1.5}}, "required": ["city"]},
    "return": {"type": "string"}, "strict": True}}
SEARCH = {"type": "function", "function": {
    "name": "search", "description": "Sucht, über \"alles\"", "parameters": {"type": "object", "properties": {}}}}


def _call(arguments, identifier="abc123def"):
    return {"id": identifier, "type": "function", "function": {"name": "get_weather", "arguments": arguments}}


def conversations():
    """(name, variables) pairs: what an OpenAI-like request may bring."""
    def user(text):
        return {"role": "user", "content": text}

    def assistant(text, **more):
        return {"role": "assistant", "content": text, **more}

    system = {"role": "system", "content": "Be brief."}
    calls = [user("Weather?"), assistant(None, tool_calls=[_call({"city": "Ulm", "days": 2})]),
             {"role": "tool", "tool_call_id": "abc123def", "name": "get_weather", "content": "{\"t\": 21.5}"},
             assistant("Mild."), user("Thanks")]
    text_calls = [user("Weather?"), assistant("", tool_calls=[_call("{\"city\": \"Ulm\"}")]),
                  {"role": "tool", "tool_call_id": "abc123def", "content": "rain"}]
    parts = [{"role": "user", "content": [{"type": "text", "text": "What is "}, {"type": "image"},
                                          {"type": "text", "text": "this?"}]}]
    thinking = [system, user("1+1?"), assistant("<think>\neasy\n</think>\n\n2", reasoning_content="easy"), user("2+2?")]
    two = [user("Both"), assistant("ok", tool_calls=[_call({"city": "A"}, "callaaaa1"), _call({}, "callbbbb2")]),
           {"role": "tool", "tool_call_id": "callaaaa1", "content": "1"},
           {"role": "tool", "tool_call_id": "callbbbb2", "content": [{"type": "text", "text": "2"}]}]
    return [
        ("one turn", {"messages": [user("Hello")], "add_generation_prompt": True}),
        ("system and turns", {"messages": [system, user("a"), assistant("b"), user("c")], "add_generation_prompt": True}),
        ("no generation prompt", {"messages": [user("a"), assistant("b")], "add_generation_prompt": False}),
        ("tools offered", {"messages": [system, user("Weather?")], "tools": [TOOL, SEARCH],
                           "add_generation_prompt": True}),
        ("tool called", {"messages": calls, "tools": [TOOL], "add_generation_prompt": True}),
        ("tool called with text", {"messages": text_calls, "tools": [TOOL], "add_generation_prompt": True}),
        ("two calls", {"messages": two, "tools": [TOOL, SEARCH], "add_generation_prompt": True}),
        ("thinking on", {"messages": thinking, "add_generation_prompt": True, "enable_thinking": True,
                         "thinking": True}),
        ("thinking off", {"messages": thinking, "add_generation_prompt": True, "enable_thinking": False}),
        ("wrong order", {"messages": [user("a"), user("b"), system, assistant("c"), assistant("d")],
                         "add_generation_prompt": False}),
        ("parts", {"messages": parts, "add_generation_prompt": True}),
        ("empty and unicode", {"messages": [{"role": "system", "content": ""}, user("  ß Ünï 日本 \U0001f600\n\n "),
                                            assistant(""), user("\u2028'\"<&>\\")], "add_generation_prompt": True}),
        ("documents", {"messages": [system, user("Cite")], "documents": [
            {"title": "One", "text": "first", "snippet": "x"}, {"title": "Two", "text": "second"}],
            "tools": [], "add_generation_prompt": True, "citation_mode": "accurate"}),
        ("no messages", {"messages": [], "add_generation_prompt": True}),
    ]


def real_templates(shared):
    """(name, template) pairs from the shared corpus and its demo model."""
    shared = pathlib.Path(shared)
    found = [(p.name, p.read_text("utf-8")) for p in sorted((shared / "chat_templates").glob("*.jinja"))]
    for config in sorted((shared / "models").glob("*/tokenizer_config.json")):
        template = json.loads(config.read_text("utf-8")).get("chat_template")
        if isinstance(template, str):
            found.append((str(config.relative_to(shared)), template))
    return found


VARIABLES = {
    "n": 7, "z": 0, "m": -3, "big": 4611686018427387904, "f": 2.5, "g": -0.1, "h": 1e22, "t": True, "o": False,
    "nil": None, "s": "Hello World", "e": "", "w": "  pad\t\n", "u": "straße ÉCOLE ǆ Σας 日本\U0001f600", "q": "it's \"q\" <b>&",
    "d": "12", "p": " -4.50 ", "lines": "one\n two\r\nthree\n\n", "csv": "a,b,,c", "l": [3, 1, 2], "ls": ["b", "A", "c"],
    "lm": [1, "a", None, 2.0, True], "le": [], "ll": [[1, 2], [3, 4], [5, 6]], "k": {"a": 1, "B": 2, "items": 3, "é": None},
    "ke": {}, "users": [{"name": "Zoe", "age": 30, "tags": ["x"]}, {"name": "abe", "age": 25, "tags": []},
                        {"name": "Bob", "age": 30, "active": True}],
}


class Grammar:
    """Random templates. The same seed gives the same ones."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def pick(self, *options):
        return self.random.choice(options)

    def literal(self):
        return self.pick("0", "1", "2", "-1", "10", "3.5", "1e3", "0.1", "'a'", "''", "'B c'", "\"é\\n\"", "'%s'", "none",
                         "true", "false", "[1, 2]", "[]", "(1, 'a')", "{'a': 1}", "{}", "'a,b'", "1_000", "0x1f", "'\\t'")

    def name(self):
        return self.pick(*VARIABLES, "missing", "loop", "range")

    def expression(self, depth):
        if depth <= 0:
            return self.pick(self.literal, self.name, self.name)()
        return self.random.choices(
            [self.filtered, self.tested, self.method, self.operation, self.index, self._literal, self._name,
             self.conditional, self.collection, self.compared, self.call],
            [30, 10, 16, 20, 10, 4, 6, 4, 6, 8, 3])[0](depth)

    def _literal(self, depth):
        return self.literal()

    def _name(self, depth):
        return self.name()

    def filtered(self, depth):
        base = self.expression(depth - 1)
        inner = self.expression(depth - 2)
        small = self.pick("0", "1", "2", "3", "5", "-1", "n")
        chosen = self.pick(
            "abs", "attr('real')", "attr('x')", f"batch({small})|list", f"batch({small}, 'x')|list", "capitalize",
            f"center({small})", "center(15)", "count", f"default({inner})", f"default({inner}, true)", f"d({inner})",
            "dictsort", "dictsort(true)", "dictsort(false, 'value')", "dictsort(reverse=true)", "escape", "e", "first",
            "filesizeformat", "filesizeformat(true)", "float", "float(1)", "forceescape", f"format({inner})", "groupby('age')",
            "groupby('age')|list|length", "groupby('name', default='x')", "indent", "indent(2, true)", "indent('>', blank=true)",
            "int", "int(5)", "int(0, 16)", "join", "join(', ')", "join('-', attribute='name')", "last", "length", "list",
            "lower", "map('upper')|list", "map(attribute='name')|list", "map(attribute='age', default=1)|list",
            "map('int')|join(',')", "max", "min", "max(attribute='age')", "min(case_sensitive=true)", "reject('none')|list",
            "reject('string')|list", "rejectattr('active')|list", "rejectattr('age', 'gt', 26)|list", "replace('a', 'X')",
            "replace('l', '', 1)", "reverse|list", "reverse", "round", "round(1)", "round(2, 'floor')", "round(0, 'ceil')",
            "round(-1)", "safe", "select|list", "select('number')|list", "select('gt', 1)|list", "select('in', [1, 2])|list",
            "selectattr('active')|list", "selectattr('name', 'equalto', 'Bob')|map(attribute='age')|first",
            "selectattr('tags', 'defined')|list|length", f"slice({small})|list", "slice(2, 'x')|list", "sort", "sort(true)",
            "sort(attribute='age')", "sort(attribute='age,name')", "sort(case_sensitive=true)", "string", "striptags", "sum",
            "sum(attribute='age')", "sum(start=0.5)", "title", "trim", "trim('l ')", "truncate(5)", "truncate(8, true)",
            "truncate(7, false, '~', 0)", "unique|list", "unique(true)|list", "unique(attribute='age')|list", "upper",
            "urlencode", "wordcount", "xmlattr", "tojson", "tojson(indent=2)", "tojson(ensure_ascii=true)",
            "tojson(sort_keys=true)", "tojson(separators=(',', ':'))", "items|list", "nosuch")
        return f"({base})|{chosen}" if self.random.random() < 0.7 else f"{base}|{chosen}"

    def tested(self, depth):
        base = self.expression(depth - 1)
        chosen = self.pick("boolean", "callable", "defined", "divisibleby 2", "divisibleby(3)", "eq 1", "equalto('a')", "even",
                           "escaped", "false", "filter", "float", "ge(2)", "gt 1", "in [1, 2]", "in(ls)", "integer", "iterable",
                           "le 3", "lower", "lt 2", "mapping", "ne 1", "none", "number", "odd", "sameas none", "sequence",
                           "string", "test", "true", "undefined", "upper", "nosuch")
        return f"({base}) is {self.pick('', 'not ')}{chosen}"

    def method(self, depth):
        base = self.expression(depth - 1)
        chosen = self.pick("strip()", "lstrip('H ')", "rstrip()", "split()", "split(',')", "split(' ', 1)", "rsplit('o', 1)",
                           "rsplit(none, 1)", "splitlines()", "splitlines(true)", "join(ls)", "join(k)", "replace('l', 'L')",
                           "replace('', '-', 2)", "startswith('H')", "endswith(('d', 'x'))", "startswith('e', 1)", "upper()",
                           "lower()", "title()", "capitalize()", "swapcase()", "casefold()", "find('o')", "rfind('o')",
                           "find('l', 4)", "index('o')", "count('l')", "count(1)", "index(1)", "format(1, a=2)", "isdigit()",
                           "isalpha()", "isspace()", "isupper()", "islower()", "istitle()", "isalnum()", "isnumeric()",
                           "isidentifier()", "zfill(5)", "ljust(8, '.')", "rjust(8)", "center(9, '*')", "removeprefix('He')",
                           "removesuffix('ld')", "partition('o')", "rpartition('o')", "expandtabs(4)", "get('a')",
                           "get('zz', 5)", "get('zz')", "items()", "keys()", "values()", "keys()|list", "items()|list|first",
                           "append(1)", "pop()", "update({})", "copy()", "a", "items", "name", "age", "__class__", "missing",
                           "0", "real", "bit_length()", "is_integer()", "grouper")
        return f"({base}).{chosen}"

    def operation(self, depth):
        operator = self.pick("+", "-", "*", "/", "//", "%", "~", "and", "or", "+", "~", "**")
        left, right = self.expression(depth - 1), self.expression(depth - 1)
        if operator == "**":
            right = self.pick("2", "3", "0.5", "-1", "0")
        if self.random.random() < 0.15:
            return f"{self.pick('-', '+', 'not ')}{left}"
        return f"{left} {operator} {right}" if self.random.random() < 0.5 else f"({left}) {operator} ({right})"

    def index(self, depth):
        base = self.expression(depth - 1)
        inner = self.expression(depth - 2)
        chosen = self.pick("0", "1", "-1", "99", "'a'", "'name'", "'items'", ":", "1:", ":2", "::2", "::-1", "-2:", "1:-1", "3:1:-1",
                           "'upper'", inner, f"{inner}:", "::0")
        return f"({base})[{chosen}]"

    def conditional(self, depth):
        a, b, c = (self.expression(depth - 1) for _ in range(3))
        return self.pick(f"({a} if {b} else {c})", f"({a} if {b})")

    def collection(self, depth):
        a, b = self.expression(depth - 1), self.expression(depth - 1)
        return self.pick(f"[{a}, {b}]", f"({a}, {b})", f"({a},)", f"{{'x': {a}, 'y': {b}}}", f"{{{a}: {b}}}", f"[{a}]")

    def compared(self, depth):
        operator = self.pick("==", "!=", "<", "<=", ">", ">=", "in", "not in")
        a, b = self.expression(depth - 1), self.expression(depth - 1)
        if self.random.random() < 0.2:
            return f"({a}) < ({b}) {operator} ({self.expression(depth - 2)})"
        return f"({a}) {operator} ({b})"

    def call(self, depth):
        a = self.expression(depth - 1)
        return self.pick(f"range({a})", f"dict({a})", f"dict(a={a})", "range(1, 8, 3)", "range(5, 0, -2)|list", f"namespace(a={a}).a",
                         f"'%s|%5d|%-4s|' % ({a}, 3, 'x')", f"'%r' % ({a})", f"'%.2f %e %g' % (f, g, {a})", f"'{{:>8}}|{{!r}}'.format({a}, s)",
                         f"'{{0:05d}}{{1:.3}}'.format(n, {a})", f"'{{:,}} {{:x}} {{:%}}'.format(big, n, f)", "'%(a)s' % k", f"joiner({a})",
                         f"cycler({a}, 2).next()", f"({a})()")

    def expression_template(self):
        return "{{ " + self.expression(self.random.randint(1, 4)) + " }}"

    # Statements, with white space around every tag.

    def space(self):
        return self.pick("", "", " ", "\n", "  ", "\n\n", " \n ", "\t", "x", " x ", "\nx\n", "\r\n", "}", "é ")

    def tag(self, content):
        return "{%" + self.pick("", "", "", "-", "+") + f" {content} " + self.pick("", "", "", "-", "+") + "%}"

    def output(self, depth):
        return "{{" + self.pick("", "", "-") + " " + self.expression(self.random.randint(0, 2)) + " " + self.pick("", "-") + "}}"

    def body(self, depth):
        return "".join(self.space() + self.statement(depth - 1) for _ in range(self.random.randint(0, 2))) + self.space()

    def variable(self):
        return self.pick("a", "b", "x", "n", "s")

    def statement(self, depth):
        if depth <= 0:
            return self.pick(self.output, self.show, self.comment, self.assign)(depth)
        return self.pick(self.output, self.show, self.comment, self.assign, self.branch, self.branch, self.loop, self.loop, self.macro,
                         self.raw, self.block_set, self.filter_block, self.with_block, self.call_block, self.space_set,
                         self.generation, self.recursive)(depth)

    def show(self, depth):
        return "{{ " + self.pick("a", "b", "x", "n", "s", "ns.v", "loop.index", "caller", "varargs", "kwargs", "loop.length") + " }}"

    def comment(self, depth):
        return "{#" + self.pick("", "-", "+") + " c {{ } " + self.pick("", "-", "+") + "#}"

    def assign(self, depth):
        value = self.expression(1)
        return self.tag(self.pick(f"set {self.variable()} = {value}", f"set a, b = {self.pick('l', 'll[0]', '(1, 2)', value)}",
                                  f"set ns.v = {value}", f"set x = {value}, {self.literal()}"))

    def branch(self, depth):
        parts = [self.tag(f"if {self.expression(1)}"), self.body(depth)]
        if self.random.random() < 0.4:
            parts += [self.tag(f"elif {self.expression(1)}"), self.body(depth)]
        if self.random.random() < 0.5:
            parts += [self.tag("else"), self.body(depth)]
        return "".join(parts + [self.tag("endif")])

    def loop(self, depth):
        target, source = self.pick(("x", "l"), ("x", "ls"), ("x", "users"), ("a, b", "ll"), ("a, b", "k.items()"), ("x", "s"),
                                   ("x", "range(3)"), ("x", "missing"), ("x", "le"), ("x", "k"), ("x", self.expression(1)),
                                   ("a, b", "k|dictsort"), ("x", "l|select('odd')"), ("a, (b, x)", "[(1, (2, 3))]"))
        condition = self.pick("", "", "", " if x", " if loop.index", " if x != 2", " if a == 1")
        inner = self.body(depth) + self.pick(
            "", "{{ x }}", "{{ loop.index }}/{{ loop.length }}", "{{ loop.last }}{{ loop.first }}", "{{ loop.previtem }}:{{ loop.nextitem }}",
            "{{ loop.changed(x) }}", "{{ loop.cycle('o', 'e') }}", "{% if loop.index == 2 %}{% continue %}{% endif %}.",
            "{% if loop.index0 == 1 %}{% break %}{% endif %}", "{% set s = s ~ '+' %}{{ s }}", "{{ loop.revindex }}{{ loop.depth }}",
            "{% set ns.v = ns.v ~ loop.index %}")
        parts = [self.tag(f"for {target} in {source}{condition}"), inner]
        if self.random.random() < 0.3:
            parts += [self.tag("else"), self.body(depth)]
        return "".join(parts + [self.tag("endfor")])

    def recursive(self, depth):
        condition = self.pick("", " if x")
        return (self.tag(f"for x in [1, [2, [3]], {self.literal()}]{condition} recursive") +
                "{{ loop.depth }}{% if x is iterable and x is not string %}({{ loop(x) }}){% else %}{{ x }}{% endif %}" + self.body(depth) +
                self.tag("endfor"))

    def macro(self, depth):
        signature = self.pick("", "a", "a, b=2", "a=n, b=a", "x, a='d'")
        arguments = self.pick("", "1", "1, 2", "a=3", "1, b=4", "1, 2, 3", "c=1", "*l", "**k", "s, *ll[0]")
        return self.tag(f"macro mac({signature})") + self.body(depth) + self.tag("endmacro") + "{{ mac(" + arguments + ") }}"

    def call_block(self, depth):
        signature = self.pick("", "(x)", "(a, b=1)")
        return ("{% macro cm(a) %}[{{ caller(" + self.pick("", "a", "1, 2", "x=5") + ") }}]{% endmacro %}" +
                self.tag(f"call{signature} cm({self.expression(0)})") + self.body(depth) + self.tag("endcall"))

    def raw(self, depth):
        return self.tag("raw") + self.pick("{{ x }}", " {% if %} ", "\n{# c #}\n", "") + self.tag("endraw")

    def block_set(self, depth):
        chosen = self.pick("", " | upper", " | trim", " | replace('x', n)")
        return self.tag(f"set {self.pick('x', 'a', 'ns.v')}{chosen}") + self.body(depth) + self.tag("endset")

    def filter_block(self, depth):
        return self.tag(f"filter {self.pick('upper', 'trim', 'indent(2)', 'replace(s, n)', 'length', 'title|e')}") + self.body(depth) + \
            self.tag("endfilter")

    def with_block(self, depth):
        return self.tag(f"with {self.pick('', 'a = 1', 'a = n, b = a', 'x = ' + self.expression(1))}") + self.body(depth) + self.tag("endwith")

    def generation(self, depth):
        return self.tag("generation") + self.body(depth) + self.tag("endgeneration")

    def space_set(self, depth):
        return "{% set ns = namespace(v=" + self.expression(1) + ") %}" + self.body(depth) + "{{ ns.v }}"

    def statement_template(self):
        return "{% set ns = namespace(v=0) %}" * (self.random.random() < 0.8) + self.body(3) + self.space()
