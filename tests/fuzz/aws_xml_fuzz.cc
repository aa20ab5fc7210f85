// What STS answers, as XML. Invariants: credentials that are taken can stand in header fields and have an end; a text
// with a document type is not taken, nor one over the limit; what an error says becomes one printable line.
#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "check.h"
#include "tokens/aws.h"

namespace {

using namespace postern;
using namespace postern::fuzz;

bool is_line(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return c >= ' ' && c < '\x7f'; });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view xml = view(data, size);
  for (const std::string_view action : {"AssumeRole", "AssumeRoleWithWebIdentity"}) {
    const auto answer = tokens::parse_sts_answer(xml, action);
    if (!answer) {
      check(!answer.error().empty(), "a reason");
      continue;
    }
    check(size <= tokens::kMaxAwsXml, "nothing over the limit is taken");
    check(answer->expires.has_value(), "they end");
    for (const std::string_view part : {std::string_view(answer->keys.access_key_id),
                                        answer->keys.secret_access_key.reveal(), answer->keys.session_token.reveal()}) {
      check(tokens::cloud::is_token_text(part), "fit for a header field", part);
    }
    check(is_line(answer->arn), "fit for a log", answer->arn);
    std::string with_type = "<!DOCTYPE x>";
    with_type += xml;
    check(!tokens::parse_sts_answer(with_type, action), "a document type is not taken", xml);
  }
  const tokens::cloud::Refusal refusal = tokens::parse_sts_error(xml);
  const std::string quoted = tokens::cloud::quote(refusal.text, {});
  check(is_line(quoted) && quoted.size() <= tokens::cloud::kMaxQuote, "fit for a log", quoted);
  return 0;
}
