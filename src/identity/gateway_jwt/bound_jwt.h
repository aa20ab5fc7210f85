// Identity `gateway_jwt` with `bind: request`: a token for one request and no other. It names the method and the
// digests of path, query and body as they are sent, so who copies it can only repeat this very request, for a minute,
// and an origin that remembers `jti` for that minute refuses even that.
//
// Signed on the loop of the request, afresh for every attempt; therefore with ES256 or EdDSA, which take some ten
// microseconds, and never with RSA. Two things keep it from being taken for the token of an origin that asks for none
// of this: its `typ`, and a key that signs nothing else (check_bound_keys()), for verifiers that do not look at `typ`
// (RFC 8725 3.11, 3.12).
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/config.h"
#include "config/diagnostics.h"
#include "identity/credential_field.h"
#include "identity/identity.h"
#include "issuer/token_mint.h"

namespace postern::identity {

class BoundJwt final : public IdentityMethod {
 public:
  // `typ` of these tokens, and how long one is good.
  static constexpr std::string_view kType = "postern-request+jwt";
  static constexpr Duration kLifetime = std::chrono::seconds(60);

  // `kind` without `type`, which is always kType. whole_body nullopt: the body is not bound, and the token has no
  // claim about it.
  BoundJwt(CredentialField field, std::shared_ptr<const issuer::TokenMint> mint, issuer::TokenMint::Kind kind,
           std::optional<std::uint64_t> whole_body);

  [[nodiscard]] std::string_view name() const noexcept override { return "gateway_jwt"; }
  [[nodiscard]] std::vector<std::string_view> headers() const override { return {field_.name()}; }
  [[nodiscard]] std::optional<std::uint64_t> whole_body() const noexcept override { return whole_body_; }
  // Claims beside those of every token of the issuer: `htm`, the method (as in RFC 9449 4.2); `path_sha256` and
  // `body_sha256`, base64url of the SHA-256 of path and query and of the body, byte for byte as they are sent, an empty
  // body too. Digests, because a path may be as long as a field or hold bytes that JSON cannot, and a token is logged
  // more easily than a query.
  // Errors: as TokenMint::sign().
  [[nodiscard]] Task<Result<void>> apply(Attempt& attempt) const override;
  // Attempt::sensitive has the token.
  [[nodiscard]] std::vector<std::string_view> secrets() const override { return {}; }

 private:
  [[nodiscard]] Result<void> add(Attempt& attempt) const;

  const CredentialField field_;
  const std::shared_ptr<const issuer::TokenMint> mint_;
  const issuer::TokenMint::Kind kind_;
  const std::optional<std::uint64_t> whole_body_;
};

// Reports every origin of `config` whose bound tokens would be signed with a key that signs other tokens, too. For a
// configuration that has an issuer and satisfies the schemas.
void check_bound_keys(const config::Config& config, config::Diagnostics& diagnostics);

}  // namespace postern::identity
