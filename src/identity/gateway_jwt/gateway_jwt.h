// Identity `gateway_jwt`: a short-lived token that the gateway's own issuer has signed for the audience of this origin,
// in one header field. Who has the issuer's published keys can verify it, and nobody else can make one.
#pragma once

#include <memory>
#include <string>

#include "config/config.h"
#include "config/diagnostics.h"
#include "identity/catalog.h"
#include "identity/credential_field.h"
#include "identity/identity.h"
#include "issuer/token_mint.h"

namespace postern::identity {

class GatewayJwt final : public IdentityMethod {
 public:
  // `slot` is one of `mint`.
  GatewayJwt(CredentialField field, std::shared_ptr<issuer::TokenMint> mint,
             std::shared_ptr<issuer::TokenMint::Slot> slot);

  [[nodiscard]] std::string_view name() const noexcept override { return "gateway_jwt"; }
  [[nodiscard]] std::vector<std::string_view> headers() const override { return {field_.name()}; }
  [[nodiscard]] Task<Result<void>> apply(Attempt& attempt) const override;
  // A token is new every few minutes: Attempt::sensitive has it.
  [[nodiscard]] std::vector<std::string_view> secrets() const override { return {}; }

 private:
  [[nodiscard]] Result<void> add(Attempt& attempt) const;

  CredentialField field_;
  std::shared_ptr<issuer::TokenMint> mint_;  // before the slot, which refers to it
  std::shared_ptr<issuer::TokenMint::Slot> slot_;
};

[[nodiscard]] std::unique_ptr<const IdentityMethod> make_gateway_jwt(const config::IdentityUse& use,
                                                                     config::Diagnostics& diagnostics,
                                                                     const Services& services);

}  // namespace postern::identity
