#include "tokens/aws.h"

#include <openssl/crypto.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <utility>

#include "base/json_writer.h"
#include "base/strings.h"
#include "http/headers.h"
#include "signature/sigv4.h"

namespace postern::tokens {
namespace {

using Obtained = std::expected<Credential, SourceError>;

constexpr std::array<std::string_view, 2> kInstanceHosts = {"169.254.169.254", "fd00:ec2::254"};
constexpr std::array<std::string_view, 3> kContainerHosts = {"169.254.170.2", "169.254.170.23", "fd00:ec2::23"};
constexpr std::string_view kInstance = "the EC2 metadata server";
constexpr std::string_view kContainer = "the metadata server of the container";
constexpr std::string_view kSts = "AWS STS";
constexpr std::size_t kMaxAuthorization = 8 * 1024;

std::unexpected<Error> bad_option(std::string detail) {
  return fail(Code::io_failed, Side::gateway, std::move(detail));
}

std::string describe(std::string_view access_key_id, std::string_view arn, bool temporary) {
  std::string out;
  JsonWriter writer(out);
  writer.begin_object();
  writer.field("access_key_id", access_key_id);
  if (!arn.empty()) writer.field("arn", arn);
  writer.key("temporary");
  writer.value_bool(temporary);
  writer.end_object();
  return out;
}

Obtained credential_of(std::string_view who, AwsAnswer answer, const FetchResponse& response, const Clock& clock) {
  const auto expires = cloud::expiry_at(*answer.expires, response, clock);
  if (!expires) {
    return std::unexpected(cloud::failed(std::string(who) + " gave credentials that have expired, or last for days"));
  }
  Credential out;
  out.description = describe(answer.keys.access_key_id, answer.arn, true);
  out.access_key_id = std::move(answer.keys.access_key_id);
  out.secret_access_key = std::move(answer.keys.secret_access_key);
  out.session_token = std::move(answer.keys.session_token);
  out.expires = *expires;
  return out;
}

std::unexpected<SourceError> malformed(std::string_view who, const FetchResponse& response, std::string_view why) {
  return std::unexpected(
      cloud::failed(std::string(who) + " answered " + std::to_string(response.status) + " " + std::string(why)));
}

Obtained read_metadata(std::string_view who, const FetchResponse& response, const Clock& clock,
                       std::span<const std::string_view> secrets) {
  if (response.status != 200) return std::unexpected(cloud::refused(who, response, clock, secrets));
  auto answer = parse_aws_metadata(response.body.reveal());
  if (!answer) {
    const cloud::Refusal why = cloud::refusal_in(response.body.reveal());
    if (!why.code.empty() && why.code != "Success") {
      return std::unexpected(cloud::refused(who, response, why, clock, secrets, ""));
    }
    return malformed(who, response, answer.error());
  }
  return credential_of(who, std::move(*answer), response, clock);
}

// ---- given keys ----------------------------------------------------------------------------------------------------

class StaticKeys final : public Source {
 public:
  explicit StaticKeys(AwsKeys keys) : keys_(std::move(keys)) {}

  std::string key() const override {
    return "aws:static:" + keys_.access_key_id + ":" +
           cloud::fingerprint({keys_.secret_access_key.reveal(), keys_.session_token.reveal()});
  }
  std::string_view kind() const noexcept override { return "aws_static"; }
  Task<Obtained> obtain(Context) const override {
    Credential out;
    out.access_key_id = keys_.access_key_id;
    out.secret_access_key = keys_.secret_access_key.clone();
    out.session_token = keys_.session_token.clone();
    out.description = describe(keys_.access_key_id, "", !keys_.session_token.empty());
    return Obtained(std::move(out));
  }

 private:
  AwsKeys keys_;
};

// ---- metadata ------------------------------------------------------------------------------------------------------

class InstanceRole final : public Source {
 public:
  explicit InstanceRole(AwsInstanceOptions options) : options_(std::move(options)) {}

  std::string key() const override { return "aws:instance:" + options_.endpoint + ":" + options_.role; }
  std::string_view kind() const noexcept override { return "aws_instance"; }

