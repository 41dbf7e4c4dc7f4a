#pragma once
// Which commit this binary was built from. The .cpp is written by build_info.cmake at build time.

namespace shunt::cli {

/// Abbreviated hash, with "-dirty" when the tree had changes; "unknown" outside of git.
const char* build_commit();

}  // namespace shunt::cli
