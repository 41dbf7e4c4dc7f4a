#include "directory/directory.h"

#include <algorithm>
#include <tuple>

namespace shunt::directory {

std::string_view state_name(RecordState state) {
  switch (state) {
    case RecordState::starting:
      return "starting";
    case RecordState::ready:
      return "ready";
    case RecordState::draining:
      return "draining";
  }
  return "starting";
}

const Record* Snapshot::find(std::string_view node, std::string_view service) const {
  const auto key = std::tuple(service, node);
  const auto found = std::ranges::lower_bound(records, key, {}, [](const auto& record) {
    return std::tuple(std::string_view(record->service), std::string_view(record->node));
  });
  if (found == records.end() || (*found)->service != service || (*found)->node != node) return nullptr;
  return found->get();
}

}  // namespace shunt::directory
