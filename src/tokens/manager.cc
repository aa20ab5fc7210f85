#include "tokens/manager.h"

#include <algorithm>
#include <mutex>

#include "http/http_date.h"
#include "platform/event.h"
#include "tokens/schedule.h"

namespace postern::tokens {
namespace {

using namespace std::chrono_literals;
using CredentialPtr = std::shared_ptr<const Credential>;

constexpr Duration kBetweenRenewals = 30s;  // that origins ask for by refusing; doubles up to the next
constexpr Duration kLongestBetweenRenewals = 1h;
constexpr Duration kBetweenFetches = 250ms;  // from start to start, whatever anybody says
constexpr Duration kLongestSleep = 24h;

// What a request waits with, on its own loop. The list of those who wait only knows it weakly.
class Ticket final : public Timer {
 public:
  explicit Ticket(Loop& loop) noexcept : arrived(loop) {}
  Event arrived;
  bool late = false;

 private:
  void on_expired() override {
    late = true;
    arrived.set();
  }
};

// Sees the Date of what the source is answered.
class DateWatch final : public Fetcher {
 public:
  DateWatch(const Clock& clock, std::optional<Duration>& skew) noexcept : clock_(clock), skew_(skew) {}
  void forward_to(Fetcher& fetcher) noexcept { fetcher_ = &fetcher; }
  [[nodiscard]] Task<Result<FetchResponse>> fetch(FetchRequest request) override {
    Result<FetchResponse> response = co_await fetcher_->fetch(std::move(request));
    if (response) {
      if (const auto date = http::parse_http_date(response->field("date"))) skew_ = *date - clock_.wall();
    }
    co_return response;
  }

 private:
  const Clock& clock_;
  std::optional<Duration>& skew_;
  Fetcher* fetcher_ = nullptr;
};

}  // namespace

// What loops see of one credential: everything in it is guarded by its mutex, which is held for moments only.
class TokenManager::Shared {
 public:
  [[nodiscard]] CredentialPtr current(MonoTime now) const {
    const std::lock_guard lock(mutex_);
    return now < hard_ ? credential_ : nullptr;
  }
  [[nodiscard]] std::string problem() const {
    const std::lock_guard lock(mutex_);
    return problem_;
  }

  // Why not, if nobody is fetching, so that there is nothing to wait for, or if too many wait; else nullopt.
  [[nodiscard]] std::optional<std::string> enlist(Loop& loop, const std::shared_ptr<Ticket>& ticket) {
    const std::lock_guard lock(mutex_);
    if (!fetching_) return problem_;
    if (waiting_.size() >= kMaxWaiters) return "too many requests wait for it already";
    waiting_.push_back({&loop, ticket.get(), ticket});
    return std::nullopt;
  }
  void delist(const Ticket& ticket) noexcept {
    const std::lock_guard lock(mutex_);
    std::erase_if(waiting_, [&](const Waiting& waiting) { return waiting.id == &ticket; });
  }

  void begin_fetch() {
    const std::lock_guard lock(mutex_);
    fetching_ = true;
  }
  void succeed(CredentialPtr credential, MonoTime hard) {
    const std::lock_guard lock(mutex_);
    credential_ = std::move(credential);
    hard_ = hard;
    problem_.clear();
    doubted_ = false;
    tell();
  }
  void fail(std::string problem) {
    const std::lock_guard lock(mutex_);
    problem_ = std::move(problem);
    doubted_ = false;  // it is all there is
    tell();
  }

  // Nothing will come soon: nobody waits for it.
  void send_away() {
    const std::lock_guard lock(mutex_);
    doubted_ = false;
    tell();
  }

  enum class Renewal : std::uint8_t { begins, done, refused };
  [[nodiscard]] Renewal renew(const Credential& refused, MonoTime now) {
    const std::lock_guard lock(mutex_);
    if (credential_.get() != &refused) return Renewal::done;
    if (doubted_) return Renewal::begins;
    if (renewed_at_ && now - *renewed_at_ < pause_) return Renewal::refused;
    // The one that came after the last refusal is refused soon as well: it is not about tokens.
    const bool again = renewed_at_ && now - *renewed_at_ < 4 * pause_;
    pause_ = again ? std::min(2 * pause_, kLongestBetweenRenewals) : kBetweenRenewals;
    renewed_at_ = now;
    doubted_ = true;
    fetching_ = true;  // will be, in a moment
    return Renewal::begins;
  }
  // Whether an origin has refused the present one, and no answer of the server has come since.
  [[nodiscard]] bool doubted() const {
    const std::lock_guard lock(mutex_);
    return doubted_;
  }

 private:
  struct Waiting {
    Loop* loop;
    const Ticket* id;
    std::weak_ptr<Ticket> ticket;
  };
  // Under the mutex: who is gone, with his loop perhaps, has left the list.
  void tell() {
    fetching_ = false;
    for (Waiting& waiting : waiting_) {
      waiting.loop->post([weak = std::move(waiting.ticket)] {
        if (const std::shared_ptr<Ticket> ticket = weak.lock()) ticket->arrived.set();
      });
    }
    waiting_.clear();
  }

