#include "policies/request_headers/request_headers.h"

#include "policies/catalog.h"
#include "policies/field_changes.h"

namespace postern::policies {
namespace {

class RequestHeaders final : public Policy {
 public:
  explicit RequestHeaders(FieldChanges changes) : changes_(std::move(changes)) {}

  [[nodiscard]] std::string_view name() const noexcept override { return "request_headers"; }

  Task<Result<Flow>> on_request(http::Exchange& exchange) const override {
    changes_.apply(exchange.request.headers, exchange);
    return Result<Flow>(Flow::next);
  }

  [[nodiscard]] std::vector<std::string_view> written_headers() const override { return changes_.names(); }

 private:
  FieldChanges changes_;
};

}  // namespace

std::unique_ptr<const Policy> make_request_headers(const config::Node& options, config::Diagnostics& diagnostics,
                                                   const Services&) {
  auto changes = FieldChanges::parse(options, Direction::request, diagnostics);
  if (!changes) return nullptr;
  return std::make_unique<RequestHeaders>(std::move(*changes));
}

}  // namespace postern::policies
