#include "policies/catalog.h"

#include <set>

#include "policies/test_support.h"

namespace postern::policies {
namespace {

TEST(Catalog, finds_by_name_and_by_nothing_else) {
  for (const CatalogEntry& entry : catalog()) EXPECT_EQ(find_policy(entry.name), &entry);
  EXPECT_EQ(find_policy(""), nullptr);
  EXPECT_EQ(find_policy("API_KEY"), nullptr);
  EXPECT_EQ(find_policy("jwt"), nullptr);
}

TEST(Catalog, every_schema_compiles_into_the_whole) {
  const std::string& text = whole_schema().text();
  for (const CatalogEntry& entry : catalog()) {
    EXPECT_NE(text.find("\"policy_" + std::string(entry.name) + "\""), std::string::npos) << entry.name;
  }
}

TEST(Catalog, who_authenticates_and_by_what) {
  EXPECT_EQ(authenticating_policies(), (std::vector<std::string>{"api_key", "client_certificate"}));
  EXPECT_EQ(find_policy("api_key")->authenticates, Authenticates::by_key);
  EXPECT_EQ(find_policy("client_certificate")->authenticates, Authenticates::by_certificate);
  EXPECT_EQ(find_policy("cors")->authenticates, Authenticates::no);
}

TEST(Catalog, answers_come_last_and_addresses_first) {
  const config::Node none(config::Kind::mapping, {});
  const auto rank = [&](std::string_view name) { return find_policy(name)->rank(none); };
  EXPECT_LT(rank("ip_filter"), rank("cors"));
  EXPECT_LT(rank("cors"), rank("rate_limit"));
  EXPECT_LT(rank("rate_limit"), rank("api_key"));
  EXPECT_EQ(rank("api_key"), rank("client_certificate"));
  EXPECT_LT(rank("api_key"), rank("request_headers"));
  EXPECT_LT(rank("request_headers"), rank("rewrite"));
  for (const CatalogEntry& entry : catalog()) EXPECT_LE(entry.rank(none), rank("respond")) << entry.name;
}

}  // namespace
}  // namespace postern::policies
