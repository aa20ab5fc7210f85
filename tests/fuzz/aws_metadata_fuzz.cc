// What metadata servers say in JSON: keys of AWS, and reasons of all of them. Invariants: keys that are taken can stand
// in header fields and have an end; a reason, whatever it is, becomes one printable line without the secret in it.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include "check.h"
#include "tokens/aws.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace postern;
  using namespace postern::fuzz;
  const std::string_view text = view(data, size);
  if (const auto answer = tokens::parse_aws_metadata(text)) {
    check(answer->expires.has_value(), "they end");
    for (const std::string_view part : {std::string_view(answer->keys.access_key_id),
                                        answer->keys.secret_access_key.reveal(), answer->keys.session_token.reveal()}) {
      check(tokens::cloud::is_token_text(part), "fit for a header field", part);
    }
  }
  const tokens::cloud::Refusal refusal = tokens::cloud::refusal_in(text);
  constexpr std::array<std::string_view, 1> kSecrets = {"the-secret"};
  for (const std::string& said : {refusal.code, refusal.text, refusal.text + "the-secret" + refusal.code}) {
    const std::string quoted = tokens::cloud::quote(said, kSecrets);
    check(quoted.size() <= tokens::cloud::kMaxQuote, "cut", quoted);
    check(std::ranges::all_of(quoted, [](char c) { return c >= ' ' && c < '\x7f'; }), "fit for a log", quoted);
    check(quoted.find("the-secret") == std::string::npos, "without the secret", quoted);
  }
  return 0;
}