  Task<Obtained> obtain(Context context) const override {
    FetchRequest login = cloud::get_metadata(options_.endpoint + "/latest/api/token");
    login.method = "PUT";
    login.fields.push_back({"X-aws-ec2-metadata-token-ttl-seconds", config::Secret("60")});
    auto session = co_await context.fetcher.fetch(std::move(login));
    if (!session) co_return std::unexpected(SourceError{std::move(session.error())});
    if (session->status != 200) {
      co_return std::unexpected(
          cloud::refused(kInstance, *session, context.clock, {}, "IMDSv2 is asked for a session"));
    }
    const config::Secret token = std::move(session->body);
    if (!cloud::is_name(token.reveal(), 512)) co_return malformed(kInstance, *session, "without a session token");
    const std::array<std::string_view, 1> secrets = {token.reveal()};

    const std::string base = options_.endpoint + "/latest/meta-data/iam/security-credentials/";
    std::string role = options_.role;
    if (role.empty()) {
      auto list = co_await context.fetcher.fetch(with_session(base, token));
      if (!list) co_return std::unexpected(SourceError{std::move(list.error())});
      if (list->status != 200) {
        const std::string_view hint = list->status == 404 ? "no role is attached to this instance" : "";
        co_return std::unexpected(cloud::refused(kInstance, *list, context.clock, secrets, hint));
      }
      const std::string_view names = list->body.reveal();
      role = trim_ows(names.substr(0, names.find_first_of("\r\n")));
      if (!is_role_name(role)) co_return malformed(kInstance, *list, "without the name of a role");
    }
    auto answer = co_await context.fetcher.fetch(with_session(base + role, token));
    if (!answer) co_return std::unexpected(SourceError{std::move(answer.error())});
    co_return read_metadata(kInstance, *answer, context.clock, secrets);
  }

  // IAM's own rule; it becomes a part of the path.
  static bool is_role_name(std::string_view text) noexcept {
    return !text.empty() && text.size() <= 64 &&
           std::ranges::all_of(text,
                               [](char c) {
                                 return is_alpha(c) || is_digit(c) ||
                                        std::string_view("_+=,.@-").find(c) != std::string_view::npos;
                               }) &&
           text != "." && text != "..";
  }

 private:
  static FetchRequest with_session(std::string url, const config::Secret& token) {
    FetchRequest request = cloud::get_metadata(std::move(url));
    request.fields.push_back({"X-aws-ec2-metadata-token", token.clone()});
    return request;
  }
  AwsInstanceOptions options_;
};

class ContainerRole final : public Source {
 public:
  explicit ContainerRole(AwsContainerOptions options) : options_(std::move(options)) {}

  std::string key() const override {
    return "aws:container:" + options_.url + ":" + options_.authorization_file + ":" +
           cloud::fingerprint({options_.authorization.reveal()});
  }
  std::string_view kind() const noexcept override { return "aws_container"; }

  Task<Obtained> obtain(Context context) const override {
    FetchRequest request = cloud::get_metadata(options_.url);
    config::Secret authorization = options_.authorization.clone();
    if (!options_.authorization_file.empty()) {
      config::FileReader::Outcome file =
          (options_.files ? *options_.files : disk_).read(options_.authorization_file, kMaxAuthorization);
      if (!file.content) {
        co_return std::unexpected(
            cloud::failed("the authorization token of the container cannot be read: " + file.problem));
      }
      std::string_view text = *file.content;
      while (text.ends_with('\n') || text.ends_with('\r')) text.remove_suffix(1);
      authorization = config::Secret(text);
      OPENSSL_cleanse(file.content->data(), file.content->size());
      if (!is_field_text(authorization.reveal())) {
        co_return std::unexpected(
            cloud::failed("the authorization token of the container cannot stand in a header field"));
      }
    }
    const std::array<std::string_view, 1> secrets = {authorization.reveal()};
    if (!authorization.empty()) request.fields.push_back({"Authorization", authorization.clone()});
    auto answer = co_await context.fetcher.fetch(std::move(request));
    if (!answer) co_return std::unexpected(SourceError{std::move(answer.error())});
    co_return read_metadata(kContainer, *answer, context.clock, secrets);
  }

  // With inner spaces ("Bearer ..."), without line breaks.
  static bool is_field_text(std::string_view text) noexcept {
    return !text.empty() && text.size() <= kMaxAuthorization && text.front() != ' ' && text.back() != ' ' &&
           std::ranges::all_of(text, [](char c) { return c >= ' ' && c < '\x7f'; });
  }

