#pragma once
// The names and numbers of derived protobuf types, as spec/derived-proto.md says them. They must never change: clients
// have generated code with them.

#include <cstdint>
#include <string>
#include <string_view>

namespace shunt::schema::derived {

/// Field numbers that come from a name begin here; those below are for annotations.
inline constexpr std::uint32_t hashed_number_first = 65536;
inline constexpr std::uint32_t number_max = (1U << 29U) - 1;

/// The number of a field that has no annotation: from its name in JSON, and from nothing else.
std::uint32_t hashed_number(std::string_view json_name);

/// Whether an annotation may give that number: 1 to 2^29-1 without 19000 to 19999, which protobuf keeps for itself.
bool is_field_number(std::uint64_t number);

/// A JSON name, or the name of a service or command, as an identifier: what is not [A-Za-z0-9_] becomes `_`, and `_` goes
/// before a digit that would come first. "get-all" is get_all.
std::string to_identifier(std::string_view name);

/// A name as that of a message: "get_all" and "get-all" are GetAll, "item" is Item, "a_1" is A_1.
std::string to_type_name(std::string_view name);

/// protobuf's own rule for the JSON name of a field that says none: "item_count" is itemCount.
std::string to_camel(std::string_view identifier);

}  // namespace shunt::schema::derived
