// What a reload changes: the two trees compared. Trees hold references, never secrets; resolved secrets are compared
// apart and shown as "changed", certificates and authorities with what tells them apart.
#include <fmt/format.h>

#include <algorithm>
#include <span>
#include <unordered_map>

#include "config/config.h"
#include "config/credentials.h"
#include "config/units.h"

namespace postern::config {
namespace {

constexpr std::size_t kMaxSummary = 100;
constexpr std::string_view kHidden = "[redacted]";

void summarize(const Node& node, std::string& out) {
  if (out.size() > kMaxSummary) return;
  const char* separator = "";
  if (node.is(Kind::mapping)) {
    out.push_back('{');
    for (const Entry& entry : node.entries()) {
      out.append(separator).append(entry.key).append(": ");
      if (is_literal_credential(entry.key, entry.value)) {
        out.append(kHidden);
      } else {
        summarize(entry.value, out);
      }
      separator = ", ";
    }
    out.push_back('}');
  } else if (node.is(Kind::sequence)) {
    out.push_back('[');
    for (const Node& item : node.items()) {
      out.append(separator);
      summarize(item, out);
      separator = ", ";
    }
    out.push_back(']');
  } else {
    out.append(node.text());
  }
}

std::string summary(const Node& node) {
  std::string out;
  summarize(node, out);
  if (out.size() > kMaxSummary) out.replace(kMaxSummary, std::string::npos, "...");
  for (char& c : out) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';  // one change, one line
  }
  return out;
}

std::string summary(const Entry& entry) {
  return is_literal_credential(entry.key, entry.value) ? std::string(kHidden) : summary(entry.value);
}

// By what an item of a list is recognised when it moves: the match of a route, the address of a listener, the name of a
// policy or identity method, the text of a scalar.
std::string item_key(const Node& item) {
  for (const std::string_view key : {"match", "address"}) {
    if (const Node* const value = item.find(key)) return summary(*value);
  }
  if (item.is(Kind::mapping) && item.entries().size() == 1) return std::string(item.entries()[0].key);
  return std::string(item.text());
}

std::string join_path(const std::string& path, std::string_view key) {
  return path.empty() ? std::string(key) : fmt::format("{}.{}", path, key);
}

class Differ {
 public:
  explicit Differ(std::vector<std::string>& lines) : lines_(lines) {}

  void compare(const Node& before, const Node& after, const std::string& path) {
    const bool same_kind = before.kind() == after.kind();
    if (same_kind && after.is(Kind::mapping)) {
      compare_mappings(before, after, path);
    } else if (same_kind && after.is(Kind::sequence)) {
      compare_sequences(before, after, path);
    } else if (!same_kind || before.text() != after.text()) {
      lines_.push_back(fmt::format("~ {}: {} -> {}", path, summary(before), summary(after)));
    }
  }

 private:
  void compare_mappings(const Node& before, const Node& after, const std::string& path) {
    // Maps of both sides: `origins` may be large.
    std::unordered_map<std::string_view, const Node*> old_keys;
    std::unordered_map<std::string_view, const Node*> new_keys;
    for (const Entry& entry : before.entries()) old_keys.emplace(entry.key, &entry.value);
    for (const Entry& entry : after.entries()) new_keys.emplace(entry.key, &entry.value);
    for (const Entry& entry : before.entries()) {
      if (!new_keys.contains(entry.key)) {
        lines_.push_back(fmt::format("- {}: {}", join_path(path, entry.key), summary(entry)));
      }
    }
    for (const Entry& entry : after.entries()) {
      const auto at = old_keys.find(entry.key);
      const std::string inner = join_path(path, entry.key);
      if (at == old_keys.end()) {
        lines_.push_back(fmt::format("+ {}: {}", inner, summary(entry)));
      } else if (is_literal_credential(entry.key, *at->second) || is_literal_credential(entry.key, entry.value)) {
        if (at->second->text() != entry.value.text()) lines_.push_back(fmt::format("~ {}: changed", inner));
      } else {
        compare(*at->second, entry.value, inner);
      }
    }
  }

