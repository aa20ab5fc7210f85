// A request target, and after a line feed the Host. Invariants: the canonical form is canonical (doing it again changes
// nothing), holds nothing that is refused, and names the same resource as a plain reading of RFC 3986 does.
#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/strings.h"
#include "check.h"
#include "http/h1/test_support.h"
#include "http/target.h"

namespace {

using namespace postern;
using namespace postern::fuzz;
using namespace postern::http;
using postern::http::h1::ExactBytes;

std::string decode(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    check(i + 2 < text.size(), "a triplet is whole", text);
    out += static_cast<char>(hex_value(text[i + 1]) * 16 + hex_value(text[i + 2]));
    i += 2;
  }
  return out;
}

// RFC 3986 5.2.4 on a decoded path, the slow and obvious way.
std::string resolve(std::string_view path) {
  std::vector<std::string> segments;
  bool directory = false;
  for (std::size_t at = 1; at <= path.size();) {
    const std::size_t slash = std::min(path.find('/', at), path.size());
    const std::string segment(path.substr(at, slash - at));
    directory = segment == "." || segment == ".." || segment.empty();
    if (segment == "..") {
      check(!segments.empty(), "nothing climbs above the root", path);
      segments.pop_back();
    } else if (!directory) {
      segments.push_back(segment);
    }
    at = slash + 1;
  }
  std::string out;
  for (const std::string& segment : segments) out += "/" + segment;
  return directory || out.empty() ? out + "/" : out;
}

void check_path(std::string_view path) {
  check(!path.empty() && path[0] == '/', "a path begins with a slash", path);
  for (const std::string_view refused : {"//", "/./", "/../", "/.;", "/..;", "\\", "#", "?", "%2F", "%5C", "%00"}) {
    check(path.find(refused) == std::string_view::npos, "nothing refused is left", path);
  }
  check(!path.ends_with("/.") && !path.ends_with("/.."), "no dot segment is left", path);
  for (std::size_t i = 0; i < path.size(); ++i) {
    const auto byte = static_cast<unsigned char>(path[i]);
    check(byte > 0x20 && byte < 0x7f, "visible ASCII", path);
    if (path[i] != '%') continue;
    check(i + 2 < path.size() && hex_value(path[i + 1]) >= 0 && hex_value(path[i + 2]) >= 0, "triplets are whole",
          path);
    check(ascii_lower(path[i + 1]) == path[i + 1] ? is_digit(path[i + 1]) : true, "capital digits", path);
    check(ascii_lower(path[i + 2]) == path[i + 2] ? is_digit(path[i + 2]) : true, "capital digits", path);
    const char value = static_cast<char>(hex_value(path[i + 1]) * 16 + hex_value(path[i + 2]));
    check(static_cast<unsigned char>(value) >= 0x20 && value != 0x7f, "no encoded control character", path);
    check(!is_alpha(value) && !is_digit(value) && std::string_view("-._~").find(value) == std::string_view::npos,
          "nothing is encoded that need not be", path);
  }
  // Whoever decodes once must not find something to decode again.
  const std::string once = decode(path);
  for (std::size_t i = 0; i + 2 < once.size(); ++i) {
    check(once[i] != '%' || hex_value(once[i + 1]) < 0 || hex_value(once[i + 2]) < 0, "not doubly encoded", path);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input = view(data, size);
  const std::size_t split = input.find('\n');
  const ExactBytes target(input.substr(0, split));
  const ExactBytes host(split == std::string_view::npos ? "a" : input.substr(split + 1));
  const std::string_view method = number_of(input) % 8 == 0 ? "OPTIONS" : "GET";
  Arena arena;
  CanonicalTarget out;
  const Result<void> result = canonicalize(method, target.view(), host.view(), arena, out);
  if (!result) {
    check(result.error().side() == Side::client, "it is the client's fault");
    check(result.error().code() == Code::bad_target || result.error().code() == Code::bad_host, "one of two codes");
    return 0;
  }

  const std::string_view forwarded = out.path_and_query(arena);
  const std::string_view authority = out.authority(arena);
  CanonicalTarget again;
  check(canonicalize(method, forwarded, authority, arena, again).has_value(), "what is canonical is accepted",
        forwarded);
  check_equal(again.path_and_query(arena), forwarded, "doing it again changes nothing");
  check_equal(again.authority(arena), authority, "doing it again changes nothing in the host");
  check(again.has_query == out.has_query, "a query stays a query");
  for (const char c : out.host) {
    check(c == ascii_lower(c) &&
              (is_alpha(c) || is_digit(c) || std::string_view("-._:[]").find(c) != std::string_view::npos),
          "the host is plain and lower-case", out.host);
  }
  check(!out.host.empty() && !out.host.ends_with(".."), "a host is there", out.host);
  if (out.form == TargetForm::asterisk) {
    check(method == "OPTIONS" && out.path == "*", "only OPTIONS has an asterisk");
    return 0;
  }
  check_path(out.path);
  check(out.query.find('#') == std::string_view::npos, "no fragment", out.query);
  std::string_view raw = target.view();
  if (out.form == TargetForm::absolute) {
    raw.remove_prefix(raw.find("://") + 3);
    const std::size_t slash = raw.find('/');
    raw = slash == std::string_view::npos ? std::string_view("/") : raw.substr(slash);
  }
  check_equal(decode(out.path), resolve(decode(raw.substr(0, raw.find('?')))), "it names the same resource");
  return 0;
}
