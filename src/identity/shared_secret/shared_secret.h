// Identity `shared_secret`: an opaque key, known only to gateway and origin, in one header field of every request.
// A `next` value takes over at its switch time without a reload, so that an origin which accepts both during the
// rotation never sees a request it must refuse.
#pragma once

#include <optional>
#include <string>

#include "config/config.h"
#include "identity/identity.h"

namespace postern::identity {

class SharedSecret final : public IdentityMethod {
 public:
  explicit SharedSecret(const config::SharedSecretConfig& config);

  [[nodiscard]] std::string_view name() const noexcept override { return "shared_secret"; }
  [[nodiscard]] std::vector<std::string_view> headers() const override { return {header_}; }
  [[nodiscard]] Task<Result<void>> apply(Attempt& attempt) const override;
  [[nodiscard]] std::vector<std::string_view> secrets() const override;

 private:
  std::string header_;
  config::Secret value_;  // as it stands in the field, prefix included
  config::Secret next_value_;
  std::optional<WallTime> switch_at_;
  std::size_t prefix_size_ = 0;
};

}  // namespace postern::identity