  void compare_sequences(const Node& before, const Node& after, const std::string& path) {
    std::unordered_map<std::string, std::vector<std::size_t>> old_items;
    for (std::size_t i = before.items().size(); i-- > 0;) old_items[item_key(before.items()[i])].push_back(i);
    std::vector<bool> kept(before.items().size(), false);
    std::vector<std::string> added;
    std::size_t last = 0;
    bool moved = false;
    for (std::size_t i = 0; i < after.items().size(); ++i) {
      const Node& item = after.items()[i];
      std::vector<std::size_t>& candidates = old_items[item_key(item)];
      const std::string inner = fmt::format("{}[{}]", path, i);
      if (candidates.empty()) {
        added.push_back(fmt::format("+ {} {}", inner, summary(item)));
        continue;
      }
      const std::size_t match = candidates.back();
      candidates.pop_back();
      kept[match] = true;
      if (match < last) moved = true;
      last = std::max(last, match);
      compare(before.items()[match], item, inner);
    }
    for (std::size_t i = 0; i < kept.size(); ++i) {
      if (!kept[i]) lines_.push_back(fmt::format("- {}[{}] {}", path, i, summary(before.items()[i])));
    }
    lines_.insert(lines_.end(), std::make_move_iterator(added.begin()), std::make_move_iterator(added.end()));
    if (moved) lines_.push_back(fmt::format("~ {}: order changed", path));
  }

  std::vector<std::string>& lines_;
};

bool next_changed(const SharedSecretConfig& before, const SharedSecretConfig& after) {
  return before.next && after.next && !before.next->value.equals(after.next->value);
}

// What the same reference stands for may be something else now.
void compare_secrets(const MethodConfig& before, const MethodConfig& after, const Node& old_node, const Node& new_node,
                     const std::string& path, std::vector<std::string>& lines) {
  const auto left = before.secrets.find(&old_node);
  const auto right = after.secrets.find(&new_node);
  if (left != before.secrets.end() && right != after.secrets.end() && !left->second.equals(right->second)) {
    lines.push_back(fmt::format("~ {}: changed", path));
  }
  for (std::size_t i = 0; i < std::min(old_node.items().size(), new_node.items().size()); ++i) {
    compare_secrets(before, after, old_node.items()[i], new_node.items()[i], fmt::format("{}[{}]", path, i), lines);
  }
  for (const Entry& entry : new_node.entries()) {
    const Node* const old = old_node.find(entry.key);
    if (old) compare_secrets(before, after, *old, entry.value, join_path(path, entry.key), lines);
  }
}

void compare_secrets(const OriginConfig& before, const OriginConfig& after, std::vector<std::string>& lines) {
  for (std::size_t i = 0; i < std::min(before.identity.size(), after.identity.size()); ++i) {
    const auto* const old = std::get_if<MethodConfig>(&before.identity[i].config);
    const auto* const now = std::get_if<MethodConfig>(&after.identity[i].config);
    if (old && now && before.identity[i].method == after.identity[i].method) {
      compare_secrets(*old, *now, *old->options, *now->options, now->where, lines);
    }
    const auto* const left = std::get_if<SharedSecretConfig>(&before.identity[i].config);
    const auto* const right = std::get_if<SharedSecretConfig>(&after.identity[i].config);
    if (!left || !right) continue;
    const std::string path = fmt::format("origins.{}.identity[{}].shared_secret", after.name, i);
    if (!left->value.equals(right->value)) lines.push_back(fmt::format("~ {}.value: changed", path));
    if (next_changed(*left, *right)) lines.push_back(fmt::format("~ {}.next.value: changed", path));
  }
}

// "sha256:0123456789abcdef until 2027-01-01T00:00:00Z"
std::string describe(const tls::Certificate& certificate) {
  constexpr std::size_t kDigits = 16;  // enough to find it again
  return fmt::format("sha256:{} until {}", certificate.fingerprint().substr(0, kDigits),
                     format_timestamp(certificate.not_after()));
}

using Pair = std::shared_ptr<const tls::CertifiedKey>;
using Anchors = std::shared_ptr<const tls::TrustAnchors>;
using Chain = std::span<const std::shared_ptr<const tls::Certificate>>;

bool holds(Chain chain, const tls::Certificate& wanted) {
  return std::ranges::any_of(chain, [&](const auto& one) { return one->fingerprint() == wanted.fingerprint(); });
}

class CertificateDiffer {
 public:
  explicit CertificateDiffer(std::vector<std::string>& lines) : lines_(lines) {}

