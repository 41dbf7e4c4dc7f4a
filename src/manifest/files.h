#pragma once
// Files that a manifest names: where they are, whether they are there, and what lies beside where they are not.

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

namespace shunt::manifest {

/// `written` as an absolute path: relative ones are the app folder's; the seed's "local://" is taken off. Symlinks stay: a
/// virtualenv's interpreter is one.
std::filesystem::path resolve(const std::filesystem::path& folder, std::string_view written);

bool is_file(const std::filesystem::path& path);
bool is_folder(const std::filesystem::path& path);

/// Files beside `path` with its extension, as "a.py, b.py"; sorted and few.
std::string beside(const std::filesystem::path& path);

/// The whole file, or why not. Errors: not_found, resource_exhausted beyond `bytes_max`, else failed_precondition.
struct ReadError {
  enum class Why { absent, folder, too_large, unreadable } why;
  std::string text;
};
std::optional<ReadError> read_file(const std::filesystem::path& path, std::size_t bytes_max, std::string& out);

}  // namespace shunt::manifest
