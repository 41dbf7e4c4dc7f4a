#pragma once
// The ids of what manifests get wrong. Each stands in spec/errors.json and never changes its meaning.

#include <string_view>

namespace shunt::manifest::ids {

// The file.
inline constexpr std::string_view no_manifest = "S2001";
inline constexpr std::string_view unreadable = "S2002";
inline constexpr std::string_view too_large = "S2003";
inline constexpr std::string_view not_utf8 = "S2004";
inline constexpr std::string_view syntax = "S2005";
inline constexpr std::string_view too_deep = "S2006";
inline constexpr std::string_view not_an_object = "S2007";
inline constexpr std::string_view too_many_errors = "S2008";

// Keys and values.
inline constexpr std::string_view unknown_key = "S2010";
inline constexpr std::string_view misplaced_key = "S2011";
inline constexpr std::string_view not_built = "S2012";
inline constexpr std::string_view duplicate_key = "S2013";
inline constexpr std::string_view wrong_type = "S2014";
inline constexpr std::string_view missing_key = "S2015";
inline constexpr std::string_view not_positive = "S2016";
inline constexpr std::string_view out_of_range = "S2017";
inline constexpr std::string_view bad_duration = "S2018";
inline constexpr std::string_view bad_size = "S2019";
inline constexpr std::string_view unknown_type = "S2020";
inline constexpr std::string_view type_not_built = "S2021";
inline constexpr std::string_view unknown_backend = "S2022";
inline constexpr std::string_view backend_of_type = "S2023";
inline constexpr std::string_view unknown_effect = "S2024";
inline constexpr std::string_view unknown_stream = "S2025";
inline constexpr std::string_view unknown_auth = "S2026";
inline constexpr std::string_view key_of_type = "S2027";
inline constexpr std::string_view missing_file = "S2028";
inline constexpr std::string_view bad_name = "S2029";
inline constexpr std::string_view reserved_name = "S2030";
inline constexpr std::string_view bad_uses = "S2032";
inline constexpr std::string_view bad_allow = "S2033";
inline constexpr std::string_view empty_services = "S2034";
inline constexpr std::string_view beside_services = "S2035";
inline constexpr std::string_view pool_min_above_limit = "S2036";
inline constexpr std::string_view bad_string = "S2037";
inline constexpr std::string_view bad_listen = "S2038";
inline constexpr std::string_view too_many = "S2039";
inline constexpr std::string_view bad_cors = "S2048";
inline constexpr std::string_view unknown_distance = "S2090";
inline constexpr std::string_view bad_placement = "S2091";
inline constexpr std::string_view unknown_link = "S2092";

// What stands against what.
inline constexpr std::string_view overlapping_routes = "S2040";
inline constexpr std::string_view duplicate_app = "S2041";
inline constexpr std::string_view duplicate_service = "S2042";
inline constexpr std::string_view no_tokens = "S2043";
inline constexpr std::string_view no_auth = "S2044";
inline constexpr std::string_view unused_tokens = "S2045";
inline constexpr std::string_view unanswered_uses = "S2046";
inline constexpr std::string_view hidden_short_name = "S2047";

// Protobuf.
inline constexpr std::string_view unknown_encoding = "S2070";
inline constexpr std::string_view bad_method = "S2071";

// The manifest against what the code describes.
inline constexpr std::string_view disagreement = "S2050";
inline constexpr std::string_view command_not_in_code = "S2051";
inline constexpr std::string_view bad_description = "S2052";
inline constexpr std::string_view bad_command_in_code = "S2053";
inline constexpr std::string_view no_commands = "S2054";

// What is found out when the code is asked to describe itself; see hosting.h.
inline constexpr std::string_view no_entry_point = "S2060";
inline constexpr std::string_view wrong_abi = "S2061";
inline constexpr std::string_view does_not_import = "S2062";
inline constexpr std::string_view describe_timed_out = "S2063";
inline constexpr std::string_view describe_crashed = "S2064";
inline constexpr std::string_view does_not_load = "S2065";

}  // namespace shunt::manifest::ids
