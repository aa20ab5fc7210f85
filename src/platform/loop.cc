#include "platform/loop.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <system_error>

#include "platform/frame_pool.h"

namespace postern {
namespace {

constexpr int kEventsPerTurn = 256;

constexpr std::uint64_t tag(int fd, std::uint32_t generation) noexcept {
  return (std::uint64_t{generation} << 32) | static_cast<std::uint32_t>(fd);
}

[[noreturn]] void throw_errno(const char* what) { throw std::system_error(errno, std::generic_category(), what); }

}  // namespace

Loop::Loop(Clock& clock) : clock_(clock), manual_(clock.manual()), now_(clock.now()), timers_(now_) {
  epoll_ = ::epoll_create1(EPOLL_CLOEXEC);
  if (epoll_ < 0) throw_errno("epoll_create1");
  wakeup_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (wakeup_ < 0) {
    ::close(epoll_);
    throw_errno("eventfd");
  }
  epoll_event event{};
  event.events = EPOLLIN | EPOLLET;
  event.data.u64 = tag(wakeup_, 0);
  if (::epoll_ctl(epoll_, EPOLL_CTL_ADD, wakeup_, &event) != 0) throw_errno("epoll_ctl");
}

Loop::~Loop() {
  mailbox_.clear();
  ::close(wakeup_);
  ::close(epoll_);
  FramePool::trim();
}

void Loop::run() {
  while (!stopping_.load(std::memory_order_acquire)) run_once();
  FramePool::trim();
}

void Loop::stop() {
  stopping_.store(true, std::memory_order_release);
  const std::uint64_t one = 1;
  static_cast<void>(::write(wakeup_, &one, sizeof one));
}

void Loop::post(std::function<void()> work) {
  {
    const std::lock_guard lock(mailbox_mutex_);
    mailbox_.push_back(std::move(work));
    mailbox_full_.store(true, std::memory_order_release);
  }
  const std::uint64_t one = 1;
  static_cast<void>(::write(wakeup_, &one, sizeof one));
}

bool Loop::run_once() {
  turn(Idle::wait);
  return progressed_ || !manual_ || timers_.next_expiry().has_value();
}

bool Loop::run_ready() {
  turn(Idle::return_at_once);
  return progressed_;
}

void Loop::turn(Idle idle) {
  progressed_ = false;
  ++turn_;
  // Whoever yields in this turn goes on in the next: one that always has more to do takes part once per turn.
  resuming_.splice_back(yielded_);
  run_deferred();
  wait_for_events(idle);
  timers_.advance(now_);
  run_mailbox();
  resume_yielded();
  run_deferred();
}

void Loop::wait_for_events(Idle idle) {
  int timeout_ms = -1;
  const std::optional<MonoTime> next = timers_.next_expiry();
  const bool stay = manual_ || idle == Idle::return_at_once;
  const bool work_waits = !deferred_.empty() || !resuming_.empty() || !yielded_.empty();
  if (stay || work_waits || mailbox_full_.load(std::memory_order_acquire)) {
    timeout_ms = 0;
  } else if (next) {
    const auto wait = std::chrono::ceil<std::chrono::milliseconds>(*next - clock_.now()).count();
    timeout_ms = static_cast<int>(std::clamp<std::int64_t>(wait, 0, 60'000));
  }
  std::array<epoll_event, kEventsPerTurn> events;  // NOLINT: filled by the kernel
  const int count = ::epoll_wait(epoll_, events.data(), kEventsPerTurn, timeout_ms);
  now_ = clock_.now();
  if (manual_ && idle == Idle::wait && count <= 0 && !mailbox_full_.load(std::memory_order_acquire) && !work_waits &&
      next) {
    if (*next > now_) manual_->advance(*next - now_);
    now_ = clock_.now();
    progressed_ = true;
  }
  for (int i = 0; i < count; ++i) {
    const epoll_event& event = events[static_cast<std::size_t>(i)];
    const int fd = static_cast<int>(event.data.u64 & 0xffffffffu);
    progressed_ = true;
    if (fd == wakeup_) {
      std::uint64_t drained = 0;
      static_cast<void>(::read(wakeup_, &drained, sizeof drained));
      continue;
    }
    // An earlier event of this turn may have closed this descriptor, and a new connection may already use its number.
    const Registration& registration = registrations_[static_cast<std::size_t>(fd)];
    if (registration.handler && registration.generation == static_cast<std::uint32_t>(event.data.u64 >> 32)) {
      registration.handler->on_events(event.events);
    }
  }
}

void Loop::run_mailbox() {
  if (!mailbox_full_.load(std::memory_order_acquire)) return;
  std::vector<std::function<void()>> work;
  {
    const std::lock_guard lock(mailbox_mutex_);
    work.swap(mailbox_);
    mailbox_full_.store(false, std::memory_order_release);
  }
  progressed_ = progressed_ || !work.empty();
  for (std::function<void()>& item : work) {
    item();
    item = nullptr;
  }
}

void Loop::run_deferred() {
  // Only what was there at the beginning: work that defers itself again waits for the next turn.
  IntrusiveList<Deferred> now;
  now.splice_back(deferred_);
  while (Deferred* const work = now.front()) {
    work->unlink();
    progressed_ = true;
    work->run_deferred();
  }
}

void Loop::resume_yielded() {
  while (YieldAwaiter* const waiter = resuming_.front()) {
    waiter->unlink();
    progressed_ = true;
    waiter->handle_.resume();
  }
}

bool Loop::add_fd(int fd, std::uint32_t events, Handler& handler) {
  const auto index = static_cast<std::size_t>(fd);
  if (index >= registrations_.size()) registrations_.resize(std::max(index + 1, registrations_.size() * 2));
  Registration& registration = registrations_[index];
  ++registration.generation;
  epoll_event event{};
  event.events = events;
  event.data.u64 = tag(fd, registration.generation);
  if (::epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event) != 0) return false;
  registration.handler = &handler;
  return true;
}

bool Loop::modify_fd(int fd, std::uint32_t events) {
  epoll_event event{};
  event.events = events;
  event.data.u64 = tag(fd, registrations_[static_cast<std::size_t>(fd)].generation);
  return ::epoll_ctl(epoll_, EPOLL_CTL_MOD, fd, &event) == 0;
}

void Loop::remove_fd(int fd) noexcept {
  Registration& registration = registrations_[static_cast<std::size_t>(fd)];
  registration.handler = nullptr;
  ++registration.generation;
  ::epoll_ctl(epoll_, EPOLL_CTL_DEL, fd, nullptr);
}

}  // namespace postern
