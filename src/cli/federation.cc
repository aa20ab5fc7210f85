#include "cli/federation.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "jose/json.h"
#include "jose/jwk_set.h"

namespace postern::cli {
namespace {

using jose::Algorithm;

struct CloudRules {
  Cloud cloud;
  std::string_view name;
  std::string_view audience;
  std::size_t longest_url;
  std::size_t longest_audience;
  std::size_t longest_subject;
  std::size_t most_keys;        // of a key set
  std::size_t longest_key_set;  // bytes
  bool takes_es256;
};
// AWS: CreateOpenIDConnectProvider and AssumeRoleWithWebIdentity; 100 RSA and 100 EC keys. Google: provider and subject
// limits of workload identity federation. Entra: federated identity credentials, which document RS256 only. ALB: the
// quotas of its JWT verification.
constexpr std::array kClouds = {
    CloudRules{Cloud::aws, "aws", "sts.amazonaws.com", 255, 255, 255, 100, 1 << 20, true},
    CloudRules{Cloud::gcp, "gcp", "", 2000, 256, 127, 100, 1 << 20, true},
    CloudRules{Cloud::azure, "azure", "api://AzureADTokenExchange", 600, 600, 600, 100, 1 << 20, false},
    CloudRules{Cloud::alb, "alb", "", 256, 256, 256, 10, 150 * 1024, false},
};

const CloudRules& rules_of(Cloud cloud) noexcept { return *std::ranges::find(kClouds, cloud, &CloudRules::cloud); }

std::string or_word(const std::string& value, std::string_view word) {
  return value.empty() ? std::string(word) : value;
}

std::string without_scheme(std::string_view url) {
  const std::size_t at = url.find("://");
  return std::string(at == std::string_view::npos ? url : url.substr(at + 3));
}

std::string pool_of(std::string_view project_number) {
  return fmt::format("projects/{}/locations/global/workloadIdentityPools/postern",
                     project_number.empty() ? std::string_view("PROJECT_NUMBER") : project_number);
}

std::string aws(const FederationFacts& facts) {
  const std::string account = or_word(facts.account, "ACCOUNT");
  const std::string role = or_word(facts.name, "ROLE");
  const std::string provider = without_scheme(facts.issuer);
  return fmt::format(R"(# AWS: IAM trusts the issuer, and one role may be assumed by one subject of it.
aws iam create-open-id-connect-provider --url {issuer} --client-id-list {audience}
cat > trust.json <<'EOF'
{{
  "Version": "2012-10-17",
  "Statement": [{{
    "Effect": "Allow",
    "Principal": {{"Federated": "arn:aws:iam::{account}:oidc-provider/{provider}"}},
    "Action": "sts:AssumeRoleWithWebIdentity",
    "Condition": {{"StringEquals": {{"{provider}:aud": "{audience}", "{provider}:sub": "{subject}"}}}}
  }}]
}}
EOF
aws iam create-role --role-name {role} --assume-role-policy-document file://trust.json
# Postern, at the origin:
#   identity:
#     - aws_federated: {{role: "arn:aws:iam::{account}:role/{role}", audience: {audience}, subject: {subject}}}
)",
                     fmt::arg("issuer", facts.issuer), fmt::arg("audience", facts.audience),
                     fmt::arg("account", account), fmt::arg("provider", provider), fmt::arg("subject", facts.subject),
                     fmt::arg("role", role));
}

std::string gcp(const FederationFacts& facts) {
  const std::string service_account = or_word(facts.name, "NAME@PROJECT.iam.gserviceaccount.com");
  const std::string pool = pool_of(facts.account);
  return fmt::format(
      R"(# Google Cloud: a pool trusts the issuer, and one service account may be used by one subject of it.
gcloud iam workload-identity-pools create postern --location=global
gcloud iam workload-identity-pools providers create-oidc gateway --location=global \
  --workload-identity-pool=postern --issuer-uri={issuer} --allowed-audiences={audience} \
  --attribute-mapping=google.subject=assertion.sub --attribute-condition="assertion.sub=='{subject}'"
# If Google cannot reach the issuer: --jwk-json-path=jwks.json, written by `postern issuer export DIR`, and again before
# each rotation.
gcloud iam service-accounts add-iam-policy-binding {account} --role=roles/iam.workloadIdentityUser \
  --member="principal://iam.googleapis.com/{pool}/subject/{subject}"
# Postern, at the origin:
#   identity:
#     - gcp_federated:
#         provider: //iam.googleapis.com/{pool}/providers/gateway
#         impersonate: {account}
#         audience: {audience}
#         subject: {subject}
)",
      fmt::arg("issuer", facts.issuer), fmt::arg("audience", facts.audience), fmt::arg("subject", facts.subject),
      fmt::arg("account", service_account), fmt::arg("pool", pool));
}

