// Signature-Input, and after a line feed Signature, and after another the value of a covered field. Invariants: what
// was parsed is written and read again the same; errors are the client's, short, and fit for a log; what a peer asks to
// be covered is either refused, or a base with one line for each component that our own signature over it makes good
// and that any change of a covered part breaks; nobody without the key gets through.
#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "check.h"
#include "signature/http_message_verifier.h"
#include "signature/structured_field.h"

namespace {

using namespace postern;
using namespace postern::fuzz;
using namespace postern::signature;

constexpr WallTime kNow{std::chrono::seconds(1'700'000'000)};

void check_detail(std::string_view detail) {
  check(!detail.empty() && detail.size() < 400, "an error says why, and is short", detail);
  check(std::ranges::all_of(detail, [](char c) { return c >= ' ' && c <= '~'; }), "an error fits a log", detail);
}

void check_error(const Error& error) {
  check(error.side() == Side::client, "it is the client's fault");
  check_detail(error.detail());
}

void check_dictionary(std::string_view text) {
  const auto parsed = sf::parse_dictionary(text);
  if (!parsed) return check_detail(parsed.error());
  std::string once;
  check(sf::append(once, *parsed), "what was parsed has a text", text);
  const auto again = sf::parse_dictionary(once);
  check(again && *again == *parsed, "what is written is read", once);
  std::string twice;
  check(sf::append(twice, *again), "and written again");
  check_equal(once, twice, "the canonical text is canonical");
}

Message request_with(const http::Headers& fields) {
  Message message;
  message.method = "POST";
  message.scheme = "https";
  message.authority = "Example.com:443";
  message.path = "/a";
  message.query = "b=c&d=%20+";
  message.has_query = true;
  message.fields = &fields;
  return message;
}

// Signs what the peer wants covered with our key, and checks that this is what the verifier accepts.
void check_round_trip(const sf::InnerList& list, std::string_view value, const SharedSecret& key,
                      const FindKey& find_key) {
  CoveredComponents covered;
  for (const sf::Item& item : list.items) {
    const Result<void> added = covered.add(item);
    if (!added) {
      check_error(added.error());
      return;
    }
  }
  http::Headers fields;
  fields.append("X-Value", value);
  fields.append("X-Value", value);
  fields.append("Content-Digest", value);
  const Message message = request_with(fields);
  SignatureParameters parameters;
  parameters.created = 1'700'000'000;
  parameters.keyid = "k";
  parameters.coverage = SignatureParameters::Coverage::may_be_nothing;
  const Result<SignedFields> made = sign_message(message, covered, parameters, "s", key);
  if (!made) return check_detail(made.error().detail());  // whose fault it is depends on who chose the components
  check(static_cast<std::size_t>(std::ranges::count(made->base, '\n')) == covered.list().size(),
        "one line for each component", made->base);
  if (made->signature_input.size() > sf::kMaxBytes) return;
  http::Headers received;
  for (const http::Field& field : fields) received.append(field.name, field.value);
  received.append("Signature-Input", made->signature_input);
  received.append("Signature", made->signature);
  Message other = message;
  other.fields = &received;
  VerificationPolicy policy;
  policy.required_components.clear();
  const auto verified = verify_message(other, policy, find_key, kNow, std::nullopt);
  check(verified.has_value(), "what is signed is accepted", made->base);
  check_equal(verified->base, made->base, "both sides see one base");
  check(!verify_message(other, policy, find_key, kNow, "a body that nobody signed"), "a body is bound or refused",
        made->base);
  other.path = "/b";
  const bool path_matters =
      covered.covers("@path") || covered.covers("@target-uri") || covered.covers("@request-target");
  check(verify_message(other, policy, find_key, kNow, std::nullopt).has_value() != path_matters,
        "a covered part is bound", made->base);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const SharedSecret key("a secret that the input does not know");
  const FindKey find_key = [](std::string_view) -> const MessageVerifier* { return &key; };
  const std::string_view input = view(data, size);
  const std::size_t first = std::min(input.find('\n'), input.size());
  const std::size_t second = std::min(input.find('\n', std::min(first + 1, input.size())), input.size());
  const std::string_view signature_input = input.substr(0, first);
  const std::string_view signature = input.substr(std::min(first + 1, second), second - std::min(first + 1, second));
  const std::string_view value = input.substr(std::min(second + 1, input.size()));
  for (const std::string_view text : {signature_input, signature, value}) check_dictionary(text);

  http::Headers fields;
  fields.append("Signature-Input", signature_input);
  fields.append("Signature", signature);
  fields.append("X-Value", value);
  VerificationPolicy policy;
  policy.required_components.clear();
  policy.max_age = std::chrono::hours(24 * 365 * 100);
  policy.skew = policy.max_age;
  const auto verified = verify_message(request_with(fields), policy, find_key, kNow, std::nullopt);
  check(!verified, "nobody signs without the key", verified ? std::string_view(verified->base) : "");
  check_error(verified.error());

  const auto inputs = sf::parse_dictionary(signature_input);
  if (!inputs) return 0;
  for (const sf::Member& member : *inputs) {
    const auto* const list = std::get_if<sf::InnerList>(&member.value);
    if (list) check_round_trip(*list, value, key, find_key);
  }
  return 0;
}
