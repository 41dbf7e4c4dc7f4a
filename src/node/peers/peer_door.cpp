#include "node/peers/peer_door.h"

#include <utility>

namespace shunt::node {

void PeerDoor::begin(call::IncomingHandle call, const call::Open& open, call::Opening opening) {
  if (open.service == directory_service) {
    directory_forwarder_.begin(std::move(call), open, std::move(opening));
    return;
  }
  if (open.principal == nullptr || open.principal->kind != call::PrincipalKind::operator_) {
    forwarder_.begin(std::move(call), open, std::move(opening));
    return;
  }
  // Whoever may call everything there may do so here, as that node: not stop this one, nor what else asks for its operator.
  call::Principal principal = *open.principal;
  principal.kind = call::PrincipalKind::node;
  call::Open as_node = open;
  as_node.principal = &principal;
  forwarder_.begin(std::move(call), as_node, std::move(opening));
}

}  // namespace shunt::node
