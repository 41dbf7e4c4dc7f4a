#pragma once
// Files that .proto files of services often import and that no distribution installs: google/rpc and google/api, written
// down here by their names and numbers.

#include <optional>
#include <string_view>

namespace shunt::schema {

/// The text of "google/rpc/status.proto" and its kin; nothing for other names.
std::optional<std::string_view> known_proto(std::string_view name);

}  // namespace shunt::schema
