// `shunt describe-module LIBRARY`: loads a library in a process of its own and writes what it says of itself to the
// descriptor that SHUNT_DESCRIBE_FD names. What goes wrong is one line on standard error that begins with its id.

#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <string_view>

#include "library/library.h"
#include "node/run.h"

namespace shunt::node {

namespace {

std::optional<int> answer_descriptor() {
  const char* text = getenv("SHUNT_DESCRIBE_FD");
  int fd = -1;
  if (text == nullptr) return std::nullopt;
  auto [end, error] = std::from_chars(text, text + std::strlen(text), fd);
  if (error != std::errc() || *end != '\0' || fd < 0) return std::nullopt;
  return fd;
}

bool write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    ssize_t n = write(fd, text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    text.remove_prefix(static_cast<std::size_t>(n));
  }
  return true;
}

// The ids that the manifest's reader knows these by: the library's own are about loading, whoever loads.
std::string_view manifest_id(std::string_view id) {
  if (id == "S3032") return "S2060";
  if (id == "S3033") return "S2061";
  if (id == "S3031" || id == "S3030") return "S2065";
  return "S2064";
}

}  // namespace

int describe_main(int argc, char** argv) {
  if (argc < 2) {
    std::fputs("usage: shunt describe-module LIBRARY\n", stderr);
    return 64;
  }
  auto library = library::Library::load(argv[1], [](int, std::string_view text) {
    std::fprintf(stderr, "%.*s\n", static_cast<int>(text.size()), text.data());
  });
  if (!library) {
    auto id = manifest_id(library.error().id());
    auto message = library.error().message();
    std::fprintf(stderr, "%.*s: %.*s\n", static_cast<int>(id.size()), id.data(), static_cast<int>(message.size()),
                 message.data());
    return 1;
  }
  auto fd = answer_descriptor();
  bool written = fd ? write_all(*fd, (*library)->definition()) : write_all(STDOUT_FILENO, (*library)->definition());
  // Destructors of the library are not our business here, and might crash.
  _exit(written ? 0 : 1);
}

}  // namespace shunt::node
