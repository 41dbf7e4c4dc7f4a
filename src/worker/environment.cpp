#include "worker/environment.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <string_view>

namespace shunt::worker {

namespace {

constexpr std::size_t links_max = 256;

std::string take_variable(const char* name) {
  const char* value = std::getenv(name);
  std::string text = value == nullptr ? "" : value;
  unsetenv(name);
  return text;
}

Result<int> read_descriptor(std::string_view text, std::string_view variable) {
  int descriptor = -1;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), descriptor);
  if (error != std::errc() || end != text.data() + text.size() || descriptor < 0) {
    return fail(
        Code::failed_precondition, "S3060",
        fmt::format("{}: \"{}\" is not a descriptor's number; a node starts workers with a list such as \"3,4\"",
                    variable, text));
  }
  return descriptor;
}

Result<void> prepare_socket(int descriptor, int wanted_type, std::string_view variable) {
  int type = 0;
  socklen_t size = sizeof type;
  if (getsockopt(descriptor, SOL_SOCKET, SO_TYPE, &type, &size) != 0) {
    return fail(Code::failed_precondition, "S3060",
                fmt::format("{}: descriptor {} is not a socket ({}); was it closed before the service started?",
                            variable, descriptor, std::strerror(errno)));
  }
  if (type != wanted_type) {
    return fail(Code::failed_precondition, "S3060",
                fmt::format("{}: descriptor {} is a socket of the wrong type; it was not made by a node", variable,
                            descriptor));
  }
  fcntl(descriptor, F_SETFD, FD_CLOEXEC);
  fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) | O_NONBLOCK);
  return {};
}

}  // namespace

bool is_worker_environment() { return std::getenv("SHUNT_LINKS") != nullptr; }

Result<Environment> take_environment() {
  if (!is_worker_environment()) {
    return fail(Code::failed_precondition, "S3060",
                "this process was not started by a node: SHUNT_LINKS is not set; start the service with `shunt run`");
  }
  std::string links = take_variable("SHUNT_LINKS");
  std::string control = take_variable("SHUNT_CONTROL");
  std::string broker = take_variable("SHUNT_BROKER");
  Environment environment;
  environment.service = take_variable("SHUNT_SERVICE");

  for (std::string_view rest = links; !rest.empty();) {
    auto comma = rest.find(',');
    SHUNT_TRY(int descriptor, read_descriptor(rest.substr(0, comma), "SHUNT_LINKS"));
    SHUNT_CHECK(prepare_socket(descriptor, SOCK_STREAM, "SHUNT_LINKS"));
    if (std::ranges::any_of(environment.links, [&](auto& link) { return link.get() == descriptor; })) {
      return fail(Code::failed_precondition, "S3060", fmt::format("SHUNT_LINKS names descriptor {} twice", descriptor));
    }
    environment.links.emplace_back(descriptor);
    rest = comma == std::string_view::npos ? std::string_view() : rest.substr(comma + 1);
    if (environment.links.size() > links_max) {
      return fail(Code::failed_precondition, "S3060", fmt::format("SHUNT_LINKS: more than {} links", links_max));
    }
  }
  if (environment.links.empty()) {
    return fail(Code::failed_precondition, "S3060",
                "SHUNT_LINKS is empty; a node starts workers with one link at least");
  }
  if (!control.empty()) {
    SHUNT_TRY(int descriptor, read_descriptor(control, "SHUNT_CONTROL"));
    SHUNT_CHECK(prepare_socket(descriptor, SOCK_SEQPACKET, "SHUNT_CONTROL"));
    environment.control = os::Fd(descriptor);
  }
  if (!broker.empty()) {
    SHUNT_TRY(int descriptor, read_descriptor(broker, "SHUNT_BROKER"));
    SHUNT_CHECK(prepare_socket(descriptor, SOCK_SEQPACKET, "SHUNT_BROKER"));
    environment.broker = os::Fd(descriptor);
  }
  return environment;
}

}  // namespace shunt::worker
