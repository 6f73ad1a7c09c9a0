// The chat-template engine by tables. The expected texts are jinja2 3.1.6's (tools/chat_template_oracle.py
// renders them); tools/chat_template_diff.py compares far more.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "text/chat_template.h"

namespace heed {
namespace {

struct Case {
  const char* source;
  const char* expected;
};

const OrderedJson& variables() {
  static const OrderedJson json = *parse_ordered_json(
      R"({"n": 7, "f": 2.5, "s": "Hello World", "u": "straße ÉΣ", "l": [3, 1, 2], "k": {"b": 1, "A": [true, null], "items": "x"}, 
"users": [{"name": "Zoe", "age": 30}, {"name": "abe", "age": 25}, {"name": "Bob", "age": 30}], 
"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yo"}]})",
      "variables");
  return json;
}

Result<std::string> render(const std::string& source, const TemplateLimits& limits = {}) {
  auto parsed = ChatTemplate::parse(source, "t.jinja");
  if (!parsed.ok()) return parsed.error();
  return parsed->render(variables(), limits);
}

void check_all(const std::vector<Case>& cases) {
  for (const auto& [source, expected] : cases) {
    const auto text = render(source);
    ASSERT_TRUE(text.ok()) << source << "\n" << text.error().message;
    EXPECT_EQ(*text, expected) << source;
  }
}

TEST(Jinja, whitespace_control_follows_trim_and_lstrip_blocks) {
  check_all({
      {"a\n  {% if n %}\n  b\n  {% endif %}\nc\n", "a\n  b\nc"},
      {"a  {%- if n -%}  b  {%- endif -%}  c", "abc"},
      {"  {%+ if n %}x{% endif +%}\ny", "  x\ny"},
      {"x {{- n -}} y", "x7y"},
      {"{% raw %}", ""},
      {"a{#", "a"},
      {"a\n  {# c #}\n b {#- d -#} e", "a\n be"},
      {"\n{% raw %}\n {{ x }} {%- endraw %}  \n", "\n\n {{ x }}  "},
      {"a\r\nb\rc\n\n", "a\nb\nc\n"},
      {"{{+ n }}|{{-5 }}", "7|5"},
      {"{% if n %}  {% endif %}\n \n{{ n }}\n", "   \n7"},
  });
}

TEST(Jinja, operators_have_pythons_precedence_and_arithmetic) {
  check_all({
      {"{{ 7 // -2 }} {{ -7 % 3 }} {{ 7 / 2 }} {{ 2 ** 3 ** 2 }} {{ -2 ** 2 }}", "-4 2 3.5 64 4"},
      {"{{ 1e16 }} {{ 1e15 }} {{ 0.1 + 0.2 }} {{ 1e-5 }} {{ 100.0 }} {{ -0.0 }} {{ 5.5 // -2 }} {{ -5.5 % 2 "
       "}}",
       "1e+16 1000000000000000.0 0.30000000000000004 1e-05 100.0 -0.0 -3.0 0.5"},
      {"{{ 1 < 2 < 3 }} {{ 3 > 2 > 2 }} {{ 1 == 1.0 == true }}", "True False True"},
      {"{{ 1 ~ 2 * 3 }} {{ 'a' * 3 ~ [1] * 2 }} {{ not 1 == 2 }} {{ none or 'x' and 0 }}",
       "16 aaa[1, 1] True 0"},
      {"{{ 'x' if false }}|{{ 'a' if n > 5 else 'b' }} {{ n is divisibleby 7 and not f is even }}",
       "|a True"},
      {"{{ 1_000 + 0x1f + 0b11 + 0o17 }} {{ 2 ** -1 }} {{ 4 ** 0.5 }} {{ true + true }}", "1049 0.5 2.0 2"},
  });
}

