#include "pool/wiring.h"

#include <fmt/format.h>

namespace shunt::pool {

std::string WorkerIdentity::name() const { return fmt::format("{}#{}", service, number); }

std::string WorkerIdentity::to_string() const {
  return pid == 0 ? fmt::format("worker {}", name()) : fmt::format("worker {} (pid {})", name(), pid);
}

}  // namespace shunt::pool
