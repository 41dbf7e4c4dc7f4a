#pragma once
// The version of this build. CMakeLists.txt says the same; a test compares them.

#include <string_view>

namespace shunt {

inline constexpr std::string_view version = "0.1.0";

}  // namespace shunt
