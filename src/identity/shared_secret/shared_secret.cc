#include "identity/shared_secret/shared_secret.h"

#include <cstring>

namespace postern::identity {
namespace {

config::Secret with_prefix(std::string_view prefix, const config::Secret& secret) {
  if (prefix.empty()) return secret.clone();
  std::string joined(prefix);
  joined.append(secret.reveal());
  config::Secret out(joined);
  explicit_bzero(joined.data(), joined.size());
  return out;
}

}  // namespace

SharedSecret::SharedSecret(const config::SharedSecretConfig& config) : header_(config.header) {
  const std::string_view prefix = config.prefix == config::SecretPrefix::bearer ? "Bearer " : "";
  prefix_size_ = prefix.size();
  value_ = with_prefix(prefix, config.value);
  if (config.next) {
    next_value_ = with_prefix(prefix, config.next->value);
    switch_at_ = config.next->switch_at;
  }
}

Task<Result<void>> SharedSecret::apply(Attempt& attempt) const {
  const bool switched = switch_at_ && attempt.now >= *switch_at_;
  const config::Secret& value = switched ? next_value_ : value_;
  attempt.added.append(header_, value.reveal(), http::HeaderName::other);
  return Result<void>();
}

std::vector<std::string_view> SharedSecret::secrets() const {
  std::vector<std::string_view> out = {value_.reveal().substr(prefix_size_)};
  if (!next_value_.empty()) out.push_back(next_value_.reveal().substr(prefix_size_));
  return out;
}

}  // namespace postern::identity