 private:
  AwsContainerOptions options_;
  config::DiskFileReader disk_;
};

// ---- STS -----------------------------------------------------------------------------------------------------------

bool is_session_name(std::string_view text) noexcept {
  return text.size() >= 2 && text.size() <= 64 && InstanceRole::is_role_name(text);
}

bool is_region(std::string_view text) noexcept {
  return text.size() >= 4 && text.size() <= 32 &&
         std::ranges::all_of(text, [](char c) { return (c >= 'a' && c <= 'z') || is_digit(c) || c == '-'; });
}

// Fills in the endpoint.
Result<void> check_role(AwsRoleOptions& options) {
  if (!is_region(options.region)) return bad_option("region is no AWS region, such as eu-central-1");
  const std::string_view arn = options.role_arn;
  const bool plausible = arn.starts_with("arn:aws") && arn.find(":iam::") != std::string_view::npos &&
                         arn.find(":role/") != std::string_view::npos;
  if (!plausible || arn.size() < 20 || !cloud::is_name(arn, 2048)) {
    return bad_option("role_arn is no role, such as arn:aws:iam::123456789012:role/postern");
  }
  if (!is_session_name(options.session_name)) {
    return bad_option("session_name takes 2 to 64 letters, digits and _+=,.@-");
  }
  if (options.duration < std::chrono::seconds(900) || options.duration > std::chrono::hours(12)) {
    return bad_option("duration is 15m to 12h");
  }
  if (!options.external_id.empty() && (options.external_id.size() < 2 || !cloud::is_name(options.external_id, 1224))) {
    return bad_option("external_id takes 2 to 1224 visible characters");
  }
  if (options.endpoint.empty()) {
    const std::string_view tail = options.region.starts_with("cn-") ? ".amazonaws.com.cn/" : ".amazonaws.com/";
    options.endpoint = "https://sts." + options.region + std::string(tail);
  }
  if (options.endpoint.find('?') != std::string::npos) return bad_option("endpoint has a query");
  return cloud::check_endpoint("endpoint", options.endpoint);
}

// What STS's codes mean for whoever set this up. They are for people: nothing is decided by them.
std::string_view hint_for(std::string_view code) noexcept {
  constexpr std::pair<std::string_view, std::string_view> kHints[] = {
      {"InvalidIdentityToken", "is this issuer an identity provider of the account, and can AWS read its key set?"},
      {"IDPCommunicationError", "AWS could not read the issuer's key set in time"},
      {"ExpiredTokenException", "the gateway's token was too old when it arrived: look at the clock"},
      {"AccessDenied", "the role's trust policy does not allow it: compare audience and subject"},
      {"IDPRejectedClaim", "the provider does not allow this audience"},
      {"RegionDisabledException", "STS is not activated in this region"},
      {"SignatureDoesNotMatch", "the secret access key is wrong, or the clock is"},
      {"InvalidClientTokenId", "AWS does not know this access key id"},
      {"ValidationError", "AWS refuses a value: role, session name or duration"},
  };
  for (const auto& [name, hint] : kHints) {
    if (name == code) return hint;
  }
  return {};
}

// `secrets`: what was sent.
Obtained read_sts(std::string_view action, const FetchResponse& response, const Clock& clock,
                  std::span<const std::string_view> secrets) {
  if (response.status != 200) {
    const cloud::Refusal why = parse_sts_error(response.body.reveal());
    SourceError error = cloud::refused(kSts, response, why, clock, secrets, hint_for(why.code));
    // These come with 400, and pass.
    if (why.code == "IDPCommunicationError" || why.code.starts_with("Throttl")) error.permanent = false;
    return std::unexpected(std::move(error));
  }
  auto answer = parse_sts_answer(response.body.reveal(), action);
  if (!answer) return malformed(kSts, response, answer.error());
  return credential_of(kSts, std::move(*answer), response, clock);
}

FetchRequest ask_sts(const AwsRoleOptions& options, config::Secret form) {
  FetchRequest request = cloud::post_form(options.endpoint, std::move(form));
  request.fields.clear();
  request.fields.push_back({"Accept", config::Secret("text/xml")});
  request.max_body = kMaxAwsXml;
  return request;
}

std::string key_of(std::string_view what, const AwsRoleOptions& options, std::string_view by) {
  std::string out = "aws:" + std::string(what) + ":" + options.endpoint;
  const std::string seconds = std::to_string(options.duration.count());
  for (const std::string_view part : {std::string_view(options.role_arn), std::string_view(options.session_name),
                                      std::string_view(seconds), std::string_view(options.external_id), by}) {
    out += '|';
    out += part;
  }
  return out;
}

class WebIdentity final : public Source {
 public:
  WebIdentity(AwsRoleOptions options, MintAssertion mint, std::string assertion_name)
      : options_(std::move(options)), mint_(std::move(mint)), assertion_name_(std::move(assertion_name)) {}

