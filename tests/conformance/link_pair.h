#pragma once
// LinkPair: a link and what it leads to, as the conformance suite sees it. A new kind of link is one more entry of
// link_pair_kinds().

#include <functional>
#include <ostream>
#include <string>
#include <vector>

#include "base/own.h"
#include "call/ends.h"
#include "call/link.h"
#include "loop/loop.h"

namespace shunt::conformance {

class LinkPair {
 public:
  virtual ~LinkPair() = default;

  /// Where callers of link() live, and where the service does. May be the same.
  virtual loop::Loop& caller_loop() = 0;
  virtual loop::Loop& callee_loop() = 0;
  /// Makes the link; its calls go to `service`.
  virtual void start(call::Service& service) = 0;
  /// The caller's link. Between start() and drop().
  virtual call::Link& link() = 0;
  /// Lets both loops go on; where nothing is left to do at this time, lets time go on. False: nothing will ever happen.
  virtual bool turn() = 0;
  /// The callee's side vanishes, as a process does. Where both sides are one process: the link is dropped.
  virtual void lose_peer() = 0;
  /// False once lose_peer() has taken link() away too.
  [[nodiscard]] virtual bool has_link() const = 0;
  /// Destroys the caller's link.
  virtual void drop() = 0;
  /// Drains from the callee's side, where there is one.
  virtual call::Link* callee_link() { return nullptr; }
  /// Destroys what is left of the links; the loops stay.
  virtual void stop() = 0;
};

struct LinkPairKind {
  std::string name;
  std::function<Own<LinkPair>(const call::LinkLimits& limits)> make;

  friend void PrintTo(const LinkPairKind& kind, std::ostream* out) { *out << kind.name; }
};

const std::vector<LinkPairKind>& link_pair_kinds();

}  // namespace shunt::conformance
