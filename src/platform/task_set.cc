#include "platform/task_set.h"

namespace postern {

struct TaskSet::Root {
  struct promise_type : ListNode {
    TaskSet& set;
    promise_type(TaskSet& owner, Task<void>&) noexcept : set(owner) {
      set.roots_.push_back(*this);
      ++set.size_;
    }
    promise_type(const promise_type&) = delete;
    promise_type& operator=(const promise_type&) = delete;
    ~promise_type() { --set.size_; }
    Root get_return_object() noexcept { return {}; }
    [[nodiscard]] std::suspend_never initial_suspend() const noexcept { return {}; }
    // Not suspending at the end destroys the frame, and the promise takes itself off the list.
    [[nodiscard]] std::suspend_never final_suspend() const noexcept { return {}; }
    void return_void() const noexcept {}
    void unhandled_exception() const noexcept { set.errors_.on_task_exception(std::current_exception()); }

    static void* operator new(std::size_t size) { return FramePool::allocate(size); }
    static void operator delete(void* frame, std::size_t size) noexcept { FramePool::release(frame, size); }
  };
};

TaskSet::Root TaskSet::run(TaskSet& set, Task<void> task) {
  static_cast<void>(set);
  co_await std::move(task);
}

void TaskSet::spawn(Task<void> task) { run(*this, std::move(task)); }

void TaskSet::cancel_all() noexcept {
  while (ListNode* const node = roots_.front()) {
    node->unlink();
    auto& promise = static_cast<Root::promise_type&>(*node);
    std::coroutine_handle<Root::promise_type>::from_promise(promise).destroy();
  }
}

}  // namespace postern
