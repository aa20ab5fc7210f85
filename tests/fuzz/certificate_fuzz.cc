// What a peer's certificate, or a file that should hold some, does to us. Invariants: texts of a certificate are
// bounded and fit for a log; its dates can be calculated with; what was read is written and read again the same; a text
// that was cut off inside of a block is refused; nothing is left in OpenSSL's error queue, whatever happened.
#include <openssl/err.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "check.h"
#include "tls/certificate.h"
#include "tls/pem.h"

namespace {

using namespace postern;
using namespace postern::fuzz;
using namespace postern::tls;

using Certificates = std::vector<std::shared_ptr<const Certificate>>;

constexpr WallTime kNow{std::chrono::seconds(1'700'000'000)};

bool is_visible(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return c > ' ' && c < '\x7f'; });
}

void check_name(std::string_view text) {
  constexpr std::string_view kCut = "\xe2\x80\xa6";
  check(text.size() <= 1024 + kCut.size(), "a name is bounded", text);
  if (text.ends_with(kCut)) text.remove_suffix(kCut.size());
  check(std::ranges::all_of(text, [](char c) { return c >= ' ' && c < '\x7f'; }), "a name is fit for a log", text);
}

void check_certificate(const Certificate& it) {
  check_name(it.subject());
  check_name(it.issuer());
  for (const auto* names : {&it.dns_names(), &it.uris(), &it.emails(), &it.ip_addresses()}) {
    check(names->size() <= kMaxListedNames, "names are bounded");
    for (const std::string& name : *names) check(!name.empty() && is_visible(name), "names are visible", name);
  }
  check(it.serial().size() <= 40, "a serial is bounded");
  check(it.fingerprint().size() == 64 && it.spki_pin().size() == 44, "hashes have their length");
  check(it.not_after() >= WallTime() && it.not_after() + std::chrono::hours(24 * 3650) > it.not_after(),
        "dates can be calculated with");
  const std::string error = verify_error_text(X509_V_ERR_CERT_HAS_EXPIRED, &it);
  check(error.size() < 300 && error.find('\n') == std::string::npos, "an error is short", error);

  const auto again = Certificate::parse_all(it.to_pem());
  check(again && again->size() == 1 && (*again)[0]->to_der() == it.to_der(), "what is written is read", it.to_pem());
}

void check_as_peer(const Certificates& chain) {
  const auto anchors = TrustAnchors::parse(chain.back()->to_pem());
  if (anchors) static_cast<void>((*anchors)->verify_client(chain, kNow));
}

void check_der(std::string_view bytes) {
  const auto* at = reinterpret_cast<const unsigned char*>(bytes.data());
  const X509Ptr x509(d2i_X509(nullptr, &at, static_cast<long>(bytes.size())));
  ERR_clear_error();
  if (!x509) return;
  const auto certificate = Certificate::from(x509.get());
  check(ERR_peek_error() == 0, "the error queue is empty after from()");
  check_certificate(*certificate);
  check_as_peer({certificate});
}

void check_text(std::string_view text) {
  const auto parsed = Certificate::parse_all(text);
  check(ERR_peek_error() == 0, "the error queue is empty after parse_all()");
  check(parsed || !parsed.error().detail().empty(), "an error says why");
  if (!parsed) return;
  for (const auto& certificate : *parsed) check_certificate(*certificate);
  check_as_peer(*parsed);
  // Cut after the last BEGIN and before its END.
  const std::size_t begin = text.rfind("-----BEGIN");
  const std::size_t end = text.rfind("-----END");
  const std::size_t cut = begin + 1 + number_of(text) % (end + 8 - begin);
  check(!Certificate::parse_all(text.substr(0, cut)), "half a block is refused", text.substr(0, cut));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input = view(data, size);
  check_der(input);
  check_text(input);
  static_cast<void>(parse_key(input));
  static_cast<void>(parse_request(input));
  static_cast<void>(CertifiedKey::parse(input, input, CertifiedKey::Use::server));
  check(ERR_peek_error() == 0, "the error queue is empty after all");
  return 0;
}
