// The key file of a service account. Invariants: what is taken has everything that a token needs, in a form that may
// stand in a claim or a URL; what is refused is refused in one printable line that repeats nothing of the file.
#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "check.h"
#include "tokens/cloud.h"
#include "tokens/service_account.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace postern;
  using namespace postern::fuzz;
  const std::string_view text = view(data, size);
  const auto account = tokens::ServiceAccount::parse(text);
  if (account) {
    check(tokens::cloud::is_name((*account)->email()), "an address is visible", (*account)->email());
    check(tokens::cloud::check_endpoint("token_uri", (*account)->token_uri()).has_value(), "tokens go where they may");
    check((*account)->key().algorithm() == jose::Algorithm::RS256 && !(*account)->key().kid().empty(), "a key signs");
    return 0;
  }
  const std::string_view detail = account.error().detail();
  check(!detail.empty() && detail.size() < 400, "a reason of one line", detail);
  check(std::ranges::all_of(detail, [](char c) { return c >= ' ' && c < '\x7f'; }), "fit for a log", detail);
  return 0;
}
