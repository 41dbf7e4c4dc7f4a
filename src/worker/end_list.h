#pragma once
// The list of a link's, or a host's, ends of calls that are out with somebody.

namespace shunt::worker {

/// An end of a call that is out with somebody, on the list of its link (or, after the link, of the host).
struct End {
  End* next = this;
  End* previous = this;

  End() = default;
  End(const End&) = delete;
  End& operator=(const End&) = delete;
  /// The link is gone or going: lets go of its end of the call.
  virtual void let_go() {}
  /// The host is gone: only release() is left.
  virtual void forget_host() {}

  void join(End& list) {
    next = &list;
    previous = list.previous;
    previous->next = this;
    list.previous = this;
  }
  void leave_list() {
    next->previous = previous;
    previous->next = next;
    next = previous = this;
  }

 protected:
  ~End() { leave_list(); }
};

struct EndList final : End {
  [[nodiscard]] bool empty() const { return next == this; }
};

}  // namespace shunt::worker
