#include "config/certificates.h"

#include <fmt/format.h>
#include <openssl/crypto.h>

#include <algorithm>
#include <span>

#include "base/strings.h"
#include "config/formats.h"
#include "config/units.h"
#include "tls/authority.h"

namespace postern::config {
namespace {

using std::chrono::days;
using std::chrono::hours;

constexpr Duration kWarnBefore = days(14);
constexpr Duration kSelfSignedLife = days(365);

void wipe_text(std::string& text) noexcept { OPENSSL_cleanse(text.data(), text.size()); }

using Chain = std::span<const std::shared_ptr<const tls::Certificate>>;

bool same_chain(Chain a, Chain b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](const auto& x, const auto& y) { return x->fingerprint() == y->fingerprint(); });
}

// Every pair and every set of authorities that a configuration has read.
template <typename Visit>
void visit_pairs(const Config& config, Visit&& visit) {
  using Use = tls::CertifiedKey::Use;
  for (const ListenerConfig& listener : config.listeners) {
    if (!listener.tls) continue;
    for (const ServerCertificateConfig& certificate : listener.tls->certificates) visit(certificate.files, Use::server);
  }
  for (const OriginConfig& origin : config.origins) {
    for (const IdentityUse& use : origin.identity) {
      if (const auto* const mtls = std::get_if<MtlsConfig>(&use.config); mtls && !mtls->managed)
        visit(mtls->files, Use::client);
    }
  }
}
template <typename Visit>
void visit_authorities(const Config& config, Visit&& visit) {
  const auto visit_policies = [&](const std::vector<PolicyUse>& uses) {
    for (const PolicyUse& use : uses) {
      if (use.authorities) visit(use.authorities);
    }
  };
  visit_policies(config.policies);
  for (const OriginConfig& origin : config.origins) {
    if (origin.trust.anchors) visit(origin.trust.anchors);
    visit_policies(origin.policies);
  }
  for (const RouteConfig& route : config.routes) visit_policies(route.policies);
}

// "9 days", "1 day", "5 hours": rounded down, because that is what is left.
std::string remaining(Duration left) {
  const auto whole_days = std::chrono::duration_cast<days>(left).count();
  const auto count = whole_days > 0 ? whole_days : std::chrono::duration_cast<hours>(left).count();
  return fmt::format("{} {}{}", count, whole_days > 0 ? "day" : "hour", count == 1 ? "" : "s");
}

}  // namespace

bool covers(std::string_view pattern, std::string_view name) noexcept {
  if (iequals(pattern, name)) return true;
  const std::size_t dot = name.find('.');
  if (!pattern.starts_with("*.") || dot == std::string_view::npos || dot == 0) return false;
  return iequals(pattern.substr(1), name.substr(dot));
}

std::optional<std::string> CertificateReader::read_file(const Node& node, Content content) {
  const std::string path(node.text());
  const std::size_t max_bytes = content == Content::authorities ? tls::kMaxBundleText : tls::kMaxChainText;
  FileReader::Outcome outcome = input_.secrets.files.read(path, max_bytes);
  if (!outcome.content) {
    diagnostics_.error(content == Content::authorities ? Problem::trust : Problem::certificate_unreadable, node,
                       "cannot read " + printable(path) + ": " + outcome.problem,
                       content == Content::key ? "create the file, readable for the user of the gateway only"
                                               : "create the file, readable for the user of the gateway");
    return std::nullopt;
  }
  if (outcome.writable_by_others()) {
    wipe_text(*outcome.content);
    diagnostics_.error(Problem::writable_by_others, node, printable(path) + " may be written by others than its owner",
                       "chmod go-w " + path);
    return std::nullopt;
  }
  if (content == Content::key && outcome.needlessly_readable()) {
    diagnostics_.warning(Problem::key_readable, node, printable(path) + " may be read by everybody on this machine",
                         "chmod 600 " + path);
  }
  return std::move(outcome.content);
}

std::shared_ptr<const tls::CertifiedKey> CertificateReader::read_pair(const Node& certificate, const Node& key,
                                                                      tls::CertifiedKey::Use use) {
  const std::pair at{use, Paths(certificate.text(), key.text())};
  if (const auto known = pairs_.find(at); known != pairs_.end()) return known->second;
  const std::size_t said = diagnostics_.all().size();
  std::shared_ptr<const tls::CertifiedKey> pair = read_new_pair(certificate, key, use);
  if (!pair) pair = keep_pair(certificate, key, use, said);
  if (pair) pairs_.emplace(at, pair);
  return pair;
}

