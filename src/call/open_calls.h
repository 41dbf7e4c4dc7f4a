#pragma once
// OpenCalls: the calls of one link that have begun and not ended. It counts them, ends them when the link goes, and lets
// whoever drains the link wait until none is left. What a call is, the links know.

#include <cstddef>

#include "base/status.h"
#include "base/time.h"
#include "call/ends.h"
#include "call/link.h"
#include "loop/loop.h"
#include "loop/task.h"

namespace shunt::loop {
class Event;
}

namespace shunt::call {

/// Threads: one loop's. Lifetime: that of the link; every call has left before it is destroyed (end_all).
class OpenCalls {
 public:
  /// A call's place among them.
  class Node {
   public:
    Node() = default;
    Node(const Node&) = delete;
    Node& operator=(const Node&) = delete;
    /// The link goes, or its drain ran out of time: the call ends with `status`, its callee hears `reason`. Must leave.
    virtual void end_open(Status status, Cancel reason) = 0;
    [[nodiscard]] bool is_open() const { return calls_ != nullptr; }
    /// Leaves, if it has not; the last to leave wakes who drains.
    void leave() {
      if (calls_ != nullptr) calls_->remove(*this);
    }

   protected:
    ~Node() { leave(); }

   private:
    friend class OpenCalls;
    OpenCalls* calls_ = nullptr;
    Node* next_ = nullptr;
    Node* previous_ = nullptr;
  };

  explicit OpenCalls(loop::Loop& loop) : loop_(loop) {}
  OpenCalls(const OpenCalls&) = delete;
  OpenCalls& operator=(const OpenCalls&) = delete;

  void add(Node& call) {
    call.calls_ = this;
    call.previous_ = nullptr;
    call.next_ = first_;
    if (first_ != nullptr) first_->previous_ = &call;
    first_ = &call;
    stats.calls_open++;
  }
  /// Ends them all, the youngest first, those too that begin meanwhile.
  void end_all(const Status& status, Cancel reason) {
    while (first_ != nullptr) first_->end_open(status, reason);
  }
  /// What Link::drain() does: no new ones, wait for the open ones, cancel what is left at the deadline.
  loop::Task<void> drain(Deadline deadline);

  LinkStats stats;
  bool draining = false;  ///< Takes no new calls.

 private:
  struct Drain;
  void remove(Node& call) {
    (call.previous_ != nullptr ? call.previous_->next_ : first_) = call.next_;
    if (call.next_ != nullptr) call.next_->previous_ = call.previous_;
    call.calls_ = nullptr;
    if (--stats.calls_open == 0 && drains_ != nullptr) wake_drains();
  }
  void wake_drains();

  loop::Loop& loop_;
  Node* first_ = nullptr;
  Drain* drains_ = nullptr;  // Who waits until no call is open.
};

}  // namespace shunt::call