  // `node` is that of `after`, and `path` leads to it.
  void compare(const ListenerConfig& before, const ListenerConfig& after, const Node& node, const std::string& path) {
    // One that the gateway makes itself changes only together with its names, which the tree shows.
    if (!before.tls || !after.tls || !before.tls->self_signed.empty() || !after.tls->self_signed.empty()) return;
    const std::vector<ServerCertificateConfig>& olds = before.tls->certificates;
    const bool listed = node.find("tls")->find("certificates") != nullptr;
    for (std::size_t i = 0; i < after.tls->certificates.size(); ++i) {
      const CertificateFiles& now = after.tls->certificates[i].files;
      // The one from the same file, wherever it stands now; else the one in the same place.
      auto old = std::ranges::find_if(
          olds, [&](const ServerCertificateConfig& one) { return one.files.certificate == now.certificate; });
      if (old == olds.end() && i < olds.size()) old = olds.begin() + static_cast<std::ptrdiff_t>(i);
      if (old == olds.end()) continue;
      const std::string place = listed ? fmt::format(".tls.certificates[{}].certificate", i) : ".tls.certificate";
      compare(old->files.pair, now.pair, path + place);
    }
  }

  void compare(const OriginConfig& before, const OriginConfig& after) {
    const std::string path = fmt::format("origins.{}", after.name);
    const bool same_file = before.trust.ca == after.trust.ca && before.trust.ca_path == after.trust.ca_path;
    if (same_file) compare(before.trust.anchors, after.trust.anchors, path + ".trust.ca");
    for (std::size_t i = 0; i < after.identity.size(); ++i) {
      const auto* const now = std::get_if<MtlsConfig>(&after.identity[i].config);
      if (!now) continue;
      for (const IdentityUse& use : before.identity) {
        const auto* const old = std::get_if<MtlsConfig>(&use.config);
        if (old) compare(old->files.pair, now->files.pair, fmt::format("{}.identity[{}].mtls.certificate", path, i));
      }
    }
    compare(before.policies, after.policies, path + ".policies");
  }

  void compare(const std::vector<PolicyUse>& before, const std::vector<PolicyUse>& after, const std::string& path) {
    for (std::size_t i = 0; i < after.size(); ++i) {
      if (!after[i].authorities) continue;
      // Another file is a change of the tree.
      const auto old = std::ranges::find_if(before, [&](const PolicyUse& use) {
        return use.authorities && use.options->find("ca")->text() == after[i].options->find("ca")->text();
      });
      if (old == before.end()) continue;
      compare(old->authorities, after[i].authorities, fmt::format("{}[{}].{}.ca", path, i, after[i].name));
    }
  }

 private:
  void compare(const Pair& before, const Pair& after, const std::string& path) {
    if (!before || !after || before == after) return;
    if (before->leaf().fingerprint() != after->leaf().fingerprint()) {
      lines_.push_back(fmt::format("~ {}: changed, {} -> {}", path, describe(before->leaf()), describe(after->leaf())));
    } else if (!std::ranges::equal(before->chain(), after->chain(), {}, &fingerprint_of, &fingerprint_of)) {
      lines_.push_back(fmt::format("~ {}: other intermediate certificates", path));
    }
  }

