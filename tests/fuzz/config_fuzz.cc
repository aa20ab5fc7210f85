// A whole configuration file: reading, schema, checks, secrets, messages, changes. The first byte chooses YAML or JSON.
// Invariants: load() fails exactly if there is an error; no message holds the value of a secret or a key; the messages
// are one printable line each; what loads once loads again, with nothing changed.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include <sys/mman.h>
#include <unistd.h>

#include <string>

#include "config/test_support.h"
#include "tls/authority.h"

namespace {

using namespace postern;

void check(bool holds) {
  if (!holds) std::abort();
}

// Authorities, and a pair for each use, under /tls/; the authorities of the system are one, because to read all of them
// takes longer than everything else here.
config::World* make_world() {
  auto* const world = new config::World();
  const auto far = std::chrono::hours(24 * 3650);
  std::string bundle;
  for (const auto use : {tls::CertifiedKey::Use::server, tls::CertifiedKey::Use::client}) {
    const std::string name = use == tls::CertifiedKey::Use::server ? "server" : "client";
    const auto authority = tls::Authority::make(name, use, config::kTestNow - far, config::kTestNow + far);
    check(authority.has_value());
    bundle = authority->certificate().to_pem();
    world->files.values["/tls/" + name + "-ca.pem"] = bundle;
    tls::LeafRequest request;
    request.use = use;
    request.common_name = name;
    request.dns_names = {name + ".example.com", "*.example.com"};
    request.not_before = config::kTestNow - std::chrono::hours(1);
    request.not_after = config::kTestNow + std::chrono::hours(1000);
    const auto leaf = authority->issue(request);
    check(leaf.has_value());
    world->files.values["/tls/" + name + ".pem"] = (*leaf)->leaf().to_pem();
    world->files.values["/tls/" + name + ".key"] = tls::to_pem((*leaf)->key());
  }
  const int file = ::memfd_create("authorities", 0);
  check(::write(file, bundle.data(), bundle.size()) == static_cast<ssize_t>(bundle.size()));
  ::setenv("SSL_CERT_FILE", ("/proc/self/fd/" + std::to_string(file)).c_str(), 1);
  return world;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace postern::config;
  static World* const world = make_world();
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
  check(messages.find("PRIVATE KEY-----\n") == std::string::npos);
  for (const char c : messages) check(c == '\n' || static_cast<unsigned char>(c) >= 0x20);
  check(!diagnostics.to_json().empty());
  if (!config) return 0;
  check(describe_changes(*config, *config).empty());
  // Read again while it runs, it is the same.
  Diagnostics said_again(file);
  world->in_force = config.get();
  const auto again = world->load(text, said_again, file);
  world->in_force = nullptr;
  check(again && describe_changes(*config, *again).empty());
  for (const RouteConfig& route : config->routes) {
    for (const PolicyUse* const use : effective_policies(*config, route)) check(use->options != nullptr);
  }
  check(reserved_headers(*config).size() <= config->origins.size() * 8);
  return 0;
}
