// Identity `http_signature`: HTTP Message Signatures (RFC 9421) over what the origin will see of each request.
//
// Covered is always: @method, @authority as it is sent, @path, @query and, unless `unsigned_body` says otherwise,
// Content-Digest (RFC 9530) of the body, an empty one, too: a body cannot be added to a request that had none. Created,
// expires, nonce, keyid and tag are parameters; nonce and created are new for every attempt, so that a retry is no
// replay. Trailers are not signed: no verifier could have them before the body.
//
// Content-Digest, Signature and Signature-Input are fields of the gateway: what a client sends in them never arrives.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "identity/catalog.h"
#include "identity/identity.h"
#include "signature/http_message_signature.h"

namespace postern::identity {

class HttpSignature final : public IdentityMethod {
 public:
  // What a method is made from. `signer` makes the signatures and is shared by all loops.
  struct Settings {
    std::shared_ptr<const signature::MessageSigner> signer;
    std::string keyid;
    std::string label;
    std::string tag;
    std::chrono::seconds lifetime{60};
    std::vector<std::string> cover;           // more fields, as configured
    std::optional<std::uint64_t> whole_body;  // nullopt: the body is not signed
    std::string_view secret;                  // of hmac-sha256; outlives the method
  };

  // Errors: a field of `cover` that cannot be signed: bad_header, Side::gateway.
  [[nodiscard]] static Result<std::unique_ptr<const HttpSignature>> make(Settings settings, const Entropy& entropy);

  [[nodiscard]] std::string_view name() const noexcept override { return "http_signature"; }
  [[nodiscard]] std::vector<std::string_view> headers() const override;
  [[nodiscard]] Task<Result<void>> apply(Attempt& attempt) const override;
  [[nodiscard]] std::vector<std::string_view> secrets() const override;
  [[nodiscard]] std::optional<std::uint64_t> whole_body() const noexcept override { return settings_.whole_body; }

 private:
  HttpSignature(Settings settings, signature::CoveredComponents components, const Entropy& entropy)
      : settings_(std::move(settings)), components_(std::move(components)), entropy_(entropy) {}
  [[nodiscard]] Result<void> sign(Attempt& attempt) const;

  const Settings settings_;
  const signature::CoveredComponents components_;
  const Entropy& entropy_;
};

// From the configuration: see identity/catalog.h.
[[nodiscard]] std::unique_ptr<const IdentityMethod> make_http_signature(const config::IdentityUse& use,
                                                                        config::Diagnostics& diagnostics,
                                                                        const Services& services);

}  // namespace postern::identity
