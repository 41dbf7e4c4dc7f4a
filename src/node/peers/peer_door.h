#pragma once
// PeerDoor: where calls from other nodes come in, on one loop. What a peer says of who is calling is believed, since it is a
// node of ours; but nobody is the operator here because he is so there, and no call goes on to a third node: the routing
// behind the door has instances of this node only.

#include <string_view>

#include "base/own.h"
#include "call/forwarder.h"
#include "call/link.h"
#include "call/router.h"
#include "node/link_caller.h"
#include "node/loops.h"
#include "node/user_tokens.h"

namespace shunt::node {

/// Nodes tell each other what they serve by calling this. Not in any routing table: only peers reach it.
inline constexpr std::string_view directory_service = "directory";

/// Threads: its loop's.
class PeerDoor final : public call::Service {
 public:
  /// `directory` leads to the directory's service; outlived by nobody here.
  /// `tokens`: users whom a peer names get a token of this house, since its own means nothing here.
  PeerDoor(RoutingLoop& routing, Own<call::Link> directory, const UserTokens& tokens)
      : mint_(tokens),
        router_(routing.loop, routing.index, routing.random),
        forwarder_(router_),
        directory_(std::move(directory)),
        directory_caller_(*directory_),
        directory_forwarder_(directory_caller_) {}

  void begin(call::IncomingHandle call, const call::Open& open, call::Opening opening) override;
  /// On its loop.
  void install(std::shared_ptr<const call::Routing> routing) { router_.install(std::move(routing)); }

 private:
  TokenMint mint_;
  call::Router router_;
  call::Forwarder forwarder_;
  Own<call::Link> directory_;
  LinkCaller directory_caller_;
  call::Forwarder directory_forwarder_;
};

}  // namespace shunt::node
