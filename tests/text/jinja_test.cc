// Our Jinja against Python's: what jinja2 prints with transformers' settings (trim_blocks, lstrip_blocks,
// loop controls), written down.
#include <gtest/gtest.h>

#include "text/jinja/interpreter.h"
#include "text/jinja/parser.h"

namespace ringflash::jinja {
namespace {

Value message(const char* role, const char* content) {
  Dict dict;
  dict.entries = {{"role", Value(role)}, {"content", Value(content)}};
  return Value(std::move(dict));
}

Dict variables() {
  Dict d, all;
  d.entries = {{"k", Value("v")}, {"n", Value(int64_t{1})}};
  const List l = {Value(int64_t{3}), Value(int64_t{1}), Value(int64_t{2})};
  const List messages = {message("system", "Be brief."), message("user", "Hi"),
                         message("assistant", " Hello! \n")};
  all.entries = {{"messages", Value(messages)},
                 {"x", Value(int64_t{5})},
                 {"s", Value(" a,b c ")},
                 {"l", Value(l)},
                 {"d", Value(d)},
                 {"f", Value(1.5)},
                 {"t", Value(true)},
                 {"n", Value()},
                 {"e", Value("")},
                 {"u8", Value("héllo 的")}};
  return all;
}

std::string rendered(std::string_view source) {
  const Result<Body> body = parse(source);
  if (!body) return body.error().message;
  const Result<std::string> text = Interpreter().run(*body, variables());
  return text ? *text : text.error().message;
}

struct Case {
  const char* source;
  const char* text;
};

void expect_all(const std::vector<Case>& cases) {
  for (const Case& each : cases) EXPECT_EQ(rendered(each.source), each.text) << each.source;
}

TEST(Jinja, Operators) {
  expect_all({
      {"{{ x + 1 }} {{ x - 7 }} {{ x / 2 }} {{ -x // 2 }} {{ -x % 3 }} {{ 2 ** 3 }} {{ 7.5 // 2 }} {{ 1e3 }}",
       "6 -2 2.5 -3 1 8 3.0 1000.0"},
      {"{{ 2 + 3 * 4 ** 2 / 8 - 1 }} {{ 'a' ~ 1 ~ none }} {{ 'ab' * 3 }} {{ [1] * 2 + [3] }} {{ 0.1 + 0.2 }} "
       "{{ 1e-7 }}",
       "7.0 a1None ababab [1, 1, 3] 0.30000000000000004 1e-07"},
      {"{{ 'a' in s }} {{ 'k' in d }} {{ 9 not in l }} {{ not x }} {{ 1 < 2 < 3 }} {{ 'abc' < 'abd' }} {{ x "
       "== 5.0 }} {{ t == 1 }}",
       "True True True False True True True True"},
      {"{{ e or 'no' }} {{ x and s }} {{ 'yes' if x else 'no' }} {{ 'yes' if false }} {{ not true or true }}",
       "no  a,b c  yes  True"},
  });
}

TEST(Jinja, Whitespace) {
  expect_all({
      {"   {% if true %}\n  indented\n   {% endif %}\nafter\n", "  indented\nafter"},
      {"a {%- if true %} b {% endif -%} c", "a b c"},
      {"{# c #}\nline\n  {#- c -#}\n  end", "lineend"},
      {"{%+ if true %}x{%+ endif %}\n  {%+ if true +%}\ny\n{% endif %}", "x  \ny\n"},
      {"l1\n\n  {%- set a = 1 -%}\n\nl2  \n{{ a }}  \n{{- a -}}\n  end\n", "l1l2  \n11end"},
      {"a\r\n{% if true %}\r\nb{% endif %}", "a\nb"},
      {"{% raw %}{{ not rendered }} {% if %}{% endraw %} ok", "{{ not rendered }} {% if %} ok"},
  });
}

TEST(Jinja, Statements) {
  expect_all({
      {"{% for i in range(3) %}{{ loop.index }}{{ loop.first }}{{ loop.last }}{{ loop.revindex }}{% if not "
       "loop.last %}, {% endif %}{% endfor %}",
       "1TrueFalse3, 2FalseFalse2, 3FalseTrue1"},
      {"{% for i in [] %}x{% else %}none{% endfor %}{% for i in range(10) if i % 2 %}{{ i }}{% if i == 7 "
       "%}{% break %}{% endif %}{% if i == 3 %}{% continue %}{% endif %}.{% endfor %}",
       "none1.35.7"},
      {"{% set a, b = 1, 2 %}{% set c %}block {{ a }}{% endset %}[{{ c }}]{% set q | upper | trim %} ab {% "
       "endset %}{{ q }}{{ b }}",
       "[block 1]AB2"},
      {"{% set ns = namespace(v=0) %}{% for i in l %}{% set ns.v = ns.v + i %}{% set w = i %}{% endfor %}{{ "
       "ns.v }}{{ w is defined }}",
       "6False"},
      {"{% macro m(a, b='B') %}{{ a }}{{ b }}{{ x }}{% endmacro %}{{ m('1') }}{{ m('1', '2') }}{{ m(b='z', "
       "a='y') }}{{ m() }}",
       "1B5125yz5B5"},
      {"{% if x == 1 %}1{% elif x == 5 %}5{% else %}e{% endif %}{% if not nothing %}u{% endif %}", "5u"},
      {"{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}{% for (p, q) in [[1, 2], [3, 4]] %}{{ p + q "
       "}}{% endfor %}",
       "k=v;n=1;37"},
      {"{% filter upper %}abc {{ x }}{% endfilter %}{% filter trim | upper | lower %}  Q {% endfilter %}",
       "ABC 5q"},
  });
}

TEST(Jinja, Values) {
  expect_all({
      {"{{ l[0] }}{{ l[-1] }}{{ l[1:] }}{{ l[::-1] }}{{ l[:2] }}{{ l[5] }}", "32[1, 2][2, 1, 3][3, 1]"},
      {"{{ d }} {{ d.k }} {{ d['n'] }} {{ d.get('z', 'no') }} {{ d.missing }} {{ d.keys()|list }}",
       "{'k': 'v', 'n': 1} v 1 no  ['k', 'n']"},
      {"{{ u8|length }} {{ u8[1] }} {{ u8[-1] }} {{ u8[1:4] }} {{ u8[::-1] }}", "7 é 的 éll 的 olléh"},
      {"{{ none }} {{ t }} {{ f }} {{ nothing }} {{ 3.0 }} {{ 1.0e20 }} {{ ['a', none, 1.0] }}",
       "None True 1.5  3.0 1e+20 ['a', None, 1.0]"},
      {R"j({{ "a\nb\t\"q\" \\ \x41 \u00e9" }} {{ "con" "cat" }})j", "a\nb\t\"q\" \\ A é concat"},
  });
}