std::string azure(const FederationFacts& facts) {
  return fmt::format(R"(# Entra ID: an application takes tokens of one subject of the issuer in place of a secret.
cat > credential.json <<'EOF'
{{
  "name": "postern",
  "issuer": "{issuer}",
  "subject": "{subject}",
  "audiences": ["{audience}"]
}}
EOF
az ad app federated-credential create --id {application} --parameters credential.json
# New credentials are not known everywhere at once: AADSTS70021 may come for some minutes.
# Postern, at the origin:
#   identity:
#     - azure_federated: {{tenant: TENANT, client_id: {application}, resource: "api://RESOURCE", subject: {subject}}}
)",
                     fmt::arg("issuer", facts.issuer), fmt::arg("audience", facts.audience),
                     fmt::arg("subject", facts.subject),
                     fmt::arg("application", or_word(facts.name, "APPLICATION_ID")));
}

std::string alb(const FederationFacts& facts) {
  return fmt::format(
      R"(# Application Load Balancer: its HTTPS listener lets nobody through without a token of the issuer.
cat > actions.json <<'EOF'
[
  {{
    "Type": "jwt-validation",
    "Order": 1,
    "JwtValidationConfig": {{
      "Issuer": "{issuer}",
      "JwksEndpoint": "{jwks}",
      "AdditionalClaims": [
        {{"Format": "single-string", "Name": "aud", "Values": ["{audience}"]}},
        {{"Format": "single-string", "Name": "sub", "Values": ["{subject}"]}}
      ]
    }}
  }},
  {{"Type": "forward", "Order": 2, "TargetGroupArn": "TARGET_GROUP_ARN"}}
]
EOF
aws elbv2 modify-listener --listener-arn {listener} --default-actions file://actions.json
# Postern, at the origin:
#   identity:
#     - gateway_jwt: {{audience: {audience}, subject: {subject}, algorithm: RS256}}
)",
      fmt::arg("issuer", facts.issuer), fmt::arg("jwks", facts.jwks_uri), fmt::arg("audience", facts.audience),
      fmt::arg("subject", facts.subject), fmt::arg("listener", or_word(facts.name, "LISTENER_ARN")));
}

Finding judged(bool good, std::string what, std::string fix) {
  return {good, std::move(what), good ? std::string() : std::move(fix)};
}

void check_key(std::vector<Finding>& out, const jose::Json& key, std::size_t index) {
  static constexpr std::array<std::string_view, 9> kKnown = {"kty", "use", "alg", "kid", "n", "e", "crv", "x", "y"};
  const auto* const members = key.if_object();
  const auto has = [&](std::string_view name) { return key.find_string(name) != nullptr; };
  if (!members || !has("kid") || !has("alg") || !has("use")) {
    out.push_back(judged(false, fmt::format("key {} has no kid, alg or use", index),
                         "publish what `postern issuer export` writes"));
    return;
  }
  for (const jose::Json::Member& member : *members) {
    if (std::ranges::find(kKnown, member.name) != kKnown.end()) continue;
    out.push_back(
        judged(false, fmt::format("key {} has `{}`, which Google refuses in an uploaded key set", index, member.name),
               "publish what `postern issuer export` writes"));
  }
}

}  // namespace

std::optional<Cloud> cloud_by_name(std::string_view name) noexcept {
  const auto* const at = std::ranges::find(kClouds, name, &CloudRules::name);
  return at == kClouds.end() ? std::nullopt : std::optional(at->cloud);
}

std::string_view name_of(Cloud cloud) noexcept { return rules_of(cloud).name; }

std::string default_audience(Cloud cloud, std::string_view account) {
  if (cloud != Cloud::gcp) return std::string(rules_of(cloud).audience);
  // What Google expects is the name of the provider itself.
  return "https://iam.googleapis.com/" + pool_of(account) + "/providers/gateway";
}