TEST(Jinja, values_print_as_python_prints_them) {
  check_all({
      {"{{ [1, 2.0, 'it\\'s', \"q\\\"\", none, true, (1,), {'a': {}}, missing] }}",
       "[1, 2.0, \"it's\", 'q\"', None, True, (1,), {'a': {}}, Undefined]"},
      {"{{ k }} {{ k.keys() }} {{ k['items'] }} {{ k.items() }}",
       "{'b': 1, 'A': [True, None], 'items': 'x'} dict_keys(['b', 'A', 'items']) x dict_items([('b', 1), "
       "('A', [True, None]), ('items', 'x')])"},
      {"{{ '\\n\\t\\x01\\u200b é' }}|{{ ['\\n\\t\\x01\\u200b é\\\\'] }}",
       "\n\t\001​ é|['\\n\\t\\x01\\u200b é\\\\']"},
      {"{{ range(3) }} {{ range(1, 9, 2) }} {{ namespace(a=1) }} {{ () }}",
       "range(0, 3) range(1, 9, 2) <Namespace {'a': 1}> ()"},
      {"{{ none }} {{ missing }}| {{ u }} {{ [u|safe] }}", "None | straße ÉΣ [Markup('straße ÉΣ')]"},
  });
}

TEST(Jinja, strings_count_code_points) {
  check_all({
      {"{{ u|length }} {{ u[4] }} {{ u[::-1] }} {{ u[-2:] }} {{ u.find('É') }} {{ u.upper() }} {{ u|lower }} "
       "{{ u|title }}",
       "9 ß ΣÉ eßarts ÉΣ 7 STRASSE ÉΣ straße éς Straße Éσ"},
      {"{{ '😀é'|center(6) }}| {{ '日本'.ljust(4, '*') }} {{ 'Ǆ'|capitalize }} {{ 'ﬁx'.title() }} {{ "
       "'İ'|lower|length }}",
       "  😀é  | 日本** ǅ Fix 2"},
  });
}

TEST(Jinja, slices_and_items_are_pythons) {
  check_all({
      {"{{ l[1:] }} {{ l[::-1] }} {{ l[-1] }} {{ l[9] }}| {{ s[1:-1:3] }} {{ l[:0] }} {{ s[99:] }}",
       "[1, 2] [2, 1, 3] 2 | eoo [] "},
      {"{{ k.items is callable }} {{ k['items'] }} {{ k.zz }}| {{ users.0.name }} {{ users[1]['age'] }} {{ "
       "(1, 2)[1] }}",
       "True x | Zoe 25 2"},
      {"{{ none.x is undefined }} {{ n.x is defined }} {{ l.append is defined }} {{ k.__class__ is defined "
       "}}",
       "True False False False"},
  });
}

TEST(Jinja, loops_know_their_place) {
  check_all({
      {"{% for x in l %}{{ loop.index }}/{{ loop.length }}:{{ x }}{{ ',' if not loop.last }}{% endfor %}",
       "1/3:3,2/3:1,3/3:2"},
      {"{% for x in l %}{{ loop.previtem }}<{{ x }}>{{ loop.nextitem }} {{ loop.revindex0 }}{{ "
       "loop.cycle('o', 'e') }}{{ loop.changed(x > 1) }};{% endfor %}",
       "<3>1 2oTrue;3<1>2 1eTrue;1<2> 0oTrue;"},
      {"{% for a, b in k.items() if a != 'b' %}{{ a }}={{ b }}{{ loop.length }}{% else %}none{% endfor %}",
       "A=[True, None]2items=x2"},
      {"{% for x in [] %}{% else %}empty{% endfor %}{% for x in l %}{% continue %}{% else %}odd{% endfor %}",
       "emptyodd"},
      {"{% for x in l %}{% if x == 1 %}{% break %}{% endif %}{{ x }}{% endfor %}", "3"},
      {"{% for x in [1, [2, [3]]] recursive %}{{ loop.depth }}{{ x if x is number else '(' ~ loop(x) ~ ')' "
       "}}{% endfor %}",
       "111(222(33))"},
  });
}

