#pragma once
// Files and folders: small ones read and written whole, locks, where state is kept.

#include <sys/types.h>

#include <cstddef>
#include <string>
#include <string_view>

#include "base/result.h"
#include "os/fd.h"

namespace shunt::os {

/// The whole file. Errors: not_found, permission_denied, resource_exhausted when it is longer than `limit`.
Result<std::string> read_file(const std::string& path, std::size_t limit = 16u << 20);
/// Replaces the file: a reader sees the old or the new one, whole. Flushed to the disk before it returns.
Result<void> write_file(const std::string& path, std::string_view bytes, mode_t mode = 0644);
/// Makes the folder and its parents; one that exists is left as it is.
Result<void> make_folders(const std::string& path, mode_t mode = 0755);
bool is_file(const std::string& path);
bool is_folder(const std::string& path);
/// Without links, dots and double slashes. Errors: not_found.
Result<std::string> real_path(const std::string& path);

/// Holds an exclusive lock until the Fd is closed; the file tells the holder's pid.
/// Errors: already_exists S5002 when another process holds it, naming it.
Result<Fd> lock_file(const std::string& path);

/// Where state is kept unless --data says otherwise: $STATE_DIRECTORY (systemd), else $XDG_STATE_HOME/shunt, else
/// ~/.local/state/shunt, else /tmp/shunt-UID.
std::string default_state_folder();

}  // namespace shunt::os
