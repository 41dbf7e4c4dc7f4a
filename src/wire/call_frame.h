#pragma once
// The frames of version 1.2 that make the commonest call cheap: PATH names once what an OPEN would say each time, CALL opens by
// that number and brings the first message along. Inline, because every call passes here. spec/wire.md has them too.

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "wire/frame.h"

namespace shunt::wire {

inline constexpr std::uint16_t paths_max = 256;       ///< Numbers of PATH are 1 to this.
inline constexpr std::size_t path_bytes_max = 1024;   ///< Of the names of one path together.
inline constexpr std::size_t call_fields_bytes = 16;  ///< What each CALL has before its extra part.
inline constexpr std::uint16_t minor_with_paths = 2;  ///< The first minor version that knows PATH, CALL, SIZE and `ok`.

/// What a path's number stands for.
struct Path {
  std::string service;
  std::string command;
  std::string principal_service;
  std::uint8_t principal_kind = 0;
  bool given = false;

  [[nodiscard]] bool is(const OpenFrame& open) const {
    return given && principal_kind == open.principal_kind && command == open.command && service == open.service &&
           principal_service == open.principal_service;
  }
};
/// Which of the numbers an opening's names get: any function would do, a good one seldom gives two paths the same.
std::uint16_t path_number(const OpenFrame& open);

void encode_path(const OpenFrame& open, std::string& out);
/// Errors: data_loss, also when the names are longer than path_bytes_max.
Result<Path> decode_path(std::string_view payload);

/// The fields of a CALL that it always has.
struct CallFields {
  std::int64_t deadline_ns = INT64_MAX;
  std::uint16_t path = 0;
  std::uint8_t hops = 0;
  std::uint8_t encoding = 0;
  std::uint32_t extra_bytes = 0;  ///< Of what only some calls have: grant, user, token, metadata.
};
static_assert(sizeof(CallFields) == call_fields_bytes);

/// Whether the opening has something that needs the extra part.
inline bool has_extra(const OpenFrame& open) {
  return open.grant != 0 || !open.principal_user.empty() || !open.token.empty() || !open.metadata.empty();
}
void encode_extra(const OpenFrame& open, std::string& out);
/// Fills grant, user, token and metadata of `open`; trailing bytes belong to a later version. Errors: data_loss.
Result<void> decode_extra(std::string_view extra, OpenFrame& open);

/// A frame's header, written at `at`.
inline void write_header(char* at, std::size_t length, FrameType type, std::uint8_t flags, CallId call) {
  std::uint64_t first = static_cast<std::uint32_t>(length) | std::uint64_t{static_cast<std::uint8_t>(type)} << 32 |
                        std::uint64_t{flags} << 40;
  std::memcpy(at, &first, 8);
  std::memcpy(at + 8, &call, 8);
}

/// Reads a header. Each byte is read once, so that a peer which shares the memory can't change it between check and use.
/// False: header_error() says what is wrong.
inline bool read_header(const char* at, FrameHeader& header) {
  std::uint64_t first = 0;
  std::memcpy(&first, at, 8);
  std::memcpy(&header.call, at + 8, 8);
  // From here on the compiler may not look at the memory again.
  asm volatile("" : "+r"(first), "+r"(header.call) : : "memory");
  header.length = static_cast<std::uint32_t>(first);
  header.type = static_cast<FrameType>(first >> 32);
  header.flags = static_cast<std::uint8_t>(first >> 40);
  return first >> 48 == 0 && header.length <= payload_bytes_max;
}

std::unexpected<Status> header_error(const FrameHeader& header);

}  // namespace shunt::wire
