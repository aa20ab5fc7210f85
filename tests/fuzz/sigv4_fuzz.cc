// A path, and after a line feed a query, and after another the values of fields, one a line. Invariants: canonical
// forms hold only characters that they may, are canonical themselves and name the same resource; the order of a query's
// parts means nothing; the canonical request has exactly as many lines as it has parts, whatever is in a value.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/strings.h"
#include "check.h"
#include "signature/percent.h"
#include "signature/sigv4.h"

namespace {

using namespace postern;
using namespace postern::fuzz;
using namespace postern::signature;

constexpr WallTime kNow{std::chrono::seconds(1'440'938'160)};

void check_alphabet(std::string_view text, std::string_view separators) {
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const bool unreserved = is_alpha(c) || is_digit(c) || std::string_view("-._~").find(c) != std::string_view::npos;
    if (unreserved || separators.find(c) != std::string_view::npos) continue;
    check(c == '%' && i + 2 < text.size(), "only unreserved characters, separators and triplets", text);
    for (const char digit : text.substr(i + 1, 2)) {
      check(hex_value(digit) >= 0 && !(digit >= 'a' && digit <= 'f'), "triplets are whole, with capital digits", text);
    }
    const auto value = static_cast<char>(hex_value(text[i + 1]) * 16 + hex_value(text[i + 2]));
    check(!is_alpha(value) && !is_digit(value) && std::string_view("-._~").find(value) == std::string_view::npos,
          "nothing is encoded that need not be", text);
    i += 2;
  }
}

void check_query(std::string_view query) {
  const std::string canonical = canonical_query(query);
  check_alphabet(canonical, "&=");
  check_equal(canonical_query(canonical), canonical, "a canonical query is canonical");
  std::vector<std::string_view> pairs;
  for (std::string_view rest = query; !rest.empty();) {
    pairs.push_back(rest.substr(0, rest.find('&')));
    rest.remove_prefix(std::min(pairs.back().size() + 1, rest.size()));
  }
  std::string reversed;
  for (std::size_t i = pairs.size(); i-- > 0;) {
    reversed += pairs[i];
    reversed += '&';
  }
  check_equal(canonical_query(reversed), canonical, "the order of the parts means nothing");
}

void check_path(std::string_view path) {
  const std::string key = canonical_path(path, PathRule::object_key);
  check_alphabet(key, "/");
  check_equal(canonical_path(key, PathRule::object_key), key, "a canonical object key is canonical");
  check_equal(percent_decode(key, Plus::is_plus), percent_decode(path.empty() ? "/" : path, Plus::is_plus),
              "it names the same object");
  check_equal(percent_decode(canonical_path(path, PathRule::encode), Plus::is_plus), path.empty() ? "/" : path,
              "encoding can be undone");

  const std::string normal = canonical_path(path, PathRule::normalize_and_encode);
  check_alphabet(normal, "/");
  check(normal.starts_with('/') && normal.find("//") == std::string::npos, "segments are not empty", normal);
  for (const std::string_view dots : {"/./", "/../"}) {
    check((normal + '/').find(dots) == std::string::npos, "no dot segment is left", normal);
  }
  check_equal(canonical_path(percent_decode(normal, Plus::is_plus), PathRule::normalize_and_encode), normal,
              "normalising again changes nothing");
}

void check_value(std::string_view value) {
  std::string once;
  append_canonical_value(once, value);
  check(once.find_first_of("\r\n\t") == std::string::npos && once.find("  ") == std::string::npos,
        "white space is one space", once);
  check(!once.starts_with(' ') && !once.ends_with(' '), "a value is trimmed", once);
  std::string twice;
  append_canonical_value(twice, once);
  check_equal(twice, once, "a canonical value is canonical");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const SigV4Key service_key = SigV4Key::derive("secret", kNow, "us-east-1", "execute-api").value();
  static const SigV4Key object_key = SigV4Key::derive("secret", kNow, "us-east-1", "s3").value();
  const std::string_view input = view(data, size);
  std::vector<std::string_view> lines;
  for (std::string_view rest = input; lines.size() < 12 && !rest.empty();) {
    lines.push_back(rest.substr(0, rest.find('\n')));
    rest.remove_prefix(std::min(lines.back().size() + 1, rest.size()));
  }
  lines.resize(std::max<std::size_t>(lines.size(), 2));
  const std::string path = "/" + std::string(lines[0]);
  check_path(path);
  check_query(lines[1]);

  http::Headers fields;
  for (std::size_t i = 2; i < lines.size(); ++i) {
    check_value(lines[i]);
    fields.append(i % 2 == 0 ? "X-Amz-Meta-A" : "x-amz-META-b", lines[i]);
  }
  check_value(input);  // with line breaks
  fields.append("Content-Type", input);
  const bool is_object = number_of(input) % 2 == 0;
  SigV4Request request;
  request.method = "PUT";
  request.path = path;
  request.query = lines[1];
  request.host = "h";
  request.fields = &fields;
  static const std::vector<std::string> named = {"x-amz-meta-a", "x-amz-meta-b"};
  request.also_signed = named;
  const auto made = sign_v4(request, "AKID", "token", is_object ? object_key : service_key, kNow);
  check(made.has_value(), "any request can be signed", input);
  const std::size_t names = made->authorization.find("SignedHeaders=");
  const auto headers = std::ranges::count(made->authorization.substr(names), ';') + 1;
  check(std::ranges::count(made->canonical_request, '\n') == headers + 5, "as many lines as parts",
        made->canonical_request);
  check(made->authorization.find("x-amz-meta-a") != std::string::npos || lines.size() < 3, "what is named is signed",
        made->authorization);
  check(made->authorization.find_first_of("\r\n") == std::string::npos, "one line", made->authorization);
  check(made->canonical_request.find("\nx-amz-security-token:token\n") != std::string::npos, "the token is signed");
  check(redact_token(made->canonical_request).find("\nx-amz-security-token:token\n") == std::string::npos,
        "a token is not shown");
  return 0;
}