std::shared_ptr<const tls::CertifiedKey> CertificateReader::keep_pair(const Node& certificate, const Node& key,
                                                                      tls::CertifiedKey::Use use, std::size_t said) {
  std::shared_ptr<const tls::CertifiedKey> found;
  if (!input_.kept || !input_.in_force || diagnostics_.full()) return found;
  visit_pairs(*input_.in_force, [&](const CertificateFiles& running, tls::CertifiedKey::Use its_use) {
    const bool same = its_use == use && running.certificate == certificate.text() && running.key == key.text();
    if (same) found = running.pair;
  });
  if (!found) return found;
  // What was wrong before stops the load anyway; then nobody asks what was kept.
  *input_.kept += diagnostics_.to_text(Diagnostics::Show::errors);
  diagnostics_.excuse_after(said);
  return found;
}

std::shared_ptr<const tls::CertifiedKey> CertificateReader::read_new_pair(const Node& certificate, const Node& key,
                                                                          tls::CertifiedKey::Use use) {
  std::optional<std::string> chain = read_file(certificate, Content::certificate);
  std::optional<std::string> secret = read_file(key, Content::key);
  std::shared_ptr<const tls::CertifiedKey> pair;
  if (chain && secret) {
    // The chain alone first, so that what is wrong with it is said where it is named.
    if (const auto parsed = tls::Certificate::parse_all(*chain); !parsed) {
      diagnostics_.error(Problem::certificate_unreadable, certificate,
                         fmt::format("{}: {}", printable(certificate.text()), parsed.error().detail()),
                         "put the certificate first and its intermediates after it, as PEM and complete");
    } else if (auto made = tls::CertifiedKey::parse(*chain, *secret, use); !made) {
      // About the key alone, or about the certificate and whether the two belong together.
      const bool about_key = made.error().detail().starts_with("key: ");
      diagnostics_.error(
          Problem::certificate_unreadable, about_key ? key : certificate,
          fmt::format("{} with {}: {}", printable(certificate.text()), printable(key.text()), made.error().detail()),
          "name a certificate and the key that it was issued for, both complete, the key unencrypted");
    } else {
      pair = std::move(*made);
    }
  }
  // Somebody may have put the key into the other file by mistake.
  if (chain) wipe_text(*chain);
  if (secret) wipe_text(*secret);
  if (!pair) return nullptr;

  const auto running = same_in_force(*pair);
  if (running) pair = running;
  if (!judge_dates(*pair, certificate, running ? Runs::yes : Runs::no)) return nullptr;
  return pair;
}

std::shared_ptr<const tls::TrustAnchors> CertificateReader::read_authorities(const Node& ca) {
  const std::string path(ca.text());
  if (const auto known = authorities_.find(path); known != authorities_.end()) return known->second;
  std::optional<std::string> text = read_file(ca, Content::authorities);
  if (!text) return nullptr;
  auto parsed = tls::TrustAnchors::parse(*text);
  wipe_text(*text);
  if (!parsed) {
    diagnostics_.error(Problem::trust, ca, fmt::format("{}: {}", printable(path), parsed.error().detail()),
                       "put the certificates of the authorities there, as PEM and complete, and nothing else");
    return nullptr;
  }
  const auto running = same_in_force(**parsed);
  std::shared_ptr<const tls::TrustAnchors> anchors = running ? running : std::move(*parsed);
  if (!judge_dates(*anchors, ca, running ? Runs::yes : Runs::no)) return nullptr;
  authorities_.emplace(path, anchors);
  return anchors;
}

std::shared_ptr<const tls::TrustAnchors> CertificateReader::system_authorities(const Node& at) {
  if (system_) return system_;
  auto roots = tls::TrustAnchors::system();
  if (!roots) {
    diagnostics_.error(
        Problem::trust, at,
        fmt::format("the authorities of the operating system cannot be read: {}", roots.error().detail()),
        "install the package ca-certificates, or name the authority of this origin: "
        "`trust: {ca: /path}`");
    return nullptr;
  }
  const auto running = same_in_force(**roots);
  return system_ = running ? running : std::move(*roots);
}

