// Hostile chat templates end in an error, soon and within the memory allowed.
#include <gtest/gtest.h>

#include <ctime>
#include <string>

#include "text/chat_template.h"

namespace heed {
namespace {

std::string repeated(const std::string& text, int times) {
  std::string out;
  for (int i = 0; i < times; ++i) out += text;
  return out;
}

std::string error_of(const std::string& source, const TemplateLimits& limits = {}) {
  const auto parsed = ChatTemplate::parse(source, "t");
  if (!parsed.ok()) return parsed.error().message;
  const auto text = parsed->render(OrderedJson::object(), limits);
  return text.ok() ? "rendered " + std::to_string(text->size()) + " bytes" : text.error().message;
}

void expect_error(const std::string& source, const std::string& part, const TemplateLimits& limits = {}) {
  const std::string message = error_of(source, limits);
  EXPECT_NE(message.find(part), std::string::npos) << source.substr(0, 200) << "\n" << message;
}

TEST(JinjaLimits, ranges_are_those_of_the_sandbox) {
  expect_error("{{ range(1000000000) }}", "a range of more than 100000");
  expect_error("{{ range(-9223372036854775807, 9223372036854775807) }}", "a range of more than 100000");
  EXPECT_EQ(error_of("{% for i in range(100000) %}{% endfor %}"), "rendered 0 bytes");
}

TEST(JinjaLimits, nesting_in_the_source_is_bounded) {
  constexpr int kDeep = 10'000;
  expect_error("{{ " + repeated("(", kDeep) + "1" + repeated(")", kDeep) + " }}", "nested deeper than");
  expect_error("{{ " + repeated("[", kDeep) + repeated("]", kDeep) + " }}", "nested deeper than");
  expect_error("{{ " + repeated("{1: ", kDeep) + "1" + repeated("}", kDeep) + " }}", "nested deeper than");
  expect_error("{{ " + repeated("not ", kDeep) + "1 }}", "nested deeper than");
  expect_error("{{ " + repeated("-", kDeep) + "1 }}", "nested deeper than");
  expect_error(repeated("{% if 1 %}", kDeep) + repeated("{% endif %}", kDeep), "nested deeper than");
  expect_error("{{ 1" + repeated(" + 1", kDeep) + " }}", "nested expressions");
  expect_error("{{ 1" + repeated("|string", kDeep) + " }}", "nested expressions");
  expect_error("{{ a" + repeated(".b", kDeep) + " }}", "nested expressions");
}

TEST(JinjaLimits, recursion_at_run_time_is_bounded) {
  expect_error("{% macro f(n) %}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}", "macros recurse deeper than 200");
  expect_error("{% macro f(n) %}{{ " + repeated("(1~", 45) + "f(n)" + repeated(")", 45) +
                   " }}{% endmacro %}{{ f(0) }}",
               "deep");
  const std::string nest =
      "{% set ns = namespace(x=[]) %}{% for i in range(50000) %}{% set ns.x = [ns.x] %}{% endfor %}";
  expect_error(nest + "{% for a in ns.x recursive %}{{ loop(a) }}{% endfor %}",
               "loops recurse deeper than 200");
  expect_error(nest + "{{ ns.x }}", "recurses too deeply");
  expect_error(nest + "{{ ns.x|tojson }}", "recurses too deeply");
  expect_error(nest +
                   "{% set a = ns.x %}{% set ns.x = [] %}{% for i in range(50000) %}{% set ns.x = [ns.x] %}" +
                   "{% endfor %}{{ a == ns.x }}",
               "recurses too deeply");
  expect_error(
      "{% set ns = namespace(x=()) %}{% for i in range(50000) %}{% set ns.x = (ns.x,) %}{% endfor %}{{ "
      "{ns.x: 1} }}",
      "hashable");
  expect_error(
      "{% set ns = namespace(x=[1]) %}{% for i in range(50000) %}{% set ns.x = ns.x|map('string') %}{% "
      "endfor %}" +
          std::string("{{ ns.x|list }}"),
      "recurses too deeply");
}

TEST(JinjaLimits, values_that_contain_themselves_go_with_the_render) {
  EXPECT_EQ(error_of("{% set ns = namespace() %}{% set ns.a = [ns] %}{% set ns.b = {'c': ns} %}"),
            "rendered 0 bytes");
  expect_error("{% set ns = namespace() %}{% set ns.a = [ns] %}{{ ns }}", "recurses too deeply");
}

TEST(JinjaLimits, growth_is_refused_before_it_happens) {
  for (const char* source :
       {"{% set ns = namespace(s='xyz') %}{% for i in range(99) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
        "{{ 'x' * 1000000000 }}", "{{ ([0] * 1000000000)|length }}", "{{ 'x'|center(1000000000) }}",
        "{{ 'x'.zfill(1000000000) }}", "{{ 'x'.ljust(1000000000) }}", "{{ '\\t'.expandtabs(1000000000) }}",
        "{{ '%1000000000d' % 5 }}", "{{ '%*d' % (1000000000, 5) }}", "{{ '{:1000000000}'.format(5) }}",
        "{{ '{:{}}'.format(5, 1000000000) }}", "{% set s = 'a\\n' * 100000 %}{{ s|indent(1000000) }}",
        "{% set s = 'a' * 10000 %}{{ s|replace('a', s)|replace('a', s) }}",
        "{{ [1]|batch(1000000000, 'x')|list }}", "{% set s = 'a' * 100000 %}{{ s|join(s) }}"}) {
    expect_error(source, "bytes of memory");
  }
  expect_error("{{ '%.1000000000f' % 5 }}", "precision");
  expect_error("{% for i in range(100000) %}{{ 'x' * 100000 }}{% endfor %}", "the text is longer than");
  expect_error("{{ 'x' * 11 }}", "the text is longer than 10", {.max_output_bytes = 10});
}

TEST(JinjaLimits, steps_are_counted_in_loops_and_builtins) {
  const TemplateLimits limits{.max_steps = 1000};
  for (const char* source :
       {"{% for i in range(2000) %}{% endfor %}", "{{ range(2000)|list }}", "{{ range(2000)|sum }}",
        "{{ range(2000)|map('string')|join }}", "{{ -1 in range(2000)|list }}", "{{ ('x' * 20000)|upper }}",
        "{{ ([1] * 2000) == ([1] * 2000) }}"}) {
    expect_error(source, "more than 1000 steps", limits);
  }
}

double thread_seconds() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

// With the limits that a server has. Instrumented and unoptimized builds, which are many times slower, run a
// part of it and are not timed.
TEST(JinjaLimits, the_worst_take_less_than_two_seconds) {
#if defined(NDEBUG) && !defined(HEED_SANITIZED)
  constexpr double kSeconds = 2;
  const TemplateLimits limits;
#else
  constexpr double kSeconds = 1e9;
  const TemplateLimits limits{.max_steps = 200'000};
#endif
  for (const char* source :
       {"{% for i in range(100000) %}{% for j in range(100000) %}x{% endfor %}{% endfor %}",
        "{% for i in range(100000) %}{% set x = 'x' * 10000000 %}{% endfor %}",
        "{% set s = 'a' * 1000000 %}{% set n = 'a' * 500000 ~ 'b' %}{% for i in range(100000) %}{% if n in s "
        "%}{% endif %}{% endfor %}",
        "{% set l = range(100000)|list %}{% for i in l %}{% set x = l|sort(reverse=true) %}{% endfor %}",
        "{% set ns = namespace() %}{% for i in range(100000) %}{% set ns.d = dict(ns.d or {}, **{i|string: "
        "i}) %}{% endfor %}",
        "{% set s = 'ab' * 5000000 %}{% for i in range(100000) %}{% set x = s[::-1] %}{% endfor %}",
        "{% set s = 'ß' * 1000000 %}{% for i in range(100000) %}{% set x = s|upper %}{% endfor %}",
        "{% for i in range(100000) %}{{ range(100000)|unique|list|length }}{% endfor %}"}) {
    const double start = thread_seconds();
    expect_error(source, "more than", limits);
    EXPECT_LT(thread_seconds() - start, kSeconds) << source;
  }
}

}  // namespace
}  // namespace heed
