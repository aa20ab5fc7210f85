// Fetcher: one HTTP exchange with a token endpoint, a metadata server or a key set, off the request path. An interface:
// the room `fetch` asks the network, tests answer by themselves.
//
// What it promises, whoever implements it: https only, loopback and the metadata servers of clouds excepted; the peer's
// certificate is verified before a byte leaves; no redirect is followed; a body over its limit is an error, not cut.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "config/secret.h"
#include "platform/clock.h"
#include "platform/task.h"

namespace postern::tls {
class CertifiedKey;
class TrustAnchors;
}  // namespace postern::tls

namespace postern::tokens {

struct FetchRequest {
  struct Field {
    std::string name;
    config::Secret value;  // may be a credential
  };

  std::string method = "GET";
  std::string url;  // absolute
  std::vector<Field> fields;
  std::string content_type;  // "" without a body
  config::Secret body;
  std::size_t max_body = 256 * 1024;
  Duration connect_timeout = std::chrono::seconds(2);
  Duration total_timeout = std::chrono::seconds(10);
  // nullptr: the system's authorities.
  std::shared_ptr<const tls::TrustAnchors> trust;
  // Shown if the server asks (RFC 8705); nullptr: none.
  std::shared_ptr<const tls::CertifiedKey> certificate;
  // Metadata servers are asked directly, whatever proxy is configured.
  enum class Proxy : std::uint8_t { as_configured, never };
  Proxy proxy = Proxy::as_configured;
};

struct FetchResponse {
  int status = 0;
  // In the order received, names in lower case.
  std::vector<std::pair<std::string, std::string>> fields;
  config::Secret body;  // usually holds a token

  // The first field of that lower-case name; "" if there is none.
  [[nodiscard]] std::string_view field(std::string_view name) const noexcept [[clang::lifetimebound]] {
    for (const auto& [key, value] : fields) {
      if (key == name) return value;
    }
    return {};
  }
};

class Fetcher {
 public:
  virtual ~Fetcher() = default;
  // Any final status is an answer; the errors are those of not getting one: Side::gateway, and Retry::yes if another
  // attempt may help. Details name the kind of failure, never the URL's query, a field or a body. Belongs to one loop.
  [[nodiscard]] virtual Task<Result<FetchResponse>> fetch(FetchRequest request) = 0;
};

}  // namespace postern::tokens
