#include "manifest/files.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <vector>

#include "manifest/diagnostic.h"

namespace shunt::manifest {
namespace {
namespace fs = std::filesystem;

constexpr std::size_t beside_max = 8;
constexpr int beside_looked_at_max = 2000;  ///< A folder may hold millions of files.
}  // namespace

fs::path resolve(const fs::path& folder, std::string_view written) {
  constexpr std::string_view scheme = "local://";
  if (written.starts_with(scheme)) written.remove_prefix(scheme.size());
  return (folder / fs::path(written)).lexically_normal();
}

bool is_file(const fs::path& path) {
  std::error_code ignored;
  return fs::is_regular_file(path, ignored);
}

bool is_folder(const fs::path& path) {
  std::error_code ignored;
  return fs::is_directory(path, ignored);
}

std::string beside(const fs::path& path) {
  std::vector<std::string> names;
  std::error_code error;
  int looked_at = 0;
  for (fs::directory_iterator entry(path.parent_path(), error), end; !error && entry != end; entry.increment(error)) {
    if (++looked_at > beside_looked_at_max) break;
    if (entry->path().extension() == path.extension() && is_file(entry->path())) {
      names.push_back(shown(entry->path().filename().native()));
    }
  }
  std::ranges::sort(names);
  std::string out;
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (i > 0) out += ", ";
    if (i == beside_max) return out + "…";
    out += names[i];
  }
  return out;
}

std::optional<ReadError> read_file(const fs::path& path, std::size_t bytes_max, std::string& out) {
  using Why = ReadError::Why;
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (status.type() == fs::file_type::not_found) return ReadError{Why::absent, "does not exist"};
  if (status.type() == fs::file_type::directory) return ReadError{Why::folder, "is a folder"};
  // A FIFO or a device would block, or never end.
  if (status.type() != fs::file_type::regular)
    return ReadError{Why::unreadable, error ? error.message() : "is no regular file"};
  std::ifstream file(path, std::ios::binary);
  if (!file) return ReadError{Why::unreadable, std::strerror(errno)};
  out.resize(bytes_max + 1);
  file.read(out.data(), static_cast<std::streamsize>(out.size()));
  if (file.bad()) return ReadError{Why::unreadable, "it can't be read"};
  out.resize(static_cast<std::size_t>(file.gcount()));
  if (out.size() > bytes_max) return ReadError{Why::too_large, "is too large"};
  out.shrink_to_fit();
  return std::nullopt;
}

}  // namespace shunt::manifest
