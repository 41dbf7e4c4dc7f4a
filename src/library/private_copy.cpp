#include "library/private_copy.h"

#include <fcntl.h>
#include <unistd.h>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>

#include "os/fd.h"
#include "os/file.h"

namespace shunt::library {

namespace {

std::atomic<unsigned> copies_made{0};

std::unexpected<Status> failed(const std::string& path, const char* what) {
  return fail(Code::failed_precondition, "S3031", fmt::format("{}: can't be {}: {}", path, what, std::strerror(errno)));
}

/// Copies what is left of one file to another. True where the text names $ORIGIN: the loader puts the library's folder
/// there, to find what it is linked with.
Result<bool> copy_and_look(int from, int to, const std::string& path) {
  constexpr std::size_t kept = 16;  // What is looked for may lie across two pieces.
  std::array<char, 256 * 1024> buffer{};
  std::size_t before = 0;
  bool found = false;
  for (;;) {
    const ssize_t n = ::read(from, buffer.data() + before, buffer.size() - before);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return failed(path, "read");
    if (n == 0) return found;
    const std::string_view piece(buffer.data(), before + static_cast<std::size_t>(n));
    found =
        found || piece.find("$ORIGIN") != std::string_view::npos || piece.find("${ORIGIN}") != std::string_view::npos;
    for (std::string_view left = piece.substr(before); !left.empty();) {
      const ssize_t written = ::write(to, left.data(), left.size());
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) return failed(path, "copied");
      left.remove_prefix(static_cast<std::size_t>(written));
    }
    before = std::min(kept, piece.size());
    std::memmove(buffer.data(), piece.data() + piece.size() - before, before);
  }
}

std::string name_of(const std::string& path) { return path.substr(path.rfind('/') + 1); }

}  // namespace

Result<std::string> path_to_load(const std::string& path, const std::string& folder) {
  const unsigned number = copies_made.fetch_add(1);
  const os::Fd from(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (from.get() < 0) return failed(path, "opened");
  SHUNT_CHECK(os::make_folders(folder, 0700));
  auto copy = fmt::format("{}/{}-{}-{}", folder, ::getpid(), number, name_of(path));
  const os::Fd to(::open(copy.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0700));
  if (to.get() < 0) return failed(copy, "made");
  SHUNT_TRY(const bool has_neighbours, copy_and_look(from.get(), to.get(), path));
  if (!has_neighbours) return copy;
  (void)::unlink(copy.c_str());
  // "/apps/shop/././libprices.so": another name to the loader, which then looks whether it is another file.
  const auto slash = path.rfind('/');
  std::string spelled = slash == std::string::npos ? "." : path.substr(0, slash);
  for (unsigned i = 0; i < number; i++) spelled += "/.";
  return spelled + "/" + name_of(path);
}

}  // namespace shunt::library