  std::string key() const override { return key_of("web_identity", options_, assertion_name_); }
  std::string_view kind() const noexcept override { return "aws_federated"; }

  Task<Obtained> obtain(Context context) const override {
    const auto assertion = mint_(context.clock.wall());
    if (!assertion) co_return std::unexpected(cloud::failed(assertion.error().to_string()));
    const std::array<std::string_view, 1> secrets = {assertion->reveal()};
    const std::string seconds = std::to_string(options_.duration.count());
    config::Secret form = cloud::form_of({{"Action", "AssumeRoleWithWebIdentity"},
                                          {"Version", "2011-06-15"},
                                          {"RoleArn", options_.role_arn},
                                          {"RoleSessionName", options_.session_name},
                                          {"DurationSeconds", seconds},
                                          {"WebIdentityToken", assertion->reveal()}});
    auto answer = co_await context.fetcher.fetch(ask_sts(options_, std::move(form)));
    if (!answer) co_return std::unexpected(SourceError{std::move(answer.error())});
    co_return read_sts("AssumeRoleWithWebIdentity", *answer, context.clock, secrets);
  }

 private:
  AwsRoleOptions options_;
  MintAssertion mint_;
  std::string assertion_name_;
};

class AssumedRole final : public Source {
 public:
  AssumedRole(AwsRoleOptions options, std::unique_ptr<const Source> base)
      : options_(std::move(options)), base_(std::move(base)) {}

  std::string key() const override { return key_of("assumed_role", options_, base_->key()); }
  std::string_view kind() const noexcept override { return "aws_assumed_role"; }

  Task<Obtained> obtain(Context context) const override {
    auto base = co_await base_->obtain(context);
    if (!base) co_return std::unexpected(std::move(base.error()));
    FetchRequest request = ask_sts(options_, form());
    const auto signature = sign(request, *base, context.clock.wall());
    if (!signature) co_return std::unexpected(cloud::failed(signature.error().to_string()));
    request.fields.push_back({"Authorization", config::Secret(signature->authorization)});
    request.fields.push_back({"X-Amz-Date", config::Secret(signature->amz_date)});
    if (!base->session_token.empty()) {
      request.fields.push_back({"X-Amz-Security-Token", base->session_token.clone()});
    }
    const std::array<std::string_view, 2> secrets = {base->secret_access_key.reveal(), base->session_token.reveal()};
    auto answer = co_await context.fetcher.fetch(std::move(request));
    if (!answer) co_return std::unexpected(SourceError{std::move(answer.error())});
    co_return read_sts("AssumeRole", *answer, context.clock, secrets);
  }

 private:
  config::Secret form() const {
    const std::string seconds = std::to_string(options_.duration.count());
    if (options_.external_id.empty()) {
      return cloud::form_of({{"Action", "AssumeRole"},
                             {"Version", "2011-06-15"},
                             {"RoleArn", options_.role_arn},
                             {"RoleSessionName", options_.session_name},
                             {"DurationSeconds", seconds}});
    }
    return cloud::form_of({{"Action", "AssumeRole"},
                           {"Version", "2011-06-15"},
                           {"RoleArn", options_.role_arn},
                           {"RoleSessionName", options_.session_name},
                           {"DurationSeconds", seconds},
                           {"ExternalId", options_.external_id}});
  }

  Result<signature::SigV4Signature> sign(const FetchRequest& request, const Credential& base, WallTime now) const {
    const auto key = signature::SigV4Key::derive(base.secret_access_key.reveal(), now, options_.region, "sts");
    if (!key) return std::unexpected(Error(key.error().code(), Side::gateway, std::string(key.error().detail())));
    const cloud::UrlTail tail = cloud::tail_of(request.url);
    http::Headers fields;
    fields.append("Content-Type", request.content_type);
    const std::string payload_hash = signature::payload_hash_of(request.body.reveal());
    signature::SigV4Request what;
    what.method = request.method;
    what.path = tail.target;
    what.host = tail.authority;
    what.fields = &fields;
    what.payload_hash = payload_hash;
    return signature::sign_v4(what, base.access_key_id, base.session_token.reveal(), *key, now);
  }