TEST(Jinja, assignments_stay_in_their_scope) {
  check_all({
      {"{% set x = 1 %}{% for i in l %}{{ x }}{% set x = i %}{{ x }}{% endfor %}{{ x }}", "1311121"},
      {"{% set ns = namespace(v=0) %}{% for i in l %}{% set ns.v = ns.v + i %}{% endfor %}{{ ns.v }}", "6"},
      {"{% if true %}{% set y = 5 %}{% endif %}{{ y }}{% with y = 6, z = y %}{{ y }}{{ z }}{% endwith %}{{ y "
       "}}{{ z }}",
       "5655"},
      {"{% set a, b = l[:2] %}{{ a }}{{ b }}{% set c %}[{{ a }}]{% endset %}{{ c }}{% set d | upper %}{{ s "
       "}}{% endset %}{{ d }}",
       "31[3]HELLO WORLD"},
      {"{% macro m() %}{{ late }}{% endmacro %}{% set late = 'seen' %}{{ m() }}", "seen"},
      {"{% for i in l %}{% if false %}{% set n = 1 %}{% endif %}{{ n }}{% endfor %}", "777"},
  });
}

TEST(Jinja, macros_take_arguments_and_callers) {
  check_all({
      {"{% macro m(a, b=a ~ '!', c='d') %}{{ a }}{{ b }}{{ c }}{{ varargs }}{{ kwargs }}{% endmacro %}{{ "
       "m(1) }} {{ m(1, c=2, z=3) }} {{ m(1, 2, 3, 4) }}",
       "11!d(){} 11!2(){'z': 3} 123(4,){}"},
      {"{% macro m(x) %}<{{ caller(x) }}>{% endmacro %}{% call(y) m('v') %}{{ y }}{{ n }}{% endcall %}",
       "<v7>"},
      {"{% macro f(i) %}{{ i }}{{ f(i - 1) if i }}{% endmacro %}{{ f(3) }} {{ f.name }} {{ f.arguments }} {{ "
       "f }}",
       "3210 f ('i',) <Macro 'f'>"},
      {"{% filter upper %}a{{ s }}{% endfilter %}{% generation %}g{{ n }}{% endgeneration %}",
       "AHELLO WORLDg7"},
      {"{% block b %}{{ n }}{% endblock %}{% set row = cycler(1, 2) %}{{ row.next() }}{{ row.next() }}{{ "
       "row.current }}{% set j = joiner('|') %}{{ j() }}a{{ j() }}b",
       "7121a|b"},
  });
}

TEST(Jinja, filters_of_text) {
  check_all({
      {"{{ s|replace('l', 'L', 2) }} {{ ' x '|trim }}| {{ 'xxaxx'|trim('x') }} {{ s|center(15) }}| {{ 'hello "
       "world-foo (bar)'|title }}",
       "HeLLo World x| a   Hello World  | Hello World-Foo (Bar)"},
      {"{{ 'a\\n\\nb'|indent(2, true) }}|{{ 'a\\n\\nb'|indent('> ', blank=true) }}", "  a\n\n  b|a\n> \n> b"},
      {"{{ 'foo bar baz qux'|truncate(9) }} {{ 'foo bar baz qux'|truncate(9, true) }} {{ 'foo "
       "bar'|truncate(6) }} {{ s|wordcount }}",
       "foo... foo ba... foo bar 2"},
      {"{{ '<a&\"\\'>'|e }} {{ '<b>'|safe + '<' }} {{ ('<'|e) ~ '<' }} {{ '<p>a <b>x</b>&amp;</p>'|striptags "
       "}} {{ {'a': '<', 'b': none}|xmlattr }}",
       "&lt;a&amp;&#34;&#39;&gt; <b>&lt; &lt;< a x&  a=\"&lt;\""},
      {"{{ 'a b/ü?'|urlencode }} {{ {'a b': 'c&'}|urlencode }} {{ '%s-%05.1f'|format('x', 2.25) }} {{ "
       "12345678|filesizeformat }}",
       "a%20b/%C3%BC%3F a+b=c%26 x-002.2 12.3 MB"},
  });
}

