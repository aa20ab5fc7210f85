#include "observe/status.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json.hpp>

namespace postern::observe {
namespace {

using std::chrono::hours;
using std::chrono::seconds;
using ::testing::HasSubstr;
using ::testing::Not;

Status example() {
  const WallTime now{seconds(1'700'000'000)};
  return {
      .version = "0.1.0",
      .now = now,
      .started = now - hours(49),
      .generation = 7,
      .draining = false,
      .loops = {{.generation = 7, .connections = 3, .draining = 0}, {.generation = 6, .connections = 1, .draining = 2}},
      .listeners = {{.address = "0.0.0.0:8443", .kind = "http", .connections = 4}},
      .origins = {{.name = "orders",
                   .endpoints = {{.address = "10.0.0.7:8080",
                                  .state = EndpointState::healthy,
                                  .until = {},
                                  .ejections = 0,
                                  .active = 2},
                                 {.address = "unix:/run/o.sock",
                                  .state = EndpointState::ejected,
                                  .until = now + seconds(30),
                                  .ejections = 4,
                                  .active = 0}},
                   .generation = 5}},
      .reload = {.state = ReloadState::rejected, .at = now - seconds(61), .message = "a.yaml:3:1 \x1B[31mbad"},
      .waiting_for_restart = {"workers", "admin.socket"},
      .store = {.state = StoreState::ready, .consumers = 2, .keys = 3, .fresh_at = now, .problem = ""},
      .insecure = {{.where = "origins.old", .reason = "until moved", .until = now + hours(24)},
                   {.where = "origins.older", .reason = "forgotten", .until = now - hours(1)}},
      .credentials = {{.origin = "orders", .method = "shared_secret", .switch_at = now + hours(2), .expires = {}}},
      .certificates = {{.where = "listeners[0].tls.certificates[0]",
                        .subject = "CN=api\x1B",
                        .fingerprint = "ab12",
                        .not_after = now + hours(48)},
                       {.where = "ca.client", .subject = "CN=old", .fingerprint = "cd34", .not_after = now - hours(1)}},
      .issuer = IssuerStatus{.url = "https://id.example.com",
                             .current = false,
                             .problem = "/state/issuer/keys.json: it ends early",
                             .keys = {{"kid-1", "RS256", "signing", now - hours(3)},
                                      {"kid-2", "RS256", "next", now + hours(21)}}},
      .access_log_dropped = 5,
      .log_dropped = 0};
}

TEST(Status, JsonForTheAdminHoldsEverything) {
  const boost::json::value json = boost::json::parse(render_json(example(), Audience::admin));
  EXPECT_EQ(json.at("generation"), 7);
  EXPECT_EQ(json.at("state"), "running");
  EXPECT_EQ(json.at_pointer("/loops/1/generation"), 6);
  EXPECT_EQ(json.at_pointer("/listeners/0/address"), "0.0.0.0:8443");
  EXPECT_EQ(json.at_pointer("/origins/0/endpoints/1/state"), "ejected");
  EXPECT_EQ(json.at_pointer("/origins/0/endpoints/1/address"), "unix:/run/o.sock");
  EXPECT_EQ(json.at_pointer("/origins/0/endpoints/1/until"), "2023-11-14T22:13:50.000Z");
  EXPECT_EQ(json.at_pointer("/reload/state"), "rejected");
  EXPECT_EQ(json.at_pointer("/reload/message"), "a.yaml:3:1 \x1B[31mbad");
  EXPECT_EQ(json.at_pointer("/waiting_for_restart/1/option"), "admin.socket");
  EXPECT_EQ(json.at_pointer("/loops/1/draining"), 2);
  EXPECT_EQ(json.at_pointer("/origins/0/generation"), 5);
  EXPECT_EQ(json.at_pointer("/certificates/0/subject"), "CN=api\x1B");
  EXPECT_EQ(json.at_pointer("/certificates/0/state"), "in_force");
  EXPECT_EQ(json.at_pointer("/certificates/1/fingerprint"), "cd34");
  EXPECT_EQ(json.at_pointer("/certificates/1/state"), "expired");
  EXPECT_EQ(json.at_pointer("/store/keys"), 3);
  EXPECT_EQ(json.at_pointer("/insecure/0/state"), "in_force");
  EXPECT_EQ(json.at_pointer("/insecure/1/state"), "expired");
  EXPECT_EQ(json.at_pointer("/credentials/0/switch_at"), "2023-11-15T00:13:20.000Z");
  EXPECT_EQ(json.at_pointer("/log_dropped/access"), 5);
}

TEST(Status, TheIssuerSaysWhichKeysSignAndWhatIsWrong) {
  const boost::json::value json = boost::json::parse(render_json(example(), Audience::admin));
  EXPECT_EQ(json.at_pointer("/issuer/url"), "https://id.example.com");
  EXPECT_EQ(json.at_pointer("/issuer/state"), "other_keys_in_directory");
  EXPECT_EQ(json.at_pointer("/issuer/keys/1/role"), "next");
  EXPECT_EQ(json.at_pointer("/issuer/keys/1/signs_from"), "2023-11-15T19:13:20.000Z");
  EXPECT_THAT(render_text(example(), Audience::admin),
              HasSubstr("issuer https://id.example.com: NOT THE KEYS OF THE DIRECTORY: /state/issuer/keys.json: it "
                        "ends early\n  key RS256 kid-1 signing, signs from "));
  for (const std::string& text :
       {render_json(example(), Audience::observe), render_text(example(), Audience::observe)}) {
    EXPECT_THAT(text, HasSubstr("kid-1"));
    EXPECT_THAT(text, Not(HasSubstr("/state/")));
    EXPECT_THAT(text, Not(HasSubstr("id.example.com")));
  }
  Status without = example();
  without.issuer.reset();
  EXPECT_THAT(render_text(without, Audience::admin), Not(HasSubstr("issuer")));
  EXPECT_THAT(render_json(without, Audience::admin), Not(HasSubstr("issuer")));
}

TEST(Status, TheObserveListenerNamesNoAddressAndNoMessage) {
  for (const std::string& text :
       {render_json(example(), Audience::observe), render_text(example(), Audience::observe)}) {
    EXPECT_THAT(text, HasSubstr("orders"));
    for (const char* const hidden : {"10.0.0.7", "/run/o.sock", "0.0.0.0", "a.yaml", "until moved", "CN="}) {
      EXPECT_THAT(text, Not(HasSubstr(hidden)));
    }
  }
}

TEST(Status, TextIsForPeople) {
  EXPECT_EQ(render_text(example(), Audience::admin),
            "postern 0.1.0, up 2d 1h, generation 7\n"
            "reload: rejected 2023-11-14T22:12:19.000Z (1m 1s ago): a.yaml:3:1 ?[31mbad\n"
            "takes effect at the next start: workers admin.socket\n"
            "loop 0: generation 7, 3 connections\n"
            "loop 1: generation 6, 1 connections, 2 requests of an older generation\n"
            "listener 0: http 0.0.0.0:8443, 4 connections\n"
            "log lines lost: 5 access, 0 operational\n"
            "origin orders: generation 5\n"
            "  endpoint 0 10.0.0.7:8080: healthy, 2 active, 0 ejections\n"
            "  endpoint 1 unix:/run/o.sock: ejected until 2023-11-14T22:13:50.000Z (in 30s), 0 active, 4 ejections\n"
            "store: ready, 2 consumers, 3 keys, read 2023-11-14T22:13:20.000Z (0s ago)\n"
            "credential orders shared_secret: next value 2023-11-15T00:13:20.000Z (in 2h 0m)\n"
            "certificate listeners[0].tls.certificates[0] CN=api?: until 2023-11-16T22:13:20.000Z (in 2d 0h)\n"
            "certificate ca.client CN=old: EXPIRED 2023-11-14T21:13:20.000Z (1h 0m ago)\n"
            "INSECURE origins.old until 2023-11-15T22:13:20.000Z (in 1d 0h): until moved\n"
            "INSECURE origins.older EXPIRED 2023-11-14T21:13:20.000Z (1h 0m ago): forgotten\n"
            "issuer https://id.example.com: NOT THE KEYS OF THE DIRECTORY: /state/issuer/keys.json: it ends early\n"
            "  key RS256 kid-1 signing, signs from 2023-11-14T19:13:20.000Z (3h 0m ago)\n"
            "  key RS256 kid-2 next, signs from 2023-11-15T19:13:20.000Z (in 21h 0m)\n");
}

TEST(Status, AnEmptyOneIsStillJson) {
  EXPECT_NO_THROW(static_cast<void>(boost::json::parse(render_json({}, Audience::admin))));
}

}  // namespace
}  // namespace postern::observe
