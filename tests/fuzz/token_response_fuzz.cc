// What a token endpoint answers: the first byte chooses the status, the rest is the body. Invariants: a token that is
// taken can stand in a header field and ends within days; anything else becomes one printable line without the secret.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include "check.h"
#include "tokens/cloud.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace postern;
  using namespace postern::fuzz;
  if (size == 0) return 0;
  constexpr std::array kStatuses = {200, 400, 401, 429, 503, 302};
  constexpr std::array<std::string_view, 1> kSecrets = {"the-secret"};
  const ManualClock clock;
  tokens::FetchResponse response;
  response.status = kStatuses[data[0] % kStatuses.size()];
  response.body = config::Secret(view(data, size).substr(1));
  for (const std::string_view member : {"access_token", "id_token"}) {
    const auto read = tokens::cloud::read_token("the server", response, member, clock, kSecrets);
    if (read) {
      check(response.status == 200, "a success");
      check(tokens::cloud::is_token_text(read->token.reveal()), "fit for a header field");
      check(read->expires > clock.now() && read->expires <= clock.now() + tokens::cloud::kMaxLifetime, "it ends");
      check(!read->refresh_at || *read->refresh_at < read->expires, "renewed before");
    } else {
      const std::string_view detail = read.error().error.detail();
      check(!detail.empty() && detail.size() < 1024, "a reason, cut");
      check(std::ranges::all_of(detail, [](char c) { return c >= ' ' && c < '\x7f'; }), "fit for a log", detail);
      check(detail.find("the-secret") == std::string_view::npos, "without the secret", detail);
    }
  }
  return 0;
}
