#include "config/schema.h"

#include <gtest/gtest.h>

#include "config/test_support.h"
#include "config/yaml.h"

namespace postern::config {
namespace {

TEST(Schema, PrintedTextIsTheOneThatValidates) {
  const Schema schema = test_schema();
  // Compiling what was printed, without any parts, prints the same text again: nothing was added behind its back.
  const Result<Schema> again = compile_schema(schema.text(), {});
  ASSERT_TRUE(again) << again.error().detail();
  EXPECT_EQ(again->text(), schema.text());
  Diagnostics first("t.yaml");
  Diagnostics second("t.yaml");
  const auto document = read_document("t.yaml", "version: 2\nlisteners: []\nroots: x\n", first);
  schema.validate(document->root(), first);
  again->validate(document->root(), second);
  EXPECT_EQ(first.to_text(), second.to_text());
  EXPECT_NE(schema.text().find("policy_rate_limit_window"), std::string::npos);
}

TEST(Schema, MistakesInASchemaStopTheCompilation) {
  const struct {
    std::string_view text, says;
  } cases[] = {
      {"{", "not JSON"},
      {"[]", "not an object"},
      {R"({"typ": "string"})", "keyword `typ`"},
      {R"({"type": "strin"})", "keyword `type`"},
      {R"({"patternProperties": {}})", "keyword `patternProperties`"},
      {R"({"not": {"type": "string"}})", "keyword `not`"},
      {R"x({"pattern": "("})x", "keyword `pattern`"},
      {R"x({"pattern": "(?=a)"})x", "keyword `pattern`"},
      {R"({"x-postern-format": "color"})", "keyword `x-postern-format`"},
      {R"({"$ref": "#/$defs/none"})", "not defined"},
      {R"({"$ref": "other.json"})", "keyword `$ref`"},
      {R"({"$defs": {"a": {"type": "string"}}, "$ref": "#/$defs/a", "minLength": 1})", "beside $ref"},
      {R"({"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}})", "circle"},
      {R"({"required": ["a"]})", "required `a`"},
      {R"({"minLength": -1})", "keyword `minLength`"},
      {R"({"enum": [[]]})", "keyword `enum`"},
      {R"({"properties": {"a": true}})", "must be an object"},
  };
  for (const auto& c : cases) {
    const Result<Schema> schema = compile_schema(c.text, {});
    ASSERT_FALSE(schema) << c.text;
    EXPECT_NE(schema.error().detail().find(c.says), std::string_view::npos) << c.text << "\n"
                                                                            << schema.error().detail();
  }
  const SchemaPart twice[] = {{"policy", "a", "{}"}, {"policy", "a", "{}"}};
  EXPECT_FALSE(compile_schema(root_schema_text(), twice));
  const SchemaPart stranger[] = {{"color", "a", "{}"}};
  EXPECT_FALSE(compile_schema(root_schema_text(), stranger));
  // The root refers to the policies respond and redirect; forgetting to pass them is found at start.
  EXPECT_FALSE(compile_schema(root_schema_text(), {}));
}

struct Verdict {
  std::string_view yaml;
  std::string_view expected;  // "" valid, else "code line:column what", first error only
};

void expect_verdicts(std::string_view schema_text, std::initializer_list<Verdict> verdicts) {
  const Result<Schema> schema = compile_schema(schema_text, {});
  ASSERT_TRUE(schema) << schema.error().detail();
  for (const Verdict& v : verdicts) {
    Diagnostics diagnostics("t.yaml");
    const auto document = read_document("t.yaml", v.yaml, diagnostics);
    ASSERT_TRUE(document) << v.yaml;
    diagnostics.set_root(&document->root());
    schema->validate(document->root(), diagnostics);
    std::string found;
    if (diagnostics.has_errors()) {
      const Diagnostic first = diagnostics.sorted()[0];
      found = std::string(info(first.problem).id) + " " + std::to_string(first.position.line) + ":" +
              std::to_string(first.position.column) + " " + first.what;
    }
    EXPECT_EQ(found, v.expected) << v.yaml << "\n" << diagnostics.to_text();
  }
}

TEST(Schema, TypesAndValues) {
  expect_verdicts(
      R"({"type": "object", "additionalProperties": false, "properties": {
        "s": {"type": "string", "minLength": 2, "maxLength": 3, "pattern": "^[a-z\u00e4]"},
        "i": {"type": "integer", "minimum": 1, "maximum": 9},
        "n": {"type": "number"}, "b": {"type": "boolean"},
        "e": {"type": "string", "enum": ["red", "green"]}, "c": {"const": 1},
        "d": {"type": "string", "x-postern-format": "duration"},
        "k": {"type": "string", "x-postern-format": "secret"},
        "u": {"type": "string", "x-postern-format": "url"},
        "l": {"type": "array", "minItems": 1, "maxItems": 2, "uniqueItems": true, "items": {"type": "string"}}}})",
      {
          {"{s: ab, i: 1, n: 1.5, b: true, e: red, c: 1, d: 5s, l: [a, b]}", ""},
          {"s: \xc3\xa4\xc3\xa4\xc3\xa4", ""},
          {"s: a", "PST-C012 1:4 is shorter than 2 characters"},
          {"s: ''", "PST-C012 1:4 is empty"},
          {"s: abcd", "PST-C012 1:4 is longer than 3 characters"},
          {"s: ABC", "PST-C012 1:4 `ABC` does not have the form that is needed here"},
          {"s: 12", "PST-C011 1:4 expected text, found `12` (a whole number)"},
          {"s: true", "PST-C011 1:4 expected text, found `true` (true or false)"},
          {"s:", "PST-C011 1:3 expected text, found nothing"},
          {"s: [a]", "PST-C011 1:4 expected text, found a list"},
          {"i: 0", "PST-C012 1:4 `0` must be at least 1, at most 9"},
          {"i: 010", "PST-C011 1:4 expected a whole number, found `010` (text)"},
          {"i: 0x9", "PST-C011 1:4 expected a whole number, found `0x9` (text)"},
          {"i: 1.0", "PST-C011 1:4 expected a whole number, found `1.0` (a number)"},
          {"b: yes", "PST-C011 1:4 expected true or false, found `yes` (text)"},
          {"b: on", "PST-C011 1:4 expected true or false, found `on` (text)"},
          {"e: rde", "PST-C012 1:4 `rde` is not one of: red, green"},
          {"c: 2", "PST-C012 1:4 `2` is not one of: 1"},
          {"c: '1'", "PST-C012 1:4 `1` is not one of: 1"},
          {"d: 5", "PST-C011 1:4 expected text, found `5` (a whole number)"},
          {"d: 5x", "PST-C012 1:4 `5x` is not a duration with its unit, such as 500ms, 5s, 1m, 2h or 7d"},
          {"d: ${env:X}", "PST-C021 1:4 references work in secret fields only"},
          {"k: 1234567890123456789", "PST-C011 1:4 expected text, found this value (a whole number)"},
          {"u: http://user:hunter2hunter2@host",
           "PST-C012 1:4 this value is not https://host:port, http://host:port or unix:///path, without user name, "
           "path or query"},
          {"s: an-unreferenced-secret-here", "PST-C012 1:4 is longer than 3 characters"},
          {"e: a-secret-in-the-wrong-place", "PST-C012 1:4 this value is not one of: red, green"},
          {"l: []", "PST-C012 1:4 needs at least 1 item(s)"},
          {"l: [a, b, c]", "PST-C012 1:4 more than 2 items"},
          {"l: [a, a]", "PST-C032 1:8 stands in the list twice"},
          {"l: [a, 1]", "PST-C011 1:8 expected text, found `1` (a whole number)"},
          {"\"s\\n\": ab", "PST-C010 1:1 unknown key `s\\x0a`"},
          {"[]", "PST-C011 1:1 expected a mapping, found a list"},
      });
}

