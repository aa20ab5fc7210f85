#include "platform/event.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "platform/test_support.h"

namespace postern {
namespace {

class EventTest : public ::testing::Test {
 protected:
  EventTest() : loop(clock), tasks(errors) {}
  static Task<void> wait(Event& event, std::string& log, std::string word) {
    co_await event.wait();
    log += word;
  }
  ManualClock clock;
  Loop loop;
  CountExceptions errors;
  TaskSet tasks;
  std::string log;
};

TEST_F(EventTest, set_before_the_wait_counts_once) {
  Event event(loop);
  event.set();
  event.set();
  tasks.spawn(wait(event, log, "first "));
  EXPECT_EQ(log, "first ");
  tasks.spawn(wait(event, log, "second "));
  settle(loop);
  EXPECT_EQ(log, "first ") << "it was cleared";
  event.set();
  settle(loop);
  EXPECT_EQ(log, "first second ");
}

TEST_F(EventTest, the_waiter_runs_at_the_end_of_the_turn_and_never_on_the_stack_of_set) {
  Event event(loop);
  tasks.spawn(wait(event, log, "woken"));
  event.set();
  EXPECT_EQ(log, "");
  event.set();
  settle(loop);
  EXPECT_EQ(log, "woken");
  EXPECT_TRUE(tasks.empty());
}

TEST_F(EventTest, a_waiter_that_is_cancelled_after_set_does_not_run) {
  Event event(loop);
  tasks.spawn(wait(event, log, "woken"));
  event.set();
  tasks.cancel_all();
  settle(loop);
  EXPECT_EQ(log, "");
  // What was set stays set for the next.
  tasks.spawn(wait(event, log, "next"));
  EXPECT_EQ(log, "next");
}

Task<void> wait_and_destroy(std::unique_ptr<Event>& event, std::string& log) {
  co_await event->wait();
  event.reset();
  log += "gone";
}

TEST_F(EventTest, the_waiter_may_destroy_it) {
  auto event = std::make_unique<Event>(loop);
  tasks.spawn(wait_and_destroy(event, log));
  event->set();
  settle(loop);
  EXPECT_EQ(log, "gone");
  EXPECT_EQ(event, nullptr);
}

TEST_F(EventTest, an_event_that_dies_set_wakes_nobody) {
  {
    Event event(loop);
    {
      TaskSet inner(errors);
      inner.spawn(wait(event, log, "woken"));
      event.set();
    }
  }
  settle(loop);
  EXPECT_EQ(log, "");
}

// The waiter may cancel whoever called set(): that is why it does not run on that stack.
TEST_F(EventTest, the_waiter_may_cancel_the_one_that_set_it) {
  Event event(loop);
  TaskSet others(errors);
  struct Steps {
    static Task<void> setter(Loop& on, Event& event, std::string& log) {
      event.set();
      log += "set ";
      co_await on.sleep_for(1s);
      log += "survived ";
    }
    static Task<void> canceller(Event& event, TaskSet& victims, std::string& log) {
      co_await event.wait();
      victims.cancel_all();
      log += "cancelled ";
    }
  };
  tasks.spawn(Steps::canceller(event, others, log));
  others.spawn(Steps::setter(loop, event, log));
  advance(loop, clock, 2s);
  EXPECT_EQ(log, "set cancelled ");
  EXPECT_TRUE(others.empty());
}

}  // namespace
}  // namespace postern
