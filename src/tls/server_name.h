// Server names as clients send them (RFC 6066 3), and patterns of names: "api.example.com" exactly, "*.example.com" for
// exactly one label more.
#pragma once

#include <array>
#include <expected>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>

namespace postern::tls {

// Longest name in DNS; a longer one cannot be anybody's.
inline constexpr std::size_t kMaxServerName = 255;

// The body of a server_name extension of a ClientHello: exactly one host name, in lower case and without trailing dot.
// Fails with the alert to answer with: decode_error if it is malformed, unrecognized_name if it is no name (a NUL or
// another byte that is not printable ASCII, too long, nothing but a dot).
[[nodiscard]] std::expected<std::string, int> parse_server_name(std::span<const unsigned char> extension);

// The one form of a host in which names are compared: lower case, without trailing dot; "" for IP addresses, in
// brackets or not, which are never sent as a server name (RFC 6066 3), and for what is too long.
class CanonicalName {
 public:
  explicit CanonicalName(std::string_view host) noexcept;
  [[nodiscard]] std::string_view view() const noexcept { return {text_.data(), size_}; }

 private:
  std::array<char, kMaxServerName> text_;  // NOLINT: as much of it as size_ says
  std::size_t size_ = 0;
};

// Numbers by pattern. Exact names win over wildcards.
class NameMap {
 public:
  // `pattern` in canonical form. The first entry of a pattern stays.
  void add(std::string_view pattern, unsigned number);
  // `name` in canonical form.
  [[nodiscard]] std::optional<unsigned> find(std::string_view name) const;

 private:
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const noexcept { return std::hash<std::string_view>()(text); }
  };
  using Table = std::unordered_map<std::string, unsigned, Hash, std::equal_to<>>;
  Table exact_;
  Table wildcards_;  // by what follows the "*."
};

}  // namespace postern::tls
