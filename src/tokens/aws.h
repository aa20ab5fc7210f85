// Credentials for AWS (aws_sigv4): an access key id, its secret and, for all that do not last forever, a session token.
// From the configuration or the environment, from the metadata of a machine or a container, or from STS for a role.
//
// Every make_*() checks its options and fails with io_failed, Side::gateway, and a detail for whoever wrote them.
// Times that AWS names are counted from the Date of its answer, so a wrong clock here does not stretch them.
#pragma once

#include <expected>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "config/secret.h"
#include "tokens/cloud.h"
#include "tokens/source.h"

namespace postern::tokens {

// ---- as they are given ---------------------------------------------------------------------------------------------

struct AwsKeys {
  std::string access_key_id;
  config::Secret secret_access_key;
  config::Secret session_token = {};  // empty: a user's key, which lasts until it is revoked
};
[[nodiscard]] Result<std::unique_ptr<Source>> make_aws_static(AwsKeys keys);

// AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN as the process was started with them. Fails if one of
// the first two is missing.
[[nodiscard]] Result<AwsKeys> aws_keys_from(const config::Environment& environment);

// ---- metadata ------------------------------------------------------------------------------------------------------

// IMDSv2: the role of the EC2 instance. Version 1, which a confused proxy could ask as well, is never used.
struct AwsInstanceOptions {
  std::string endpoint = "http://169.254.169.254";  // or http://[fd00:ec2::254], or loopback
  std::string role = {};                            // "": the one that the instance has
};
[[nodiscard]] Result<std::unique_ptr<Source>> make_aws_instance(AwsInstanceOptions options);

// The metadata of ECS tasks, of EKS Pod Identity and of Greengrass.
struct AwsContainerOptions {
  std::string url;  // https, or http to loopback, 169.254.170.2, 169.254.170.23 and [fd00:ec2::23]
  // What goes into Authorization; from a file it is read for every attempt, for it changes. At most one of the two.
  config::Secret authorization = {};
  std::string authorization_file = {};
  const config::FileReader* files = nullptr;  // outlives the source; nullptr: the disk
};
[[nodiscard]] Result<std::unique_ptr<Source>> make_aws_container(AwsContainerOptions options);
// From AWS_CONTAINER_CREDENTIALS_RELATIVE_URI or _FULL_URI, and AWS_CONTAINER_AUTHORIZATION_TOKEN or _TOKEN_FILE.
// nullopt: none of the first two is set.
[[nodiscard]] std::optional<AwsContainerOptions> aws_container_from(const config::Environment& environment,
                                                                    const config::FileReader* files = nullptr);

// What the place offers in which the process runs, in the order of AWS's own SDKs: keys in the environment, then a
// container, then the instance.
[[nodiscard]] Result<std::unique_ptr<Source>> make_aws_ambient(const config::Environment& environment,
                                                               const config::FileReader* files = nullptr);

// ---- STS -----------------------------------------------------------------------------------------------------------

struct AwsRoleOptions {
  std::string region;  // of STS: its regional endpoint. For AssumeRole it is in the signature's scope, too
  std::string role_arn;
  std::string session_name;                                    // 2 to 64 of [A-Za-z0-9_+=,.@-]; stands in CloudTrail
  std::chrono::seconds duration = std::chrono::seconds(3600);  // 900 to 43,200; the role may allow less
  std::string external_id = {};                                // AssumeRole only
  std::string endpoint = {};                                   // "": https://sts.{region}.amazonaws.com/
};

// AssumeRoleWithWebIdentity: our JWT for a role, no key of AWS at all. `assertion_name` tells apart what `mint` mints
// ("issuer audience subject"); it stands in key().
[[nodiscard]] Result<std::unique_ptr<Source>> make_aws_web_identity(AwsRoleOptions options, MintAssertion mint,
                                                                    std::string assertion_name);

// AssumeRole, signed with what `base` obtains, which is asked for each attempt.
[[nodiscard]] Result<std::unique_ptr<Source>> make_aws_assumed_role(AwsRoleOptions options,
                                                                    std::unique_ptr<const Source> base);

// ---- what they answer: pure, for tests and fuzz targets ------------------------------------------------------------

struct AwsAnswer {
  AwsKeys keys;
  std::optional<WallTime> expires;
  std::string arn;  // who one is then, "" if it is not said
};

// What STS answers: at most 64 KiB of XML without a document type, one of each element. The fault is constant text,
// fit to be shown.
inline constexpr std::size_t kMaxAwsXml = 64 * 1024;
[[nodiscard]] std::expected<AwsAnswer, std::string_view> parse_sts_answer(std::string_view xml,
                                                                          std::string_view action);
// Code and message of an ErrorResponse; both "" if it is none.
[[nodiscard]] cloud::Refusal parse_sts_error(std::string_view xml);

// What metadata answers: {"Code":"Success","AccessKeyId":...,"SecretAccessKey":...,"Token":...,"Expiration":...};
// containers leave out Code.
[[nodiscard]] std::expected<AwsAnswer, std::string_view> parse_aws_metadata(std::string_view json);

}  // namespace postern::tokens
