#include "cli/federation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "jose/json.h"

namespace postern::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr std::string_view kUrl = "https://id.example.com/postern";
const FederationFacts kFacts{.issuer = std::string(kUrl),
                             .jwks_uri = std::string(kUrl) + "/.well-known/jwks.json",
                             .audience = "the-audience",
                             .subject = "the-subject",
                             .account = "123456789012",
                             .name = "the-name"};

issuer::IssuerOptions options() {
  issuer::IssuerOptions out;
  out.url = kUrl;
  return out;
}
std::vector<std::string> failures(const std::vector<Finding>& findings) {
  std::vector<std::string> out;
  for (const Finding& finding : findings) {
    EXPECT_EQ(finding.good, finding.fix.empty()) << finding.what;
    if (!finding.good) out.push_back(finding.what);
  }
  return out;
}
std::string discovery(std::string_view issuer = kUrl) {
  return R"({"issuer":")" + std::string(issuer) +
         R"(","jwks_uri":"https://id.example.com/postern/.well-known/jwks.json","response_types_supported":["id_token"],)"
         R"("subject_types_supported":["public"],"id_token_signing_alg_values_supported":["RS256"]})";
}
// The EC key of RFC 7517 A.1.
std::string key(std::string_view kid, std::string_view more = "") {
  return R"({"kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM","use":"sig","alg":"ES256","kid":")" +
         std::string(kid) + "\"" + std::string(more) + "}";
}
std::string key_set(int keys, std::string_view more = "") {
  std::string out = R"({"keys":[)";
  for (int i = 0; i < keys; ++i) out += (i ? "," : "") + key("k" + std::to_string(i), more);
  return out + "]}";
}

TEST(Federation, every_recipe_pins_audience_and_subject) {
  for (const Cloud cloud : {Cloud::aws, Cloud::gcp, Cloud::azure, Cloud::alb}) {
    const std::string recipe = federation_recipe(cloud, kFacts);
    EXPECT_THAT(recipe, HasSubstr(kUrl)) << name_of(cloud);
    EXPECT_THAT(recipe, HasSubstr("the-audience")) << name_of(cloud);
    EXPECT_THAT(recipe, HasSubstr("the-subject")) << name_of(cloud);
    EXPECT_THAT(recipe, HasSubstr("the-name")) << name_of(cloud);
    EXPECT_EQ(cloud_by_name(name_of(cloud)), cloud);
  }
  EXPECT_EQ(cloud_by_name("oracle"), std::nullopt);
}

TEST(Federation, what_nobody_said_is_a_word_to_replace) {
  FederationFacts facts = kFacts;
  facts.account.clear();
  facts.name.clear();
  EXPECT_THAT(federation_recipe(Cloud::aws, facts),
              HasSubstr("arn:aws:iam::ACCOUNT:oidc-provider/id.example.com/postern"));
  EXPECT_THAT(federation_recipe(Cloud::gcp, facts), HasSubstr("projects/PROJECT_NUMBER/"));
  EXPECT_THAT(federation_recipe(Cloud::azure, facts), HasSubstr("APPLICATION_ID"));
  EXPECT_THAT(federation_recipe(Cloud::alb, facts), HasSubstr("LISTENER_ARN"));
}

TEST(Federation, policies_in_recipes_are_json) {
  for (const Cloud cloud : {Cloud::aws, Cloud::azure, Cloud::alb}) {
    const std::string recipe = federation_recipe(cloud, kFacts);
    const std::size_t begin = recipe.find("<<'EOF'\n") + 8;
    const std::string policy = recipe.substr(begin, recipe.find("EOF\n", begin) - begin);
    EXPECT_TRUE(jose::Json::parse(policy)) << policy;
  }
}

TEST(Federation, each_cloud_expects_an_audience_of_its_own) {
  EXPECT_EQ(default_audience(Cloud::aws, ""), "sts.amazonaws.com");
  EXPECT_EQ(default_audience(Cloud::azure, ""), "api://AzureADTokenExchange");
  EXPECT_EQ(default_audience(Cloud::gcp, "42"),
            "https://iam.googleapis.com/projects/42/locations/global/workloadIdentityPools/postern/providers/gateway");
  EXPECT_EQ(default_audience(Cloud::alb, ""), "");
}

TEST(Federation, an_issuer_is_judged_by_the_rules_of_the_cloud) {
  EXPECT_THAT(failures(check_issuer(Cloud::aws, options(), "a", "s")), IsEmpty());
  issuer::IssuerOptions other = options();
  other.algorithms = {jose::Algorithm::ES256};
  EXPECT_THAT(failures(check_issuer(Cloud::aws, other, "a", "s")), IsEmpty());
  EXPECT_THAT(failures(check_issuer(Cloud::gcp, other, "a", "s")), IsEmpty());
  EXPECT_EQ(failures(check_issuer(Cloud::azure, other, "a", "s")).size(), 1u) << "documents RS256 only";
  EXPECT_EQ(failures(check_issuer(Cloud::alb, other, "a", "s")).size(), 1u);
  other = options();
  other.url = "https://id.example.com:8443/postern";
  EXPECT_EQ(failures(check_issuer(Cloud::aws, other, "a", "s")).size(), 1u);
  other.url = "http://127.0.0.1/postern";
  EXPECT_EQ(failures(check_issuer(Cloud::aws, other, "a", "s")).size(), 1u);
  other.url = "https://id.example.com/" + std::string(255, 'x');
  EXPECT_EQ(failures(check_issuer(Cloud::aws, other, "a", "s")).size(), 1u);
  EXPECT_EQ(failures(check_issuer(Cloud::gcp, options(), "a", std::string(128, 's'))).size(), 1u);
  EXPECT_EQ(failures(check_issuer(Cloud::gcp, options(), "", "s")).size(), 1u);
}

TEST(Federation, what_is_published_is_judged_too) {
  EXPECT_THAT(failures(check_published(Cloud::aws, options(), discovery(), key_set(2))), IsEmpty());
  EXPECT_EQ(
      failures(check_published(Cloud::aws, options(), discovery("https://id.example.com/postern/"), key_set(1))).size(),
      1u)
      << "a slash makes it another issuer";
  EXPECT_EQ(failures(check_published(Cloud::alb, options(), discovery(), key_set(11))).size(), 1u);
  EXPECT_THAT(failures(check_published(Cloud::aws, options(), discovery(), key_set(11))), IsEmpty());
  EXPECT_EQ(failures(check_published(Cloud::gcp, options(), discovery(), key_set(1, R"(,"x5c":["AA"])"))).size(), 1u);
  EXPECT_THAT(failures(check_published(Cloud::aws, options(), "<html>", key_set(1))), Not(IsEmpty()));
  EXPECT_THAT(failures(check_published(Cloud::aws, options(), discovery(), R"({"keys":[]})")), Not(IsEmpty()));
  EXPECT_THAT(failures(check_published(Cloud::aws, options(), discovery(), "nothing")), Not(IsEmpty()));
  EXPECT_EQ(jwks_uri_of(discovery()), "https://id.example.com/postern/.well-known/jwks.json");
  EXPECT_EQ(jwks_uri_of("[]"), std::nullopt);
}

}  // namespace
}  // namespace postern::cli