TEST(Jinja, filters_of_sequences) {
  check_all({
      {"{{ l|sort }} {{ ['b', 'A', 'c']|sort }} {{ ['b', 'A']|sort(case_sensitive=true, reverse=true) }} {{ "
       "users|sort(attribute='age,name')|map(attribute='name')|join(' ') }}",
       "[1, 2, 3] ['A', 'b', 'c'] ['b', 'A'] abe Bob Zoe"},
      {"{{ l|min }}{{ l|max }}{{ l|sum }}{{ l|first }}{{ l|last }}{{ []|first }} {{ "
       "users|sum(attribute='age') }} {{ l|reverse|list }} {{ s|reverse }}",
       "13632 85 [2, 1, 3] dlroW olleH"},
      {"{{ users|groupby('age') }} {% for age, them in users|groupby('age') %}{{ age }}{{ them|length }}{% "
       "endfor %}",
       "[(25, [{'name': 'abe', 'age': 25}]), (30, [{'name': 'Zoe', 'age': 30}, {'name': 'Bob', 'age': 30}])] "
       "251302"},
      {"{{ range(7)|batch(3, 'x')|list }} {{ range(7)|slice(3, 'x')|list }} {{ ['a', 'A', 'b']|unique|list "
       "}}",
       "[[0, 1, 2], [3, 4, 5], [6, 'x', 'x']] [[0, 1, 2], [3, 4, 'x'], [5, 6, 'x']] ['a', 'b']"},
      {"{{ users|selectattr('age', 'gt', 26)|map(attribute='name')|list }} {{ l|select('odd')|list }} {{ "
       "l|reject('eq', 1)|list }} {{ users|rejectattr('name', 'in', ['abe'])|list|length }}",
       "['Zoe', 'Bob'] [3, 1] [3, 2] 2"},
      {"{{ k|dictsort }} {{ k|dictsort(true) }} {{ k|items|list }} {{ ['1', 'x']|map('int', default=-1)|list "
       "}}",
       "[('A', [True, None]), ('b', 1), ('items', 'x')] [('A', [True, None]), ('b', 1), ('items', 'x')] "
       "[('b', 1), ('A', [True, None]), ('items', 'x')] [1, -1]"},
  });
}

TEST(Jinja, filters_of_numbers) {
  check_all({
      {"{{ 2.5|round }} {{ 3.5|round }} {{ 2.675|round(2) }} {{ 42.55|round(1, 'floor') }} {{ 1234|round(-2) "
       "}} {{ 7|round }} {{ 1.2|round(0, 'ceil') }}",
       "2.0 4.0 2.67 42.5 1200 7 2.0"},
      {"{{ '42'|int }} {{ ' -0x1f '|int(0, 16) }} {{ '3.9'|int }} {{ 'x'|int(5) }} {{ '1_0'|int }} {{ "
       "3.99|int }} {{ '1e3'|float }} {{ 'x'|float }} {{ -5|abs }}",
       "42 -31 3 5 10 3 1000.0 0.0 5"},
  });
}

TEST(Jinja, tojson_is_json_dumps) {
  check_all({
      {"{{ k|tojson }} {{ u|tojson(ensure_ascii=true) }} {{ '</script>\\u2028\"\\\\\\n\\x01'|tojson }}",
       "{\"b\": 1, \"A\": [true, null], \"items\": \"x\"} \"stra\\u00dfe \\u00c9\\u03a3\" "
       "\"</script> \\\"\\\\\\n\\u0001\""},
      {"{{ k|tojson(indent=2) }}",
       "{\n  \"b\": 1,\n  \"A\": [\n    true,\n    null\n  ],\n  \"items\": \"x\"\n}"},
      {"{{ {'b': 1.0, 'a': [], 'c': {}}|tojson(sort_keys=true, separators=(',', ':')) }} {{ {1: none, true: "
       "2.5e20}|tojson(indent=0) }} {{ (1, 2)|tojson(indent='--') }}",
       "{\"a\":[],\"b\":1.0,\"c\":{}} {\n\"1\": 2.5e+20\n} [\n--1,\n--2\n]"},
  });
}

