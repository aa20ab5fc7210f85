#include "policies/client_certificate/client_certificate.h"

#include <openssl/evp.h>

#include <algorithm>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "base/strings.h"
#include "config/diagnostics.h"
#include "config/node.h"
#include "http/connection_facts.h"
#include "policies/catalog.h"
#include "tls/certificate.h"

namespace postern::policies {
namespace {

using http::Exchange;

constexpr std::string_view kClientCert = "Client-Cert";
constexpr std::string_view kClientCertChain = "Client-Cert-Chain";

// A refusal may be about a date in the future, or a clock that was wrong.
constexpr Duration kRefusalHolds = std::chrono::minutes(1);

using Chain = std::span<const std::shared_ptr<const tls::Certificate>>;
using Texts = std::set<std::string, std::less<>>;

// Names of a certificate, by type: a URI is never taken for a DNS name.
struct Allow {
  bool everybody = true;
  Texts uris;
  Texts dns_names;  // lower-case, "*.example.com" among them
  Texts emails;
  Texts subjects;
};

enum class Forward : bool { no, yes };

bool contains_dns_name(const Texts& allowed, std::string_view name) {
  const std::string lower = to_lower(name);
  // A certificate for every name of a domain names nobody.
  if (lower.find('*') != std::string::npos) return false;
  if (allowed.contains(lower)) return true;
  const std::size_t dot = lower.find('.');
  return dot != std::string::npos && dot != 0 && allowed.contains("*" + lower.substr(dot));
}

// A name lives as long as the certificate. Its type is a part of who the consumer is: an authority that may write any
// subject need not be one that may write any URI.
struct TypedName {
  std::string_view id_prefix;
  std::string_view text;
};

// The name by which the certificate is let in, with an empty text if it is not.
TypedName find_name(const Allow& allow, const tls::Certificate& certificate) {
  for (const std::string& uri : certificate.uris()) {
    if (allow.everybody || allow.uris.contains(uri)) return {"certificate:uri:", uri};
  }
  for (const std::string& name : certificate.dns_names()) {
    if (allow.everybody || contains_dns_name(allow.dns_names, name)) return {"certificate:dns:", name};
  }
  for (const std::string& email : certificate.emails()) {
    if (allow.everybody || allow.emails.contains(email)) return {"certificate:email:", email};
  }
  const std::string& subject = certificate.subject();
  return {"certificate:subject:", allow.everybody || allow.subjects.contains(subject) ? subject : std::string_view()};
}

// Until when a chain that was found good at `now` stays so: no certificate that can be a part of it ends before.
WallTime good_until(Chain chain, Chain authorities, WallTime now) {
  WallTime until = WallTime::max();
  for (const Chain part : {chain, authorities}) {
    for (const auto& certificate : part) {
      // What has ended already is no part of it.
      if (certificate->not_after() >= now) until = std::min(until, certificate->not_after());
    }
  }
  return until;
}

// RFC 9440 2.1, a byte sequence of RFC 8941 3.3.5.
std::string client_cert_field(const tls::Certificate& certificate) {
  const std::string der = certificate.to_der();
  // EVP_EncodeBlock() writes a NUL behind the text, where the second colon goes.
  std::string field(1 + 4 * ((der.size() + 2) / 3) + 1, ':');
  ::EVP_EncodeBlock(reinterpret_cast<unsigned char*>(field.data()) + 1,
                    reinterpret_cast<const unsigned char*>(der.data()), static_cast<int>(der.size()));
  field.back() = ':';
  return field;
}

std::unexpected<Error> refuse(Code code, std::string detail) { return fail(code, Side::client, std::move(detail)); }

class ClientCertificate final : public Policy {
 public:
  ClientCertificate(std::shared_ptr<const tls::TrustAnchors> authorities, Allow allow, Forward forward)
      : authorities_(std::move(authorities)), allow_(std::move(allow)), forward_(forward) {}

  [[nodiscard]] std::string_view name() const noexcept override { return "client_certificate"; }

