// The `issuer` section: its URL is what others compare byte for byte, so nothing about it is put right silently.
#include <fmt/format.h>

#include <algorithm>

#include "base/strings.h"
#include "config/builder.h"
#include "config/formats.h"
#include "config/issuer_section.h"
#include "config/readers.h"
#include "config/units.h"
#include "issuer/key_directory.h"

namespace postern::config {
namespace {

using issuer::RotationTimes;

bool is_loopback_name(std::string_view host) {
  return host == "localhost" || host == "::1" || (is_ipv4(host) && host.starts_with("127."));
}

bool is_plain_path(std::string_view path) {
  if (path.empty()) return true;
  if (path.ends_with('/') || path.find("//") != std::string_view::npos) return false;
  if (path.find("/.") != std::string_view::npos) return false;
  return std::ranges::all_of(path, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '/' || c == '-' ||
           c == '_' || c == '.' || c == '~';
  });
}

// Why `url` cannot be an issuer; "" if it can.
std::string_view fault_of(std::string_view url) {
  const std::size_t scheme_end = url.find("://");
  if (scheme_end == std::string_view::npos) return "no URL";
  const std::string_view scheme = url.substr(0, scheme_end);
  const std::string_view rest = url.substr(scheme_end + 3);
  const std::size_t slash = std::min(rest.find('/'), rest.size());
  const auto place = split_host_port(rest.substr(0, slash));
  if (!place || (!is_host_name(place->host) && !is_ipv6(place->host))) return "no host name in it";
  if (to_lower(place->host) != place->host) return "capital letters in the host name";
  if (!is_plain_path(rest.substr(slash))) return "a path, query or fragment that verifiers read differently";
  if (scheme == "http" && is_loopback_name(place->host)) return {};
  if (scheme != "https") return "not https";
  return {};
}

}  // namespace

IssuerConfig read_issuer_section(const Node& node, const std::string& state_directory, Diagnostics& diagnostics) {
  IssuerConfig config;
  config.position = node.position();
  config.directory = issuer::key_directory(state_directory);
  read(&node, "directory", config.directory);
  issuer::IssuerOptions& options = config.options;
  read(&node, "url", options.url);
  read(&node, "lifetime", options.lifetime);
  if (const Node* const url = string_at(&node, "url")) {
    const std::string_view fault = fault_of(url->text());
    if (!fault.empty()) {
      diagnostics.error(Problem::bad_value, *url, fmt::format("{} is not an issuer: {}", printable(url->text()), fault),
                        "write https://HOST or https://HOST/PATH, in lower case, without a slash at its end");
    } else if (const std::string_view rest = url->text().substr(8);
               url->text().starts_with("https:") &&
               rest.substr(0, rest.find('/')).find(':') != std::string_view::npos) {
      diagnostics.warning(Problem::ambiguous, *url, "clouds take no issuer with a port",
                          "publish it on port 443, if a cloud is to trust it");
    }
  }
  if (const Node* const algorithms = node.find("algorithms")) {
    options.algorithms.clear();
    for (const Node& item : algorithms->items()) {
      if (const auto algorithm = jose::algorithm_by_name(item.text())) options.algorithms.push_back(*algorithm);
    }
  }
  const Node* const rotation = node.find("rotation");
  read(&node, "keys", config.keys);
  for (const std::string_view other : {"directory", "rotation"}) {
    const Entry* const entry = config.keys.empty() ? nullptr : node.find_entry(other);
    if (!entry) continue;
    diagnostics.error(
        Problem::ambiguous, *entry,
        fmt::format("`{}` is for keys that the gateway makes and rotates, and `keys` gives others", other),
        "remove one of them");
  }
  read(rotation, "period", options.rotation.period);
  read(rotation, "lead", options.rotation.lead);
  read(rotation, "overlap", options.rotation.overlap);
  const auto refuse = [&](const Node* parent, std::string_view key, std::string what) {
    const Node* const at = parent ? parent->find(key) : nullptr;
    diagnostics.error(Problem::bad_value, at ? *at : node, std::move(what), "see docs/gateway_jwt.md on rotation");
  };
  if (options.lifetime < std::chrono::minutes(1) || options.lifetime > std::chrono::hours(1)) {
    refuse(&node, "lifetime", "a token lives from 1m to 1h");
  }
  if (options.rotation.lead < RotationTimes::kMinLead) {
    refuse(rotation, "lead", "a key that is published for less than 1h is not known when it begins to sign");
  }
  if (options.rotation.period <= options.rotation.lead) {
    refuse(rotation, "period", "keys follow each other faster than they are published");
  }
  if (options.rotation.overlap < options.lifetime) {
    refuse(rotation, "overlap", "a key would be gone before the last token that it signed");
  }
  return config;
}

void Builder::read_issuer(const Node& node) {
  config_.issuer = read_issuer_section(node, config_.state_directory, diagnostics_);
}

}  // namespace postern::config
