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

std::vector<DemoChecks::Check> DemoChecks::certificate_checks() const {
  const std::pair<std::string, std::string> key{"X-API-Key", key_};
  return {
      {"through the gateway, with an API key", true, {key}, 200, ""},
      {"through the gateway, without a key", true, {}, 401, "PST-P401"},
      {"around the gateway", false, {}, kRefused, "", &DemoCallers::nobody},
      {"around it, with an API key", false, {key}, kRefused, "", &DemoCallers::nobody},
      {"around it, with a certificate of somebody", false, {}, kRefused, "", &DemoCallers::stranger},
      {"around it, with that for another origin", false, {}, kRefused, "", &DemoCallers::neighbour},
  };
}

std::vector<DemoChecks::Check> DemoChecks::proof_checks() const {
  const std::pair<std::string, std::string> key{"X-API-Key", key_};
  const Headers forged = {{"Signature", "gateway=:AAAA:"},
                          {"Signature-Input", "gateway=(\"@method\");created=1"},
                          {"Authorization", "Bearer a-guess-of-a-client"}};
  Headers both = forged;
  both.push_back(key);
  return {
      {"through the gateway, with an API key", true, {key}, 200, ""},
      {"through the gateway, without a key", true, {}, 401, "PST-P401"},
      {"around the gateway", false, {}, 401, ""},
      {"around it, with a forged proof", false, forged, 401, ""},
      {"around it, with an API key", false, {key}, 401, ""},
      {"through it, with key and forged copies", true, both, 200, ""},
  };
}

Task<void> DemoChecks::run(std::vector<DemoTarget> targets) {
  for (const DemoTarget& target : targets) {
    const std::vector<Check> all = target.callers ? certificate_checks() : target.by_proof ? proof_checks() : checks();
    for (const Check& check : all) co_await run_one(target, check);
  }
}

bool DemoChecks::passes(const Check& check, const Result<ClientAnswer>& answer) {
  if (check.status != kRefused) {
    return answer && answer->status == check.status && answer->body.find(check.code) != std::string::npos;
  }
  if (!answer) return answer.error().code() == Code::origin_tls_failed;
  // A server may look at a certificate only when its handshake is over; one that wants any may not begin without.
  return check.caller != &DemoCallers::nobody && (answer->status == 400 || answer->status == 403);
}

Task<void> DemoChecks::run_one(const DemoTarget& target, const Check& check) {
  ClientRequest request;
  request.address = check.through_gateway ? gateway_ : target.address;
  request.path = "/" + target.name + "/hello";
  request.host = request.address.to_string();
  request.headers = check.headers;
  if (check.caller) request.tls = (*target.callers).*check.caller;
  const Result<ClientAnswer> answer = co_await fetch(loop_, network_, std::move(request));
  const bool good = passes(check, answer);
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
