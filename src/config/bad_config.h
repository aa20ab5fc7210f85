// For tests of bad configurations: a good file with one mistake in it, and what is said about it. One line of a table
// per mistake a person or an attacker makes.
#pragma once

#include <gtest/gtest.h>

#include <initializer_list>
#include <string>
#include <string_view>

#include "config/test_certificates.h"
#include "config/test_support.h"

namespace postern::config {

// A good file with places where the cases put their mistake.
struct Parts {
  std::string head = "version: 1\nlisteners: [{address: \"127.0.0.1:8080\"}]\n";  // lines 1, 2
  std::string origins = "origins:\n  o:\n    url: http://127.0.0.1:9000\n";       // lines 3 to 5
  std::string more;                                                               // from line 6
  std::string routes = "routes:\n  - match: {path: /}\n    origin: o\n    policies: [api_key]\n";
  [[nodiscard]] std::string text() const { return head + origins + more + routes; }
};

struct Case {
  std::string name;
  std::string text;
  std::string expected;  // "code line:column path", errors only, in file order, separated by "; "
};

inline std::string errors_of(const World& world, std::string_view text, Severity severity, std::string& full) {
  Diagnostics diagnostics("postern.yaml");
  const auto config = world.load(text, diagnostics);
  EXPECT_EQ(config == nullptr, diagnostics.has_errors());
  full = diagnostics.to_text();
  std::string out;
  for (const Diagnostic& d : diagnostics.sorted()) {
    if (d.severity != severity) continue;
    if (!out.empty()) out += "; ";
    out += std::string(info(d.problem).id) + " " + std::to_string(d.position.line) + ":" +
           std::to_string(d.position.column) + " " + d.path;
    EXPECT_FALSE(d.what.empty());
  }
  return out;
}

inline void run(std::initializer_list<Case> cases, Severity severity = Severity::error) {
  World world;
  TestFiles::add_to(world);
  world.environment.values["SHORT"] = "too-short";
  for (const Case& c : cases) {
    std::string full;
    EXPECT_EQ(errors_of(world, c.text, severity, full), c.expected) << c.name << "\n" << full << c.text;
    for (const std::string_view leak :
         {kSecretA, kSecretB, std::string_view("too-short"), std::string_view("hunter2")}) {
      EXPECT_EQ(full.find(leak), std::string::npos) << c.name << "\n" << full;
    }
  }
}

// The good file with these lines in the origin `o`.
inline std::string origin(const std::string& lines) {
  Parts parts;
  parts.more = lines;
  return parts.text();
}
inline std::string url(const std::string& lines) {
  Parts parts;
  parts.origins = "origins:\n  o:\n" + lines;
  return parts.text();
}
inline std::string routes(const std::string& lines) {
  Parts parts;
  parts.routes = "routes:\n" + lines;
  return parts.text();
}
inline std::string head(const std::string& lines) {
  Parts parts;
  parts.head = lines;
  return parts.text();
}
inline std::string secret(const std::string& header, const std::string& rest = "") {
  return origin("    identity:\n      - shared_secret: {header: " + header + ", value: \"${file:/s/a}\"}\n" + rest);
}

}  // namespace postern::config