  AwsRoleOptions options_;
  std::unique_ptr<const Source> base_;
};

}  // namespace

Result<std::unique_ptr<Source>> make_aws_static(AwsKeys keys) {
  const std::string_view id = keys.access_key_id;
  if (id.size() < 4 || id.size() > 128 ||
      !std::ranges::all_of(id, [](char c) { return is_alpha(c) || is_digit(c) || c == '_'; })) {
    return bad_option("access_key_id is none, such as AKIAIOSFODNN7EXAMPLE");
  }
  if (!cloud::is_name(keys.secret_access_key.reveal())) return bad_option("secret_access_key is none");
  if (!keys.session_token.empty() && !cloud::is_token_text(keys.session_token.reveal())) {
    return bad_option("session_token cannot stand in a header field");
  }
  return std::make_unique<StaticKeys>(std::move(keys));
}

Result<AwsKeys> aws_keys_from(const config::Environment& environment) {
  const auto id = environment.get("AWS_ACCESS_KEY_ID");
  const auto secret = environment.get("AWS_SECRET_ACCESS_KEY");
  if (!id || id->empty()) return bad_option("AWS_ACCESS_KEY_ID is not set");
  if (!secret || secret->empty()) return bad_option("AWS_SECRET_ACCESS_KEY is not set");
  return AwsKeys{*id, config::Secret(*secret), config::Secret(environment.get("AWS_SESSION_TOKEN").value_or(""))};
}

Result<std::unique_ptr<Source>> make_aws_instance(AwsInstanceOptions options) {
  while (options.endpoint.ends_with('/')) options.endpoint.pop_back();
  if (auto good = cloud::check_endpoint("endpoint", options.endpoint, kInstanceHosts); !good) {
    return std::unexpected(std::move(good.error()));
  }
  if (!options.role.empty() && !InstanceRole::is_role_name(options.role)) {
    return bad_option("role takes the name of a role, not its ARN");
  }
  return std::make_unique<InstanceRole>(std::move(options));
}

Result<std::unique_ptr<Source>> make_aws_container(AwsContainerOptions options) {
  if (auto good = cloud::check_endpoint("the URL of the container's credentials", options.url, kContainerHosts);
      !good) {
    return std::unexpected(std::move(good.error()));
  }
  if (!options.authorization_file.empty() && !options.authorization.empty()) {
    return bad_option("the container's authorization token is either given or in a file");
  }
  if (!options.authorization.empty() && !ContainerRole::is_field_text(options.authorization.reveal())) {
    return bad_option("the container's authorization token cannot stand in a header field");
  }
  return std::make_unique<ContainerRole>(std::move(options));
}

std::optional<AwsContainerOptions> aws_container_from(const config::Environment& environment,
                                                      const config::FileReader* files) {
  const auto get = [&](std::string_view name) { return environment.get(name).value_or(""); };
  AwsContainerOptions out;
  const std::string relative = get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
  out.url = relative.empty() ? get("AWS_CONTAINER_CREDENTIALS_FULL_URI") : "http://169.254.170.2" + relative;
  if (out.url.empty()) return std::nullopt;
  out.authorization_file = get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
  if (out.authorization_file.empty()) out.authorization = config::Secret(get("AWS_CONTAINER_AUTHORIZATION_TOKEN"));
  out.files = files;
  return out;
}

Result<std::unique_ptr<Source>> make_aws_ambient(const config::Environment& environment,
                                                 const config::FileReader* files) {
  if (const auto id = environment.get("AWS_ACCESS_KEY_ID"); id && !id->empty()) {
    auto keys = aws_keys_from(environment);
    if (!keys) return std::unexpected(std::move(keys.error()));
    return make_aws_static(std::move(*keys));
  }
  if (auto container = aws_container_from(environment, files)) return make_aws_container(std::move(*container));
  AwsInstanceOptions options;
  if (const auto endpoint = environment.get("AWS_EC2_METADATA_SERVICE_ENDPOINT"); endpoint && !endpoint->empty()) {
    options.endpoint = *endpoint;
  }
  return make_aws_instance(std::move(options));
}

Result<std::unique_ptr<Source>> make_aws_web_identity(AwsRoleOptions options, MintAssertion mint,
                                                      std::string assertion_name) {
  if (auto good = check_role(options); !good) return std::unexpected(std::move(good.error()));
  if (!options.external_id.empty()) return bad_option("external_id is for AssumeRole only");
  return std::make_unique<WebIdentity>(std::move(options), std::move(mint), std::move(assertion_name));
}

Result<std::unique_ptr<Source>> make_aws_assumed_role(AwsRoleOptions options, std::unique_ptr<const Source> base) {
  if (auto good = check_role(options); !good) return std::unexpected(std::move(good.error()));
  return std::make_unique<AssumedRole>(std::move(options), std::move(base));
}

}  // namespace postern::tokens
