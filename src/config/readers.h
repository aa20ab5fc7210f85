// Internal to the builder: readers of one value. The target keeps its default if the node is missing or the schema has
// refused it, which has been reported then.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "config/config.h"
#include "config/node.h"
#include "config/units.h"

namespace postern::config {

// nullptr if there is no such key, or its value is no text.
inline const Node* string_at(const Node* node, std::string_view key) {
  const Node* const value = node ? node->find(key) : nullptr;
  return value && value->is(Kind::string) ? value : nullptr;
}

inline void read(const Node* node, std::string_view key, std::string& out) {
  if (const Node* const value = string_at(node, key)) out = value->text();
}

inline void read(const Node* node, std::string_view key, Duration& out) {
  const Node* const value = string_at(node, key);
  if (const auto duration = value ? parse_duration(value->text()) : std::nullopt) out = *duration;
}

inline void read(const Node* node, std::string_view key, std::uint32_t& out) {
  const Node* const value = node ? node->find(key) : nullptr;
  if (value && value->is(Kind::integer) && value->as_int() >= 0 && value->as_int() <= INT32_MAX) {
    out = static_cast<std::uint32_t>(value->as_int());
  }
}

inline void read(const Node* node, std::string_view key, bool& out) {
  const Node* const value = node ? node->find(key) : nullptr;
  if (value && value->is(Kind::boolean)) out = value->as_bool();
}

inline void read(const Node* node, std::string_view key, std::vector<std::string>& out) {
  const Node* const value = node ? node->find(key) : nullptr;
  if (!value) return;
  out.clear();
  for (const Node& item : value->items()) out.emplace_back(item.text());
}

// "unlimited" or a size with its unit.
inline void read_size(const Node* node, std::string_view key, std::uint64_t& out) {
  const Node* const value = string_at(node, key);
  if (!value) return;
  if (value->text() == "unlimited") out = kUnlimited;
  if (const auto size = parse_size(value->text())) out = *size;
}

}  // namespace postern::config