TEST(Jinja, methods_of_text_and_containers) {
  check_all({
      {"{{ 'a,b,,c'.split(',') }} {{ ' a  b '.split() }} {{ 'a b c'.split(' ', 1) }} {{ 'a b c'.rsplit(none, "
       "1) }} {{ 'a\\nb\\r\\n'.splitlines() }}",
       "['a', 'b', '', 'c'] ['a', 'b'] ['a', 'b c'] ['a b', 'c'] ['a', 'b']"},
      {"{{ s.startswith(('x', 'He')) }} {{ s.endswith('ld') }} {{ s.find('o') }} {{ s.rfind('o') }} {{ "
       "s.count('l') }} {{ s.partition(' ') }} {{ s.removeprefix('Hello ') }}",
       "True True 4 7 3 ('Hello', ' ', 'World') World"},
      {"{{ '-'.join(['a', 'b']) }} {{ '7'.zfill(3) }} {{ 'xay'.strip('xy') }} {{ 'aXb'.swapcase() }} {{ "
       "'１²'.isdigit() }} {{ 'a1'.isalnum() }}",
       "a-b 007 a AxB True True"},
      {"{{ k.get('zz', 5) }} {{ k.get('b') }} {{ l.index(1) }} {{ l.count(3) }} {{ k.values()|list }}",
       "5 1 1 1 [1, [True, None], 'x']"},
      {"{{ '{} {:>5}|{:05.2f}|{a!r}|{:,}|{:x}'.format('x', 'y', 3.14159, 1234567, 255, a='q') }} {{ '{0[b]} "
       "{1.name}'.format(k, users[0]) }}",
       "x     y|03.14|'q'|1,234,567|ff 1 Zoe"},
      {"{{ '%s %r %5d|%-5s|%05.1f %x %c %%' % (1, 'a', 42, 'b', 2.25, 255, 'z') }} {{ '%(b)s' % k }}",
       "1 'a'    42|b    |002.2 ff z % 1"},
  });
}

TEST(Jinja, tests_answer_as_python_does) {
  check_all({
      {"{{ n is integer }}{{ true is integer }}{{ f is float }}{{ n is number }}{{ s is string }}{{ k is "
       "mapping }}{{ l is sequence }}{{ k is iterable }}{{ n is iterable }}{{ missing is sequence }}",
       "TrueFalseTrueTrueTrueTrueTrueTrueFalseTrue"},
      {"{{ 'a' is lower }} {{ 'A' is upper }} {{ missing is callable }} {{ range is callable }} {{ 2 is in l "
       "}} {{ 'upper' is filter }} {{ 'zz' is test }} {{ none is sameas none }} {{ '<'|e is escaped }}",
       "True True True True True True False True True"},
      {"{{ 'x' in 'xyz' }} {{ 2 not in l }} {{ 'b' in k }} {{ 1.0 in [1] }} {{ (1, 2) in k.items() }} {{ 'a' "
       "< 'b' }} {{ [1, 2] < [1, 3] }} {{ missing == other }}",
       "True False True True False True True True"},
  });
}

TEST(Jinja, errors_where_python_raises) {
  for (const char* source : {"{{ missing.x }}",
                             "{{ missing + 1 }}",
                             "{{ 'a' + 1 }}",
                             "{{ l.append(1) }}",
                             "{{ k.update({}) }}",
                             "{{ range(100001) }}",
                             "{{ 1 / 0 }}",
                             "{{ l|nosuch }}",
                             "{{ x is nosuch }}",
                             "{% for a, b in l %}{% endfor %}",
                             "{{ {[]: 1} }}",
                             "{{ 1 < 'a' }}",
                             "{{ 'abc' % 1 }}",
                             "{{ '%d' % 'x' }}",
                             "{{ '{}'.format() }}",
                             "{{ s.index('zz') }}",
                             "{{ n() }}",
                             "{{ l|tojson(1, 2, 3, 4, 5) }}",
                             "{{ missing|tojson }}",
                             "{% macro m(a) %}{% endmacro %}{{ m(1, 2) }}",
                             "{% macro m(a) %}{% endmacro %}{{ m(b=2) }}",
                             "{% for x in l %}{{ loop(x) }}{% endfor %}",
                             "{% set n.x = 1 %}",
                             "{{ [3, 'a']|sort }}",
                             "{{ 5|items|list }}",
                             "{{ users|map|list }}",
                             "{% filter length %}x{% endfilter %}",
                             "{{ none|length }}",
                             "{{ -s }}",
                             "{{ s[::0] }}",
                             "{{ 10 ** 400 * 1.0 }}"}) {
    EXPECT_FALSE(render(source).ok()) << source;
  }
}