  Task<Result<Flow>> on_request(Exchange& exchange) const override {
    // Before any decision, so that no branch leaves a client's claim.
    exchange.request.headers.remove_aliases_of(kClientCert);
    exchange.request.headers.remove_aliases_of(kClientCertChain);

    const http::ConnectionFacts* const connection = exchange.connection;
    if (!connection || !connection->tls) {
      return Result<Flow>(refuse(Code::certificate_missing, "the connection is not TLS"));
    }
    const Chain chain = connection->tls->peer;
    if (chain.empty()) return Result<Flow>(refuse(Code::certificate_missing, "no certificate was shown"));

    const http::ClientVerdict& verdict = judge(*connection, chain, exchange.started_wall);
    if (!verdict.refusal.empty()) return Result<Flow>(refuse(Code::certificate_refused, verdict.refusal));
    const tls::Certificate& certificate = *chain.front();
    const TypedName name = find_name(allow_, certificate);
    if (name.text.empty()) {
      return Result<Flow>(refuse(Code::certificate_refused, allow_.everybody
                                                                ? "the certificate names nobody"
                                                                : "not among `allow`: " + certificate.subject()));
    }
    admit(exchange, *connection, certificate, name);
    return Result<Flow>(Flow::next);
  }

  [[nodiscard]] std::vector<std::string_view> reserved_headers() const override {
    return {kClientCert, kClientCertChain};
  }

 private:
  [[nodiscard]] const http::ClientVerdict& judge(const http::ConnectionFacts& connection, Chain chain,
                                                 WallTime now) const {
    const http::ClientVerdict* const known = connection.verdicts.find(authorities_->id(), now);
    if (known) return *known;
    const Result<void> verified = authorities_->verify_client(chain, now);
    http::ClientVerdict verdict{authorities_->id(), now, now + kRefusalHolds, {}};
    if (verified) {
      verdict.until = good_until(chain, authorities_->certificates(), now);
    } else {
      verdict.refusal = verified.error().detail().empty() ? "not verified" : std::string(verified.error().detail());
    }
    return connection.verdicts.remember(std::move(verdict));
  }

  void admit(Exchange& exchange, const http::ConnectionFacts& connection, const tls::Certificate& certificate,
             const TypedName& name) const {
    // Whoever was authenticated before by another policy stays the consumer: a key says more about who it is than
    // the machine that it is used on.
    if (!exchange.consumer.authenticated()) {
      exchange.consumer.id = exchange.arena.join(name.id_prefix, name.text);
      exchange.consumer.name = name.text;
    }
    if (forward_ == Forward::no) return;
    std::string& field = connection.verdicts.client_cert();
    if (field.empty()) field = client_cert_field(certificate);
    exchange.request.headers.append(kClientCert, field, http::HeaderName::other);
  }

  std::shared_ptr<const tls::TrustAnchors> authorities_;
  Allow allow_;
  Forward forward_;
};

void read_texts(const config::Node& allow, std::string_view key, Texts& out) {
  const config::Node* const list = allow.find(key);
  if (!list) return;
  for (const config::Node& item : list->items()) out.emplace(item.text());
}

}  // namespace

std::unique_ptr<const Policy> make_client_certificate(const config::Node& options, config::Diagnostics& diagnostics,
                                                      const Services& services) {
  if (!services.authorities) {
    diagnostics.error(config::Problem::trust, options, "the authorities of this policy have not been read");
    return nullptr;
  }
  Allow allow;
  if (const config::Node* const node = options.find("allow")) {
    allow.everybody = false;
    read_texts(*node, "uri", allow.uris);
    read_texts(*node, "email", allow.emails);
    read_texts(*node, "subject", allow.subjects);
    Texts dns_names;
    read_texts(*node, "dns", dns_names);
    for (const std::string& name : dns_names) allow.dns_names.insert(to_lower(name));
  }
  const config::Node* const forward = options.find("forward");
  return std::make_unique<ClientCertificate>(services.authorities, std::move(allow),
                                             forward && !forward->as_bool() ? Forward::no : Forward::yes);
}

}  // namespace postern::policies