std::string federation_recipe(Cloud cloud, const FederationFacts& facts) {
  switch (cloud) {
    case Cloud::aws: return aws(facts);
    case Cloud::gcp: return gcp(facts);
    case Cloud::azure: return azure(facts);
    case Cloud::alb: return alb(facts);
  }
  return {};
}

std::vector<Finding> check_issuer(Cloud cloud, const issuer::IssuerOptions& options, std::string_view audience,
                                  std::string_view subject) {
  const CloudRules& rules = rules_of(cloud);
  std::vector<Finding> out;
  const std::string_view url = options.url;
  const std::string rest = without_scheme(url);
  out.push_back(judged(url.starts_with("https://"), "the issuer is an https URL", "publish it over https"));
  out.push_back(judged(rest.substr(0, rest.find('/')).find(':') == std::string::npos, "the issuer has no port",
                       "publish it on port 443, and leave the port away"));
  out.push_back(judged(url.size() <= rules.longest_url,
                       fmt::format("the issuer has no more than {} characters", rules.longest_url),
                       "choose a shorter path"));
  const auto takes = [&](Algorithm algorithm) {
    return algorithm == Algorithm::RS256 || (algorithm == Algorithm::ES256 && rules.takes_es256);
  };
  out.push_back(judged(std::ranges::any_of(options.algorithms, takes),
                       fmt::format("the issuer signs with {}", rules.takes_es256 ? "RS256 or ES256" : "RS256"),
                       "add RS256 to `issuer: {algorithms: [...]}`"));
  out.push_back(judged(!audience.empty() && audience.size() <= rules.longest_audience,
                       fmt::format("the audience has 1 to {} characters", rules.longest_audience),
                       "choose another with --audience"));
  out.push_back(judged(!subject.empty() && subject.size() <= rules.longest_subject,
                       fmt::format("the subject has 1 to {} characters", rules.longest_subject),
                       "choose another with --subject"));
  return out;
}

std::vector<Finding> check_published(Cloud cloud, const issuer::IssuerOptions& options, std::string_view discovery,
                                     std::string_view key_set) {
  const CloudRules& rules = rules_of(cloud);
  std::vector<Finding> out;
  const auto document = jose::Json::parse(discovery);
  const std::string* const named = document ? document->find_string("issuer") : nullptr;
  out.push_back(judged(named != nullptr, "the discovery document is JSON and names its issuer",
                       "publish what `postern issuer export` writes"));
  if (named) {
    out.push_back(judged(*named == options.url, "it names this issuer, byte for byte",
                         fmt::format("it says {}; the gateway says {}", *named, options.url)));
  }
  static constexpr std::array<std::string_view, 3> kLists = {"response_types_supported", "subject_types_supported",
                                                             "id_token_signing_alg_values_supported"};
  for (const std::string_view list : kLists) {
    const jose::Json* const found = document ? document->find(list) : nullptr;
    out.push_back(judged(found && found->if_array() && !found->if_array()->empty(), fmt::format("it has {}", list),
                         "publish what `postern issuer export` writes"));
  }
  const std::optional<std::string> uri = jwks_uri_of(discovery);
  out.push_back(
      judged(uri && uri->starts_with("https://"), "its jwks_uri is an https URL", "publish the keys over https"));
  out.push_back(judged(key_set.size() <= rules.longest_key_set,
                       fmt::format("the key set has no more than {} bytes", rules.longest_key_set),
                       "remove keys that are gone"));
  const auto keys = jose::Json::parse(key_set);
  const jose::Json* const list = keys ? keys->find("keys") : nullptr;
  const auto* const items = list ? list->if_array() : nullptr;
  const auto usable = jose::KeySet::parse(key_set);
  out.push_back(judged(items && usable && !usable->keys().empty(), "the key set has keys that can be used",
                       usable ? "publish what `postern issuer export` writes" : usable.error()));
  if (!items) return out;
  out.push_back(judged(items->size() <= rules.most_keys, fmt::format("it has no more than {} keys", rules.most_keys),
                       "let `postern issuer status` say which of them are still needed"));
  for (std::size_t i = 0; i < items->size(); ++i) check_key(out, (*items)[i], i);
  return out;
}

std::optional<std::string> jwks_uri_of(std::string_view discovery) {
  const auto document = jose::Json::parse(discovery);
  const std::string* const uri = document ? document->find_string("jwks_uri") : nullptr;
  return uri ? std::optional(*uri) : std::nullopt;
}

}  // namespace postern::cli
