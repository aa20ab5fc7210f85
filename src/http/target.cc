#include "http/target.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "base/ip.h"
#include "base/strings.h"

namespace postern::http {
namespace {

std::unexpected<Error> refuse(Code code, std::string_view rule) { return fail(code, Side::client, std::string(rule)); }
std::unexpected<Error> bad_target(std::string_view rule) { return refuse(Code::bad_target, rule); }

enum class Class : std::uint8_t {
  plain,    // stays as it is
  special,  // '%', '/', '.': needs a look
  refused,
};

constexpr bool is_unreserved(unsigned char c) noexcept {
  return is_alpha(static_cast<char>(c)) || is_digit(static_cast<char>(c)) || c == '-' || c == '.' || c == '_' ||
         c == '~';
}

constexpr auto kPathClass = [] {
  std::array<Class, 256> table{};
  table.fill(Class::refused);
  for (std::size_t c = 0x21; c < 0x7f; ++c) table[c] = Class::plain;
  for (const char c : std::string_view("#\\?\"<>^`{|}")) table[static_cast<unsigned char>(c)] = Class::refused;
  for (const char c : std::string_view("%/.")) table[static_cast<unsigned char>(c)] = Class::special;
  return table;
}();

constexpr Class class_of(char c) noexcept { return kPathClass[static_cast<unsigned char>(c)]; }

bool valid_utf8(std::string_view text) noexcept {
  for (std::size_t i = 0; i < text.size();) {
    const auto lead = static_cast<unsigned char>(text[i]);
    const std::size_t size = lead < 0x80                   ? 1
                             : lead >= 0xc2 && lead < 0xe0 ? 2
                             : lead >= 0xe0 && lead < 0xf0 ? 3
                             : lead >= 0xf0 && lead < 0xf5 ? 4
                                                           : 0;
    if (size == 0 || i + size > text.size()) return false;
    for (std::size_t k = 1; k < size; ++k) {
      if ((static_cast<unsigned char>(text[i + k]) & 0xc0) != 0x80) return false;
    }
    const auto second = size > 1 ? static_cast<unsigned char>(text[i + 1]) : 0;
    if ((lead == 0xe0 && second < 0xa0) || (lead == 0xed && second > 0x9f) || (lead == 0xf0 && second < 0x90) ||
        (lead == 0xf4 && second > 0x8f)) {
      return false;  // overlong, surrogate, beyond U+10FFFF
    }
    i += size;
  }
  return true;
}

// Decoding it would change something.
bool holds_triplet(std::string_view text) noexcept {
  for (std::size_t i = 0; i + 2 < text.size(); ++i) {
    if (text[i] == '%' && hex_value(text[i + 1]) >= 0 && hex_value(text[i + 2]) >= 0) return true;
  }
  return false;
}

// Nothing in it needs a second look: no '%', and no segment that is empty or begins with a dot.
bool is_plain_path(std::string_view path) noexcept {
  for (std::size_t i = 0; i < path.size(); ++i) {
    const char c = path[i];
    if (class_of(c) == Class::plain) continue;
    if (class_of(c) == Class::refused || c == '%') return false;
    if (c == '/' && i + 1 < path.size() && (path[i + 1] == '/' || path[i + 1] == '.')) return false;
  }
  return true;
}

// Decodes what may be decoded, upper-cases the rest; `decoded` gets the bytes fully decoded, for the UTF-8 check.
Result<std::size_t> normalise_escapes(std::string_view path, std::span<char> out, std::span<char> decoded) {
  constexpr std::string_view kHex = "0123456789ABCDEF";
  std::size_t size = 0;
  std::size_t bytes = 0;
  for (std::size_t i = 0; i < path.size(); ++i) {
    const char c = path[i];
    if (class_of(c) == Class::refused) {
      return bad_target(c == '\\'  ? "backslash in the path"
                        : c == '#' ? "fragment in the target"
                                   : "a character that must be encoded");
    }
    if (c != '%') {
      out[size++] = decoded[bytes++] = c;
      continue;
    }
    const int high = i + 1 < path.size() ? hex_value(path[i + 1]) : -1;
    const int low = i + 2 < path.size() ? hex_value(path[i + 2]) : -1;
    if (high < 0 || low < 0) return bad_target("malformed percent-encoding");
    const auto value = static_cast<unsigned char>(high * 16 + low);
    if (value < 0x20 || value == 0x7f) return bad_target("encoded control character");
    if (value == '/' || value == '\\') return bad_target("encoded slash or backslash");
    decoded[bytes++] = static_cast<char>(value);
    if (is_unreserved(value)) {
      out[size++] = static_cast<char>(value);
    } else {
      out[size++] = '%';
      out[size++] = kHex[value >> 4];
      out[size++] = kHex[value & 0xf];
    }
    i += 2;
  }
  const std::string_view once(decoded.data(), bytes);
  if (holds_triplet(once)) return bad_target("doubly encoded");
  if (!valid_utf8(once)) return bad_target("not UTF-8 after decoding");
  return size;
}

// Resolves dot segments in place (RFC 3986 5.2.4), on a path whose escapes are normal.
Result<std::size_t> resolve_dots(std::span<char> path, std::size_t size) {
  std::size_t out = 0;
  for (std::size_t at = 0; at < size;) {  // path[at] is '/'
    std::size_t end = at + 1;
    while (end < size && path[end] != '/') ++end;
    const std::string_view segment(path.data() + at + 1, end - at - 1);
    const bool last = end == size;
    if (segment.empty() && !last) return bad_target("empty path segment");
    const std::string_view before_parameters = segment.substr(0, std::min(segment.find(';'), segment.find("%3B")));
    if (before_parameters == "." || before_parameters == "..") {
      // "..;x" is a name here and the parent directory for some servlet containers, before or after decoding.
      if (before_parameters.size() != segment.size()) return bad_target("dot segment with parameters");
      if (segment == "..") {
        if (out == 0) return bad_target("path climbs above the root");
        while (path[--out] != '/') {
        }
      }
      if (last) path[out++] = '/';
    } else {
      for (std::size_t i = at; i < end; ++i) path[out++] = path[i];
    }
    at = end;
  }
  return out;
}

Result<void> check_query(std::string_view query) {
  for (const char c : query) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte <= 0x20 || byte >= 0x7f) return bad_target("a byte outside of visible ASCII in the query");
    if (c == '#') return bad_target("fragment in the target");
  }
  return {};
}

