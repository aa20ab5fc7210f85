#include "policies/rate_limit/rate_limit.h"

#include <array>
#include <charconv>
#include <string>

#include "config/diagnostics.h"
#include "config/node.h"
#include "config/units.h"
#include "policies/catalog.h"
#include "store/rate_table.h"

namespace postern::policies {
namespace {

using http::Exchange;

enum class By : std::uint8_t { consumer, address, header };

By by_of(const config::Node& options) noexcept {
  const config::Node* const node = options.find("by");
  if (!node || node->text() == "address") return By::address;
  return node->text() == "consumer" ? By::consumer : By::header;
}

std::int64_t whole_seconds(Duration duration) noexcept {
  return std::chrono::ceil<std::chrono::seconds>(duration).count();
}

std::string_view decimal(std::int64_t number, Arena& arena) {
  std::array<char, 20> digits{};
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), number).ptr;
  return arena.copy({digits.data(), static_cast<std::size_t>(end - digits.data())});
}

class RateLimit final : public Policy {
 public:
  RateLimit(store::Rate rate, By by, std::string header, std::string_view label, std::string_view scope,
            store::RateTable* table)
      : rate_(rate), by_(by), header_(std::move(header)), table_(table) {
    // "quoted-name";q=quota;w=window (draft-ietf-httpapi-ratelimit-headers-10): the burst, and the time to earn it.
    quoted_ = "\"" + std::string(label) + "\"";
    policy_field_ = quoted_ + ";q=" + std::to_string(rate.burst) +
                    ";w=" + std::to_string(whole_seconds(rate.interval * rate.burst));
    if (!table_) return;
    // Counters belong to the place of the policy and to its terms: with other terms old times mean something else.
    std::string identity(scope);
    identity.append(1, '\0').append(policy_field_).append(1, '\0').append(header_);
    identity += std::to_string(rate.interval.count()) + "/" + std::to_string(static_cast<int>(by));
    instance_ = table_->hash(0, identity);
  }

  [[nodiscard]] std::string_view name() const noexcept override { return "rate_limit"; }

  Task<Result<Flow>> on_request(Exchange& exchange) const override {
    if (!table_) return Result<Flow>(fail(Code::internal, Side::gateway, "there is no rate table"));
    Result<std::uint64_t> subject = subject_of(exchange);
    if (!subject) return Result<Flow>(std::unexpected(std::move(subject.error())));

    const store::RateTable::Verdict verdict = table_->take(*subject, rate_, exchange.started);
    Arena& arena = exchange.arena;
    exchange.response_additions.append("RateLimit-Policy", policy_field_, http::HeaderName::other);
    exchange.response_additions.append("RateLimit",
                                       arena.join(quoted_, ";r=", decimal(verdict.remaining, arena),
                                                  ";t=", decimal(whole_seconds(verdict.reset), arena)),
                                       http::HeaderName::other);
    if (verdict.outcome == store::RateTable::Outcome::allowed) return Result<Flow>(Flow::next);
    // RFC 9110 10.2.3: whole seconds, rounded up so that coming back on time succeeds.
    exchange.response_additions.append(http::HeaderName::retry_after,
                                       decimal(whole_seconds(verdict.retry_after), arena));
    return Result<Flow>(fail(Code::rate_limited, Side::client));
  }

  [[nodiscard]] std::vector<std::string_view> read_headers() const override {
    return by_ == By::header ? std::vector<std::string_view>{header_} : std::vector<std::string_view>{};
  }

 private:
  [[nodiscard]] std::uint64_t by_address(const Exchange& exchange) const noexcept {
    const IpAddress& address = exchange.client_address;
    // One subscriber has at least a /64: limiting single IPv6 addresses limits nobody.
    const auto bytes = address.is_v6() ? address.v6_bytes() : std::array<std::uint8_t, 16>{};
    const auto v4 = address.is_v4() ? address.v4_bytes() : std::array<std::uint8_t, 4>{};
    std::array<char, 8> text{};
    for (std::size_t i = 0; i < text.size(); ++i) text[i] = static_cast<char>(bytes[i]);
    for (std::size_t i = 0; address.is_v4() && i < v4.size(); ++i) text[i] = static_cast<char>(v4[i]);
    const std::size_t size = address.is_v6() ? 8 : address.is_v4() ? 4 : 0;
    return table_->hash(instance_ ^ kAddress, {text.data(), size});
  }

  // Whoever has no consumer or no header is counted by address, never let through uncounted.
  [[nodiscard]] Result<std::uint64_t> subject_of(const Exchange& exchange) const {
    if (by_ == By::consumer && exchange.consumer.authenticated()) {
      return table_->hash(instance_ ^ kConsumer, exchange.consumer.id);
    }
    if (by_ == By::header) {
      const http::Field* found = nullptr;
      for (const http::Field& field : exchange.request.headers) {
        if (!http::is_alias_of(field.name, header_)) continue;
        if (found) return fail(Code::security_header_twice, Side::client, "more than one " + header_);
        found = &field;
      }
      if (found) return table_->hash(instance_ ^ kHeader, found->value);
    }
    return by_address(exchange);
  }

  // Which kind of value was hashed, so that an address is never taken for a header of the same bytes.
  static constexpr std::uint64_t kConsumer = 1;
  static constexpr std::uint64_t kAddress = 2;
  static constexpr std::uint64_t kHeader = 3;

  store::Rate rate_;
  By by_;
  std::string header_;
  std::string quoted_;
  std::string policy_field_;
  std::uint64_t instance_ = 0;
  store::RateTable* table_;
};

}  // namespace

Rank rate_limit_rank(const config::Node& options) noexcept {
  return by_of(options) == By::address ? Rank::rate_limit_address : Rank::rate_limit_consumer;
}

std::unique_ptr<const Policy> make_rate_limit(const config::Node& options, config::Diagnostics& diagnostics,
                                              const Services& services) {
  const std::int64_t requests = options.find("requests")->as_int();
  const config::Node& per_node = *options.find("per");
  const Duration per = config::parse_duration(per_node.text()).value_or(Duration::zero());
  const config::Node* const burst_node = options.find("burst");
  const std::int64_t burst = burst_node ? burst_node->as_int() : requests;
  if (per < std::chrono::seconds(1) || per > std::chrono::days(31)) {
    diagnostics.error(config::Problem::policy_option, per_node, "`per` must be from 1s to 31d");
    return nullptr;
  }
  store::Rate rate;
  // Rounded up: never more than was configured.
  rate.interval = Duration((per.count() + requests - 1) / requests);
  rate.burst = static_cast<std::uint32_t>(burst);
  // The time to earn the burst is what the RateLimit fields and Retry-After count in.
  if (rate.interval > Duration(std::chrono::days(366)) / burst) {
    diagnostics.error(config::Problem::policy_option, burst_node ? *burst_node : per_node,
                      "it would take more than a year to earn this burst");
    return nullptr;
  }
  std::string header;
  if (const config::Node* const by = options.find("by")) {
    if (const config::Node* const name = by->find("header")) header = name->text();
  }
  const config::Node* const label = options.find("name");
  return std::make_unique<RateLimit>(rate, by_of(options), std::move(header), label ? label->text() : "default",
                                     services.scope, services.rates);
}

}  // namespace postern::policies
