#include "policies/respond/respond.h"

#include <string>

#include "config/diagnostics.h"
#include "config/node.h"
#include "policies/catalog.h"
#include "policies/field_changes.h"

namespace postern::policies {
namespace {

struct Answer {
  int status = 200;
  std::string content_type;
  std::string body;
  FieldChanges headers;
};

class Respond final : public Policy {
 public:
  explicit Respond(Answer answer) : answer_(std::move(answer)) {}

  [[nodiscard]] std::string_view name() const noexcept override { return "respond"; }

  Task<Result<Flow>> on_request(http::Exchange& exchange) const override {
    exchange.local.status = answer_.status;
    exchange.local.content_type = answer_.content_type;
    exchange.local.body = answer_.body;
    answer_.headers.apply(exchange.local.headers, exchange);
    return Result<Flow>(Flow::respond);
  }

 private:
  Answer answer_;
};

}  // namespace

std::unique_ptr<const Policy> make_respond(const config::Node& options, config::Diagnostics& diagnostics,
                                           const Services&) {
  Answer answer;
  answer.status = static_cast<int>(options.find("status")->as_int());
  if (const config::Node* const body = options.find("body")) {
    answer.body = body->text();
    answer.content_type = "text/plain; charset=utf-8";
    // RFC 9110 15.3.5, 15.3.6, 15.4.5: these have no content.
    if (answer.status == 204 || answer.status == 205 || answer.status == 304) {
      diagnostics.error(config::Problem::ambiguous, *body, "a response with this status has no body",
                        "remove `body` or choose another status");
      return nullptr;
    }
  }
  if (const config::Node* const type = options.find("content_type")) {
    answer.content_type = type->text();
    if (answer.body.empty() || !is_header_value(answer.content_type)) {
      diagnostics.error(config::Problem::policy_option, *type, "this content type describes nothing that is sent",
                        "give a `body`, and a type such as application/json");
      return nullptr;
    }
  }
  if (const config::Node* const node = options.find("headers")) {
    auto headers = FieldChanges::parse_fields(*node, Direction::response, diagnostics);
    if (!headers) return nullptr;
    for (const std::string_view name : headers->names()) {
      if (!http::is_alias_of(name, "content-type") && !http::is_alias_of(name, "date")) continue;
      diagnostics.error(config::Problem::ambiguous, *node, "the gateway sends " + config::printable(name) + " itself",
                        "use `content_type` for the type of the body");
      return nullptr;
    }
    answer.headers = std::move(*headers);
  }
  return std::make_unique<Respond>(std::move(answer));
}

}  // namespace postern::policies