bool is_reg_name(std::string_view host) noexcept {
  for (const char c : host) {
    if (!is_alpha(c) && !is_digit(c) && c != '-' && c != '.' && c != '_') return false;
  }
  return !host.empty() && host.size() <= 253 && host.front() != '.' && host.back() != '.' &&
         host.find("..") == std::string_view::npos;
}

std::uint16_t default_port(std::string_view scheme) noexcept { return scheme == "https" ? 443 : 80; }

// "http://host:port/path?query": leaves the part from the path on in `rest`.
Result<void> take_absolute(std::string_view raw, std::string_view host_header, Arena& arena, std::string_view& rest) {
  const std::size_t colon = raw.find("://");
  const std::string_view scheme = raw.substr(0, colon);
  if (!iequals(scheme, "http") && !iequals(scheme, "https")) return bad_target("only http and https targets");
  std::string_view after = raw.substr(colon + 3);
  const std::size_t end = after.find_first_of("/?#");
  const std::string_view authority = after.substr(0, end);
  rest = end == std::string_view::npos ? std::string_view("/") : after.substr(end);
  if (rest[0] != '/') return bad_target("no path in the target");
  const auto ours = canonicalize_host(authority, arena);
  const auto theirs = canonicalize_host(host_header, arena);
  if (!ours || !theirs) return refuse(Code::bad_host, "malformed authority");
  const std::uint16_t fallback = default_port(iequals(scheme, "https") ? "https" : "http");
  const auto port = [&](const HostAndPort& h) { return h.port == 0 ? fallback : h.port; };
  if (ours->host != theirs->host || port(*ours) != port(*theirs)) {
    return refuse(Code::bad_host, "Host differs from the authority of the target");
  }
  return {};
}

}  // namespace

