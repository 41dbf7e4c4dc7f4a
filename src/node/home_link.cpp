#include "node/home_link.h"

#include <fmt/format.h>

#include "link/local/local_link.h"
#include "link/remote_like/as_if_remote.h"
#include "node/run.h"

namespace shunt::node {

namespace {

bool is_remote_like(const Loops& loops, const std::string& name) {
  return loops.as_if_remote().has_value() && name != "manager";
}

}  // namespace

Result<void> check_as_if_remote(const std::string& text) {
  SHUNT_CHECK(link::parse_as_if_remote(text));
  return {};
}

Own<call::Link> make_home_link(const Loops& loops, loop::Loop& loop, call::Service& service, const std::string& name) {
  if (!is_remote_like(loops, name)) return link::LocalLink::create(loop, service);
  link::AsIfRemote like = *loops.as_if_remote();
  // Each service has faults of its own, the same in each run.
  for (const char letter : name) like.seed = like.seed * 31 + static_cast<unsigned char>(letter);
  return link::make_as_if_remote(loop, service, "service " + name, like);
}

std::string why_home(const Loops& loops, const std::string& name) {
  if (!is_remote_like(loops, name)) return {};
  return fmt::format("in the node's own process, as if remote: {}", link::describe(*loops.as_if_remote()));
}

}  // namespace shunt::node
