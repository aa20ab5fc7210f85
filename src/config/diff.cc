// What a reload changes: the two trees compared. Trees hold references, never secrets; resolved secrets are compared
// apart and shown as "changed".
#include <fmt/format.h>

#include <algorithm>
#include <unordered_map>

#include "config/config.h"
#include "config/credentials.h"

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

void compare_secrets(const OriginConfig& before, const OriginConfig& after, std::vector<std::string>& lines) {
  for (std::size_t i = 0; i < std::min(before.identity.size(), after.identity.size()); ++i) {
    const auto* const left = std::get_if<SharedSecretConfig>(&before.identity[i].config);
    const auto* const right = std::get_if<SharedSecretConfig>(&after.identity[i].config);
    if (!left || !right) continue;
    const std::string path = fmt::format("origins.{}.identity[{}].shared_secret", after.name, i);
    if (!left->value.equals(right->value)) lines.push_back(fmt::format("~ {}.value: changed", path));
    if (next_changed(*left, *right)) lines.push_back(fmt::format("~ {}.next.value: changed", path));
  }
}

void find_environment_references(const Node& node, const std::string& path, std::vector<std::string>& out) {
  if (node.is(Kind::string) && node.text().starts_with("${env:")) out.push_back(path);
  for (const Entry& entry : node.entries()) find_environment_references(entry.value, join_path(path, entry.key), out);
  for (std::size_t i = 0; i < node.items().size(); ++i) {
    find_environment_references(node.items()[i], fmt::format("{}[{}]", path, i), out);
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
  return lines;
}

std::vector<std::string> secrets_fixed_at_start(const Config& config) {
  std::vector<std::string> paths;
  find_environment_references(config.document->root(), "", paths);
  return paths;
}

}  // namespace postern::config