  mutable std::mutex mutex_;
  CredentialPtr credential_;
  MonoTime hard_{};
  std::optional<MonoTime> renewed_at_;  // because an origin refused one
  Duration pause_ = kBetweenRenewals;
  bool doubted_ = false;
  bool fetching_ = true;  // the first fetch is to come
  std::string problem_ = "it has not been fetched yet";
  std::vector<Waiting> waiting_;
};

// On the control loop.
struct TokenManager::Entry {
  Entry(const Services& services, std::unique_ptr<const Source> what)
      : source(std::move(what)), nudge(services.loop), fetcher(services.clock, skew), task(services.exceptions) {}

  [[nodiscard]] bool used() const {
    return std::ranges::any_of(handles, [](const auto& handle) { return !handle.expired(); });
  }

  // One of those that use it; for messages.
  [[nodiscard]] std::string name() const;

  const std::unique_ptr<const Source> source;
  const std::shared_ptr<Shared> shared = std::make_shared<Shared>();
  std::vector<std::weak_ptr<Handle>> handles;
  Event nudge;
  std::optional<Duration> skew;
  DateWatch fetcher;
  bool started = false;
  bool settled = false;
  bool fetching = false;
  MonoTime received{};
  MonoTime expires{};
  MonoTime next_try{};
  std::uint64_t fetched = 0;
  std::uint64_t failures = 0;
  unsigned failures_in_row = 0;
  TaskSet task;
};

class TokenManager::Handle final : public Token {
 public:
  Handle(std::string name, std::shared_ptr<Shared> shared, ColdStart cold, Loop& control, const Clock& clock,
         std::weak_ptr<Entry> entry)
      : name_(std::move(name)),
        shared_(std::move(shared)),
        cold_(cold),
        control_(control),
        clock_(clock),
        entry_(std::move(entry)) {}

  [[nodiscard]] const std::string& name() const noexcept { return name_; }
  [[nodiscard]] CredentialPtr current(MonoTime now) const noexcept override { return shared_->current(now); }
  [[nodiscard]] Task<Result<CredentialPtr>> get(Loop& loop, MonoTime deadline) override {
    if (CredentialPtr credential = shared_->current(loop.now())) return Result<CredentialPtr>(std::move(credential));
    if (cold_ == ColdStart::refuse) return Result<CredentialPtr>(unavailable(name_, shared_->problem()));
    return wait(shared_, name_, loop, deadline);
  }
  [[nodiscard]] Task<Result<CredentialPtr>> another(const Credential& refused, Loop& loop, MonoTime deadline) override {
    CredentialPtr credential = shared_->current(loop.now());
    if (credential && credential.get() != &refused) return Result<CredentialPtr>(std::move(credential));
    return wait(shared_, name_, loop, deadline);
  }
  bool renew(const Credential& refused) override {
    const Shared::Renewal outcome = shared_->renew(refused, clock_.now());
    if (outcome == Shared::Renewal::begins) {
      // The entry is destroyed by the control loop only, as this is.
      control_.post([weak = entry_] {
        if (const std::shared_ptr<Entry> entry = weak.lock()) entry->nudge.set();
      });
    }
    return outcome != Shared::Renewal::refused;
  }

 private:
  [[nodiscard]] static std::unexpected<Error> unavailable(const std::string& name, const std::string& problem) {
    return postern::fail(Code::token_unavailable, Side::gateway, name + ": " + problem);
  }

  static Task<Result<CredentialPtr>> wait(std::shared_ptr<Shared> shared, std::string name, Loop& loop,
                                          MonoTime deadline) {
    const auto ticket = std::make_shared<Ticket>(loop);
    const std::optional<std::string> problem = shared->enlist(loop, ticket);
    if (problem) {
      CredentialPtr just_come = shared->current(loop.now());
      if (just_come) co_return just_come;
      co_return unavailable(name, *problem);
    }
    struct Place {
      Shared& shared;
      const Ticket& ticket;
      ~Place() { shared.delist(ticket); }
    } const place{*shared, *ticket};
    loop.arm(*ticket, deadline);
    co_await ticket->arrived.wait();
    CredentialPtr credential = shared->current(loop.now());
    if (credential) co_return credential;
    co_return unavailable(name, ticket->late ? "it was not there in time" : shared->problem());
  }

