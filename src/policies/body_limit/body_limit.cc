#include "policies/body_limit/body_limit.h"

#include <algorithm>
#include <string>

#include "config/node.h"
#include "config/units.h"
#include "policies/catalog.h"

namespace postern::policies {
namespace {

class BodyLimit final : public Policy {
 public:
  explicit BodyLimit(std::uint64_t bytes) : bytes_(bytes) {}

  [[nodiscard]] std::string_view name() const noexcept override { return "body_limit"; }

  Task<Result<Flow>> on_request(http::Exchange& exchange) const override {
    exchange.body_limit = std::min(exchange.body_limit, bytes_);
    const http::RequestHead& request = exchange.request;
    if (request.framing == http::Framing::length && request.content_length > bytes_) {
      return Result<Flow>(fail(Code::policy_body_limit, Side::client));
    }
    return Result<Flow>(Flow::next);
  }

 private:
  std::uint64_t bytes_;
};

}  // namespace

std::unique_ptr<const Policy> make_body_limit(const config::Node& options, config::Diagnostics&, const Services&) {
  // The schema has checked the form.
  return std::make_unique<BodyLimit>(config::parse_size(options.find("max")->text()).value_or(0));
}

}  // namespace postern::policies
