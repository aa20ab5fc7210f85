#include "cli/demo_checks.h"

#include "cli/demo_backend.h"

namespace postern::cli {

std::vector<DemoChecks::Check> DemoChecks::checks() const {
  const std::string secret(kDemoHeader);
  const std::pair<std::string, std::string> key{"X-API-Key", key_};
  const std::pair<std::string, std::string> forged{secret, "a-guess-of-a-client-0123456789"};
  const std::pair<std::string, std::string> alias{"x_backend_secret", "a-guess-of-a-client-0123456789"};
  return {
      {"through the gateway, with an API key", true, {key}, 200, ""},
      {"through the gateway, without a key", true, {}, 401, "PST-P401"},
      {"around the gateway", false, {}, 401, ""},
      {"around it, with a forged secret", false, {forged}, 401, ""},
      {"around it, with an API key", false, {key}, 401, ""},
      {"through it, with a forged secret but no key", true, {forged}, 401, "PST-P401"},
      {"through it, with key and forged copies", true, {key, forged, alias}, 200, ""},
      {"through it, asking to drop the secret", true, {key, {"Connection", secret}}, 400, "PST-R014"},
  };
}

Task<void> DemoChecks::run(std::vector<DemoTarget> targets) {
  const std::vector<Check> all = checks();
  for (const DemoTarget& target : targets) {
    for (const Check& check : all) co_await run_one(target, check);
  }
}

Task<void> DemoChecks::run_one(const DemoTarget& target, const Check& check) {
  ClientRequest request;
  request.address = check.through_gateway ? gateway_ : target.address;
  request.path = "/" + target.name + "/hello";
  request.host = request.address.to_string();
  request.headers = check.headers;
  const Result<ClientAnswer> answer = co_await fetch(loop_, network_, std::move(request));
  const bool good = answer && answer->status == check.status && answer->body.find(check.code) != std::string::npos;
  ++(good ? passed_ : failed_);
  DemoResult result{target.name, check.what, check.status, {}, {}, good};
  if (answer) {
    result.status = answer->status;
  } else {
    result.problem = answer.error().to_string();
  }
  report_.report(result);
}

}  // namespace postern::cli