TEST(Jinja, templates_that_do_not_parse) {
  for (const char* source : {"{{ }}",
                             "{{ 1 +}}",
                             "{% if %}{% endif %}",
                             "{% if n %}",
                             "{% endif %}",
                             "{% unknown %}",
                             "{{ (1 }}",
                             "{{ 'a }}",
                             "{# open",
                             "{% raw %} ",
                             "{% for x %}{% endfor %}",
                             "{% break %}",
                             "{% for loop in l %}{% endfor %}",
                             "{% set 1 = 2 %}",
                             "{% set true = 2 %}",
                             "{{ a is defined is none }}",
                             "{{ x is defined if y }}",
                             "{% macro m(a=1, b) %}{% endmacro %}",
                             "{% macro m(a, a) %}{% endmacro %}",
                             "{{ f(a=1, 2) }}",
                             "{{ f(a=1, a=2) }}",
                             "{% include 'x' %}",
                             "{% extends 'x' %}",
                             "{% import 'x' as y %}",
                             "{% call 5 %}{% endcall %}",
                             "{{ '\\x1' }}",
                             "{{ a ! b }}",
                             "{% block a %}{% endblock %}{% block a %}{% endblock %}",
                             "{{ l[1:2, 3] }}"}) {
    const auto parsed = ChatTemplate::parse(source, "t.jinja");
    EXPECT_FALSE(parsed.ok()) << source;
    EXPECT_TRUE(parsed.ok() || parsed.error().message.starts_with("t.jinja: line 1: "))
        << parsed.error().message;
  }
}

TEST(Jinja, messages_of_raise_exception_come_through_unchanged) {
  EXPECT_EQ(render("{{ raise_exception('Only user roles!') }}").error().message, "Only user roles!");
  EXPECT_EQ(render("a\n{{ missing.x }}").error().message, "t.jinja: line 2: 'missing' is undefined");
}

TEST(Jinja, the_clock_is_the_one_given) {
  const TemplateLimits limits{.now = 86'400 * 365};
  EXPECT_EQ(*render("{{ strftime_now('%Y %b') }}", limits), "1971 Jan");
}

TEST(Jinja, integers_past_64_bits_are_errors) {
  for (const char* source : {"{{ 9223372036854775807 + 1 }}", "{{ 9223372036854775808 }}", "{{ 10 ** 19 }}",
                             "{{ '9223372036854775808'|int }}", "{{ 1e19|int }}"}) {
    const auto text = render(source);
    ASSERT_FALSE(text.ok()) << source;
    EXPECT_NE(text.error().message.find("beyond 64 bits"), std::string::npos) << text.error().message;
  }
}

TEST(Jinja, one_template_renders_for_many_variables) {
  const auto parsed = ChatTemplate::parse("{% for m in messages %}{{ m.role }}{% endfor %}", "t");
  ASSERT_TRUE(parsed.ok());
  EXPECT_EQ(*parsed->render({{"messages", {{{"role", "a"}}, {{"role", "b"}}}}}), "ab");
  EXPECT_EQ(*parsed->render({{"messages", OrderedJson::array()}}), "");
  EXPECT_EQ(*parsed->render(OrderedJson::object()), "");
  EXPECT_FALSE(parsed->render(OrderedJson::array()).ok());
}

}  // namespace
}  // namespace heed
