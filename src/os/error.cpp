#include "os/error.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstring>

namespace shunt::os {

Code code_of_errno(int error) {
  switch (error) {
    case EACCES:
    case EPERM:
      return Code::permission_denied;
    case ENOENT:
    case ENOTDIR:
    case ESRCH:
      return Code::not_found;
    case EEXIST:
    case EADDRINUSE:
      return Code::already_exists;
    case EMFILE:
    case ENFILE:
    case ENOMEM:
    case ENOBUFS:
    case ENOSPC:
    case EDQUOT:
    case ETOOMANYREFS:
    case EMSGSIZE:
      return Code::resource_exhausted;
    case EINVAL:
    case ENAMETOOLONG:
    case EISDIR:
    case ENOEXEC:
      return Code::invalid_argument;
    case ECONNREFUSED:
    case ECONNRESET:
    case EPIPE:
    case ENETUNREACH:
    case EHOSTUNREACH:
      return Code::unavailable;
    case ETIMEDOUT:
      return Code::deadline_exceeded;
    default:
      return Code::internal;
  }
}

Status system_error(std::string_view what, int error) {
  char buffer[128];
  return {code_of_errno(error), fmt::format("{}: {}", what, strerror_r(error, buffer, sizeof buffer))};
}

std::unexpected<Status> system_failure(std::string_view what, int error) {
  return std::unexpected<Status>(system_error(what, error));
}

}  // namespace shunt::os
