#include "os/file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdlib>

#include "os/error.h"

namespace shunt::os {

Result<std::string> read_file(const std::string& path, std::size_t limit) {
  Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return system_failure(fmt::format("open {}", path), errno);
  std::string result;
  char chunk[16 << 10];
  while (true) {
    ssize_t got = ::read(fd.get(), chunk, sizeof chunk);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return system_failure(fmt::format("read {}", path), errno);
    if (got == 0) return result;
    if (result.size() + static_cast<std::size_t>(got) > limit) {
      return fail(Code::resource_exhausted, fmt::format("{} is longer than {} bytes", path, limit));
    }
    result.append(chunk, static_cast<std::size_t>(got));
  }
}

namespace {

Result<void> write_all(int fd, std::string_view bytes, const std::string& path) {
  while (!bytes.empty()) {
    ssize_t took = ::write(fd, bytes.data(), bytes.size());
    if (took < 0 && errno == EINTR) continue;
    if (took < 0) return system_failure(fmt::format("write {}", path), errno);
    bytes.remove_prefix(static_cast<std::size_t>(took));
  }
  return {};
}

std::string folder_of(const std::string& path) {
  auto slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

Result<void> fill(const std::string& temporary, std::string_view bytes, mode_t mode) {
  Fd fd(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode));
  if (!fd) return system_failure(fmt::format("make {}", temporary), errno);
  if (::fchmod(fd.get(), mode) != 0) return system_failure(fmt::format("set the mode of {}", temporary), errno);
  SHUNT_CHECK(write_all(fd.get(), bytes, temporary));
  if (::fsync(fd.get()) != 0) return system_failure(fmt::format("flush {}", temporary), errno);
  return {};
}

}  // namespace

Result<void> write_file(const std::string& path, std::string_view bytes, mode_t mode) {
  std::string temporary = fmt::format("{}.{}.tmp", path, ::getpid());
  ::unlink(temporary.c_str());
  auto filled = fill(temporary, bytes, mode);
  if (!filled) {
    ::unlink(temporary.c_str());
    return filled;
  }
  if (::rename(temporary.c_str(), path.c_str()) != 0) {
    int error = errno;
    ::unlink(temporary.c_str());
    return system_failure(fmt::format("replace {}", path), error);
  }
  Fd folder(::open(folder_of(path).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (folder) ::fsync(folder.get());
  return {};
}

Result<void> make_folders(const std::string& path, mode_t mode) {
  for (std::size_t end = path.find('/', 1);; end = path.find('/', end + 1)) {
    std::string part = path.substr(0, end);
    if (::mkdir(part.c_str(), mode) != 0 && errno != EEXIST) {
      int error = errno;
      // A parent that can't be written may exist all the same (EROFS, EACCES).
      if (!is_folder(part)) return system_failure(fmt::format("make the folder {}", part), error);
    }
    if (end == std::string::npos) break;
  }
  if (!is_folder(path)) return fail(Code::already_exists, fmt::format("{} stands there and is not a folder", path));
  return {};
}

bool is_file(const std::string& path) {
  struct stat found{};
  return ::stat(path.c_str(), &found) == 0 && S_ISREG(found.st_mode);
}

bool is_folder(const std::string& path) {
  struct stat found{};
  return ::stat(path.c_str(), &found) == 0 && S_ISDIR(found.st_mode);
}

Result<std::string> real_path(const std::string& path) {
  char buffer[PATH_MAX];
  if (::realpath(path.c_str(), buffer) == nullptr) return system_failure(path, errno);
  return std::string(buffer);
}

Result<Fd> lock_file(const std::string& path) {
  Fd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!fd) return system_failure(fmt::format("open the lock {}", path), errno);
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return system_failure(fmt::format("lock {}", path), errno);
    auto holder = read_file(path, 32);
    std::string pid = holder ? holder->substr(0, holder->find('\n')) : std::string();
    return fail(Code::already_exists, "S5002",
                fmt::format("{} is locked by another node{}; stop that one (shunt stop --data {}), or give this one a "
                            "folder of its own: --data DIR",
                            folder_of(path), pid.empty() ? "" : fmt::format(" (pid {})", pid), folder_of(path)));
  }
  if (::ftruncate(fd.get(), 0) != 0) return system_failure(fmt::format("write {}", path), errno);
  SHUNT_CHECK(write_all(fd.get(), fmt::format("{}\n", ::getpid()), path));
  return fd;
}

std::string default_state_folder() {
  auto variable = [](const char* name) -> std::string {
    const char* value = std::getenv(name);
    return value != nullptr && value[0] == '/' ? value : "";
  };
  // systemd may list several, with colons between them: the first is ours.
  if (std::string given = variable("STATE_DIRECTORY"); !given.empty()) return given.substr(0, given.find(':'));
  if (std::string given = variable("XDG_STATE_HOME"); !given.empty()) return given + "/shunt";
  if (std::string home = variable("HOME"); !home.empty()) return home + "/.local/state/shunt";
  return fmt::format("/tmp/shunt-{}", ::getuid());
}

}  // namespace shunt::os
