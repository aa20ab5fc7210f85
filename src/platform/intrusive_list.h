// A doubly linked list whose links live in the elements: no allocation, and an element takes itself off the list when
// it is destroyed. Single-threaded.
#pragma once

namespace postern {

class ListNode {
 public:
  ListNode() noexcept : prev_(this), next_(this) {}
  ListNode(const ListNode&) = delete;
  ListNode& operator=(const ListNode&) = delete;
  ~ListNode() { unlink(); }

  [[nodiscard]] bool linked() const noexcept { return next_ != this; }
  void unlink() noexcept {
    prev_->next_ = next_;
    next_->prev_ = prev_;
    prev_ = next_ = this;
  }
  void insert_before(ListNode& where) noexcept {
    unlink();
    prev_ = where.prev_;
    next_ = &where;
    prev_->next_ = this;
    where.prev_ = this;
  }

 private:
  template <typename T>
  friend class IntrusiveList;
  ListNode* prev_;
  ListNode* next_;
};

// T derives from ListNode. The list does not own its elements.
template <typename T>
class IntrusiveList {
 public:
  [[nodiscard]] bool empty() const noexcept { return !head_.linked(); }
  [[nodiscard]] T* front() noexcept { return empty() ? nullptr : static_cast<T*>(head_.next_); }
  [[nodiscard]] T* back() noexcept { return empty() ? nullptr : static_cast<T*>(head_.prev_); }
  // The element after `element`, or nullptr at the end.
  [[nodiscard]] T* after(T& element) noexcept {
    ListNode* const next = static_cast<ListNode&>(element).next_;
    return next == &head_ ? nullptr : static_cast<T*>(next);
  }
  void push_back(T& element) noexcept { element.insert_before(head_); }
  void push_front(T& element) noexcept { element.insert_before(*head_.next_); }
  // Moves everything of `other` to the end of this list.
  void splice_back(IntrusiveList& other) noexcept {
    while (T* const element = other.front()) push_back(*element);
  }

 private:
  ListNode head_;
};

}  // namespace postern