  void compare(const Anchors& before, const Anchors& after, const std::string& path) {
    if (!before || !after || before->id() == after->id()) return;
    if (before->certificates().empty() && after->certificates().empty()) {
      lines_.push_back(fmt::format("~ {}: the authorities of the operating system have changed", path));
      return;
    }
    constexpr std::size_t kMax = 4;
    std::vector<std::string> changes;
    for (const auto& old : before->certificates()) {
      if (!holds(after->certificates(), *old)) changes.push_back("- " + describe(*old));
    }
    for (const auto& now : after->certificates()) {
      if (!holds(before->certificates(), *now)) changes.push_back("+ " + describe(*now));
    }
    if (changes.empty()) return;
    const std::size_t more = changes.size() > kMax ? changes.size() - kMax : 0;
    changes.resize(changes.size() - more);
    lines_.push_back(fmt::format("~ {}: changed, {}{}", path, fmt::join(changes, ", "),
                                 more ? fmt::format(" and {} more", more) : std::string()));
  }

  static const std::string& fingerprint_of(const std::shared_ptr<const tls::Certificate>& one) {
    return one->fingerprint();
  }

  std::vector<std::string>& lines_;
};

void find_environment_references(const Node& node, const std::string& path, std::vector<std::string>& out) {
  if (node.is(Kind::string) && node.text().starts_with("${env:")) out.push_back(path);
  for (const Entry& entry : node.entries()) find_environment_references(entry.value, join_path(path, entry.key), out);
  for (std::size_t i = 0; i < node.items().size(); ++i) {
    find_environment_references(node.items()[i], fmt::format("{}[{}]", path, i), out);
  }
}

void compare_certificates(const Config& before, const Config& after, std::vector<std::string>& lines) {
  CertificateDiffer differ(lines);
  for (std::size_t i = 0; i < after.listeners.size(); ++i) {
    for (const ListenerConfig& old : before.listeners) {
      if (old.address.text != after.listeners[i].address.text) continue;
      differ.compare(old, after.listeners[i], after.document->root().find("listeners")->items()[i],
                     fmt::format("listeners[{}]", i));
    }
  }
  differ.compare(before.policies, after.policies, "policies");
  std::unordered_map<std::string_view, const OriginConfig*> origins;
  for (const OriginConfig& origin : before.origins) origins.emplace(origin.name, &origin);
  for (const OriginConfig& origin : after.origins) {
    if (const auto at = origins.find(origin.name); at != origins.end()) differ.compare(*at->second, origin);
  }
  std::unordered_map<std::string_view, const RouteConfig*> routes;
  for (const RouteConfig& route : before.routes) routes.emplace(route.name, &route);
  for (std::size_t i = 0; i < after.routes.size(); ++i) {
    const auto at = routes.find(after.routes[i].name);
    if (at == routes.end()) continue;
    differ.compare(at->second->policies, after.routes[i].policies, fmt::format("routes[{}].policies", i));
  }
}

}  // namespace

std::vector<std::string> describe_changes(const Config& before, const Config& after) {
  std::vector<std::string> lines;
  Differ(lines).compare(before.document->root(), after.document->root(), "");
  std::unordered_map<std::string_view, const OriginConfig*> old_origins;
  for (const OriginConfig& origin : before.origins) old_origins.emplace(origin.name, &origin);
  for (const OriginConfig& origin : after.origins) {
    if (const auto at = old_origins.find(origin.name); at != old_origins.end()) {
      compare_secrets(*at->second, origin, lines);
    }
  }
  compare_certificates(before, after, lines);
  return lines;
}

std::vector<std::string> secrets_fixed_at_start(const Config& config) {
  std::vector<std::string> paths;
  find_environment_references(config.document->root(), "", paths);
  return paths;
}

}  // namespace postern::config