std::shared_ptr<const tls::CertifiedKey> CertificateReader::make_self_signed(const std::vector<std::string>& names,
                                                                             const Node& at) {
  if (input_.in_force) {
    for (const ListenerConfig& listener : input_.in_force->listeners) {
      if (!listener.tls || listener.tls->self_signed != names) continue;
      const auto& pair = listener.tls->certificates.front().files.pair;
      if (pair->leaf().not_after() - input_.now > kSelfSignedLife / 3) return pair;
    }
  }
  tls::LeafRequest request;
  request.use = tls::CertifiedKey::Use::server;
  request.common_name = "Postern development certificate";
  for (const std::string& name : names) {
    (IpAddress::parse(name) ? request.ip_addresses : request.dns_names).push_back(name);
  }
  request.not_before = input_.now - hours(1);  // for clients whose clock is behind
  request.not_after = input_.now + kSelfSignedLife;
  auto made = tls::make_self_signed(request);
  if (!made) {
    diagnostics_.error(Problem::certificate_unreadable, at,
                       fmt::format("no certificate could be made: {}", made.error().detail()));
    return nullptr;
  }
  return std::move(*made);
}

std::shared_ptr<const tls::CertifiedKey> CertificateReader::same_in_force(const tls::CertifiedKey& pair) const {
  std::shared_ptr<const tls::CertifiedKey> found;
  if (!input_.in_force) return found;
  // Equal certificates have equal keys: each was checked against its own.
  visit_pairs(*input_.in_force, [&](const CertificateFiles& running, tls::CertifiedKey::Use /*use*/) {
    if (!found && same_chain(running.pair->chain(), pair.chain())) found = running.pair;
  });
  return found;
}

std::shared_ptr<const tls::TrustAnchors> CertificateReader::same_in_force(const tls::TrustAnchors& anchors) const {
  std::shared_ptr<const tls::TrustAnchors> found;
  if (!input_.in_force) return found;
  visit_authorities(*input_.in_force, [&](const auto& running) {
    if (!found && running->id() == anchors.id()) found = running;
  });
  return found;
}

bool CertificateReader::judge_dates(const tls::Certificate& certificate, const Node& at, Runs runs) {
  const WallTime now = input_.now;
  const bool early = now < certificate.not_before();
  const bool late = now > certificate.not_after();
  const std::string subject = printable(certificate.subject());
  if (early || late) {
    std::string what =
        early ? fmt::format("{} is not in force before {}", subject, format_timestamp(certificate.not_before()))
              : fmt::format("{} has expired at {}", subject, format_timestamp(certificate.not_after()));
    const char* const fix = early ? "wait until then, or look after the clock of this machine" : "renew it";
    if (runs == Runs::yes || input_.outdated == OutdatedCertificate::warning) {
      diagnostics_.warning(Problem::certificate_expired, at, std::move(what), fix);
      return true;
    }
    diagnostics_.error(Problem::certificate_expired, at, std::move(what), fix);
    return false;
  }
  // A certificate that lives for days only is renewed in its last third.
  const Duration left = certificate.not_after() - now;
  const Duration life = certificate.not_after() - certificate.not_before();
  if (left < std::min(kWarnBefore, life / 3)) {
    diagnostics_.warning(
        Problem::certificate_expired, at,
        fmt::format("{} expires in {}, at {}", subject, remaining(left), format_timestamp(certificate.not_after())),
        "renew it");
  }
  return true;
}

bool CertificateReader::judge_dates(const tls::CertifiedKey& pair, const Node& at, Runs runs) {
  return std::ranges::all_of(pair.chain(),
                             [&](const auto& certificate) { return judge_dates(*certificate, at, runs); });
}

// A bundle may well hold authorities of the past and of the future. What counts is whether anybody can be believed.
bool CertificateReader::judge_dates(const tls::TrustAnchors& anchors, const Node& at, Runs runs) {
  const tls::Certificate* last = nullptr;
  for (const auto& certificate : anchors.certificates()) {
    const bool begun = certificate->not_before() <= input_.now;
    const bool last_begun = last && last->not_before() <= input_.now;
    if (!last || std::pair(begun, certificate->not_after()) > std::pair(last_begun, last->not_after())) {
      last = certificate.get();
    }
  }
  return !last || judge_dates(*last, at, runs);
}

}  // namespace postern::config
