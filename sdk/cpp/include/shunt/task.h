#pragma once
// Task<T>: a coroutine. It starts when it is awaited; whoever drops it ends it. Part of <shunt/service.h>.
//
// Await only what Shunt gives you, or other Tasks of the same call: resuming a coroutine on a foreign thread is not
// supported. Give arguments by value. Frames come from a pool of the thread, by size.

#include <coroutine>
#include <cstddef>
#include <exception>
#include <new>
#include <optional>
#include <type_traits>
#include <utility>

#include "shunt/error.h"

#if defined(__SANITIZE_ADDRESS__)
#define SHUNT_SDK_POOLED 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SHUNT_SDK_POOLED 0
#endif
#endif
#ifndef SHUNT_SDK_POOLED
#define SHUNT_SDK_POOLED 1
#endif

// What has state must be one module's own, whatever flags the module is built with: two modules in one process must not
// share a variable because their names agree.
#define SHUNT_SDK_HIDDEN __attribute__((visibility("hidden")))

namespace shunt {
inline namespace sdk {
namespace detail {

/// Blocks by size class, reused within a thread; a block may be freed on another thread than it was made on. Bounded:
/// what is too much goes back to the heap.
class Pool {
 public:
  static void* allocate(std::size_t size) {
#if SHUNT_SDK_POOLED
    std::size_t bucket = (size - 1) / block;
    if (bucket < buckets) {
      List& list = here().lists[bucket];
      if (list.first != nullptr) {
        list.count--;
        return std::exchange(list.first, list.first->next);
      }
      return ::operator new((bucket + 1) * block);
    }
#endif
    return ::operator new(size);
  }
  static void free(void* memory, [[maybe_unused]] std::size_t size) noexcept {
#if SHUNT_SDK_POOLED
    std::size_t bucket = (size - 1) / block;
    if (bucket < buckets) {
      List& list = here().lists[bucket];
      if (list.count < count_max) {
        list.count++;
        list.first = new (memory) Free{list.first};
        return;
      }
    }
#endif
    ::operator delete(memory);
  }
  /// Gives back to the heap what this thread keeps.
  static void trim() noexcept {
    if (lists_ == nullptr) return;
    for (List& list : lists_->lists) {
      while (list.first != nullptr) ::operator delete(std::exchange(list.first, list.first->next));
    }
    delete std::exchange(lists_, nullptr);
  }

 private:
  static constexpr std::size_t block = 64;
  static constexpr std::size_t buckets = 32;
  static constexpr std::size_t count_max = 256;
  struct Free {
    Free* next;
  };
  struct List {
    Free* first = nullptr;
    std::size_t count = 0;
  };
  struct Lists {
    List lists[buckets];
  };
  // A pointer, so that it can have the short way to a thread's own memory: room there is scarce in a process that loads
  // libraries at run time. The lists themselves live as long as the process.
#if defined(__GNUC__)
  __attribute__((tls_model("initial-exec")))
#endif
  inline static constinit thread_local Lists* lists_ = nullptr;
  SHUNT_SDK_HIDDEN static Lists& here() noexcept {
    // A process without memory for these has none for a frame either.
    if (lists_ == nullptr) lists_ = new Lists;  // NOLINT(bugprone-unhandled-exception-at-new): ends it
    return *lists_;
  }
};

/// Told when a Task that nobody awaits has ended.
struct RootEnd {
  virtual void on_task_done() noexcept = 0;

 protected:
  ~RootEnd() = default;
};

struct PromiseBase {
  std::coroutine_handle<> continuation;
  RootEnd* root = nullptr;
  std::exception_ptr thrown;

  struct FinalAwaiter {
    bool await_ready() noexcept { return false; }
    template <typename Promise>
    std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> self) noexcept {
      auto& promise = self.promise();
      if (promise.continuation) return promise.continuation;
      // Frees this frame: nothing of it is touched after.
      if (promise.root != nullptr) promise.root->on_task_done();
      return std::noop_coroutine();
    }
    void await_resume() noexcept {}
  };

  std::suspend_always initial_suspend() noexcept { return {}; }
  FinalAwaiter final_suspend() noexcept { return {}; }
  void unhandled_exception() noexcept { thrown = std::current_exception(); }
  void rethrow() const {
    if (thrown) std::rethrow_exception(thrown);
  }

  static void* operator new(std::size_t size) { return Pool::allocate(size); }
  static void operator delete(void* frame, std::size_t size) noexcept { Pool::free(frame, size); }
};

template <typename T>
struct Promise : PromiseBase {
  std::optional<T> value;
  std::coroutine_handle<Promise> get_return_object() { return std::coroutine_handle<Promise>::from_promise(*this); }
  template <typename U = T>
  void return_value(U&& result) {
    value.emplace(std::forward<U>(result));
  }
  T take() {
    rethrow();
    return std::move(*value);
  }
  /// The result where it stands; nullptr when it threw.
  T* peek() { return value.has_value() ? &*value : nullptr; }
};

template <>
struct Promise<void> : PromiseBase {
  std::coroutine_handle<Promise> get_return_object() { return std::coroutine_handle<Promise>::from_promise(*this); }
  void return_void() {}
  void take() { rethrow(); }
};

}  // namespace detail

/// What a command that may wait returns: `Task<Result<Price>>`.
template <typename T = void>
class [[nodiscard]] Task {
 public:
  using promise_type = detail::Promise<T>;
  using value_type = T;

  Task() = default;
  Task(std::coroutine_handle<promise_type> handle) : handle_(handle) {}
  Task(Task&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Task& operator=(Task&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  ~Task() {
    if (handle_) handle_.destroy();
  }

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
    return Awaiter{handle_};
  }

  /// For whoever runs a task that nobody awaits: `end` is told when it is done, which may be inside this.
  void start(detail::RootEnd& end) {
    handle_.promise().root = &end;
    handle_.resume();
  }
  /// The result of a task that is done; throws what it threw. Once.
  T take() { return handle_.promise().take(); }
  T* peek()
    requires(!std::is_void_v<T>)
  {
    return handle_.promise().peek();
  }

 private:
  std::coroutine_handle<promise_type> handle_;
};

}  // namespace sdk
}  // namespace shunt
