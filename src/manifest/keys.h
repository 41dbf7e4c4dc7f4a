#pragma once
// Every key that a manifest may have, and where. The one list: the checker, the messages and the test of
// spec/manifest.schema.json read it.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace shunt::manifest {

/// The objects of a manifest.
enum class Where : std::uint8_t { app, service, engine, command, http, cors, placement };

struct Key {
  std::string_view name;
  std::string_view not_built;  ///< What it will do, for a key whose feature is not built yet; else empty.
};

/// Sorted by name. The top level of an app has `app`'s, and `service`'s too when it has no `services`.
std::span<const Key> keys_of(Where where);
/// How people call being there: "at the top level", "in engine".
std::string_view where_name(Where where);

/// Values of `type` that run today, and those that will.
std::span<const std::string_view> types();
std::span<const std::string_view> types_not_built();

/// Names that an app or a service can't have: the first segments of paths of Shunt's own, and its modules.
std::span<const std::string_view> reserved_paths();
std::span<const std::string_view> reserved_names();

/// The names of the keys whose feature is built, sorted.
std::vector<std::string_view> built_keys(Where where);
/// "a, b, c".
std::string list_of(std::span<const std::string_view> names);

}  // namespace shunt::manifest
