#include "node/peers/peer_door.h"

#include <ctime>
#include <utility>

namespace shunt::node {

void PeerDoor::begin(call::IncomingHandle call, const call::Open& open, call::Opening opening) {
  if (open.service == directory_service) {
    directory_forwarder_.begin(std::move(call), open, std::move(opening));
    return;
  }
  const call::Principal* who = open.principal;
  const bool is_operator = who != nullptr && who->kind == call::PrincipalKind::operator_;
  if (who == nullptr || (!is_operator && who->user.empty() && who->token.empty())) {
    forwarder_.begin(std::move(call), open, std::move(opening));
    return;
  }
  call::Principal principal = *who;
  // Whoever may call everything there may do so here, as that node: not stop this one, nor what else asks for its operator.
  if (is_operator) principal.kind = call::PrincipalKind::node;
  principal.token = principal.user.empty() ? std::string() : mint_.of(principal.user, ::time(nullptr));
  call::Open told_as = open;
  told_as.principal = &principal;
  forwarder_.begin(std::move(call), told_as, std::move(opening));
}

}  // namespace shunt::node