Result<std::string_view> canonicalize_path(std::string_view raw_path, Arena& arena) {
  if (raw_path.empty() || raw_path[0] != '/') return bad_target("the path does not begin with a slash");
  if (is_plain_path(raw_path)) return raw_path;
  const std::span<char> out = arena.allocate(raw_path.size());
  const std::span<char> decoded = arena.allocate(raw_path.size());
  Result<std::size_t> escaped = normalise_escapes(raw_path, out, decoded);
  if (!escaped) return std::unexpected(std::move(escaped.error()));
  Result<std::size_t> resolved = resolve_dots(out, *escaped);
  if (!resolved) return std::unexpected(std::move(resolved.error()));
  return std::string_view(out.data(), *resolved);
}

Result<HostAndPort> canonicalize_host(std::string_view text, Arena& arena) {
  const auto bad_host = [](std::string_view rule) { return refuse(Code::bad_host, rule); };
  HostAndPort out;
  std::string_view port;
  if (!text.empty() && text[0] == '[') {
    const std::size_t end = text.find(']');
    if (end == std::string_view::npos) return bad_host("malformed Host");
    const auto ip = IpAddress::parse(text.substr(1, end - 1));
    if (!ip || text.substr(1, end - 1).find(':') == std::string_view::npos) return bad_host("malformed Host");
    out.host = arena.join("[", ip->is_v6() ? ip->to_string() : "::ffff:" + ip->to_string(), "]");
    port = text.substr(end + 1);
  } else {
    const std::size_t colon = text.find(':');
    std::string_view name = text.substr(0, colon);
    port = colon == std::string_view::npos ? std::string_view() : text.substr(colon);
    if (name.size() > 1 && name.back() == '.') name.remove_suffix(1);
    if (!is_reg_name(name)) return bad_host("malformed Host");
    bool upper = false;
    for (const char c : name) upper = upper || (c >= 'A' && c <= 'Z');
    out.host = name;
    if (upper) {
      const std::span<char> lower = arena.allocate(name.size());
      for (std::size_t i = 0; i < name.size(); ++i) lower[i] = ascii_lower(name[i]);
      out.host = {lower.data(), lower.size()};
    }
  }
  if (!port.empty()) {
    const auto number = port[0] == ':' && port.size() <= 6 ? parse_decimal(port.substr(1)) : std::nullopt;
    if (!number || *number == 0 || *number > 65535) return bad_host("malformed port in Host");
    out.port = static_cast<std::uint16_t>(*number);
  }
  return out;
}

Result<void> canonicalize(std::string_view method, std::string_view raw_target, std::string_view host_header,
                          Arena& arena, CanonicalTarget& out) {
  if (!host_header.empty()) {
    Result<HostAndPort> host = canonicalize_host(host_header, arena);
    if (!host) return std::unexpected(std::move(host.error()));
    out.host = host->host;
    out.port = host->port;
  } else {
    return refuse(Code::bad_host, "no Host");
  }
  std::string_view rest = raw_target;
  if (raw_target == "*") {
    if (method != "OPTIONS") return bad_target("'*' is for OPTIONS");
    out.form = TargetForm::asterisk;
    out.path = raw_target;
    return {};
  }
  if (raw_target.empty()) return bad_target("empty target");
  if (raw_target[0] != '/') {
    if (raw_target.find("://") == std::string_view::npos) return bad_target("the path does not begin with a slash");
    out.form = TargetForm::absolute;
    Result<void> taken = take_absolute(raw_target, host_header, arena, rest);
    if (!taken) return taken;
  }
  const std::size_t question = rest.find('?');
  out.has_query = question != std::string_view::npos;
  out.query = out.has_query ? rest.substr(question + 1) : std::string_view();
  Result<std::string_view> path = canonicalize_path(rest.substr(0, question), arena);
  if (!path) return std::unexpected(std::move(path.error()));
  out.path = *path;
  return check_query(out.query);
}

std::string_view CanonicalTarget::path_and_query(Arena& arena) const {
  if (!has_query) return path;
  if (path.data() + path.size() + 1 == query.data()) return {path.data(), path.size() + 1 + query.size()};
  return arena.join(path, "?", query);
}

std::string_view CanonicalTarget::authority(Arena& arena) const {
  if (port == 0) return host;
  std::array<char, 5> digits{};
  const char* const end = std::to_chars(digits.data(), digits.data() + digits.size(), port).ptr;
  return arena.join(host, ":", std::string_view(digits.data(), static_cast<std::size_t>(end - digits.data())));
}

}  // namespace postern::http
