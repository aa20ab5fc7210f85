#include "gateway/issuer_keeper.h"

#include <array>

namespace postern::gateway {
namespace {

constexpr Duration kRetry = std::chrono::seconds(10);
// The control thread waits so long for whoever holds the lock; a key takes a second to make.
constexpr Duration kLockWait = std::chrono::seconds(2);

}  // namespace

IssuerKeeper::IssuerKeeper(const config::IssuerConfig& config, const Entropy& entropy)
    : options_(config.options),
      directory_({.path = config.directory,
                  .algorithms = config.options.algorithms,
                  .rotation = config.options.rotation,
                  .max_wait = kLockWait,
                  .makes_first = false,
                  .files = config.keys}),
      mint_(std::make_shared<issuer::TokenMint>(config.options, entropy)) {}

Result<std::unique_ptr<IssuerKeeper>> IssuerKeeper::open(const config::IssuerConfig& config, WallTime now,
                                                         const Entropy& entropy, Moment moment) {
  std::unique_ptr<IssuerKeeper> keeper(new IssuerKeeper(config, entropy));
  issuer::KeyDirectory::Options options = keeper->directory_.options();
  options.makes_first = true;
  // At a start nobody is served yet: another gateway that makes the first keys may take its time.
  if (moment == Moment::start) options.max_wait = issuer::KeyDirectory::Options().max_wait;
  Result<void> adopted = keeper->adopt(issuer::KeyDirectory(std::move(options)).open(now), now);
  if (!adopted) return std::unexpected(std::move(adopted.error()));
  return keeper;
}

std::unique_ptr<IssuerKeeper> IssuerKeeper::rehearse(const config::IssuerConfig& config, WallTime now,
                                                     const Entropy& entropy) {
  std::unique_ptr<IssuerKeeper> keeper(new IssuerKeeper(config, entropy));
  const Result<void> adopted = keeper->adopt(keeper->directory_.load(), now);
  if (!adopted) keeper->problem_ = adopted.error().detail();
  return keeper;
}

bool IssuerKeeper::is(const config::IssuerConfig& config) const noexcept {
  const issuer::IssuerOptions& other = config.options;
  return directory_.options().path == config.directory && directory_.options().files == config.keys &&
         options_ == other;
}

Result<void> IssuerKeeper::adopt(Result<issuer::IssuerKeys> keys, WallTime now) {
  if (!keys) return std::unexpected(std::move(keys.error()));
  stamp_ = keys->stamp;
  problem_ = keys->overdue;
  if (!problem_.empty()) retry_at_ = now + kRetry;
  Result<std::shared_ptr<const issuer::Issuer>> made =
      issuer::Issuer::make(options_, std::move(keys->ring), std::move(keys->keys));
  if (!made) return std::unexpected(std::move(made.error()));
  next_change_ = (*made)->next_change(now);
  mint_->replace(std::move(*made), now);
  current_ = true;
  return {};
}

void IssuerKeeper::tick(WallTime now, observe::Log& log) {
  mint_->renew(now);
  const bool changed = directory_.stamp() != stamp_;
  const bool due = (next_change_ && now >= *next_change_) || !problem_.empty();
  if ((!changed && !due) || now < retry_at_) return;
  const std::string before = problem_;
  Result<void> adopted = adopt(directory_.open(now), now);
  if (adopted) {
    if (changed || problem_.empty()) log.info("the keys of the issuer have been read again");
  } else {
    retry_at_ = now + kRetry;
    problem_ = adopted.error().detail();
    current_ = !changed;
  }
  if (!problem_.empty() && problem_ != before) {
    log.error(current_ ? observe::Constant("a key of the issuer is due and cannot be made")
                       : observe::Constant("the keys of the issuer have changed and cannot be read"),
              {observe::LogField::text("problem", problem_)});
  }
}

observe::IssuerStatus IssuerKeeper::status(WallTime now) const {
  constexpr std::array<std::string_view, 4> kRoles = {"next", "signing", "old", "gone"};
  observe::IssuerStatus out{.url = options_.url, .current = current_, .problem = problem_, .keys = {}};
  const std::shared_ptr<const issuer::Issuer> issuer = mint_->issuer();
  if (!issuer) return out;
  for (const issuer::KeyRing::Entry& entry : issuer->ring().entries()) {
    const auto role = issuer->ring().role(entry, now, options_.rotation);
    if (role == issuer::KeyRing::Role::gone) continue;
    out.keys.push_back({entry.kid, std::string(jose::name_of(entry.algorithm)),
                        std::string(kRoles[static_cast<std::size_t>(role)]), entry.signs_from});
  }
  return out;
}

void IssuerKeeper::report(observe::MetricRegistry& registry, const observe::GatewayMetrics& metrics,
                          observe::SeriesSet& series, WallTime now) const {
  registry.set(metrics.issuer_current(series), current_ ? 1 : 0);
  const std::shared_ptr<const issuer::Issuer> issuer = mint_->issuer();
  if (!issuer) return;
  for (const jose::Algorithm algorithm : options_.algorithms) {
    const issuer::KeyRing::Entry* const entry = issuer->ring().signing(algorithm, now);
    // Of a key that somebody else keeps nobody knows how old it is.
    if (!entry || entry->signs_from == WallTime()) continue;
    registry.set(metrics.issuer_key_age(series, jose::name_of(algorithm)),
                 std::chrono::floor<std::chrono::seconds>(now - entry->signs_from).count());
  }
}

}  // namespace postern::gateway
