#include "platform/task.h"

#include <gtest/gtest.h>

#include <stdexcept>
#include <string>
#include <vector>

#include "platform/deadline.h"
#include "platform/test_support.h"

namespace postern {
namespace {

// Says when it dies, so that a test sees whether and in which order frames are cleaned up.
class Trace {
 public:
  Trace(std::string& log, std::string name) : log_(&log), name_(std::move(name)) {}
  Trace(Trace&& other) noexcept : log_(std::exchange(other.log_, nullptr)), name_(std::move(other.name_)) {}
  Trace& operator=(Trace&&) = delete;
  ~Trace() {
    if (log_) *log_ += "~" + name_ + " ";
  }

 private:
  std::string* log_;
  std::string name_;
};

class TaskTest : public ::testing::Test {
 protected:
  TaskTest() : loop(clock), tasks(errors) {}
  ManualClock clock;
  Loop loop;
  CountExceptions errors;
  TaskSet tasks;
  std::string log;
};

Task<std::string> leaf(Loop& loop, std::string& log, Duration time) {
  const Trace trace(log, "leaf");
  co_await loop.sleep_for(time);
  co_return "leaf";
}
Task<std::string> branch(Loop& loop, std::string& log, Duration time) {
  const Trace trace(log, "branch");
  std::string below = co_await leaf(loop, log, time);
  co_return below + " branch";
}
Task<void> root(Loop& loop, std::string& log, Duration time) {
  const Trace trace(log, "root");
  const std::string below = co_await branch(loop, log, time);
  log += below + " ";
}

TEST_F(TaskTest, cancelling_destroys_every_frame_from_the_inside_out_and_runs_nothing_more) {
  tasks.spawn(root(loop, log, 1s));
  tasks.cancel_all();
  EXPECT_EQ(log, "~leaf ~branch ~root ");
  advance(loop, clock, 2s);
  EXPECT_EQ(log, "~leaf ~branch ~root ");
}

TEST_F(TaskTest, a_task_that_ends_gives_its_value_and_then_its_frame_back) {
  tasks.spawn(root(loop, log, 1s));
  advance(loop, clock, 1s);
  EXPECT_EQ(log, "~leaf ~branch leaf branch ~root ");
  EXPECT_TRUE(tasks.empty());
}

TEST_F(TaskTest, a_task_that_is_never_awaited_never_runs) {
  {
    Task<std::string> never = branch(loop, log, 0s);
    Task<std::string> moved = std::move(never);
    never = std::move(moved);
  }
  EXPECT_EQ(log, "");
}

Task<int> fails(bool now) {
  if (now) throw std::runtime_error("a bug");
  co_return 1;
}
Task<void> catches(std::string& log) {
  try {
    const int value = co_await fails(true);
    log += std::to_string(value);
  } catch (const std::runtime_error& error) {
    log += error.what();
  }
  const int value = co_await fails(false);
  log += std::to_string(value);
}

TEST_F(TaskTest, an_exception_travels_through_the_awaiting_coroutine) {
  tasks.spawn(catches(log));
  EXPECT_EQ(log, "a bug1");
  EXPECT_EQ(errors.count, 0);
}

Task<void> spawns(TaskSet& tasks, Loop& loop, std::string& log, int depth) {
  if (depth > 0) tasks.spawn(spawns(tasks, loop, log, depth - 1));
  co_await loop.sleep_for(std::chrono::milliseconds(depth));
  log += std::to_string(depth);
}

TEST_F(TaskTest, a_task_may_spawn_others_into_its_own_set) {
  tasks.spawn(spawns(tasks, loop, log, 3));
  EXPECT_EQ(tasks.size(), 4u);
  advance(loop, clock, 10ms);
  EXPECT_EQ(log, "0123");
  EXPECT_TRUE(tasks.empty());
}

Task<void> cancels(Loop& loop, TaskSet& victims, std::string& log) {
  co_await loop.sleep_for(1ms);
  victims.cancel_all();
  log += "cancelled ";
  co_await loop.sleep_for(1ms);
  log += "and on ";
}

TEST_F(TaskTest, a_task_may_cancel_those_of_another_set_even_in_the_same_tick) {
  TaskSet victims(errors);
  for (int i = 0; i < 3; ++i) victims.spawn(root(loop, log, 1ms));  // due in the same tick
  tasks.spawn(cancels(loop, victims, log));
  victims.spawn(root(loop, log, 1ms));
  advance(loop, clock, 5ms);
  // Three came first, the fourth was due but not yet run.
  EXPECT_EQ(log,
            "~leaf ~branch leaf branch ~root ~leaf ~branch leaf branch ~root ~leaf ~branch leaf branch ~root "
            "~leaf ~branch ~root cancelled and on ");
}

Task<void> owns_a_set(Loop& loop, CountExceptions& errors, std::string& log) {
  TaskSet own(errors);
  own.spawn(root(loop, log, 1s));
  co_await loop.sleep_for(10ms);
}

TEST_F(TaskTest, a_set_in_a_frame_is_cancelled_with_the_frame) {
  tasks.spawn(owns_a_set(loop, errors, log));
  tasks.cancel_all();
  EXPECT_EQ(log, "~leaf ~branch ~root ");
  log.clear();
  tasks.spawn(owns_a_set(loop, errors, log));
  advance(loop, clock, 20ms);
  EXPECT_EQ(log, "~leaf ~branch ~root ") << "and at its end";
}

Task<void> throws_later(Loop& loop) {
  co_await loop.sleep_for(1ms);
  throw std::runtime_error("late");
}

TEST_F(TaskTest, an_exception_after_a_wait_ends_only_its_task) {
  tasks.spawn(throws_later(loop));
  tasks.spawn(root(loop, log, 2ms));
  advance(loop, clock, 5ms);
  EXPECT_EQ(errors.count, 1);
  EXPECT_TRUE(log.ends_with("~root "));
  EXPECT_TRUE(tasks.empty());
}

// ---- deadlines -----------------------------------------------------------------------------------------------------

Task<void> wait_to_write(Stream& stream, Deadline& deadline, std::string& log) {
  const Wake wake = co_await stream.writable();
  log += wake == Wake::ready ? "ready " : wake == Wake::timed_out ? "timed out " : "interrupted ";
  log += deadline.expired() ? "expired " : "";
}

TEST_F(TaskTest, a_deadline_ends_a_wait_in_its_own_direction_only) {
  auto [near, far] = make_memory_pair(loop, {.capacity = 4});
  iovec part{const_cast<char*>("12345678"), 8};
  EXPECT_EQ(near->try_write({&part, 1}).bytes, 4u);
  EXPECT_EQ(near->try_write({&part, 1}).status, IoStatus::would_block);
  Deadline reading(loop, *near);
  Deadline writing(loop, *near, Deadline::Direction::write);
  reading.set_after(1s);
  tasks.spawn(wait_to_write(*near, writing, log));
  advance(loop, clock, 1s);
  EXPECT_EQ(log, "");
  EXPECT_TRUE(reading.expired()) << "nobody waited, it is over all the same";
  writing.set_after(1s);
  writing.set_after(2s);
  advance(loop, clock, 1s);
  EXPECT_EQ(log, "");
  advance(loop, clock, 1s);
  EXPECT_EQ(log, "timed out expired ");
  // Set again, it works again; cleared, it does not.
  log.clear();
  writing.set_after(1s);
  EXPECT_FALSE(writing.expired());
  tasks.spawn(wait_to_write(*near, writing, log));
  writing.clear();
  advance(loop, clock, 5s);
  EXPECT_EQ(log, "");
  near->wake_writer(Wake::interrupted);
  EXPECT_EQ(log, "interrupted ");
}

}  // namespace
}  // namespace postern
