#include "call/policy.h"

#include <fmt/format.h>

namespace shunt::call {

namespace {

Duration rounded(Duration duration) {
  return duration < std::chrono::milliseconds(10) ? std::chrono::floor<std::chrono::microseconds>(duration)
                                                  : std::chrono::floor<std::chrono::milliseconds>(duration);
}

}  // namespace

Status deadline_status(const ServiceDefinition& service, std::string_view command, const TimeSpent& spent) {
  return {Code::deadline_exceeded, "S1004",
          fmt::format("call {}.{}: waited {} for a worker, ran {}, deadline {}", service.full_name, command,
                      format_duration(rounded(spent.waited)), format_duration(rounded(spent.ran)),
                      format_duration(rounded(spent.allowed + std::chrono::microseconds(500))))};
}

Status too_large(std::size_t size, std::uint64_t limit) {
  return {Code::resource_exhausted, "S1007",
          fmt::format("a message of {} bytes is larger than the limit of {}; send it as a stream of smaller ones", size,
                      limit)};
}

}  // namespace shunt::call
