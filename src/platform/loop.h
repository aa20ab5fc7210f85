// Loop: one event loop per core. It owns nothing but its timers and its mailbox; connections, pools and everything else
// that lives on a loop are touched only by its thread. The one cross-thread call is post().
//
// On a ManualClock the loop never sleeps: when nothing is ready it jumps to the next timer, so that whole-gateway tests
// run in virtual time.
#pragma once

#include <atomic>
#include <coroutine>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "platform/clock.h"
#include "platform/intrusive_list.h"
#include "platform/timer_wheel.h"

namespace postern {

class Loop {
 public:
  // What epoll reports goes to a Handler; `events` are EPOLL* bits. A handler may destroy itself or any other one.
  class Handler {
   public:
    virtual void on_events(std::uint32_t events) = 0;

   protected:
    ~Handler() = default;
  };

  // Work for the end of the current turn (flushes, deferred deletions). Destroying it cancels it.
  class Deferred : public ListNode {
   public:
    virtual void run_deferred() = 0;

   protected:
    ~Deferred() = default;
  };

  // The clock outlives the loop. Throws std::system_error if the kernel refuses an epoll instance (start-up only).
  explicit Loop(Clock& clock);
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;
  ~Loop();

  // Runs until stop(). Returns at once if stop() came first.
  void run();
  // Thread-safe.
  void stop();
  // One turn: events, timers, mailbox, deferred work. Sleeps at most until `until_timer`. For tests.
  // Returns false if, on a ManualClock, nothing is left that could ever happen.
  bool run_once();
  // The same, but it neither sleeps nor lets virtual time jump. Returns false if nothing was ready. For tests.
  bool run_ready();

  // Thread-safe: runs `work` on the loop's thread in a later turn. Work posted after the last turn is destroyed unrun.
  void post(std::function<void()> work);

  void defer(Deferred& work) noexcept { deferred_.push_back(work); }

  // Which turn this is; for who counts what it does in one (turn_budget.h).
  [[nodiscard]] std::uint64_t turn_number() const noexcept { return turn_; }
  // The time at the beginning of this turn.
  [[nodiscard]] MonoTime now() const noexcept { return now_; }
  [[nodiscard]] WallTime wall() const noexcept { return clock_.wall(); }
  [[nodiscard]] TimerWheel& timers() noexcept { return timers_; }
  void arm(Timer& timer, MonoTime when) noexcept { timers_.arm(timer, when); }

  // Registers `fd` for `events` until remove_fd(). The handler outlives the registration. False on kernel refusal.
  [[nodiscard]] bool add_fd(int fd, std::uint32_t events, Handler& handler);
  [[nodiscard]] bool modify_fd(int fd, std::uint32_t events);
  // Also drops events of this turn that were not yet delivered.
  void remove_fd(int fd) noexcept;
  // Changes with every add_fd() and remove_fd() of `fd`. A handler that called something which may have ended it
  // compares this with what it was before; its own address would not do, as its successor may have the same.
  [[nodiscard]] std::uint32_t registration(int fd) const noexcept {
    return registrations_[static_cast<std::size_t>(fd)].generation;
  }

  // co_await loop.yield(): goes on in the next turn, after its events and timers, so that everybody else had a turn.
  class YieldAwaiter;
  [[nodiscard]] YieldAwaiter yield() noexcept;

  class SleepAwaiter;
  // co_await loop.sleep_until(t)
  [[nodiscard]] SleepAwaiter sleep_until(MonoTime when) noexcept;
  [[nodiscard]] SleepAwaiter sleep_for(Duration duration) noexcept;

 private:
  struct Registration {
    Handler* handler = nullptr;
    std::uint32_t generation = 0;
  };

  enum class Idle : std::uint8_t { wait, return_at_once };
  void turn(Idle idle);
  void wait_for_events(Idle idle);
  void run_mailbox();
  void run_deferred();
  void resume_yielded();

  Clock& clock_;
  ManualClock* manual_ = nullptr;
  MonoTime now_;
  TimerWheel timers_;
  int epoll_ = -1;
  int wakeup_ = -1;
  std::vector<Registration> registrations_;  // indexed by fd
  IntrusiveList<Deferred> deferred_;
  IntrusiveList<YieldAwaiter> yielded_;   // in this turn
  IntrusiveList<YieldAwaiter> resuming_;  // in the turn before; they go on in this one
  std::uint64_t turn_ = 0;
  std::atomic<bool> stopping_{false};
  bool progressed_ = false;

  std::mutex mailbox_mutex_;
  std::vector<std::function<void()>> mailbox_;  // guarded by mailbox_mutex_
  std::atomic<bool> mailbox_full_{false};
};

class Loop::YieldAwaiter final : public ListNode {
 public:
  explicit YieldAwaiter(Loop& loop) noexcept : loop_(loop) {}
  [[nodiscard]] bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> handle) noexcept {
    handle_ = handle;
    loop_.yielded_.push_back(*this);
  }
  void await_resume() const noexcept {}

 private:
  friend class Loop;
  Loop& loop_;
  std::coroutine_handle<> handle_;
};

class Loop::SleepAwaiter final : Timer {
 public:
  SleepAwaiter(Loop& loop, MonoTime when) noexcept : loop_(loop), when_(when) {}
  [[nodiscard]] bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> handle) noexcept {
    handle_ = handle;
    loop_.arm(*this, when_);
  }
  void await_resume() const noexcept {}

 private:
  void on_expired() override { handle_.resume(); }
  Loop& loop_;
  MonoTime when_;
  std::coroutine_handle<> handle_;
};

inline Loop::YieldAwaiter Loop::yield() noexcept { return YieldAwaiter(*this); }
inline Loop::SleepAwaiter Loop::sleep_until(MonoTime when) noexcept { return {*this, when}; }
inline Loop::SleepAwaiter Loop::sleep_for(Duration duration) noexcept { return {*this, now_ + duration}; }

}  // namespace postern
