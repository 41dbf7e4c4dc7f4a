#pragma once
// The frames of a link, as values and as bytes. spec/wire.md is the specification; this file and frame.cpp implement it.
// Pure: no I/O, no clock. What a peer sends is never believed: decoding answers data_loss, never asserts.
//
// Each frame is a 16-byte header (little endian: u32 payload length, u8 type, u8 flags, u16 zero, u64 call) and a payload.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "base/status.h"

namespace shunt::wire {

inline constexpr std::size_t header_bytes = 16;
inline constexpr std::size_t fragment_bytes_max = 16 << 10;  ///< Of a MESSAGE frame's payload on a byte carrier.
inline constexpr std::uint32_t payload_bytes_max = 1 << 20;  ///< Of any frame. A longer one closes the link.
inline constexpr std::uint32_t magic = 0x544e4853;           ///< "SHNT", little endian, first in HELLO.
inline constexpr std::uint16_t version_major = 1;
inline constexpr std::uint16_t version_minor = 2;
/// What each message costs of a call's credit beyond its bytes.
inline constexpr std::size_t message_overhead = 64;

enum class FrameType : std::uint8_t {
  hello = 1,       ///< First from each side.
  open = 2,        ///< Begins a call. Ids: odd from the side that dialled (a worker's node), even from the other.
  metadata = 3,    ///< Callee: initial metadata.
  message = 4,     ///< A message or a fragment of one.
  half_close = 5,  ///< Caller: no more messages.
  status = 6,      ///< Callee: the end, with trailers.
  cancel = 7,      ///< Caller: give up, with a reason.
  credit = 8,      ///< Either: bytes that may be sent beyond the initial credit.
  refused = 9,     ///< Callee: the OPEN was never started; safe to move.
  ping = 10,       ///< call is an opaque number, echoed by PONG.
  pong = 11,
  goaway = 12,  ///< No new calls will be taken; open ones go on.
  wait = 13,    ///< Asks for a slot: call is the ticket.
  grant = 14,   ///< Gives a reserved slot: call is the ticket; or says why not.
  load = 15,    ///< A hint: how many calls run and how many could.
  path = 16,    ///< Gives a number to the names of an opening. call is the number. Since 1.2.
  call = 17,    ///< OPEN by such a number, with the first message inside. Since 1.2.
  size = 18,    ///< A hint, with skip: how large the message is whose fragments follow. Since 1.2.
};

namespace flag {
inline constexpr std::uint8_t skip = 0x80;    ///< A receiver that does not know the type passes the frame over.
inline constexpr std::uint8_t more = 0x01;    ///< MESSAGE: another fragment of this message follows.
inline constexpr std::uint8_t last = 0x02;    ///< MESSAGE, OPEN: the caller half-closes with this frame.
inline constexpr std::uint8_t final_ = 0x04;  ///< MESSAGE of a callee: its last, STATUS follows. Needs no credit.
inline constexpr std::uint8_t ok = 0x08;    ///< MESSAGE with final_: no STATUS follows, the call ends as ok. Since 1.2.
inline constexpr std::uint8_t with = 0x08;  ///< CALL: what follows its fields is the first message.
}  // namespace flag

using CallId = std::uint64_t;

struct FrameHeader {
  std::uint32_t length = 0;
  FrameType type{};
  std::uint8_t flags = 0;
  CallId call = 0;
};
void encode_header(const FrameHeader& header, std::span<char, header_bytes> out);
/// Errors: data_loss when the reserved field is not zero or the length is beyond payload_bytes_max.
Result<FrameHeader> decode_header(std::span<const char, header_bytes> in);

/// What each side says first. Limits that apply are the smaller of both sides'.
struct Hello {
  std::uint16_t version_major = wire::version_major;
  std::uint16_t version_minor = wire::version_minor;
  std::string role;      ///< "node" or "worker".
  std::string name;      ///< The node's name, or the service's full name.
  std::string software;  ///< "shunt 0.1.0", "python 0.1.0".
  std::string clock;     ///< Boot id and time namespace; equal on both sides: deadlines are absolute monotonic.
  std::uint64_t message_bytes_max = 16ull << 20;
  std::uint32_t calls_max = 65536;
  std::uint32_t metadata_bytes_max = 64u << 10;
  std::uint32_t stream_credit = 256u << 10;
  /// Worker: calls at once before it refuses. Node: what the manifest says. 0: none said.
  std::uint32_t concurrency = 0;
  std::uint64_t pid = 0;
  std::string definition;  ///< Worker: the service as JSON; may be empty.
};
std::string encode_hello(const Hello& hello);
/// Unknown fields are passed over. Errors: data_loss; failed_precondition for another major version, naming both.
Result<Hello> decode_hello(std::string_view payload);

using MetadataView = std::vector<std::pair<std::string_view, std::string_view>>;

/// OPEN's payload. Views into the payload when decoded.
struct OpenFrame {
  std::string_view service = {};
  std::string_view command = {};
  /// As on the wire: absolute or what is left, as HELLO agreed. INT64_MAX: none.
  std::int64_t deadline_ns = INT64_MAX;
  std::uint64_t grant = 0;
  std::uint8_t hops = 0;
  std::uint8_t encoding = 0;  ///< Of the call's messages: 0 JSON or bytes, 1 protobuf. Since version 1.1.
  std::uint8_t principal_kind = 0;
  std::string_view principal_service = {};
  std::string_view principal_user = {};
  std::string_view token = {};
  MetadataView metadata = {};
  /// Came by CALL: the number of its names. They are the same for each call of that number until PATH says otherwise. 0: none.
  std::uint16_t path = 0;
};
void encode_open(const OpenFrame& open, std::string& out);
/// Trailing bytes that this version does not know are passed over. Errors: data_loss.
Result<OpenFrame> decode_open(std::string_view payload);

struct StatusFrame {
  Code code = Code::ok;
  Retry retry = Retry::no;
  std::string_view id = {};
  std::string_view message = {};
  std::string_view details = {};
  MetadataView trailers = {};
};
void encode_status(const StatusFrame& status, std::string& out);
Result<StatusFrame> decode_status(std::string_view payload);

void encode_metadata(const MetadataView& metadata, std::string& out);
/// Errors: data_loss for a broken form and for an entry that is not legal.
Result<MetadataView> decode_metadata(std::string_view payload);
/// Keys are [0-9a-z_.-]+; a value is printable ASCII, or any bytes where the key ends in -bin.
bool is_legal_metadata(std::string_view key, std::string_view value);
/// What metadata counts against metadata_bytes_max: keys, values and 32 for each entry.
std::size_t metadata_cost(const MetadataView& metadata);

struct WaitFrame {
  std::string_view service = {};
  std::int64_t deadline_ns = INT64_MAX;
  std::uint8_t priority = 0;
};
void encode_wait(const WaitFrame& wait, std::string& out);
Result<WaitFrame> decode_wait(std::string_view payload);

struct GrantFrame {
  StatusFrame status = {};  ///< ok: a slot is reserved.
  std::uint64_t grant = 0;  ///< The number to OPEN with.
};
void encode_grant(const GrantFrame& grant, std::string& out);
Result<GrantFrame> decode_grant(std::string_view payload);

struct LoadFrame {
  std::uint32_t running = 0;
  std::uint32_t capacity = 0;
};
void encode_load(const LoadFrame& load, std::string& out);
Result<LoadFrame> decode_load(std::string_view payload);

/// Where a frame begins in `out`: appends room for its header. end_frame() fills it in once the payload stands.
std::size_t begin_frame(std::string& out);
void end_frame(std::string& out, std::size_t begin, FrameType type, CallId call, std::uint8_t flags = 0);
/// A whole frame with a ready payload.
void append_frame(std::string& out, FrameType type, CallId call, std::string_view payload, std::uint8_t flags = 0);

}  // namespace shunt::wire
