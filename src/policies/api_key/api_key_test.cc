#include "policies/api_key/api_key.h"

#include <gmock/gmock.h>

#include <filesystem>

#include "platform/temporary_directory.h"
#include "policies/test_support.h"
#include "store/key_database.h"
#include "store/key_store.h"

namespace postern::policies {
namespace {

using http::Exchange;
using ::testing::HasSubstr;
using ::testing::Not;

class ApiKeyTest : public PolicyTest {
 protected:
  ApiKeyTest() {
    auto database = store::KeyDatabase::open(directory.file("keys.db"), store::KeyDatabase::Missing::create);
    auto made = (*database)->create({"acme", "Grüße 100%", {{"plan", "gold"}}}, clock.wall() + std::chrono::hours(1),
                                    clock.wall());
    key = made->key.reveal();
    other_key = (*database)->create({"globex", "", {}}, std::nullopt, clock.wall())->key.reveal();
    store::KeyStore::Options options;
    options.database = directory.file("keys.db");
    options.poll = Duration::zero();
    keys = std::move(*store::KeyStore::open(options, clock));
    services.keys = keys.get();
  }
  void revoke(std::string_view id) {
    auto database = store::KeyDatabase::open(directory.file("keys.db"), store::KeyDatabase::Missing::fail);
    ASSERT_TRUE((*database)->revoke(id, clock.wall()).has_value());
    ASSERT_TRUE(keys->refresh().has_value());
  }

