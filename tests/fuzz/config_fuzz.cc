// A whole configuration file: reading, schema, checks, secrets, messages, changes. The first byte chooses YAML or JSON.
// Invariants: load() fails exactly if there is an error; no message holds the value of a secret; the messages are one
// printable line each.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "config/test_support.h"

namespace {

void check(bool holds) {
  if (!holds) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace postern::config;
  static const World* const world = new World();
  if (size == 0) return 0;
  const std::string file = data[0] == 'j' ? "postern.json" : "postern.yaml";
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  Diagnostics diagnostics(file);
  const auto config = world->load(text, diagnostics, file);
  check((config == nullptr) == diagnostics.has_errors());
  const std::string messages = diagnostics.to_text();
  // The fuzzer can put the value into a key by itself; a leak is what was not in the input.
  for (const std::string_view secret : {kSecretA, kSecretB}) {
    check(messages.find(secret) == std::string::npos || text.find(secret) != std::string_view::npos);
  }
  for (const char c : messages) check(c == '\n' || static_cast<unsigned char>(c) >= 0x20);
  check(!diagnostics.to_json().empty());
  if (!config) return 0;
  check(describe_changes(*config, *config).empty());
  for (const RouteConfig& route : config->routes) {
    for (const PolicyUse* const use : effective_policies(*config, route)) check(use->options != nullptr);
  }
  check(reserved_headers(*config).size() <= config->origins.size() * 8);
  return 0;
}
