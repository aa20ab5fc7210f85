// The part of the builder that is about TLS and HTTP/2: certificates of listeners, trust and mtls of origins.
#include <fmt/format.h>

#include <algorithm>
#include <unordered_map>

#include "base/strings.h"
#include "config/builder.h"
#include "config/formats.h"
#include "config/readers.h"

namespace postern::config {
namespace {

using Use = tls::CertifiedKey::Use;

void read(const Node* node, std::string_view key, tls::ProtocolVersion& out) {
  const Node* const value = string_at(node, key);
  if (value && value->text() == "1.3") out = tls::ProtocolVersion::tls_1_3;
}

void make_lower(std::vector<std::string>& names) {
  for (std::string& name : names) name = to_lower(name);
}

// "EC P-256" and "EC P-384" are one kind to a TLS server: it shows one certificate of each.
std::string_view key_family(const tls::CertifiedKey& pair) {
  const std::string_view type = pair.leaf().key_type();
  return type.substr(0, type.find(' '));
}

std::string names_of(const tls::Certificate& certificate) {
  constexpr std::size_t kMax = 8;
  std::vector<std::string> names;
  for (const std::string& name : certificate.dns_names()) names.push_back(name);
  for (const std::string& address : certificate.ip_addresses()) names.push_back(address);
  if (names.empty()) return "no name at all";
  const bool more = names.size() > kMax;
  if (more) names.resize(kMax);
  return fmt::format("{}{}", fmt::join(names, ", "), more ? ", ..." : "");
}

}  // namespace

void Builder::read_http2(const Node& node, ListenerConfig& listener) {
  const Node* const http2 = string_at(&node, "http2");
  if (http2 && http2->text() == "never") listener.http2 = ListenerHttp2::never;
  if (http2 && http2->text() == "h2c") {
    listener.http2 = ListenerHttp2::h2c;
    if (node.find("tls")) {
      diagnostics_.error(Problem::ambiguous, *http2, "h2c is HTTP/2 in clear, and this listener speaks TLS",
                         "remove it: with TLS, clients agree on HTTP/2 by ALPN");
    }
  }
  const Node* const limits = node.find("limits");
  const Node* const streams = limits ? limits->find("max_concurrent_streams") : nullptr;
  const bool speaks = node.find("tls") ? listener.http2 != ListenerHttp2::never : listener.http2 == ListenerHttp2::h2c;
  if (streams && !speaks) {
    diagnostics_.error(
        Problem::ambiguous, *streams, "this listener does not speak HTTP/2, so nothing would be limited",
        node.find("tls") ? "remove it, or let `http2` be auto" : "remove it, or give the listener `tls`");
  }
}

void Builder::read_redirect(const Node& node, ListenerConfig& listener) {
  const Node* const redirect = node.find("redirect_to_https");
  if (!redirect) return;
  if (redirect->is(Kind::boolean) && redirect->as_bool()) listener.redirect_to_https = 443;
  if (const Node* const port = redirect->find("port"); port && port->is(Kind::integer)) {
    listener.redirect_to_https = static_cast<std::uint16_t>(std::clamp<std::int64_t>(port->as_int(), 1, 65535));
  }
  if (listener.redirect_to_https && node.find("tls")) {
    diagnostics_.error(Problem::ambiguous, *redirect, "who comes to this listener uses https already",
                       "redirect from a listener of its own, without `tls`");
  }
}

void Builder::read_listener_tls(const Node& node, ListenerConfig& listener) {
  ListenerTlsConfig& tls = listener.tls.emplace();
  read(&node, "min_version", tls.min_version);
  read(&node, "session_tickets", tls.session_tickets);
  const bool one = node.find("certificate") || node.find("key");
  const Node* const several = node.find("certificates");
  const Node* const self_signed = node.find("self_signed");
  const int forms = one + (several != nullptr) + (self_signed != nullptr);
  if (forms != 1) {
    diagnostics_.error(forms == 0 ? Problem::missing_key : Problem::ambiguous, node,
                       forms == 0 ? "there is no certificate"
                                  : "more than one of `certificate`, `certificates` and `self_signed` is given",
                       forms == 0 ? "write `certificate` and `key`; or, for development, `self_signed: [localhost]`"
                                  : "keep one of them; several certificates stand in `certificates`");
    return;
  }
  if (one) read_server_certificate(node, tls);
  if (several) {
    for (const Node& item : several->items()) {
      if (item.find("certificate") && item.find("key"))
        read_server_certificate(item, tls);  // else the schema has said so
    }
    check_overlap(*several, tls);
  }
  if (self_signed) read_self_signed(*self_signed, tls);
}

bool Builder::read_files(const Node& node, Use use, CertificateFiles& out) {
  const Node* const certificate = string_at(&node, "certificate");
  const Node* const key = string_at(&node, "key");
  if (!certificate || !key) {
    const char* const missing = node.find("certificate") ? node.find("key") ? nullptr : "key" : "certificate";
    if (missing) {
      diagnostics_.error(Problem::missing_key, node, fmt::format("key `{}` is missing", missing),
                         "a certificate and its key are named together");
    }
    return false;
  }
  out.certificate = certificate->text();
  out.key = key->text();
  if (!out.certificate.starts_with('/') || !out.key.starts_with('/')) return false;  // the schema has said so
  out.pair = certificates_.read_pair(*certificate, *key, use);
  return out.pair != nullptr;
}

void Builder::read_server_certificate(const Node& node, ListenerTlsConfig& tls) {
  ServerCertificateConfig certificate;
  certificate.position = node.position();
  if (!read_files(node, Use::server, certificate.files)) return;
  read_names(node, certificate);
  if (certificate.names.empty() && !node.find("names") && !tls.certificates.empty()) {
    diagnostics_.error(Problem::certificate_names, node, "it bears no DNS name, so no client would ever be shown it",
                       "put it first, where it serves clients that ask for no name, or remove it");
  }
  tls.certificates.push_back(std::move(certificate));
}

void Builder::read_names(const Node& node, ServerCertificateConfig& certificate) {
  const tls::Certificate& leaf = certificate.files.pair->leaf();
  const Node* const names = node.find("names");
  if (!names) {
    for (const std::string& name : leaf.dns_names()) {
      if (matches_format(Format::dns_pattern, name)) certificate.names.push_back(to_lower(name));
    }
    if (certificate.names.empty() && leaf.ip_addresses().empty()) {
      diagnostics_.warning(Problem::certificate_names, *node.find("certificate"),
                           "the certificate has no subject alternative name, and clients look at nothing else",
                           "issue one with the DNS names, or the addresses, of this gateway");
    }
    return;
  }
  for (const Node& item : names->items()) {
    if (!matches_format(Format::dns_pattern, item.text())) continue;  // the schema has said so
    certificate.names.push_back(to_lower(item.text()));
    const bool covered = std::ranges::any_of(
        leaf.dns_names(), [&](const std::string& pattern) { return covers(pattern, certificate.names.back()); });
    if (covered) continue;
    diagnostics_.error(
        Problem::certificate_names, item,
        fmt::format("{} does not stand in the certificate, which bears {}", printable(item.text()), names_of(leaf)),
        "issue a certificate for it, or remove the name");
  }
}

void Builder::read_self_signed(const Node& names, ListenerTlsConfig& tls) {
  ServerCertificateConfig certificate;
  certificate.position = names.position();
  for (const Node& item : names.items()) {
    if (!matches_format(Format::host_name, item.text())) return;  // the schema has said so
    tls.self_signed.push_back(to_lower(item.text()));
    if (!is_ipv4(item.text()) && !is_ipv6(item.text())) certificate.names.push_back(tls.self_signed.back());
  }
  if (tls.self_signed.empty()) return;
  diagnostics_.warning(Problem::development_certificate, names,
                       "a self-signed certificate is for development: clients cannot know whom they speak to",
                       "for anything else write `certificate` and `key`");
  certificate.files.pair = certificates_.make_self_signed(tls.self_signed, names);
  if (certificate.files.pair) tls.certificates.push_back(std::move(certificate));
}

// Of two certificates of one kind for one name a client could be shown either.
void Builder::check_overlap(const Node& certificates, const ListenerTlsConfig& tls) {
  std::unordered_map<std::string, const ServerCertificateConfig*> served;
  for (const ServerCertificateConfig& certificate : tls.certificates) {
    const std::string_view family = key_family(*certificate.files.pair);
    for (const std::string& name : certificate.names) {
      const auto [at, fresh] = served.emplace(fmt::format("{} {}", family, name), &certificate);
      if (fresh) continue;
      const auto items = certificates.items();
      const auto node = std::ranges::find(items, certificate.position, &Node::position);
      diagnostics_.error(Problem::duplicate, *node,
                         fmt::format("the certificate in line {} serves {} with an {} key, too",
                                     at->second->position.line, printable(name), family),
                         "say with `names` which of them serves it, or remove one");
      break;
    }
  }
}

void Builder::read_trust(const Node& node, OriginConfig& origin) {
  const Entry* const entry = node.find_entry("trust");
  origin.trust.position = entry ? entry->value.position() : node.position();
  if (origin.endpoints.empty()) return;
  if (!origin.tls) {
    if (entry) {
      diagnostics_.error(Problem::needs_tls, *entry, "there is nothing to verify: no endpoint is https://",
                         "write https:// in the URL, or remove `trust`");
    }
    return;
  }
  const Node* const trust = entry ? &entry->value : nullptr;
  if (trust && !trust->is(Kind::mapping)) return;
  TrustConfig& out = origin.trust;
  read(trust, "names", out.names);
  make_lower(out.names);
  read(trust, "pins", out.pins);
  for (std::string& pin : out.pins) {
    if (pin.starts_with("sha256/")) pin.erase(0, 7);
  }
  read(trust, "server_name", out.server_name);
  out.server_name = to_lower(out.server_name);
  read(trust, "min_version", out.min_version);
  const Node* const ca = string_at(trust, "ca");
  if (node.find("insecure")) {
    if (trust) check_unverified(*trust);
    return;
  }
  if (ca && ca->text() == "managed") {
    out.ca = TrustConfig::Ca::managed;
  } else if (ca && ca->text().starts_with('/')) {
    out.ca = TrustConfig::Ca::file;
    out.ca_path = ca->text();
    out.anchors = certificates_.read_authorities(*ca);
  } else if (!ca || ca->text() == "system") {
    out.anchors = certificates_.system_authorities(ca ? *ca : node);
  }
}

void Builder::check_unverified(const Node& trust) {
  for (const std::string_view key : {"ca", "names"}) {
    const Entry* const entry = trust.find_entry(key);
    if (!entry) continue;
    diagnostics_.error(Problem::ambiguous, *entry,
                       fmt::format("`insecure` turns off the verification that `{}` is for", key),
                       "remove one of them; pins would still be checked");
  }
}

void Builder::read_mtls(const Entry& entry, OriginConfig& origin) {
  const Node& node = entry.value;
  MtlsConfig config;
  read(&node, "managed", config.managed);
  const bool files = node.find("certificate") || node.find("key");
  if (!origin.endpoints.empty() && !origin.tls) {
    diagnostics_.error(Problem::needs_tls, entry, "a certificate is shown in a TLS handshake: no endpoint is https://",
                       "write https:// in the URL, or use another method");
    return;
  }
  if (std::ranges::any_of(origin.identity, [](const IdentityUse& use) { return use.method == "mtls"; })) {
    diagnostics_.error(Problem::duplicate, entry, "this origin has an mtls identity already",
                       "keep one of them: a connection shows one certificate");
    return;
  }
  if (config.managed && files) {
    diagnostics_.error(Problem::ambiguous, node, "both `managed` and files are given", "keep one of them");
    return;
  }
  if (!config.managed && node.find("managed") && !files) return;  // the schema has said so
  if (!config.managed && !read_files(node, Use::client, config.files)) return;
  origin.identity.push_back({"mtls", std::move(config), node.position()});
}

}  // namespace postern::config