  TemporaryDirectory directory;
  std::unique_ptr<store::KeyStore> keys;
  std::string key;        // of acme, for an hour
  std::string other_key;  // of globex
};

TEST_F(ApiKeyTest, lets_a_valid_key_in_takes_it_off_and_says_who_it_is) {
  const Made made = make("api_key", "{}");
  ASSERT_EQ(made.problems, "");
  Exchange exchange;
  fill(exchange, {.headers = {{"Accept", "*/*"}, {"x-api-key", key}}}, clock);
  EXPECT_EQ(outcome(*made.policy, exchange), "next");
  EXPECT_EQ(exchange.consumer.id, "acme");
  EXPECT_EQ(exchange.consumer.key_id, store::key_id_of(key));
  EXPECT_EQ(text_of(exchange.request.headers),
            "Accept: */*|X-Consumer-Id: acme|X-Consumer-Name: Gr%C3%BC%C3%9Fe%20100%25");
}

TEST_F(ApiKeyTest, the_readme_example_passes_metadata_on) {
  const Made made = make_readme_example("api_key");
  ASSERT_EQ(made.problems, "");
  Exchange exchange;
  fill(exchange, {.headers = {{"X-API-Key", key}}}, clock);
  EXPECT_EQ(outcome(*made.policy, exchange), "next");
  EXPECT_THAT(text_of(exchange.request.headers), HasSubstr("X-Consumer-Plan: gold"));
  EXPECT_EQ(made.policy->reserved_headers().size(), 3u);

  Exchange without_metadata;
  fill(without_metadata, {.headers = {{"X-API-Key", other_key}, {"X-Consumer-Plan", "gold"}}}, clock);
  EXPECT_EQ(outcome(*made.policy, without_metadata), "next");
  EXPECT_THAT(text_of(without_metadata.request.headers), Not(HasSubstr("gold")));
}

TEST_F(ApiKeyTest, refuses_everybody_else_and_forwards_no_claim) {
  const Made made = make("api_key", "{}");
  std::string typo = key;
  typo[20] = typo[20] == 'a' ? 'b' : 'a';
  const auto unknown = store::generate_api_key();
  const std::string unknown_key(unknown->reveal());
  const std::string longer = "x" + key;
  const std::string bearer = "Bearer " + key;
  const struct {
    const char* name;
    std::initializer_list<std::pair<std::string_view, std::string_view>> headers;
    const char* expected;
  } cases[] = {
      {"nothing", {}, "PST-P401"},
      {"empty", {{"X-API-Key", ""}}, "PST-P401"},
      {"typo", {{"X-API-Key", typo}}, "PST-P402"},
      {"unknown", {{"X-API-Key", unknown_key}}, "PST-P402"},
      {"longer", {{"X-API-Key", longer}}, "PST-P402"},
      {"two in one field", {{"X-API-Key", "a, b"}}, "PST-P402"},
      {"twice", {{"X-API-Key", key}, {"X-API-Key", key}}, "PST-R015"},
      {"twice by alias", {{"X-API-Key", key}, {"X_API_Key", "nonsense"}}, "PST-R015"},
      {"twice by alias, first", {{"x.api.key", "nonsense"}, {"X-API-Key", key}}, "PST-R015"},
      {"alias only", {{"X_API_KEY", key}}, "PST-P401"},
      {"bearer is not asked for", {{"Authorization", bearer}}, "PST-P401"},
      {"claims to be somebody", {{"X-Consumer-Id", "acme"}, {"x_consumer_id", "acme"}}, "PST-P401"},
  };
  for (const auto& c : cases) {
    Exchange exchange;
    fill(exchange, {.headers = c.headers}, clock);
    EXPECT_EQ(outcome(*made.policy, exchange), c.expected) << c.name;
    EXPECT_FALSE(exchange.consumer.authenticated()) << c.name;
    EXPECT_THAT(text_of(exchange.request.headers), Not(HasSubstr("acme"))) << c.name;
    const bool unauthorized = std::string_view(c.expected).starts_with("PST-P40");
    EXPECT_EQ(exchange.response_additions.value(http::HeaderName::www_authenticate),
              unauthorized ? "ApiKey realm=\"api\", header=\"X-API-Key\"" : "")
        << c.name;
  }
}

TEST_F(ApiKeyTest, a_clients_identity_headers_do_not_survive_beside_the_real_ones) {
  const Made made = make("api_key", "{}");
  Exchange exchange;
  fill(exchange, {.headers = {{"X-Consumer-Id", "root"}, {"X_Consumer_Name", "root"}, {"X-API-Key", key}}}, clock);
  EXPECT_EQ(outcome(*made.policy, exchange), "next");
  EXPECT_THAT(text_of(exchange.request.headers), Not(HasSubstr("root")));
}

TEST_F(ApiKeyTest, revoked_and_expired_keys_are_refused_and_the_error_names_no_secret) {
  const Made made = make("api_key", "{}");
  {
    Exchange exchange;
    fill(exchange, {.headers = {{"X-API-Key", key}}}, clock);
    exchange.started_wall = clock.wall() + std::chrono::hours(1);
    const auto flow = run(*made.policy, exchange);
    ASSERT_FALSE(flow.has_value());
    EXPECT_EQ(flow.error().code(), Code::credentials_invalid);
    EXPECT_THAT(std::string(flow.error().detail()), HasSubstr("expired"));
  }
  revoke(store::key_id_of(key));
  Exchange exchange;
  fill(exchange, {.headers = {{"X-API-Key", key}}}, clock);
  const auto flow = run(*made.policy, exchange);
  ASSERT_FALSE(flow.has_value());
  EXPECT_EQ(flow.error().code(), Code::credentials_invalid);
  EXPECT_THAT(std::string(flow.error().detail()), HasSubstr("revoked"));
  EXPECT_THAT(std::string(flow.error().detail()), Not(HasSubstr(key.substr(store::kKeyIdLength))));
}

TEST_F(ApiKeyTest, an_unreadable_store_refuses_valid_keys_too) {
  const Made made = make("api_key", "{}");
  std::filesystem::remove(directory.file("keys.db"));
  EXPECT_FALSE(keys->refresh().has_value());
  clock.advance(std::chrono::seconds(2));
  Exchange exchange;
  fill(exchange, {.headers = {{"X-API-Key", key}}}, clock);
  EXPECT_EQ(outcome(*made.policy, exchange), "PST-P503");

  services.keys = nullptr;
  const Made without_store = make("api_key", "{}");
  Exchange again;
  fill(again, {.headers = {{"X-API-Key", key}}}, clock);
  EXPECT_EQ(outcome(*without_store.policy, again), "PST-P503");
}

TEST_F(ApiKeyTest, bearer) {
  const Made made = make("api_key", "{bearer: true}");
  ASSERT_EQ(made.problems, "");
  const std::string good = "bEaReR  " + key;
  const std::string basic = "Basic YTpi";
  const struct {
    const char* name;
    std::initializer_list<std::pair<std::string_view, std::string_view>> headers;
    const char* expected;
    std::string_view authorization_left;
  } cases[] = {
      {"good", {{"Authorization", good}}, "next", ""},
      {"basic", {{"Authorization", basic}}, "PST-P401", basic},
      {"no token", {{"Authorization", "Bearer"}}, "PST-P401", "Bearer"},
      {"two", {{"Authorization", good}, {"Authorization", basic}}, "PST-R015", good},
      {"key without scheme", {{"Authorization", key}}, "PST-P401", key},
      {"another bearer token", {{"Authorization", "Bearer eyJ"}}, "PST-P402", ""},
  };
  for (const auto& c : cases) {
    Exchange exchange;
    fill(exchange, {.headers = c.headers}, clock);
    EXPECT_EQ(outcome(*made.policy, exchange), c.expected) << c.name;
    EXPECT_EQ(exchange.request.headers.value(http::HeaderName::authorization), c.authorization_left) << c.name;
  }
}

TEST_F(ApiKeyTest, query_parameter_is_stripped_in_every_spelling) {
  const Made made = make("api_key", "{query: api_key}");
  ASSERT_EQ(made.problems, "");
  const struct {
    std::string target;
    const char* expected;
    const char* query;
  } cases[] = {
      {"/a?api_key=" + key, "next", ""},
      {"/a?x=1&api_key=" + key + "&y=%20", "next", "x=1&y=%20"},
      {"/a?x=1&&api%5Fkey=" + key, "next", "x=1&"},
      {"/a?api_key=" + key + "&api_key=" + key, "PST-R015", nullptr},
      {"/a?api_key=" + key + "&api%5fkey=x", "PST-R015", nullptr},
      {"/a?API_KEY=" + key, "PST-P401", nullptr},
      {"/a?x=api_key", "PST-P401", "x=api_key"},
      {"/a?api_key", "PST-P401", ""},
      {"/a", "PST-P401", ""},
  };
  for (const auto& c : cases) {
    Exchange exchange;
    fill(exchange, {.target = c.target}, clock);
    EXPECT_EQ(outcome(*made.policy, exchange), c.expected) << c.target;
    if (!c.query) continue;
    EXPECT_EQ(exchange.target.query, c.query) << c.target;
    EXPECT_EQ(exchange.target.has_query, *c.query != '\0') << c.target;
    EXPECT_EQ(exchange.request.target.find("pst_"), std::string_view::npos) << c.target;
  }
}

TEST_F(ApiKeyTest, two_policies_on_one_way_agree) {
  const Made on_origin = make("api_key", "{}");
  const Made on_route = make("api_key", "{headers: {id: X-Client, name: null, metadata: {plan: X-Plan}}}");
  Exchange exchange;
  fill(exchange, {.headers = {{"X-API-Key", key}}}, clock);
  EXPECT_EQ(outcome(*on_origin.policy, exchange), "next");
  EXPECT_EQ(outcome(*on_route.policy, exchange), "next");
  EXPECT_THAT(text_of(exchange.request.headers), HasSubstr("X-Client: acme|X-Plan: gold"));

  // The second one does not believe the first blindly: the key may have been revoked in between.
  Exchange later;
  fill(later, {.headers = {{"X-API-Key", key}}}, clock);
  EXPECT_EQ(outcome(*on_origin.policy, later), "next");
  revoke(store::key_id_of(key));
  EXPECT_EQ(outcome(*on_route.policy, later), "PST-P402");
  EXPECT_FALSE(later.consumer.authenticated());
}

TEST_F(ApiKeyTest, keys_of_two_consumers_are_refused) {
  const Made first = make("api_key", "{}");
  const Made second = make("api_key", "{header: X-Other-Key}");
  Exchange exchange;
  fill(exchange, {.headers = {{"X-API-Key", key}, {"X-Other-Key", other_key}}}, clock);
  EXPECT_EQ(outcome(*first.policy, exchange), "next");
  EXPECT_EQ(outcome(*second.policy, exchange), "PST-P402");
}

TEST_F(ApiKeyTest, forward_keeps_the_key) {
  const Made made = make("api_key", "{forward: true, headers: {id: null, name: null, key_id: X-Key-Id}}");
  ASSERT_EQ(made.problems, "");
  Exchange exchange;
  fill(exchange, {.headers = {{"X-API-Key", key}}}, clock);
  EXPECT_EQ(outcome(*made.policy, exchange), "next");
  EXPECT_EQ(text_of(exchange.request.headers),
            "X-API-Key: " + key + "|X-Key-Id: " + std::string(store::key_id_of(key)));
}

TEST_F(ApiKeyTest, options_that_make_no_sense_are_refused) {
  for (const char* const options : {
           "{header: X-A, query: a}",
           "{header: X-A, bearer: true}",
           "{header: Authorization}",
           "{header: Cookie}",
           "{header: Host}",
           "{header: \"X A\"}",
           "{headers: {id: X_API_KEY}}",
           "{headers: {id: X-Who, name: x.who}}",
           "{headers: {id: Content-Length}}",
           "{headers: {id: x_forwarded_for}}",
           "{headers: {id: Connection}}",
           "{bearer: true, headers: {id: Authorization}}",
           "{headers: {metadata: {\"a b\": X-A}}}",
           "{headers: {metadata: {plan: Transfer_Encoding}}}",
           "{query: \"a b\"}",
           "{keys: X-A}",
       }) {
    EXPECT_NE(make("api_key", options).problems, "") << options;
  }
}

}  // namespace
}  // namespace postern::policies
