#pragma once
// What a client accepts (RFC 9110, section 12.5.1), held against what there is.

#include <cstddef>
#include <optional>
#include <span>
#include <string_view>

namespace shunt::net {

/// Which of `offers` (media types in lower case without parameters, best first) Accept wants most: the highest quality of
/// the most specific range that names each. An empty Accept takes the first. Nothing when none is acceptable.
std::optional<std::size_t> choose_media_type(std::string_view accept, std::span<const std::string_view> offers);

}  // namespace shunt::net
