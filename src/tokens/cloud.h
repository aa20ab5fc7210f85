// What the sources of all clouds have in common: forms, endpoints, how long something lives, and how a refusal is told
// to the operator.
//
// Everything that a server says may end in a log, so it goes through quote(): cut, escaped, and without whatever was
// sent to it as a secret or looks like a token. Pure functions; any thread.
#pragma once

#include <functional>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "config/secret.h"
#include "tokens/source.h"

namespace postern::tokens {

// Mints a JWT of our issuer for the audience that whoever made it has bound to it; afresh, with a jti of its own, each
// time. Errors stop the attempt and count as those of the source.
using MintAssertion = std::function<Result<config::Secret>(WallTime now)>;

namespace cloud {

// Limits of what is believed. A token that lives longer than a day was never promised by any of them.
inline constexpr std::size_t kMaxTokenText = 16 * 1024;
inline constexpr Duration kMaxLifetime = std::chrono::hours(48);
inline constexpr std::size_t kMaxQuote = 240;

// Whether credentials may be sent to `url`: https://host[:port][/path], or http for a loopback address, "localhost" or
// one of `plain_hosts` (metadata servers, which speak nothing else). No user information, no fragment, at most 2,048
// bytes of visible ASCII. Errors: io_failed, Side::gateway; the detail begins with `what`, the name of the setting.
[[nodiscard]] Result<void> check_endpoint(std::string_view what, std::string_view url,
                                          std::span<const std::string_view> plain_hosts = {});
// "host:port" as Host has it, and the path with its query, at least "/". REQUIRES: check_endpoint().
struct UrlTail {
  std::string_view authority;
  std::string_view target;
};
[[nodiscard]] UrlTail tail_of(std::string_view url) noexcept;

// 1 to `max` bytes of visible ASCII: a name of theirs that goes into a URL, a form or a claim.
[[nodiscard]] bool is_name(std::string_view text, std::size_t max = 1024) noexcept;
// What may stand behind "Bearer " and in any field: visible ASCII, at most kMaxTokenText.
[[nodiscard]] bool is_token_text(std::string_view text) noexcept;

// application/x-www-form-urlencoded, in the order given; a space is '+' (URL Standard 5.2).
using Pairs = std::initializer_list<std::pair<std::string_view, std::string_view>>;
[[nodiscard]] config::Secret form_of(Pairs fields);
// `url` with a query of these parts, percent-encoded.
[[nodiscard]] std::string with_query(std::string_view url, Pairs parts);
// POST of a form; whoever calls adds what else there is to say.
[[nodiscard]] FetchRequest post_form(std::string_view url, config::Secret form);
// GET for a metadata server: no proxy, 1 s to connect, as their SDKs have it.
[[nodiscard]] FetchRequest get_metadata(std::string url);

// 16 hexadecimal digits that differ for different texts: a changed secret makes another credential (Source::key()), and
// who reads them knows nothing about it, provided that it was a good secret.
[[nodiscard]] std::string fingerprint(std::initializer_list<std::string_view> parts);

// A random UUID (RFC 9562 5.4).
[[nodiscard]] std::string uuid(const Entropy& entropy);

// When the server answered by its own clock (Date, RFC 9110 6.6.1); by ours if it does not say.
[[nodiscard]] WallTime answered_at(const FetchResponse& response, const Clock& clock) noexcept;
// Moments that others named, on our monotonic clock, whatever time our wall clock has: counted from answered_at().
// nullopt: it has passed already, or is further away than kMaxLifetime.
[[nodiscard]] std::optional<MonoTime> expiry_at(WallTime theirs, const FetchResponse& response,
                                                const Clock& clock) noexcept;

// `text` fit for a log line: ASCII, one line, at most kMaxQuote bytes, with "[removed]" for each of `secrets` (of 8
// bytes and more) and for everything that looks like a JWT.
[[nodiscard]] std::string quote(std::string_view text, std::span<const std::string_view> secrets);

// What a body in JSON says about why: OAuth (RFC 6749 5.2), google.rpc.Status, and the metadata servers' {"code",
// "message"} alike. Nothing of it is quoted yet.
struct Refusal {
  std::string code;  // "invalid_grant", "PERMISSION_DENIED"; "" if the body says none
  std::string text;
};
[[nodiscard]] Refusal refusal_in(std::string_view body);

// A failure in terms of the manager. Retry::yes unless `permanent`.
[[nodiscard]] SourceError failed(std::string detail, bool permanent = false);
// An answer that is no success. `who` is constant: "Google's token endpoint". The status says whether asking again may
// help (408, 410, 425, 429 and 5xx; all else is permanent), Retry-After when. If the clocks of both sides are minutes
// apart, the detail says that too, because then nothing else will help.
[[nodiscard]] SourceError refused(std::string_view who, const FetchResponse& response, const Clock& clock,
                                  std::span<const std::string_view> secrets = {}, std::string_view hint = {});
// The same for a refusal that was read already, and an answer whose status says nothing (200 with an error).
[[nodiscard]] SourceError refused(std::string_view who, const FetchResponse& response, const Refusal& refusal,
                                  const Clock& clock, std::span<const std::string_view> secrets, std::string_view hint);

// The answer of a token endpoint (RFC 6749 5.1) or of a metadata server, into a credential. expires_in may be a number
// or a text of digits, since some send that. `member` is "access_token" or "id_token"; what is an ID token tells its
// expiry itself, and so need not have expires_in.
[[nodiscard]] std::expected<Credential, SourceError> read_token(std::string_view who, const FetchResponse& response,
                                                                std::string_view member, const Clock& clock,
                                                                std::span<const std::string_view> secrets = {});
// A JWT that is a text of its own: its exp is the credential's end, its claims are the description.
[[nodiscard]] std::expected<Credential, SourceError> read_jwt(std::string_view who, std::string_view token,
                                                              const FetchResponse& response, const Clock& clock);

}  // namespace cloud
}  // namespace postern::tokens