TEST(Schema, MappingsAndAlternatives) {
  expect_verdicts(
      R"({"type": "object", "required": ["name"], "additionalProperties": false, "properties": {
        "name": {"type": "string"},
        "timeouts": {"type": "object", "additionalProperties": false, "properties": {"connect": {}, "first_byte": {}}},
        "tls": {"not": {}, "description": "later"},
        "size": {"oneOf": [{"type": "string", "enum": ["unlimited"]}, {"type": "string", "x-postern-format": "size"}]},
        "map": {"type": "object", "propertyNames": {"pattern": "^[a-z]+$"}, "additionalProperties": {"type": "integer"}},
        "policy": {"oneOf": [{"type": "string", "enum": ["api_key"]},
          {"type": "object", "minProperties": 1, "maxProperties": 1, "additionalProperties": false, "properties": {
            "api_key": {"type": "object"}, "jwt": {"not": {}},
            "rate_limit": {"type": "object", "required": ["per"], "additionalProperties": false,
                           "properties": {"per": {"type": "string"}}}}}]}}})",
      {
          {"name: x", ""},
          {"{}", "PST-C013 1:1 key `name` is missing"},
          {"name: x\ntimeouts:\n  conect: 1", "PST-C010 3:3 unknown key `conect`"},
          {"name: x\ntls: {}", "PST-C014 2:1 `tls` is not built yet"},
          {"name: x\ntls:", "PST-C014 2:1 `tls` is not built yet"},
          {"name: x\nsize: unlimited", ""},
          {"name: x\nsize: 1MiB", ""},
          {"name: x\nsize: 1MB", "PST-C012 2:7 `1MB` is not a size with its unit, such as 512B, 16KiB, 1MiB or 1GiB"},
          {"name: x\nsize: 5", "PST-C011 2:7 expected text, found a whole number"},
          {"name: x\nmap: {a: 1}", ""},
          {"name: x\nmap: {A: 1}", "PST-C012 2:7 `A` cannot be a name here"},
          {"name: x\nmap: {a: x}", "PST-C011 2:10 expected a whole number, found `x` (text)"},
          {"name: x\npolicy: api_key", ""},
          {"name: x\npolicy: {api_key: {}}", ""},
          {"name: x\npolicy: {rate_limit: {per: x}}", ""},
          {"name: x\npolicy: rate_limit", "PST-C013 2:9 `rate_limit` needs options: per"},
          {"name: x\npolicy: jwt", "PST-C014 2:9 `jwt` is not built yet"},
          {"name: x\npolicy: {jwt: {}}", "PST-C014 2:10 `jwt` is not built yet"},
          {"name: x\npolicy: api_kye", "PST-C010 2:9 unknown name `api_kye`"},
          {"name: x\npolicy: {api_kye: {}}", "PST-C010 2:10 unknown key `api_kye`"},
          {"name: x\npolicy: {}", "PST-C012 2:9 needs at least 1 key(s)"},
          {"name: x\npolicy: {api_key: {}, rate_limit: {per: x}}", "PST-C012 2:9 more than 1 key(s)"},
          {"name: x\npolicy: [api_key]", "PST-C011 2:9 expected text or a mapping, found a list"},
          {"name: x\npolicy: {rate_limit: {}}", "PST-C013 2:22 key `per` is missing"},
      });
}

