#include "identity/aws_federated/aws_federated.h"

#include <variant>

#include "identity/aws_sigv4/aws_sigv4.h"
#include "identity/bearer_token.h"
#include "identity/options.h"

namespace postern::identity {

std::unique_ptr<const IdentityMethod> make_aws_federated(const config::IdentityUse& use,
                                                         config::Diagnostics& diagnostics, const Services& services) {
  const auto& config = std::get<config::MethodConfig>(use.config);
  const config::Node& options = *config.options;
  const std::size_t errors = diagnostics.errors();
  AwsSigV4::Settings settings;
  settings.method = "aws_federated";
  settings.fetched = true;
  read_signing_options(settings, options, diagnostics);
  if (errors != diagnostics.errors()) return nullptr;
  auto assertion =
      assertion_of(config, std::string(text_of(options, "audience", "sts.amazonaws.com")), diagnostics, services);
  if (!assertion) return nullptr;
  auto source = tokens::make_aws_web_identity(read_role(options, settings.region, config), std::move(assertion->mint),
                                              std::move(assertion->name));
  if (!source) {
    diagnostics.error(config::Problem::bad_value, options, std::string(source.error().detail()),
                      "see docs/aws_federated.md");
    return nullptr;
  }
  settings.token = keep_fresh(config, std::move(*source), services);
  return std::make_unique<const AwsSigV4>(std::move(settings));
}

}  // namespace postern::identity
