#include "cli/app_change.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/json_text.h"
#include "cli/reload.h"
#include "cli/terminal.h"
#include "manifest/manifest.h"
#include "os/fd.h"
#include "os/file.h"

namespace shunt::cli {
namespace {

namespace fs = std::filesystem;

/// The folder is what is locked: no file stays behind. Whoever comes second waits for the first.
Result<os::Fd> lock_folder(const fs::path& folder) {
  os::Fd fd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  while (fd && ::flock(fd.get(), LOCK_EX) != 0) {
    if (errno != EINTR)
      return fail(Code::unavailable, "S5085", fmt::format("{}: {}", folder.string(), std::strerror(errno)));
  }
  if (!fd)
    return fail(Code::failed_precondition, "S5085", fmt::format("{}: {}", folder.string(), std::strerror(errno)));
  return fd;
}

Result<void> write(const fs::path& manifest, const std::string& expected, const std::string& text) {
  SHUNT_TRY(const std::string now, os::read_file(manifest.string(), manifest::file_bytes_max));
  if (now != expected) {
    return fail(
        Code::aborted, "S5085",
        fmt::format("{} was changed by somebody else meanwhile; nothing was written. Do it again.", manifest.string()));
  }
  struct stat info{};
  const mode_t mode = ::stat(manifest.c_str(), &info) == 0 ? info.st_mode & 07777 : 0644;
  return os::write_file(manifest.string(), text, mode);
}

std::string told(const std::vector<manifest::Diagnostic>& diagnostics) {
  std::string list;
  for (const auto& diagnostic : diagnostics) {
    auto one = manifest::to_json(diagnostic);
    while (one.ends_with('\n')) one.pop_back();
    list += (list.empty() ? "" : ",") + one;
  }
  return list;
}

int refuse(const std::vector<manifest::Diagnostic>& diagnostics, bool json) {
  if (json) {
    write_out(fmt::format("{{\"changed\":false,\"diagnostics\":[{}]}}\n", told(diagnostics)));
    return 1;
  }
  const bool colored = Style::for_descriptor(STDERR_FILENO).is_colored();
  for (const auto& diagnostic : diagnostics) {
    write_err(manifest::render(diagnostic, colored ? manifest::Colour::yes : manifest::Colour::no));
  }
  return report(Status(Code::failed_precondition, "S5086", "the manifest would not be right; it was left as it is"));
}

}  // namespace

int change_manifest(const fs::path& manifest, const NodeApps& running, const NodeAddress& node, bool json,
                    const Edit& edit) {
  const auto lock = lock_folder(manifest.parent_path());
  if (!lock) return report(lock.error());
  const auto before = os::read_file(manifest.string(), manifest::file_bytes_max);
  if (!before) return report(before.error());
  const auto after = edit(*before);
  if (!after) return report(after.error());
  const auto checked = manifest::load_text(manifest.string(), *after, manifest.parent_path());
  if (!checked.app) return refuse(checked.diagnostics, json);
  if (*after == *before) {
    write_out(json ? "{\"changed\":false,\"diagnostics\":[]}\n" : "nothing has changed\n");
    return 0;
  }
  if (auto written = write(manifest, *before, *after); !written) return report(written.error());
  if (!running.runs(manifest)) {
    write_out(json ? fmt::format("{{\"changed\":true,\"manifest\":{},\"diagnostics\":[{}]}}\n",
                                 quote_json(manifest.string()), told(checked.diagnostics))
                   : fmt::format("{}: changed; no node runs it\n", printable(manifest.string())));
    return 0;
  }
  const auto answer = ask_to_reload(node);
  if (answer && answer->applied) {
    if (json) {
      write_out(fmt::format("{{\"changed\":true,\"manifest\":{},\"reload\":{}}}\n", quote_json(manifest.string()),
                            answer->json));
    } else {
      print(*answer);
    }
    return 0;
  }
  // Both or neither.
  const auto back = write(manifest, *after, *before);
  if (json && answer) {
    write_out(fmt::format("{{\"changed\":{},\"manifest\":{},\"reload\":{}}}\n", back ? "false" : "true",
                          quote_json(manifest.string()), answer->json));
  } else if (answer) {
    print(*answer);
  }
  if (!back) return report(back.error());
  if (!answer) return report(answer.error());
  return report(Status(Code::failed_precondition, "S5086", "the node refused it; the manifest was put back"));
}

}  // namespace shunt::cli
