#include "loop/scope.h"

#include <coroutine>

#include "base/check.h"
#include "loop/event.h"

namespace shunt::loop {

namespace {

// The frame around a spawned task: it starts at once and, at its end, stays suspended until its node is reaped.
struct Root {
  struct promise_type {
    Root get_return_object() { return {std::coroutine_handle<promise_type>::from_promise(*this)}; }
    std::suspend_always initial_suspend() noexcept { return {}; }
    std::suspend_always final_suspend() noexcept { return {}; }
    void return_void() {}
    [[noreturn]] void unhandled_exception() noexcept { std::terminate(); }
    static void* operator new(std::size_t size) { return allocate_frame(size); }
    static void operator delete(void* frame, std::size_t size) { free_frame(frame, size); }
  };
  std::coroutine_handle<promise_type> handle;
};

struct Node {
  Node* next = nullptr;
  Node* previous = nullptr;
  std::coroutine_handle<Root::promise_type> handle;
  bool ended = false;
};

}  // namespace

struct Scope::State final : Runnable {
  explicit State(Loop& on) : loop(on), emptied(on) { anchor.next = anchor.previous = &anchor; }
  ~State() { destroy_all(); }

  void link(Node& node) {
    node.next = anchor.next;
    node.previous = &anchor;
    anchor.next->previous = &node;
    anchor.next = &node;
    count++;
  }
  void destroy(Node* node) {
    node->next->previous = node->previous;
    node->previous->next = node->next;
    if (!node->ended) count--;
    node->handle.destroy();
    delete node;
  }
  void destroy_all() {
    // The analyzer does not see that destroy() takes the node off the list before it frees it.
    while (anchor.next != &anchor) destroy(anchor.next);  // NOLINT(clang-analyzer-cplusplus.NewDelete)
    if (count == 0) emptied.set();
  }
  // A task has ended, or asked for cancel() from inside: reap it outside its own stack.
  void run() override {
    if (cancelled) {
      cancelled = false;
      destroy_all();
      return;
    }
    for (Node* node = anchor.next; node != &anchor;) {
      Node* next = node->next;
      if (node->ended) destroy(node);
      node = next;
    }
    if (count == 0) emptied.set();
  }
  static Root run_task(State* state, Node* node, Task<void> task) {
    co_await std::move(task);
    node->ended = true;
    state->count--;
    state->loop.ready(*state);
  }

  Loop& loop;
  Event emptied;
  Node anchor;
  std::size_t count = 0;
  bool cancelled = false;
};

Scope::Scope(Loop& loop) : state_(make_own<State>(loop)) {}
Scope::~Scope() = default;

void Scope::spawn(Task<void> task) {
  auto* node = new Node;
  node->handle = State::run_task(state_.get(), node, std::move(task)).handle;
  state_->link(*node);
  node->handle.resume();
}

void Scope::cancel() {
  // Whoever calls may be one of our tasks; its frame can't be destroyed under its feet.
  state_->cancelled = true;
  state_->loop.ready(*state_);
}

std::size_t Scope::size() const { return state_->count; }

Task<void> Scope::join() {
  while (state_->count > 0) co_await state_->emptied.wait();
}

}  // namespace shunt::loop
