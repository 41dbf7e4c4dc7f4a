#include "link/mux_values.h"

#include <fmt/format.h>

#include <string>
#include <utility>

namespace shunt::link {

using call::Cancel;
using call::Last;
using call::Message;
using call::Metadata;
using call::Sent;

Status too_large(std::size_t size, std::uint64_t limit) {
  return {
      Code::resource_exhausted, "S1007",
      fmt::format("a message of {} bytes is larger than the link's limit of {}; send it as a stream of smaller ones",
                  size, limit)};
}

Status metadata_too_large(std::size_t cost, std::uint64_t limit) {
  return {Code::resource_exhausted, "S1021",
          fmt::format("the metadata costs {} bytes; the link's limit is {}", cost, limit)};
}

Result<void> view(const Metadata& metadata, std::size_t limit, wire::MetadataView& views) {
  views.clear();
  if (metadata.empty()) return {};
  if (auto cost = metadata.cost(); cost > limit) return std::unexpected(metadata_too_large(cost, limit));
  for (const auto& [key, value] : metadata) {
    if (!wire::is_legal_metadata(key, value)) {
      return fail(
          Code::invalid_argument, "S1024",
          fmt::format("metadata '{}': keys are of [0-9a-z_.-], values printable ASCII unless the key ends in -bin",
                      key));
    }
    views.emplace_back(key, value);
  }
  return {};
}

Metadata owned(const wire::MetadataView& views) {
  Metadata metadata;
  // The mux has checked keys and values.
  for (const auto& [key, value] : views) metadata.add_unchecked(std::string(key), std::string(value));
  return metadata;
}

Status status_of(const wire::StatusFrame& frame) {
  if (frame.code == Code::ok) return {};
  auto status = Status(frame.code, frame.id, std::string(frame.message)).with_retry(frame.retry);
  if (!frame.details.empty()) status.with_details(std::string(frame.details));
  return status;
}

Sent sent_of(wire::MuxSent sent) {
  switch (sent) {
    case wire::MuxSent::more:
      return Sent::more;
    case wire::MuxSent::held:
      return Sent::held;
    case wire::MuxSent::ended:
      break;
  }
  return Sent::ended;
}

Cancel cancel_of(std::uint8_t reason) {
  return reason >= 1 && reason <= static_cast<std::uint8_t>(Cancel::protocol) ? static_cast<Cancel>(reason)
                                                                              : Cancel::caller;
}

}  // namespace shunt::link
