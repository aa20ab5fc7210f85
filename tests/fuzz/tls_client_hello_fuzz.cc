// The server_name extension of a ClientHello. Invariants: what is understood is one name, clean, in canonical form, and
// comes back from an extension that is written from it; nothing shorter or longer is understood.
#include <openssl/ssl.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "check.h"
#include "tls/server_name.h"

namespace {

using namespace postern;
using namespace postern::fuzz;

std::expected<std::string, int> parse(std::string_view bytes) {
  const std::vector<unsigned char> exact(bytes.begin(), bytes.end());
  return tls::parse_server_name(exact);
}

std::string number(std::size_t value) { return {static_cast<char>(value >> 8), static_cast<char>(value & 0xff)}; }

std::string write(const std::string& name) {
  const std::string entry = '\0' + number(name.size()) + name;
  return number(entry.size()) + entry;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes = view(data, size);
  const auto name = parse(bytes);
  if (!name) {
    check(name.error() == SSL_AD_DECODE_ERROR || name.error() == SSL_AD_UNRECOGNIZED_NAME, "an alert that is meant");
    return 0;
  }
  check(!name->empty() && name->size() <= tls::kMaxServerName, "its size", *name);
  for (const char c : *name) check(c > ' ' && c < '\x7f' && (c < 'A' || c > 'Z'), "clean and in lower case", *name);
  check(name->size() == size - 5 || name->size() == size - 6, "all of it", *name);
  check_equal(parse(write(*name)).value_or(""), name->ends_with('.') ? name->substr(0, name->size() - 1) : *name,
              "written again it is the same");
  check(!parse(bytes.substr(0, number_of(bytes) % size)), "nothing shorter");
  check(!parse(std::string(bytes) + '\0'), "nothing longer");
  const tls::CanonicalName canonical(*name);
  check(canonical.view().empty() || canonical.view() == *name || std::string(canonical.view()) + "." == *name,
        "canonical or an address", *name);
  return 0;
}