  const std::string name_;
  const std::shared_ptr<Shared> shared_;
  const ColdStart cold_;
  Loop& control_;
  const Clock& clock_;
  const std::weak_ptr<Entry> entry_;
};

std::string TokenManager::Entry::name() const {
  for (const auto& weak : handles) {
    if (const std::shared_ptr<Handle> handle = weak.lock()) return handle->name();
  }
  return std::string(source->kind());
}

TokenManager::TokenManager(const Services& services) : services_(services) {}
TokenManager::~TokenManager() = default;

void TokenManager::shut_down() noexcept { entries_.clear(); }

std::shared_ptr<Token> TokenManager::token(std::string name, std::unique_ptr<const Source> source, ColdStart cold) {
  std::string key = source->key();
  auto at = entries_.find(key);
  if (at == entries_.end()) {
    at = entries_.emplace(std::move(key), std::make_shared<Entry>(services_, std::move(source))).first;
  }
  Entry& entry = *at->second;
  auto handle =
      std::make_shared<Handle>(std::move(name), entry.shared, cold, services_.loop, services_.clock, at->second);
  std::erase_if(entry.handles, [](const auto& old) { return old.expired(); });
  entry.handles.push_back(handle);
  return handle;
}

void TokenManager::warm_up(Fetcher& fetcher) {
  std::erase_if(entries_, [](const auto& entry) { return !entry.second->used(); });
  for (const auto& [key, entry] : entries_) {
    entry->fetcher.forward_to(fetcher);
    if (std::exchange(entry->started, true)) continue;
    entry->task.spawn(keep_fresh(*entry));
  }
}

bool TokenManager::settled() const noexcept {
  return std::ranges::all_of(entries_,
                             [](const auto& entry) { return !entry.second->started || entry.second->settled; });
}

Task<void> TokenManager::keep_fresh(Entry& entry) {
  class Alarm final : public Timer {
   public:
    explicit Alarm(Event& event) noexcept : event_(event) {}

   private:
    void on_expired() override { event_.set(); }
    Event& event_;
  } alarm(entry.nudge);
  Loop& loop = services_.loop;
  for (;;) {
    const MonoTime began = services_.clock.now();
    entry.shared->begin_fetch();
    entry.fetching = true;
    std::expected<Credential, SourceError> got =
        co_await entry.source->obtain({entry.fetcher, services_.clock, services_.entropy});
    entry.fetching = false;
    entry.settled = true;
    const MonoTime now = services_.clock.now();
    if (got && got->expires <= now) {
      got = std::unexpected(SourceError{
          Error(Code::token_unavailable, Side::gateway, "what was issued has expired already; compare the clocks")});
    }
    const double random = random_fraction(services_.entropy);
    const std::string name = entry.name();
    if (got) {
      const Schedule times = schedule(now, got->expires, got->refresh_at, random);
      entry.received = now;
      entry.expires = got->expires;
      entry.next_try = times.soft;
      ++entry.fetched;
      if (services_.log && std::exchange(entry.failures_in_row, 0U) != 0) {
        services_.log->info("a token can be obtained again", {observe::LogField::name("credential", name)});
      }
      entry.failures_in_row = 0;
      entry.shared->succeed(std::make_shared<const Credential>(std::move(*got)), times.hard);
    } else {
      const SourceError& error = got.error();
      ++entry.failures;
      const Duration wait = back_off(++entry.failures_in_row, error.permanent, error.retry_after, random);
      entry.next_try = now + wait;
      if (services_.log) {
        services_.log->warning(entry.shared->current(now)
                                   ? observe::Constant("a token cannot be refreshed; the present one still serves")
                                   : observe::Constant("a token cannot be obtained"),
                               {observe::LogField::name("credential", name), observe::LogField::error(error.error),
                                observe::LogField::number("failures", entry.failures_in_row),
                                observe::LogField::duration("next_try_ms", wait)});
      }
      entry.shared->fail(std::string(error.error.detail()));
    }
    entry.next_try = std::max(entry.next_try, began + kBetweenFetches);
    const bool good = got.has_value();
    // Until it is time, or the origin has refused what we have; but a failing server is left alone.
    while (services_.clock.now() < entry.next_try) {
      if (!good) {
        entry.shared->send_away();
      } else if (entry.shared->doubted() || !entry.shared->current(services_.clock.now())) {
        if (services_.clock.now() >= began + kBetweenFetches) break;
        entry.next_try = std::min(entry.next_try, began + kBetweenFetches);
      }
      loop.arm(alarm, std::min(entry.next_try, loop.now() + kLongestSleep));
      co_await entry.nudge.wait();
    }
    alarm.disarm();
  }
}

std::vector<TokenStatus> TokenManager::status() const {
  std::vector<TokenStatus> out;
  const MonoTime now = services_.clock.now();
  for (const auto& [key, entry] : entries_) {
    for (const auto& weak : entry->handles) {
      const std::shared_ptr<Handle> handle = weak.lock();
      if (!handle) continue;
      TokenStatus& shown = out.emplace_back();
      shown.name = handle->name();
      shown.kind = entry->source->kind();
      shown.usable = entry->shared->current(now) != nullptr;
      if (entry->fetched != 0) {
        shown.age = now - entry->received;
        if (entry->expires != MonoTime::max()) shown.expires = entry->expires - now;
      }
      shown.fetched = entry->fetched;
      shown.failures = entry->failures;
      shown.failures_in_row = entry->failures_in_row;
      if (entry->failures_in_row != 0 || !shown.usable) shown.problem = entry->shared->problem();
      if (!entry->fetching && entry->next_try != MonoTime::max()) {
        shown.next_try = std::max(entry->next_try - now, Duration::zero());
      }
      shown.skew = entry->skew;
    }
  }
  std::ranges::sort(out, {}, &TokenStatus::name);
  return out;
}

}  // namespace postern::tokens