TEST(Jinja, Filters) {
  expect_all({
      {"{{ s|upper }}|{{ 'a-b cD'|title }}|{{ s|trim|capitalize }}|{{ s|replace(' ', '_') }}|{{ l|first }}{{ "
       "l|last }}{{ l|length }}{{ l|join('-') }}",
       " A,B C |A-B Cd|A,b c|_a,b_c_|3233-1-2"},
      {"{{ nothing|default('dd') }} {{ e|default('x', true) }} {{ n|d('y') }} {{ '12'|int + 1 }} {{ "
       "'x'|int(7) }} {{ '1.5'|float }} {{ (-x)|abs }}",
       "dd x None 13 7 1.5 5"},
      {"{{ messages|map(attribute='role')|join(',') }} {{ messages|selectattr('role', 'equalto', "
       "'user')|map(attribute='content')|list }} {{ messages|rejectattr('role', 'eq', 'user')|list|length }}",
       "system,user,assistant ['Hi'] 2"},
      {R"j({{ {"a": [1, {"b": none}], 'c': "é\u0001\n"}|tojson }} {{ [1, {'k': []}]|tojson(indent=2) }})j",
       "{\"a\": [1, {\"b\": null}], \"c\": \"é\\u0001\\n\"} [\n  1,\n  {\n    \"k\": []\n  }\n]"},
      {R"j({{ [1, 2, 2]|unique|list }} {{ [1, none, 0, 'x']|select|list }} {{ [1, 2, 3]|reverse|list }} {{ 'abc'|reverse }} {{ 'a\nb\n\nc'|indent(2) }})j",
       "[1, 2] [1, 'x'] [3, 2, 1] cba a\n  b\n\n  c"},
  });
}

