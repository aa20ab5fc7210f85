// BearerToken: what every method is that shows the origin a token of somebody else: the token comes from the token
// manager, which has fetched it ahead of time, and stands in one header field. The methods differ in how the token is
// obtained (tokens::Source), not in what they do with it.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "config/config.h"
#include "config/diagnostics.h"
#include "identity/catalog.h"
#include "identity/credential_field.h"
#include "identity/identity.h"
#include "tokens/cloud.h"
#include "tokens/service_account.h"
#include "tokens/token.h"

namespace postern::identity {

class BearerToken final : public IdentityMethod {
 public:
  // `name` is a constant text. `token` nullptr: the configuration is only looked at, and nothing is ever sent.
  BearerToken(std::string_view name, CredentialField field, std::shared_ptr<tokens::Token> token) noexcept
      : name_(name), field_(std::move(field)), token_(std::move(token)) {}

  [[nodiscard]] std::string_view name() const noexcept override { return name_; }
  [[nodiscard]] std::vector<std::string_view> headers() const override { return {field_.name()}; }
  // At once if there is a token; else it waits for the first one, if the configuration says so, until the deadline of
  // the attempt. Errors: token_unavailable, Side::gateway.
  [[nodiscard]] Task<Result<void>> apply(Attempt& attempt) const override;
  // Tokens change: Attempt::sensitive has the one that was sent.
  [[nodiscard]] std::vector<std::string_view> secrets() const override { return {}; }

 private:
  [[nodiscard]] Task<Result<void>> wait(Attempt& attempt) const;
  [[nodiscard]] Result<void> add(Attempt& attempt, std::shared_ptr<const tokens::Credential> credential) const;

  std::string_view name_;
  CredentialField field_;
  std::shared_ptr<tokens::Token> token_;
};

// ---- for the make functions of those methods -----------------------------------------------------------------------

// The method for what a make_*() of tokens has given; nullptr after saying what was wrong with the options. `use` is
// one of a method with the options `header` and `cold_start`.
[[nodiscard]] std::unique_ptr<const IdentityMethod> make_bearer(std::string_view name, const config::IdentityUse& use,
                                                                Result<std::unique_ptr<tokens::Source>> source,
                                                                config::Diagnostics& diagnostics,
                                                                const Services& services);
// The credential of `source` as `where` names it, or nullptr if services has no token manager.
[[nodiscard]] std::shared_ptr<tokens::Token> keep_fresh(const config::MethodConfig& config,
                                                        std::unique_ptr<tokens::Source> source,
                                                        const Services& services);

// The key file that the option `service_account` refers to; nullptr after saying why it is none.
[[nodiscard]] std::shared_ptr<const tokens::ServiceAccount> service_account_of(const config::MethodConfig& config,
                                                                               config::Diagnostics& diagnostics);

// Tokens of our issuer for a cloud, RS256 and afresh each time, and a name that differs for different ones. Options:
// `subject` (postern/origins/NAME if it is not given). nullopt after saying that there is no issuer, or none that signs
// RS256.
struct Assertion {
  tokens::MintAssertion mint;
  std::string name;
};
[[nodiscard]] std::optional<Assertion> assertion_of(const config::MethodConfig& config, std::string audience,
                                                    config::Diagnostics& diagnostics, const Services& services);

// The text of an option that is a duration in whole seconds; `otherwise` if it is not given.
[[nodiscard]] std::chrono::seconds seconds_of(const config::Node& options, std::string_view key,
                                              std::chrono::seconds otherwise);
// Texts of a list with `separator` between them; a single text is itself.
[[nodiscard]] std::string joined(const config::Node* list, char separator);

}  // namespace postern::identity
