// For tests: the key file of a service account that nobody has, and tokens that only look like Google's.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/json_writer.h"
#include "jose/key.h"
#include "tokens/service_account.h"

namespace postern::tokens::test {

// RSA keys are slow to make: one per process.
inline const std::string& rsa_pem() {
  static const std::string pem(jose::PrivateKey::generate(jose::Algorithm::RS256)->to_pem()->reveal());
  return pem;
}

// As Google writes it, with members changed, or left out (nullopt).
inline std::string service_json(std::map<std::string, std::optional<std::string>> changes = {}) {
  std::map<std::string, std::optional<std::string>> members = {
      {"type", "service_account"},
      {"project_id", "project"},
      {"private_key_id", "0123456789abcdef0123456789abcdef01234567"},
      {"private_key", rsa_pem()},
      {"client_email", "gw@project.iam.gserviceaccount.com"},
      {"client_id", "100000000000000000001"},
      {"auth_uri", "https://accounts.google.com/o/oauth2/auth"},
      {"token_uri", "https://oauth2.googleapis.com/token"},
      {"universe_domain", "googleapis.com"},
  };
  for (auto& [name, value] : changes) members[name] = value;
  std::string out;
  JsonWriter writer(out);
  writer.begin_object();
  for (const auto& [name, value] : members) {
    if (value) writer.field(name, *value);
  }
  writer.end_object();
  return out;
}

inline std::shared_ptr<const ServiceAccount> account(std::map<std::string, std::optional<std::string>> changes = {}) {
  auto parsed = ServiceAccount::parse(service_json(std::move(changes)));
  EXPECT_TRUE(parsed) << parsed.error().to_string();
  return *parsed;
}

}  // namespace postern::tokens::test
