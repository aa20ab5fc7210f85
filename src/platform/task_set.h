// TaskSet: owns tasks that nobody awaits (a connection's life, a health check's). A task that ends leaves the set by
// itself; destroying the set cancels the rest. Single-threaded.
#pragma once

#include <cstddef>

#include "platform/intrusive_list.h"
#include "platform/task.h"

namespace postern {

class TaskSet {
 public:
  // Told about an exception that left a task: a bug, caught here so that it ends one connection and not the process.
  class ErrorHandler {
   public:
    virtual void on_task_exception(std::exception_ptr exception) noexcept = 0;

   protected:
    ~ErrorHandler() = default;
  };

  // `errors` outlives the set.
  explicit TaskSet(ErrorHandler& errors) noexcept : errors_(errors) {}
  TaskSet(const TaskSet&) = delete;
  TaskSet& operator=(const TaskSet&) = delete;
  ~TaskSet() { cancel_all(); }

  // Starts `task` at once; it runs on the caller's stack until it first suspends.
  void spawn(Task<void> task);
  // Destroys every task. Not to be called from inside one of them.
  void cancel_all() noexcept;
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] bool empty() const noexcept { return size_ == 0; }

 private:
  struct Root;
  static Root run(TaskSet& set, Task<void> task);

  ErrorHandler& errors_;
  IntrusiveList<ListNode> roots_;
  std::size_t size_ = 0;
};

}  // namespace postern