TEST(Jinja, Methods) {
  expect_all({
      {"{{ s.strip() }}|{{ s.lstrip() }}|{{ 'xxaxx'.strip('x') }}|{{ s.split(',') }}|{{ s.split() }}|{{ "
       "'a,b,c'.split(',', 1) }}|{{ ','.join(['q', 'r']) }}",
       "a,b c|a,b c |a|[' a', 'b c ']|['a,b', 'c']|['a', 'b,c']|q,r"},
      {"{{ 'text'.startswith('te') }} {{ 'text'.endswith('te') }} {{ 'aXbX'.replace('X', '-') }} {{ "
       "'aéX'.find('X') }} {{ 'aa'.count('a') }} {{ 'Ab'.upper() }}{{ 'Ab'.lower() }}",
       "True False a-b- 2 2 ABab"},
  });
}

TEST(Jinja, Tests) {
  expect_all({
      {"{{ nothing is defined }} {{ x is not none }} {{ x is number }} {{ s is string }} {{ d is mapping }} "
       "{{ l is iterable }} {{ t is true }} {{ t is boolean }} {{ x is integer }} {{ f is float }}",
       "False True True True True True True True True True"},
      {"{{ x is odd }} {{ x is even }} {{ x is divisibleby 5 }} {{ 'a' is in ['a'] }} {{ x is eq 5 }} {{ x "
       "is not string and true }}",
       "True False True True True True"},
  });
}

TEST(Jinja, ErrorsNameLineAndCause) {
  expect_all({
      {"a\n{{ nothing.x }}", "line 2: 'nothing' is undefined"},
      {"{{ foo( }}", "line 1: a tag without an end"},
      {"{{ foo + }}", "line 1: expected a value, found the tag's end"},
      {"{% for %}", "line 1: expected a name, found the tag's end"},
      {"{% if x %}", "line 1: the template ends where 'endif' is missing"},
      {"{{ 'a' + 1 }}", "line 1: '+' does not take string and int"},
      {"{{ x | nosuch }}", "line 1: the filter 'nosuch' is not supported"},
      {"{{ x is nosuch }}", "line 1: the test 'nosuch' is not supported"},
      {"{{ s.nosuch() }}", "line 1: strings have no method 'nosuch'"},
      {"{{ 1 // 0 }}", "line 1: division by zero"},
      {"{{ 9223372036854775807 + 1 }}", "line 1: a number too large"},
      {"{{ 'abc }}", "line 1: a string without an end"},
      {"{# abc", "line 1: a comment without an end"},
      {"{{ x", "line 1: a tag without an end"},
      {"{{ x @ y }}", "line 1: unexpected '@'"},
      {"{% set x.y = 1 %}", "line 1: attributes can be set of namespaces alone, and 'x' is none"},
      {"{% set x | upper is defined %}{% endset %}", "line 1: a block takes filters alone"},
      {"{{ raise_exception('boom') }}", "line 1: boom"},
  });
}

std::string repeated(const std::string& text, int times) {
  std::string out;
  for (int i = 0; i < times; ++i) out += text;
  return out;
}

TEST(Jinja, HostileTemplatesEnd) {
  const auto refused = [](const std::string& source, const std::string& why) {
    const std::string message = rendered(source);
    EXPECT_NE(message.find(why), message.npos) << message.substr(0, 200);
  };
  const std::string loop = "{% for i in range(1000) %}";
  refused(loop + loop + loop + repeated("{% endfor %}", 3), "too many steps");
  refused(
      "{% set ns = namespace(s='0123456789') %}{% for i in range(99) %}{% set ns.s = ns.s ~ ns.s %}{% endfor "
      "%}",
      "too much text");
  refused("{{ 'x' * 9999999999 }}", "too much text");
  refused("{{ range(99999999) }}", "more than a million");
  refused("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "too deeply");
  refused("{{ " + repeated("(", 5000) + "x" + repeated(")", 5000) + " }}", "too deeply");
  refused("{{ x" + repeated("+x", 5000) + " }}", "too deeply");
  refused("{{ x" + repeated("|upper", 5000) + " }}", "too deeply");
  refused("{{ " + repeated("not ", 5000) + "x }}", "too deeply");
  refused(repeated("{% if x %}", 5000), "too deeply");
  refused("{% if x %}" + repeated("{% elif x %}", 5000) + "{% endif %}", "too deeply");
  refused(std::string(2 << 20, 'x'), "expected at most");
  // It holds itself: neither a leak nor an endless walk.
  refused("{% set ns = namespace() %}{% set ns.self = ns %}{{ ns.self.self | tojson }}", "too deeply");
}

}  // namespace
}  // namespace ringflash::jinja
