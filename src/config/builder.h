// Internal to load(): from a validated tree to the structs of config.h, and the checks that a schema cannot express.
//
// Builder reads tolerantly: what the schema has refused already keeps its default and is not reported again.
#pragma once

#include <string_view>

#include "config/certificates.h"
#include "config/config.h"
#include "config/diagnostics.h"

namespace postern::config {

class Builder {
 public:
  Builder(const LoadInput& input, Document& document, Diagnostics& diagnostics, Config& config)
      : input_(input),
        document_(document),
        diagnostics_(diagnostics),
        config_(config),
        certificates_(input, diagnostics) {}

  void build();

 private:
  void read_gateway(const Node& root);
  void read_issuer(const Node& node);
  void read_limits(const Node* node, Limits& limits);
  void check_size(const Node* node, std::string_view key, std::uint64_t least, std::uint64_t most);
  void read_listener(const Node& node);
  void read_access_log(const Node& node);
  void read_policies(const Node* node, Level level, std::vector<PolicyUse>& out);
  void read_without(const Node& node, Without& out);
  void read_origin(const Entry& entry);
  void read_endpoints(const Node& node, OriginConfig& origin);
  void read_endpoint(const Node& node, OriginConfig& origin);
  void read_host(const Node& node, OriginConfig& origin);
  static void read_tuning(const Node& node, OriginConfig& origin);
  void read_health(const Node& node, OriginConfig& origin);
  void read_identity(const Node& node, OriginConfig& origin);
  void read_shared_secret(const Node& node, OriginConfig& origin);
  void read_method(const IdentityTraits& traits, const Entry& entry, OriginConfig& origin);
  void read_client_authorization(const Node& node, const MethodConfig& config, OriginConfig& origin);
  void read_secrets(const Node& node, std::string_view key, const IdentityTraits& traits, MethodConfig& config);
  // `node` is where the field is named, or the options of a method that always sets it.
  void check_identity_header(const Node& node, std::string_view name, const OriginConfig& origin);
  void read_insecure(const Node& node, OriginConfig& origin);
  void read_route(const Node& node);

  // builder_tls.cc
  void read_http2(const Node& node, ListenerConfig& listener);
  void read_redirect(const Node& node, ListenerConfig& listener);
  void read_listener_tls(const Node& node, ListenerConfig& listener);
  void read_server_certificate(const Node& node, ListenerTlsConfig& tls);
  void read_names(const Node& node, ServerCertificateConfig& certificate);
  void read_self_signed(const Node& names, ListenerTlsConfig& tls);
  void check_overlap(const Node& certificates, const ListenerTlsConfig& tls);
  void read_trust(const Node& node, OriginConfig& origin);
  void check_unverified(const Node& trust);
  void read_mtls(const Entry& entry, OriginConfig& origin);
  // The pair of `certificate` and `key` in `node`. False after saying why there is none.
  bool read_files(const Node& node, tls::CertifiedKey::Use use, CertificateFiles& out);

  const LoadInput& input_;
  Document& document_;
  Diagnostics& diagnostics_;
  Config& config_;
  CertificateReader certificates_;
};

// Checks that need the whole: names that resolve, routes that differ, inheritance, authentication. Fills origin_index.
void check_whole(const LoadInput& input, Config& config, Diagnostics& diagnostics);

}  // namespace postern::config
