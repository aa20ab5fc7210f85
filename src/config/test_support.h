// For the tests of this room: an environment and files in memory, a schema with a few small policies, and a load() that
// needs only text.
#pragma once

#include <map>
#include <stdexcept>
#include <string>
#include <string_view>

#include "config/config.h"
#include "config/diagnostics.h"
#include "config/schema.h"

namespace postern::config {

class MapEnvironment final : public Environment {
 public:
  explicit MapEnvironment(std::map<std::string, std::string, std::less<>> values = {}) : values(std::move(values)) {}
  [[nodiscard]] std::optional<std::string> get(std::string_view name) const override {
    const auto at = values.find(name);
    if (at == values.end()) return std::nullopt;
    return at->second;
  }
  std::map<std::string, std::string, std::less<>> values;
};

class MapFiles final : public FileReader {
 public:
  [[nodiscard]] Outcome read(const std::string& path, std::size_t max_bytes) const override {
    const auto at = values.find(path);
    if (at == values.end()) return {std::nullopt, "No such file or directory"};
    if (at->second.size() > max_bytes) return {std::nullopt, "too large"};
    const auto own_mode = modes.find(path);
    return {at->second, "", own_mode == modes.end() ? mode : own_mode->second, own};
  }
  std::map<std::string, std::string> values;
  std::map<std::string, std::uint32_t> modes;  // of single files
  std::uint32_t mode = 0600;
  bool own = true;
};

inline constexpr char kSharedSecretSchema[] = {
#embed "../identity/shared_secret/schema.json"
};

inline constexpr char kMtlsSchema[] = {
#embed "../identity/mtls/schema.json"
};

inline constexpr std::string_view kClientCertificateSchema = R"({"type": "object", "required": ["ca"],
    "additionalProperties": false, "properties": {"ca": {"type": "string", "pattern": "^/"}}})";
inline constexpr std::string_view kApiKeySchema = R"({"type": "object", "additionalProperties": false,
    "properties": {"header": {"type": "string", "x-postern-format": "header_name"}}})";
inline constexpr std::string_view kRateLimitSchema = R"({"type": "object", "required": ["requests", "per"],
    "additionalProperties": false, "properties": {"requests": {"type": "integer", "minimum": 1},
    "per": {"$ref": "#/$defs/window"}}, "$defs": {"window": {"type": "string", "x-postern-format": "duration"}}})";
inline constexpr std::string_view kRespondSchema = R"({"type": "object", "required": ["status"],
    "additionalProperties": false, "properties": {"status": {"type": "integer", "minimum": 200, "maximum": 599}}})";
inline constexpr std::string_view kBodyLimitSchema = R"({"type": "object", "required": ["max"],
    "additionalProperties": false, "properties": {"max": {"type": "string", "x-postern-format": "size"}}})";
inline constexpr std::string_view kRedirectSchema = R"({"type": "object", "required": ["to"],
    "additionalProperties": false, "properties": {"to": {"type": "string"}}})";

inline constexpr std::string_view kRequestHeadersSchema = R"({"type": "object", "additionalProperties": false,
    "properties": {"set": {"$ref": "#/$defs/fields"}, "add": {"$ref": "#/$defs/fields"},
    "remove": {"type": "array", "items": {"type": "string"}}},
    "$defs": {"fields": {"type": "object", "additionalProperties": {"type": "string"}}}})";

// A method that `config` knows by its traits only.
inline constexpr std::string_view kTestTokenSchema =
    R"({"type": "object", "additionalProperties": false, "properties": {
    "header": {"type": "string", "x-postern-format": "header_name"},
    "client_authorization": {"type": "string", "enum": ["drop", "forward"]},
    "audience": {"type": "string"},
    "client_secret": {"type": "string", "x-postern-format": "secret"},
    "login": {"type": "object", "additionalProperties": false, "properties": {
      "key": {"type": "string", "x-postern-format": "secret"}}}}})";
inline IdentityTraits test_token_traits() {
  return {.name = "test_token",
          .default_header = "Authorization",
          .headers = {"X-Token-Date"},
          .documents = {"key"},
          .assurance = 2};
}

inline std::vector<SchemaPart> test_policy_parts() {
  return {{"policy", "api_key", kApiKeySchema},
          {"policy", "body_limit", kBodyLimitSchema},
          {"policy", "rate_limit", kRateLimitSchema},
          {"policy", "request_headers", kRequestHeadersSchema},
          {"policy", "respond", kRespondSchema},
          {"policy", "redirect", kRedirectSchema},
          {"policy", "client_certificate", kClientCertificateSchema}};
}

inline Schema test_schema() {
  std::vector<SchemaPart> parts = test_policy_parts();
  parts.push_back({"identity", "test_token", kTestTokenSchema});
  parts.push_back({"identity", "shared_secret", {kSharedSecretSchema, sizeof(kSharedSecretSchema)}});
  parts.push_back({"identity", "mtls", {kMtlsSchema, sizeof(kMtlsSchema)}});
  Result<Schema> schema = compile_schema(root_schema_text(), parts);
  if (!schema) throw std::runtime_error(std::string(schema.error().detail()));
  return std::move(*schema);
}

// 2026-11-24T12:00:00Z
inline constexpr WallTime kTestNow = WallTime(std::chrono::seconds(1'795'521'600));
inline constexpr std::string_view kSecretA = "0123456789abcdef-A-secret";
inline constexpr std::string_view kSecretB = "fedcba9876543210-B-secret";

// What a test can change about the world around the file.
struct World {
  MapEnvironment environment;
  MapFiles files;
  Schema schema = test_schema();
  std::vector<IdentityTraits> identity_methods = {test_token_traits()};
  ExpiredException expired = ExpiredException::error;
  OutdatedCertificate outdated = OutdatedCertificate::error;
  const Config* in_force = nullptr;
  std::string* kept = nullptr;

  World() {
    files.values["/s/a"] = std::string(kSecretA) + "\n";
    files.values["/s/b"] = kSecretB;
  }
  std::shared_ptr<const Config> load(std::string_view text, Diagnostics& diagnostics,
                                     const std::string& file = "postern.yaml") const {
    const LoadInput input{.file = file,
                          .text = text,
                          .schema = schema,
                          .secrets = {environment, files},
                          .now = kTestNow,
                          .paths = {},
                          .authenticating_policies = {"api_key", "client_certificate"},
                          .identity_methods = identity_methods,
                          .expired = expired,
                          .outdated = outdated,
                          .in_force = in_force,
                          .kept = kept};
    return config::load(input, diagnostics);
  }
};

}  // namespace postern::config
