#pragma once
// Task<T>: a coroutine of ours. Lazy: it starts when awaited or spawned. Whoever drops it cancels it: the frame is
// destroyed where it waits, so everything that can be awaited must bear being destroyed while it waits.
//
// Rules (docs/internals/coroutine-lifetimes.md): arguments by value, or owned by a longer life; no capturing coroutine
// lambdas; no detach: a Task that nobody awaits belongs to a Scope (scope.h). Frames come from a per-thread pool.

#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <new>
#include <optional>
#include <utility>

#include "base/check.h"
#include "base/pool.h"

namespace shunt::loop {

/// Frames of coroutines and other small objects of calls: from the pool of the thread.
inline void* allocate_frame(std::size_t size) { return allocate_pooled(size); }
inline void free_frame(void* frame, std::size_t size) noexcept { free_pooled(frame, size); }

namespace detail {

struct PromiseBase {
  std::coroutine_handle<> continuation = std::noop_coroutine();

  struct FinalAwaiter {
    bool await_ready() noexcept { return false; }
    template <typename Promise>
    std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> self) noexcept {
      return self.promise().continuation;
    }
    void await_resume() noexcept {}
  };

  std::suspend_always initial_suspend() noexcept { return {}; }
  FinalAwaiter final_suspend() noexcept { return {}; }
  // An exception that gets here is a bug of ours: what others throw is caught at the folder that calls them.
  [[noreturn]] void unhandled_exception() noexcept { std::terminate(); }

  static void* operator new(std::size_t size) { return allocate_frame(size); }
  static void operator delete(void* frame, std::size_t size) { free_frame(frame, size); }
};

template <typename T>
struct Promise : PromiseBase {
  std::optional<T> value;
  std::coroutine_handle<Promise> get_return_object() { return std::coroutine_handle<Promise>::from_promise(*this); }
  template <typename U>
  void return_value(U&& result) {
    value.emplace(std::forward<U>(result));
  }
  T take() {
    SHUNT_ASSERT(value.has_value());
    return std::move(*value);
  }
};

template <>
struct Promise<void> : PromiseBase {
  std::coroutine_handle<Promise> get_return_object() { return std::coroutine_handle<Promise>::from_promise(*this); }
  void return_void() {}
  void take() {}
};

}  // namespace detail

template <typename T = void>
class [[nodiscard]] Task {
 public:
  using promise_type = detail::Promise<T>;

  Task() = default;
  Task(std::coroutine_handle<promise_type> handle) : handle_(handle) {}
  Task(Task&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Task& operator=(Task&& other) noexcept {
    if (this != &other) {
      destroy();
      handle_ = std::exchange(other.handle_, nullptr);
    }
    return *this;
  }
  ~Task() { destroy(); }

  auto operator co_await() && noexcept {
    struct Awaiter {
      std::coroutine_handle<promise_type> handle;
      bool await_ready() noexcept { return false; }
      std::coroutine_handle<> await_suspend(std::coroutine_handle<> waiting) noexcept {
        handle.promise().continuation = waiting;
        return handle;
      }
      T await_resume() { return handle.promise().take(); }
    };
    SHUNT_ASSERT(handle_);
    return Awaiter{handle_};
  }

  [[nodiscard]] bool is_done() const { return !handle_ || handle_.done(); }
  explicit operator bool() const { return static_cast<bool>(handle_); }

  /// For Scope and tests: starts a task that nobody awaits.
  void start() {
    SHUNT_ASSERT(handle_ && !handle_.done());
    handle_.resume();
  }
  /// For Scope: what is resumed when the task has ended.
  void set_continuation(std::coroutine_handle<> continuation) { handle_.promise().continuation = continuation; }
  /// The result of a task that is_done(). Once.
  T take() { return handle_.promise().take(); }

 private:
  void destroy() {
    if (handle_) std::exchange(handle_, nullptr).destroy();
  }
  std::coroutine_handle<promise_type> handle_;
};

}  // namespace shunt::loop
