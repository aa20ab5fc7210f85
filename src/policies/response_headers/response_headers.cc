#include "policies/response_headers/response_headers.h"

#include "policies/catalog.h"
#include "policies/field_changes.h"

namespace postern::policies {
namespace {

class ResponseHeaders final : public Policy {
 public:
  explicit ResponseHeaders(FieldChanges changes) : changes_(std::move(changes)) {}

  [[nodiscard]] std::string_view name() const noexcept override { return "response_headers"; }

  void on_response(http::Exchange& exchange) const override { changes_.apply(exchange.response->headers, exchange); }

  [[nodiscard]] std::vector<std::string_view> written_response_headers() const override { return changes_.names(); }

 private:
  FieldChanges changes_;
};

}  // namespace

std::unique_ptr<const Policy> make_response_headers(const config::Node& options, config::Diagnostics& diagnostics,
                                                    const Services&) {
  auto changes = FieldChanges::parse(options, Direction::response, diagnostics);
  if (!changes) return nullptr;
  return std::make_unique<ResponseHeaders>(std::move(*changes));
}

}  // namespace postern::policies