TEST(Schema, HintsNameTheNearestKeyThatIsBuilt) {
  const Schema schema = test_schema();
  const struct {
    std::string_view yaml, fix;
  } cases[] = {
      {"lisners: []", "did you mean `listeners`?"},
      {"listeners: [{adress: x}]", "did you mean `address`?"},
      {"listeners: [{tsl: x}]", "did you mean `tls`?"},
      {"admin: {adress: x}", "known here: socket"},
      {"origins: {a: {timeout: {}}}", "did you mean `timeouts`?"},
      {"zzzzzzzz: 1",
       "known here: version, listeners, observe, admin, workers, state_directory, drain, limits, buffer_memory, "
       "trusted_proxies, policies, origins, routes, access_log, consumers, $schema, issuer, egress_proxy"},
  };
  for (const auto& c : cases) {
    Diagnostics diagnostics("t.yaml");
    const auto document = read_document("t.yaml", c.yaml, diagnostics);
    schema.validate(document->root(), diagnostics);
    std::string fix;
    for (const Diagnostic& d : diagnostics.all()) {
      if (d.problem == Problem::unknown_key) fix = d.fix;
    }
    EXPECT_EQ(fix, c.fix) << c.yaml;
  }
}

TEST(Diagnostics, TextAndJson) {
  Diagnostics diagnostics("postern.yaml");
  const auto document = read_document("postern.yaml", "origins:\n  a: 1\n", diagnostics);
  diagnostics.set_root(&document->root());
  diagnostics.error(Problem::wrong_type, document->root().find("origins")->entries()[0], "what", "do \"this\"");
  diagnostics.warning(Problem::unused_origin, *document->root().find("origins"), "unused");
  EXPECT_EQ(diagnostics.to_text(),
            "postern.yaml:2:3 origins.a: what\n"
            "  values are never converted by guessing (PST-C011)\n"
            "  fix: do \"this\"\n"
            "postern.yaml:2:3 warning origins: unused\n"
            "  an origin without a route is configuration that nobody exercises (PST-C031)\n");
  EXPECT_NE(diagnostics.to_json().find(R"("code": "PST-C011", "file": "postern.yaml", "line": 2, "column": 3, )"
                                       R"("path": "origins.a", "what": "what")"),
            std::string::npos)
      << diagnostics.to_json();
  EXPECT_NE(diagnostics.to_json().find(R"("fix": "do \"this\"")"), std::string::npos);
}

TEST(Diagnostics, KeepsABoundedNumber) {
  Diagnostics diagnostics("t.yaml");
  for (int i = 0; i < 1000; ++i) diagnostics.error(Problem::syntax, Position{1, 1}, "x");
  EXPECT_EQ(diagnostics.all().size(), Diagnostics::kMaxKept);
  EXPECT_EQ(diagnostics.errors(), 1000U);
  EXPECT_NE(diagnostics.to_text().find("and 900 more"), std::string::npos);
}

TEST(Diagnostics, OfAnotherFileFollowThoseOfThisOne) {
  Diagnostics diagnostics("postern.yaml");
  diagnostics.error(Problem::bad_value, Position{9, 1}, "late");
  Diagnostics other("keys.yaml");
  other.error(Problem::bad_value, Position{2, 1}, "second");
  other.error(Problem::bad_value, Position{1, 1}, "first");
  diagnostics.append(other);
  diagnostics.error(Problem::bad_value, Position{1, 1}, "early");
  std::string order;
  for (const Diagnostic& d : diagnostics.sorted()) order += d.file + " " + d.what + "; ";
  EXPECT_EQ(order, "postern.yaml early; postern.yaml late; keys.yaml first; keys.yaml second; ");
  EXPECT_EQ(diagnostics.errors(), 4U);
}

TEST(Diagnostics, ErrorsAloneAsText) {
  Diagnostics diagnostics("postern.yaml");
  const auto document = read_document("postern.yaml", "a: 1\n", diagnostics);
  diagnostics.warning(Problem::unused_origin, document->root(), "worth a word");
  diagnostics.error(Problem::bad_value, document->root(), "wrong");
  EXPECT_NE(diagnostics.to_text().find("worth a word"), std::string::npos);
  const std::string errors = diagnostics.to_text(Diagnostics::Show::errors);
  EXPECT_EQ(errors.find("worth a word"), std::string::npos);
  EXPECT_NE(errors.find("wrong"), std::string::npos);
}

}  // namespace
}  // namespace postern::config
