#include "policies/ip_filter/ip_filter.h"

#include <string>

#include "base/ip.h"
#include "config/diagnostics.h"
#include "config/node.h"
#include "policies/catalog.h"

namespace postern::policies {
namespace {

class IpFilter final : public Policy {
 public:
  IpFilter(CidrSet allow, CidrSet deny) : allow_(std::move(allow)), deny_(std::move(deny)) {}

  [[nodiscard]] std::string_view name() const noexcept override { return "ip_filter"; }

  Task<Result<Flow>> on_request(http::Exchange& exchange) const override {
    const IpAddress& address = exchange.client_address;
    // An address that is not known (a Unix socket, a proxy that could not name its client) is not let in by any list:
    // it may be one that `deny` means.
    const bool denied =
        address.is_unspecified() || deny_.contains(address) || (!allow_.empty() && !allow_.contains(address));
    if (denied) return Result<Flow>(fail(Code::forbidden, Side::client));
    return Result<Flow>(Flow::next);
  }

 private:
  CidrSet allow_;
  CidrSet deny_;
};

bool read(const config::Node& options, std::string_view key, CidrSet& out, config::Diagnostics& diagnostics) {
  const config::Node* const list = options.find(key);
  if (!list) return true;
  for (const config::Node& item : list->items()) {
    const auto cidr = Cidr::parse(item.text());
    if (!cidr) {
      diagnostics.error(config::Problem::policy_option, item, config::printable(item.text()) + " is no network",
                        "write 10.0.0.0/8, 2001:db8::/32 or one address as 192.0.2.1/32");
      return false;
    }
    out.add(*cidr);
  }
  return true;
}

}  // namespace

std::unique_ptr<const Policy> make_ip_filter(const config::Node& options, config::Diagnostics& diagnostics,
                                             const Services&) {
  CidrSet allow;
  CidrSet deny;
  if (!read(options, "allow", allow, diagnostics) || !read(options, "deny", deny, diagnostics)) return nullptr;
  return std::make_unique<IpFilter>(std::move(allow), std::move(deny));
}

}  // namespace postern::policies
