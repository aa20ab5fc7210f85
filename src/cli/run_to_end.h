// Runs one task to its end, for verbs: they have nothing else to do meanwhile.
#pragma once

#include <optional>

#include "platform/loop.h"
#include "platform/task_set.h"

namespace postern::cli {

// nullopt if the task ended by an exception, which is a bug.
template <typename T>
[[nodiscard]] std::optional<T> run_to_end(Loop& loop, Task<T> task) {
  class NoExceptions final : public TaskSet::ErrorHandler {
   public:
    void on_task_exception(std::exception_ptr /*exception*/) noexcept override {}
  };
  struct Keep {
    static Task<void> result_of(Task<T> task, std::optional<T>& out) {
      T result = co_await std::move(task);
      out.emplace(std::move(result));
    }
  };
  std::optional<T> result;
  NoExceptions exceptions;
  TaskSet tasks(exceptions);
  tasks.spawn(Keep::result_of(std::move(task), result));
  while (!tasks.empty()) loop.run_once();
  return result;
}

}  // namespace postern::cli
