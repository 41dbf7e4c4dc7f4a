#pragma once
// LinkCaller: a Caller whose calls all go over one link, to somebody who routes them.

#include "call/caller.h"
#include "call/link.h"

namespace shunt::node {

class LinkCaller final : public call::Caller {
 public:
  explicit LinkCaller(call::Link& link) : link_(link) {}
  call::OutgoingHandle start(const call::CallStart& start, call::CallerEvents& events, call::Opening opening) override {
    call::Open open{.service = start.service,
                    .command = start.command,
                    .metadata = start.metadata,
                    .deadline = start.deadline,
                    .principal = start.principal,
                    .hops = start.hops};
    return link_.open(open, events, std::move(opening));
  }

 private:
  call::Link& link_;
};

}  // namespace shunt::node
