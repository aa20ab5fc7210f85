#include "tokens/aws.h"

#include <gmock/gmock.h>

#include "http/headers.h"
#include "signature/sigv4.h"
#include "tokens/cloud_test_support.h"

namespace postern::tokens {
namespace {

using namespace test;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

// ManualClock begins at 2023-11-14T22:13:20Z.
constexpr std::string_view kDate = "Tue, 14 Nov 2023 22:13:20 GMT";
constexpr std::string_view kInAnHour = "2023-11-14T23:13:20Z";
constexpr std::string_view kSecret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
constexpr std::string_view kToken = "IQoJb3JpZ2luX2VjEHoaCXVzLWVhc3QtMSJHMEUCIQ==";

std::string sts_xml(std::string_view action, std::string_view expiration = kInAnHour) {
  const std::string name(action);
  return "<" + name + "Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\n  <" + name +
         "Result>\n    <Credentials>\n      <AccessKeyId>ASIAIOSFODNN7EXAMPLE</AccessKeyId>\n      <SecretAccessKey>" +
         std::string(kSecret) + "</SecretAccessKey>\n      <SessionToken>" + std::string(kToken) +
         "</SessionToken>\n      <Expiration>" + std::string(expiration) +
         "</Expiration>\n    </Credentials>\n    <AssumedRoleUser>"
         "<Arn>arn:aws:sts::123456789012:assumed-role/postern/gw</Arn></AssumedRoleUser>\n  </" +
         name + "Result>\n  <ResponseMetadata><RequestId>x</RequestId></ResponseMetadata>\n</" + name + "Response>";
}

std::string metadata_json(std::string_view expiration = kInAnHour, std::string_view more = "\"Code\":\"Success\",") {
  return "{" + std::string(more) +
         "\"Type\":\"AWS-HMAC\",\"AccessKeyId\":\"ASIAIOSFODNN7EXAMPLE\",\"SecretAccessKey\":\"" +
         std::string(kSecret) + "\",\"Token\":\"" + std::string(kToken) + "\",\"Expiration\":\"" +
         std::string(expiration) + "\"}";
}

AwsRoleOptions role() {
  AwsRoleOptions out;
  out.region = "eu-central-1";
  out.role_arn = "arn:aws:iam::123456789012:role/postern";
  out.session_name = "gw";
  return out;
}

std::unique_ptr<Source> must(Result<std::unique_ptr<Source>> made) {
  EXPECT_TRUE(made) << made.error().to_string();
  return std::move(*made);
}

void expect_credentials(const Obtained& obtained, const World& world, Duration lifetime) {
  ASSERT_TRUE(obtained) << obtained.error().error.to_string();
  EXPECT_EQ(obtained->access_key_id, "ASIAIOSFODNN7EXAMPLE");
  EXPECT_EQ(obtained->secret_access_key.reveal(), kSecret);
  EXPECT_EQ(obtained->session_token.reveal(), kToken);
  EXPECT_EQ(obtained->expires - world.clock.now(), lifetime);
  EXPECT_THAT(obtained->description, Not(HasSubstr(std::string(kSecret))));
  EXPECT_THAT(obtained->description, Not(HasSubstr(std::string(kToken))));
  EXPECT_THAT(obtained->description, HasSubstr("ASIAIOSFODNN7EXAMPLE"));
}

// ---- given keys

TEST(AwsStatic, GivesWhatItWasGiven) {
  World world;
  const auto source =
      must(make_aws_static({"AKIAIOSFODNN7EXAMPLE", config::Secret(kSecret), config::Secret(std::string_view())}));
  const Obtained obtained = world.obtain(*source);
  ASSERT_TRUE(obtained);
  EXPECT_EQ(obtained->access_key_id, "AKIAIOSFODNN7EXAMPLE");
  EXPECT_EQ(obtained->secret_access_key.reveal(), kSecret);
  EXPECT_EQ(obtained->expires, MonoTime::max());
  EXPECT_TRUE(world.fetcher.asked.empty());
  EXPECT_THAT(source->key(), Not(HasSubstr(std::string(kSecret).substr(0, 8))));
}

TEST(AwsStatic, AnotherSecretIsAnotherCredential) {
  const auto one = must(make_aws_static({"AKIAIOSFODNN7EXAMPLE", config::Secret(kSecret)}));
  const auto same = must(make_aws_static({"AKIAIOSFODNN7EXAMPLE", config::Secret(kSecret)}));
  const auto other = must(make_aws_static({"AKIAIOSFODNN7EXAMPLE", config::Secret("another-secret")}));
  EXPECT_EQ(one->key(), same->key());
  EXPECT_NE(one->key(), other->key());
}

TEST(AwsStatic, ReadsTheEnvironment) {
  TestEnvironment environment;
  EXPECT_EQ(aws_keys_from(environment).error().detail(), "AWS_ACCESS_KEY_ID is not set");
  environment.values["AWS_ACCESS_KEY_ID"] = "AKIAIOSFODNN7EXAMPLE";
  environment.values["AWS_SECRET_ACCESS_KEY"] = "";
  EXPECT_EQ(aws_keys_from(environment).error().detail(), "AWS_SECRET_ACCESS_KEY is not set");
  environment.values["AWS_SECRET_ACCESS_KEY"] = kSecret;
  const auto keys = aws_keys_from(environment);
  ASSERT_TRUE(keys);
  EXPECT_EQ(keys->secret_access_key.reveal(), kSecret);
  EXPECT_TRUE(keys->session_token.empty());
}

TEST(AwsStatic, RefusesWhatIsNoKeyWithoutShowingIt) {
  for (const std::string_view id : {"", "AKI", "AKIA IOSFODNN7", "AKIA\nX", "AKIA/x/y"}) {
    EXPECT_FALSE(make_aws_static({std::string(id), config::Secret(kSecret)})) << id;
  }
  const std::string broken = std::string(kSecret) + "\nX-Other: 1";
  for (const auto& [secret, token] : {std::pair<std::string, std::string>{broken, ""}, {"", ""}, {"good", broken}}) {
    const auto made = make_aws_static({"AKIAIOSFODNN7EXAMPLE", config::Secret(secret), config::Secret(token)});
    ASSERT_FALSE(made);
    EXPECT_THAT(std::string(made.error().detail()), Not(HasSubstr("wJalr")));
  }
}

// ---- the instance

TEST(AwsInstance, AsksWithASessionForTheRoleAndItsKeys) {
  World world;
  world.fetcher.answer(200, "AQAEAsession==");
  world.fetcher.answer(200, "postern-role\n");
  world.fetcher.answer(200, metadata_json(), {{"date", std::string(kDate)}});
  const auto source = must(make_aws_instance({}));
  expect_credentials(world.obtain(*source), world, 1h);
  ASSERT_EQ(world.fetcher.asked.size(), 3u);
  const auto& login = world.fetcher.asked[0];
  const auto& list = world.fetcher.asked[1];
  const auto& keys = world.fetcher.asked[2];
  EXPECT_EQ(login.method, "PUT");
  EXPECT_EQ(login.url, "http://169.254.169.254/latest/api/token");
  EXPECT_EQ(login.fields.at("X-aws-ec2-metadata-token-ttl-seconds"), "60");
  EXPECT_EQ(list.method, "GET");
  EXPECT_EQ(list.url, "http://169.254.169.254/latest/meta-data/iam/security-credentials/");
  EXPECT_EQ(list.fields.at("X-aws-ec2-metadata-token"), "AQAEAsession==");
  EXPECT_EQ(keys.url, "http://169.254.169.254/latest/meta-data/iam/security-credentials/postern-role");
  EXPECT_EQ(keys.fields.at("X-aws-ec2-metadata-token"), "AQAEAsession==");
  for (const auto& asked : world.fetcher.asked) EXPECT_EQ(asked.proxy, FetchRequest::Proxy::never);
}

TEST(AwsInstance, AsksForTheConfiguredRoleOnly) {
  World world;
  world.fetcher.answer(200, "session");
  world.fetcher.answer(200, metadata_json(), {{"date", std::string(kDate)}});
  const auto source = must(make_aws_instance({"http://127.0.0.1:1338/", "mine"}));
  EXPECT_TRUE(world.obtain(*source));
  EXPECT_EQ(world.fetcher.asked[1].url, "http://127.0.0.1:1338/latest/meta-data/iam/security-credentials/mine");
}

TEST(AwsInstance, SaysWhatIsWrong) {
  struct Case {
    std::vector<std::pair<int, std::string>> answers;
    std::string_view error;
    bool permanent;
  };
  const Case cases[] = {
      {{{403, ""}}, "the EC2 metadata server answered 403 (IMDSv2 is asked for a session)", true},
      {{{200, "two\nlines"}}, "the EC2 metadata server answered 200 without a session token", false},
      {{{200, "s"}, {404, "<html>"}},
       "the EC2 metadata server answered 404 (no role is attached to this instance)",
       true},
      {{{200, "s"}, {200, "../../secret"}}, "the EC2 metadata server answered 200 without the name of a role", false},
      {{{200, "s"}, {200, ""}}, "the EC2 metadata server answered 200 without the name of a role", false},
      {{{200, "s"}, {200, "r"}, {500, ""}}, "the EC2 metadata server answered 500", false},
      {{{200, "s"}, {200, "r"}, {200, "{\"Code\":\"AssumeRoleUnauthorizedAccess\",\"Message\":\"no\"}"}},
       "the EC2 metadata server answered 200 AssumeRoleUnauthorizedAccess: no",
       false},
      {{{200, "s"}, {200, "r"}, {200, metadata_json("2023-11-14T22:13:20Z")}},
       "the EC2 metadata server gave credentials that have expired, or last for days",
       false},
      {{{200, "s"}, {200, "r"}, {200, "{"}},
       "the EC2 metadata server answered 200 with something that is no JSON object",
       false},
      {{{200, "s"}, {200, "r"}, {200, metadata_json(kInAnHour, "\"Token\":\"\",")}},
       "the EC2 metadata server answered 200 with something that is no JSON object",
       false},  // the name twice
  };
  const auto source = must(make_aws_instance({}));
  for (const Case& test : cases) {
    World world;
    for (const auto& [status, body] : test.answers) world.fetcher.answer(status, body);
    const Obtained obtained = world.obtain(*source);
    ASSERT_FALSE(obtained) << test.error;
    EXPECT_EQ(obtained.error().error.detail(), test.error);
    EXPECT_EQ(obtained.error().permanent, test.permanent) << test.error;
  }
}

TEST(AwsInstance, CanBeGivenUpInEveryStep) {
  const auto source = must(make_aws_instance({}));
  for (int step = 0; step < 3; ++step) {
    World world;
    world.fetcher.answers.clear();
    for (int i = 0; i < step; ++i) world.fetcher.answer(200, "x");
    struct Silent final : Fetcher {
      ScriptedFetcher& inner;
      explicit Silent(ScriptedFetcher& to) : inner(to) {}
      Task<Result<FetchResponse>> fetch(FetchRequest request) override {
        inner.silent = inner.answers.empty();
        return inner.fetch(std::move(request));
      }
    } fetcher(world.fetcher);
    struct Errors final : TaskSet::ErrorHandler {
      void on_task_exception(std::exception_ptr) noexcept override { ADD_FAILURE(); }
    } errors;
    TaskSet tasks(errors);
    struct Run {
      static Task<void> it(Task<Obtained> task) {
        Obtained obtained = co_await std::move(task);
        ADD_FAILURE() << "it ended";
      }
    };
    tasks.spawn(Run::it(source->obtain({fetcher, world.clock, world.entropy})));
    EXPECT_EQ(tasks.size(), 1u);
    tasks.cancel_all();
  }
}

TEST(AwsInstance, RefusesEndpointsThatCouldBeAnybody) {
  for (const std::string_view endpoint :
       {"http://example.com", "http://169.254.169.253", "ftp://127.0.0.1", "http://a@127.0.0.1", "169.254.169.254"}) {
    EXPECT_FALSE(make_aws_instance({std::string(endpoint), ""})) << endpoint;
  }
  EXPECT_TRUE(make_aws_instance({"http://[fd00:ec2::254]", ""}));
  EXPECT_FALSE(make_aws_instance({"http://169.254.169.254", "arn:aws:iam::1:role/x"}));
  EXPECT_FALSE(make_aws_instance({"http://169.254.169.254", ".."}));
}

// ---- the container

TEST(AwsContainer, ReadsItsTokenFileEachTime) {
  World world;
  TestEnvironment environment;
  TestFiles files;
  EXPECT_FALSE(aws_container_from(environment, &files));
  environment.values["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = "http://169.254.170.23/v1/credentials";
  environment.values["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"] = "/var/run/token";
  const auto source = must(make_aws_container(*aws_container_from(environment, &files)));
  EXPECT_THAT(world.error_of(*source), HasSubstr("no such file"));
  for (const std::string_view token : {"Bearer first", "second"}) {
    files.values["/var/run/token"] = std::string(token) + "\n";
    world.fetcher.answer(200, metadata_json(kInAnHour, ""), {{"date", std::string(kDate)}});
    expect_credentials(world.obtain(*source), world, 1h);
    EXPECT_EQ(world.fetcher.asked.back().url, "http://169.254.170.23/v1/credentials");
    EXPECT_EQ(world.fetcher.asked.back().fields.at("Authorization"), token);
  }
  files.values["/var/run/token"] = "one\r\nX-Injected: 1";
  EXPECT_THAT(world.error_of(*source), HasSubstr("cannot stand in a header field"));
  EXPECT_EQ(world.fetcher.asked.size(), 2u);
}

TEST(AwsContainer, TakesTheRelativeAddressOfEcs) {
  TestEnvironment environment;
  TestFiles files;
  environment.values["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"] = "/v2/credentials/abc";
  environment.values["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = "http://127.0.0.1/other";
  World world;
  world.fetcher.answer(403, "{\"code\":\"InvalidToken\",\"message\":\"who is tokentoken?\"}");
  environment.values["AWS_CONTAINER_AUTHORIZATION_TOKEN"] = "tokentoken";
  const auto source = must(make_aws_container(*aws_container_from(environment, &files)));
  EXPECT_EQ(world.error_of(*source),
            "the metadata server of the container answered 403 InvalidToken: who is [removed]?");
  EXPECT_EQ(world.fetcher.asked[0].url, "http://169.254.170.2/v2/credentials/abc");
}

TEST(AwsContainer, RefusesHostsThatAreNoneOfThem) {
  for (const std::string_view url : {"http://10.0.0.1/", "http://169.254.169.254/", "http://metadata.local/x"}) {
    AwsContainerOptions options;
    options.url = url;
    EXPECT_FALSE(make_aws_container(std::move(options))) << url;
  }
}

TEST(AwsAmbient, TakesWhatThePlaceOffersInTheOrderOfTheSdks) {
  TestEnvironment environment;
  TestFiles files;
  EXPECT_EQ(must(make_aws_ambient(environment, &files))->kind(), "aws_instance");
  environment.values["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"] = "/v2/credentials/abc";
  EXPECT_EQ(must(make_aws_ambient(environment, &files))->kind(), "aws_container");
  environment.values["AWS_ACCESS_KEY_ID"] = "AKIAIOSFODNN7EXAMPLE";
  EXPECT_FALSE(make_aws_ambient(environment, &files)) << "half a key is a mistake, not a reason to look elsewhere";
  environment.values["AWS_SECRET_ACCESS_KEY"] = kSecret;
  EXPECT_EQ(must(make_aws_ambient(environment, &files))->kind(), "aws_static");
}

// ---- STS

Result<config::Secret> mint(WallTime) { return config::Secret("eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJndyJ9.c2ln"); }

TEST(AwsWebIdentity, SendsOurTokenUnsigned) {
  World world;
  world.fetcher.answer(200, sts_xml("AssumeRoleWithWebIdentity"), {{"date", std::string(kDate)}});
  const auto source = must(make_aws_web_identity(role(), mint, "issuer"));
  const Obtained obtained = world.obtain(*source);
  expect_credentials(obtained, world, 1h);
  EXPECT_THAT(obtained->description, HasSubstr("arn:aws:sts::123456789012:assumed-role/postern/gw"));
  const auto& asked = world.fetcher.asked.at(0);
  EXPECT_EQ(asked.url, "https://sts.eu-central-1.amazonaws.com/");
  EXPECT_EQ(asked.method, "POST");
  EXPECT_EQ(asked.content_type, "application/x-www-form-urlencoded");
  EXPECT_FALSE(asked.fields.contains("Authorization"));
  const std::map<std::string, std::string> expected = {
      {"Action", "AssumeRoleWithWebIdentity"},
      {"Version", "2011-06-15"},
      {"RoleArn", "arn:aws:iam::123456789012:role/postern"},
      {"RoleSessionName", "gw"},
      {"DurationSeconds", "3600"},
      {"WebIdentityToken", "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJndyJ9.c2ln"}};
  EXPECT_EQ(form_fields(asked.body), expected);
}

TEST(AwsWebIdentity, AWrongClockDoesNotStretchCredentials) {
  for (const Duration off : {-10min, 0min, 10min}) {
    World world;
    world.clock.advance(10min + off);  // ours; theirs stays at kDate
    world.fetcher.answer(200, sts_xml("AssumeRoleWithWebIdentity"), {{"date", std::string(kDate)}});
    const auto source = must(make_aws_web_identity(role(), mint, "issuer"));
    expect_credentials(world.obtain(*source), world, 1h);
  }
}

TEST(AwsWebIdentity, SaysWhatStsSaid) {
  const auto error_xml = [](std::string_view code, std::string_view message) {
    return "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error><Type>Sender</Type><Code>" +
           std::string(code) + "</Code><Message>" + std::string(message) +
           "</Message></Error><RequestId>r</RequestId></ErrorResponse>";
  };
  struct Case {
    int status;
    std::string body;
    std::string_view error;
    bool permanent;
  };
  const Case cases[] = {
      {403, error_xml("AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity"),
       "AWS STS answered 403 AccessDenied: Not authorized to perform sts:AssumeRoleWithWebIdentity (the role's trust "
       "policy does not allow it: compare audience and subject)",
       true},
      {400, error_xml("IDPCommunicationError", "later"),
       "AWS STS answered 400 IDPCommunicationError: later (AWS could not read the issuer's key set in time)", false},
      {400, error_xml("Throttling", "slow &amp; down"), "AWS STS answered 400 Throttling: slow & down", false},
      {400, error_xml("InvalidIdentityToken", "bad eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJndyJ9.c2ln and &#10;line"),
       "AWS STS answered 400 InvalidIdentityToken: bad [removed] and  line (is this issuer an identity provider of "
       "the account, and can AWS read its key set?)",
       true},
      {503, "<html>", "AWS STS answered 503", false},
      {302, "", "AWS STS answered 302 (redirects are not followed)", true},
      {200, error_xml("AccessDenied", "x"), "AWS STS answered 200 with XML that is no answer to this question", false},
      {200, "{}", "AWS STS answered 200 with something that is not XML as STS writes it", false},
      {200, sts_xml("AssumeRole"), "AWS STS answered 200 with XML that is no answer to this question", false},
      {200, sts_xml("AssumeRoleWithWebIdentity", "2023-11-14T22:13:20Z"),
       "AWS STS gave credentials that have expired, or last for days", false},
      {200, sts_xml("AssumeRoleWithWebIdentity", "2099-11-14T22:13:20Z"),
       "AWS STS gave credentials that have expired, or last for days", false},
      {200, sts_xml("AssumeRoleWithWebIdentity", "soon"),
       "AWS STS answered 200 without a time at which the credentials end", false},
  };
  const auto source = must(make_aws_web_identity(role(), mint, "issuer"));
  for (const Case& test : cases) {
    World world;
    world.fetcher.answer(test.status, test.body, {{"date", std::string(kDate)}});
    const Obtained obtained = world.obtain(*source);
    ASSERT_FALSE(obtained) << test.error;
    EXPECT_EQ(obtained.error().error.detail(), test.error);
    EXPECT_EQ(obtained.error().permanent, test.permanent) << test.error;
    EXPECT_EQ(obtained.error().error.side(), Side::gateway);
  }
}

TEST(AwsWebIdentity, TellsOfAClockThatIsOffAndWhenToComeBack) {
  World world;
  world.clock.advance(12min);
  world.fetcher.answer(429, "", {{"date", std::string(kDate)}, {"retry-after", "17"}});
  world.fetcher.answer(503, "", {{"date", std::string(kDate)}, {"retry-after", "Tue, 14 Nov 2023 22:14:20 GMT"}});
  world.fetcher.answer(503, "", {{"retry-after", "99999999999999999999"}});
  world.fetcher.answer(503, "", {{"retry-after", "-5"}});
  const auto source = must(make_aws_web_identity(role(), mint, "issuer"));
  auto first = world.obtain(*source);
  EXPECT_EQ(first.error().error.detail(), "AWS STS answered 429; this machine's clock is 720 s ahead of the server's");
  EXPECT_EQ(first.error().retry_after, 17s);
  EXPECT_EQ(world.obtain(*source).error().retry_after, 60s) << "counted by the server's clock";
  EXPECT_FALSE(world.obtain(*source).error().retry_after);
  EXPECT_FALSE(world.obtain(*source).error().retry_after);
}

TEST(AwsWebIdentity, DoesNotAskWithoutAToken) {
  World world;
  const auto source = must(make_aws_web_identity(
      role(), [](WallTime) -> Result<config::Secret> { return fail(Code::internal, Side::gateway, "no key"); }, "i"));
  EXPECT_THAT(world.error_of(*source), HasSubstr("no key"));
  EXPECT_TRUE(world.fetcher.asked.empty());
}

TEST(AwsAssumedRole, SignsWithTheKeysBelow) {
  World world;
  world.fetcher.answer(200, sts_xml("AssumeRole"), {{"date", std::string(kDate)}});
  AwsRoleOptions options = role();
  options.external_id = "42";
  const auto source = must(make_aws_assumed_role(
      options, must(make_aws_static({"AKIAIOSFODNN7EXAMPLE", config::Secret(kSecret), config::Secret("base-token")}))));
  expect_credentials(world.obtain(*source), world, 1h);
  const auto& asked = world.fetcher.asked.at(0);
  EXPECT_EQ(form_fields(asked.body).at("Action"), "AssumeRole");
  EXPECT_EQ(form_fields(asked.body).at("ExternalId"), "42");
  EXPECT_EQ(asked.fields.at("X-Amz-Security-Token"), "base-token");
  EXPECT_EQ(asked.fields.at("X-Amz-Date"), "20231114T221320Z");

  // As STS would: the same signature from what arrived.
  http::Headers fields;
  fields.append("Content-Type", asked.content_type);
  const std::string hash = signature::payload_hash_of(asked.body);
  signature::SigV4Request request;
  request.method = "POST";
  request.path = "/";
  request.host = "sts.eu-central-1.amazonaws.com";
  request.fields = &fields;
  request.payload_hash = hash;
  const auto key = signature::SigV4Key::derive(kSecret, world.clock.wall(), "eu-central-1", "sts");
  const auto expected = signature::sign_v4(request, "AKIAIOSFODNN7EXAMPLE", "base-token", *key, world.clock.wall());
  EXPECT_EQ(asked.fields.at("Authorization"), expected->authorization);
  EXPECT_THAT(expected->authorization, HasSubstr("SignedHeaders=content-type;host;x-amz-date;x-amz-security-token"));
}

TEST(AwsAssumedRole, FailsAsTheKeysBelowDo) {
  World world;
  world.fetcher.answer(500, "");
  const auto source = must(make_aws_assumed_role(role(), must(make_aws_instance({}))));
  EXPECT_THAT(world.error_of(*source), StartsWith("the EC2 metadata server answered 500"));
  EXPECT_EQ(world.fetcher.asked.size(), 1u);
}

TEST(AwsRole, ChecksItsOptions) {
  const auto error_of = [](auto change) {
    AwsRoleOptions options = role();
    change(options);
    const auto made = make_aws_web_identity(std::move(options), mint, "i");
    return made ? std::string() : std::string(made.error().detail());
  };
  EXPECT_EQ(error_of([](AwsRoleOptions&) {}), "");
  EXPECT_THAT(error_of([](AwsRoleOptions& o) { o.region = "Europe!"; }), StartsWith("region "));
  EXPECT_THAT(error_of([](AwsRoleOptions& o) { o.role_arn = "postern"; }), StartsWith("role_arn "));
  EXPECT_THAT(error_of([](AwsRoleOptions& o) { o.session_name = "a b"; }), StartsWith("session_name "));
  EXPECT_THAT(error_of([](AwsRoleOptions& o) { o.duration = 899s; }), StartsWith("duration "));
  EXPECT_THAT(error_of([](AwsRoleOptions& o) { o.endpoint = "http://sts.example.com/"; }), StartsWith("endpoint "));
  EXPECT_EQ(error_of([](AwsRoleOptions& o) { o.endpoint = "http://127.0.0.1:4000/"; }), "");
  AwsRoleOptions china = role();
  china.region = "cn-north-1";
  china.role_arn = "arn:aws-cn:iam::123456789012:role/postern";
  EXPECT_THAT(must(make_aws_web_identity(china, mint, "i"))->key(),
              HasSubstr("https://sts.cn-north-1.amazonaws.com.cn/"));
}

// ---- XML

TEST(StsXml, TakesOnlyWhatStsWrites) {
  const std::string good = sts_xml("AssumeRole");
  EXPECT_TRUE(parse_sts_answer(good, "AssumeRole"));
  EXPECT_TRUE(parse_sts_answer("<?xml version=\"1.0\"?>\n" + good, "AssumeRole"));
  const auto with = [&](std::string_view what, std::string_view instead) {
    std::string out = good;
    out.replace(out.find(what), what.size(), instead);
    return out;
  };
  const std::string bad[] = {
      "",
      "<!DOCTYPE x>" + good,
      "<!DOCTYPE x [<!ENTITY a \"b\">]>" + good,
      good + good,
      good.substr(0, good.size() - 1),
      with("<AccessKeyId>ASIA", "<AccessKeyId>../A"),
      with("</SecretAccessKey>", "</SecretAccessKey><SecretAccessKey>x</SecretAccessKey>"),
      with("<SessionToken>", "<SessionToken>a<b/>"),
      with("<SessionToken>", "<SessionToken>&#13;&#10;"),
      with("<SessionToken>", "<SessionToken>" + std::string(20'000, 'x')),
      with("<Credentials>", "<Credentials/><Credentials>"),
      with("<Expiration>", "<Expiration>x"),
      good + std::string(kMaxAwsXml, ' '),
      std::string(1, '\0') + good,
  };
  for (const std::string& xml : bad) EXPECT_FALSE(parse_sts_answer(xml, "AssumeRole")) << xml.substr(0, 600);
  std::string deep;
  for (int i = 0; i < 9000; ++i) deep += "<a>";
  EXPECT_FALSE(parse_sts_answer(deep, "AssumeRole"));
}

}  // namespace
}  // namespace postern::tokens
