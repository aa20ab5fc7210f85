#include "config/yaml.h"

#include <gtest/gtest.h>

namespace postern::config {
namespace {

std::string dump(const Node& node) {
  switch (node.kind()) {
    case Kind::null: return "null";
    case Kind::boolean: return node.as_bool() ? "true" : "false";
    case Kind::integer: return "i" + std::to_string(node.as_int());
    case Kind::real: return "r" + std::string(node.text());
    case Kind::string: return "'" + std::string(node.text()) + "'";
    case Kind::sequence: {
      std::string out = "[";
      for (const Node& item : node.items()) out += dump(item) + " ";
      return out + "]";
    }
    case Kind::mapping: {
      std::string out = "{";
      for (const Entry& entry : node.entries()) out += std::string(entry.key) + "=" + dump(entry.value) + " ";
      return out + "}";
    }
  }
  return "";
}

TEST(Yaml, ScalarsAreNeverGuessed) {
  const struct {
    std::string_view yaml, expected;
  } cases[] = {
      {"a: true", "{a=true }"},
      {"a: no", "{a='no' }"},  // Norway
      {"a: yes", "{a='yes' }"},
      {"a: on", "{a='on' }"},
      {"a: off", "{a='off' }"},
      {"a: y", "{a='y' }"},
      {"a: 12", "{a=i12 }"},
      {"a: -0", "{a=i0 }"},
      {"a: 010", "{a='010' }"},  // octal to YAML 1.1
      {"a: 0o10", "{a='0o10' }"},
      {"a: 0x10", "{a='0x10' }"},
      {"a: 1_000", "{a='1_000' }"},
      {"a: 12:30:45", "{a='12:30:45' }"},  // sexagesimal to YAML 1.1
      {"a: +1", "{a='+1' }"},
      {"a: 1.5", "{a=r1.5 }"},
      {"a: 1e3", "{a=r1e3 }"},
      {"a: .5", "{a='.5' }"},
      {"a: 1.", "{a='1.' }"},
      {"a: .inf", "{a='.inf' }"},
      {"a: 2026-12-24", "{a='2026-12-24' }"},
      {"a: 99999999999999999999", "{a='99999999999999999999' }"},
      {"a: '12'", "{a='12' }"},
      {"a: \"true\"", "{a='true' }"},
      {"a:", "{a=null }"},
      {"a: ~", "{a=null }"},
      {"a: ''", "{a='' }"},
      {"a: 5s", "{a='5s' }"},
      {"a: [1, {b: c}]", "{a=[i1 {b='c' } ] }"},
      {"1: x\ntrue: y", "{1='x' true='y' }"},
      {"a: |\n  x\n  y\n", "{a='x\ny\n' }"},
      {"\xef\xbb\xbf"
       "a: b",
       "{a='b' }"},
      {"%YAML 1.2\n---\na: b\n...\n", "{a='b' }"},
      {"'<<': b", "{<<='b' }"},
  };
  for (const auto& c : cases) {
    Diagnostics diagnostics("t.yaml");
    const auto document = read_document("t.yaml", c.yaml, diagnostics);
    ASSERT_TRUE(document) << c.yaml << diagnostics.to_text();
    EXPECT_EQ(dump(document->root()), c.expected) << c.yaml;
  }
}

TEST(Yaml, PositionsOfKeysAndValuesCountCharacters) {
  Diagnostics diagnostics("t.yaml");
  const auto document =
      read_document("t.yaml", "a:\n  - b: \"\xc3\xa4\xc3\xb6\"  \n    \xc3\xa4: [1, 22]\n", diagnostics);
  ASSERT_TRUE(document) << diagnostics.to_text();
  const Node& item = document->root().find("a")->items()[0];
  EXPECT_EQ(item.position(), (Position{2, 5}));
  EXPECT_EQ(item.find("b")->position(), (Position{2, 8}));
  EXPECT_EQ(item.entries()[1].key_position, (Position{3, 5}));
  const Node& last = item.entries()[1].value.items()[1];
  EXPECT_EQ(last.position(), (Position{3, 12}));
  EXPECT_EQ(path_of(document->root(), last), "a[0].\"??\"[1]");
}

TEST(Yaml, RefusesWhatHasNoPlainMeaning) {
  std::string deep;
  for (int i = 0; i < 65; ++i) deep += "[";
  std::string deep_keys = "a: ";
  for (int i = 0; i < 70; ++i) deep_keys += "{a: ";
  std::string many = "k0: 1\n";
  for (int i = 1; i < 40; ++i) many += "k" + std::to_string(i) + ": 1\n";
  const struct {
    std::string name, text;
    Problem problem;
    Position position;
    std::string file = "t.yaml";
  } cases[] = {
      {"duplicate key", "a: 1\nb: 2\na: 3\n", Problem::duplicate_key, {3, 1}},
      {"duplicate among many", many + "k7: 2\n", Problem::duplicate_key, {41, 1}},
      {"duplicate by escape", "a: 1\n\"\\x61\": 2\n", Problem::duplicate_key, {2, 1}},
      {"nested duplicate", "x:\n  - {b: 1, b: 2}\n", Problem::duplicate_key, {2, 12}},
      {"anchor", "a: &x 1\n", Problem::alias, {1, 4}},
      {"alias", "a: *x\n", Problem::alias, {1, 4}},
      {"anchors bomb", "a: &a [x]\nb: [*a, *a]\n", Problem::alias, {1, 4}},
      {"merge key", "a: {b: 1}\nc: {<<: {d: 1}}\n", Problem::alias, {2, 5}},
      {"tag", "a: !!str 1\n", Problem::alias, {1, 4}},
      {"binary tag", "a: !!binary aGk=\n", Problem::alias, {1, 4}},
      {"local tag", "a: ! 1\n", Problem::alias, {1, 4}},
      {"tag directive", "%TAG ! tag:x,2000:\n---\na: 1\n", Problem::alias, {1, 1}},
      {"tag directive of a second document", "a: 1\n...\n%TAG ! tag:x,2000:\n---\n", Problem::alias, {3, 1}},
      {"YAML 1.1", "%YAML 1.1\n---\na: 1\n", Problem::syntax, {1, 1}},
      {"second document", "a: 1\n---\nb: 1\n", Problem::syntax, {2, 1}},
      {"list as key", "? [a]\n: 1\n", Problem::syntax, {1, 3}},
      {"mapping as key", "{a: 1}: 1\n", Problem::syntax, {1, 1}},
      {"empty", "", Problem::syntax, {1, 1}},
      {"comment only", "# nothing\n", Problem::syntax, {1, 1}},
      {"too deep", deep, Problem::too_large, {1, 65}},
      {"too deep mappings", deep_keys, Problem::too_large, {1, 256}},
      {"tab", "a:\n\tb: 1\n", Problem::syntax, {2, 1}},
      {"unclosed", "a: [1\nb: 2\n", Problem::syntax, {2, 2}},
      {"colon in plain", "a: b: c\n", Problem::syntax, {1, 5}},
      {"not UTF-8", "a: b\nc: \xff\n", Problem::encoding, {2, 4}},
      {"overlong UTF-8", "a: \xc0\xaf\n", Problem::encoding, {1, 4}},
      {"surrogate", "a: \xed\xa0\x80\n", Problem::encoding, {1, 4}},
      {"UTF-16",
       std::string("\xff\xfe"
                   "a\0",
                   4),
       Problem::encoding,
       {1, 1}},
      {"NUL", std::string("a: b\0c\n", 7), Problem::encoding, {1, 5}},
      {"escape character", "a: \x1b[31m\n", Problem::encoding, {1, 4}},
      {"JSON duplicate", "{\"a\": 1, \"a\": 2}", Problem::duplicate_key, {1, 10}, "t.json"},
      {"JSON comment", "{\"a\": 1} // x", Problem::syntax, {1, 10}, "t.json"},
      {"JSON trailing comma", "{\"a\": 1,\n}", Problem::syntax, {2, 1}, "t.json"},
      {"JSON bare word", "{a: 1}", Problem::syntax, {1, 2}, "t.json"},
      {"YAML in .json", "a: 1", Problem::syntax, {1, 1}, "t.json"},
      {"JSON depth", deep, Problem::too_large, {1, 65}, "t.json"},
      {"JSON cut", "{\"a\":", Problem::syntax, {1, 6}, "t.json"},
      {"too large", std::string(kMaxFileBytes + 1, ' '), Problem::too_large, {}},
  };
  for (const auto& c : cases) {
    Diagnostics diagnostics(c.file);
    EXPECT_FALSE(read_document(c.file, c.text, diagnostics)) << c.name;
    ASSERT_TRUE(diagnostics.has_errors()) << c.name;
    const Diagnostic first = diagnostics.all()[0];
    EXPECT_EQ(info(first.problem).id, info(c.problem).id) << c.name << "\n" << diagnostics.to_text();
    if (c.position.line != 0) EXPECT_EQ(first.position, c.position) << c.name << "\n" << diagnostics.to_text();
  }
}

TEST(Yaml, ReportsEveryDuplicateAndAliasOfOneFile) {
  Diagnostics diagnostics("t.yaml");
  EXPECT_FALSE(read_document("t.yaml", "a: &x 1\na: 2\nb: !t 3\nb: 4\n", diagnostics));
  EXPECT_EQ(diagnostics.errors(), 4U);
}

TEST(Yaml, TooManyValuesAreRefusedBeforeTheyFillTheMemory) {
  std::string text;
  for (std::size_t i = 0; i < kMaxNodes + 10; ++i) text += "-\n";
  Diagnostics diagnostics("t.yaml");
  EXPECT_FALSE(read_document("t.yaml", text, diagnostics));
  EXPECT_EQ(diagnostics.all()[0].problem, Problem::too_large);
}

TEST(Yaml, JsonAndYamlGiveTheSameTree) {
  constexpr std::string_view kJson = "{\"a\": [1, -2.5, \"x\\n\\u00e4\\/\", null, true],\r\n\t\"b\": {\"c\": \"no\"}}";
  Diagnostics diagnostics("t.json");
  const auto json = read_document("t.json", kJson, diagnostics);
  ASSERT_TRUE(json) << diagnostics.to_text();
  const auto yaml = read_document("t.yaml", "a: [1, -2.5, \"x\\n\\u00e4/\", ~, true]\nb:\n  c: no\n", diagnostics);
  ASSERT_TRUE(yaml) << diagnostics.to_text();
  EXPECT_EQ(dump(json->root()), dump(yaml->root()));
  EXPECT_EQ(json->root().find("b")->find("c")->position(), (Position{2, 13}));
}

}  // namespace
}  // namespace postern::config
