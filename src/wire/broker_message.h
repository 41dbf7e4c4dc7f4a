#pragma once
// What a node and its worker say to each other over the broker socket: direct links are offered, asked for and taken back
// there, tokens are asked about, and counts are told. spec/wire.md section 12 is the specification.
//
// One SEQPACKET message each, some with descriptors (SCM_RIGHTS): a header (magic, version, verb, number) and fields, each
// with a key and a length, little endian. Unknown verbs and keys are passed over, so neighbouring versions understand each
// other. Pure: no I/O, no clock; what a peer sends is never believed: decoding answers data_loss, never asserts.

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/status.h"

namespace shunt::wire {

inline constexpr std::size_t broker_bytes_max = 64 << 10;  ///< Of one message.
inline constexpr std::size_t broker_fields_max = 1024;     ///< Of one message.
inline constexpr std::uint8_t broker_version = 1;

enum class BrokerVerb : std::uint16_t {
  // The node says.
  greeting = 1,  ///< Answers hello: what the node knows of the worker's own service.
  attach = 2,    ///< number: the link's. With descriptors: open a direct link of that role.
  revoke = 3,    ///< number: the link's. Close it now; its calls end as the error that is told.
  retire = 4,    ///< number: the link's. Open no calls over it; close it when those that are open have ended.
  policy = 5,    ///< number: the link's. The commands that may be called over it are these from now on.
  answer = 6,    ///< number: of the request.
  // The worker says.
  hello = 64,   ///< First: what it can. May carry its load page.
  want = 65,    ///< number: of the request. A direct way to a service, as the caller names it.
  closed = 66,  ///< number: the link's. It has ended here.
  verify = 67,  ///< number: of the request. Is this token good, and whose is it?
  counts = 68,  ///< What was called directly since the last time.
  done = 69,    ///< It needs no links to that service any more.
};

enum class BrokerKey : std::uint16_t {
  role = 1,
  carrier = 2,
  service = 3,   ///< A full name.
  instance = 4,  ///< "cart#2"
  named = 5,     ///< A service, as the caller wrote it.
  command = 6,   ///< Repeated: BrokerCommand.
  loop = 7,      ///< The index of the node's loop.
  can = 8,       ///< A set of broker_can bits.
  token = 9,
  user = 10,
  lifetime_ms = 11,  ///< How long an answer holds.
  code = 12,
  error_id = 13,
  text = 14,
  count = 15,  ///< Repeated: BrokerCount.
  path = 16,   ///< Repeated: BrokerPath.
  pid = 17,
  retry = 18,
};

/// What a direct link is for the worker that attaches it.
enum class BrokerRole : std::uint8_t {
  node = 1,    ///< A second, shorter way to the node's loop: both call.
  caller = 2,  ///< This worker calls; it dials.
  callee = 3,  ///< This worker is called, by the service that is named, and accepts.
};
/// What its descriptors are.
enum class BrokerCarrier : std::uint8_t {
  stream = 1,  ///< A connected SOCK_STREAM unix socket.
  ring = 2,    ///< Rings in a sealed memfd, the pipe that wakes the other side, the pipe by which we are woken.
};

namespace broker_can {
inline constexpr std::uint64_t ring = 1;    ///< It can attach rings.
inline constexpr std::uint64_t direct = 2;  ///< It can call, and be called by, other workers directly.
}  // namespace broker_can

/// A command as a caller, or the callee, needs it.
struct BrokerCommand {
  enum : std::uint8_t { blocking = 1, json = 2, proto = 4 };  ///< json, proto: callable in that encoding as it is.
  std::string name;
  std::uint64_t timeout_ns = 0;  ///< Default deadline.
  std::uint8_t effect = 0;       ///< As call::Effect.
  std::uint8_t stream = 0;       ///< As call::StreamShape.
  std::uint8_t flags = 0;

  friend bool operator==(const BrokerCommand&, const BrokerCommand&) = default;
};

/// How calls of one command at one instance have ended.
struct BrokerCount {
  std::string service;
  std::string command;
  std::string instance;
  std::uint8_t code = 0;
  std::uint64_t calls = 0;
  std::uint64_t latency_ns_sum = 0;
  std::vector<std::uint64_t> latency;  ///< By bucket of call::latency_bounds.
};

/// What was measured of the path to one instance: call::PathCounts, encoded.
struct BrokerPath {
  std::string service;
  std::string instance;
  std::string counts;
};

class BrokerMessage {
 public:
  BrokerMessage() = default;
  explicit BrokerMessage(BrokerVerb verb, std::uint64_t number = 0) : verb(verb), number(number) {}

  BrokerVerb verb{};
  std::uint64_t number = 0;

  BrokerMessage& add(BrokerKey key, std::string_view text);
  BrokerMessage& add_value(BrokerKey key, std::uint64_t value);
  BrokerMessage& add(const BrokerCommand& command);
  BrokerMessage& add(const BrokerCount& count);
  BrokerMessage& add(const BrokerPath& path);
  BrokerMessage& add_error(const Status& status);

  /// The first of that key; empty or 0 when there is none.
  [[nodiscard]] std::string_view text(BrokerKey key) const;
  [[nodiscard]] std::uint64_t value(BrokerKey key) const;
  /// Those that are whole; what is not is passed over.
  [[nodiscard]] std::vector<BrokerCommand> commands() const;
  [[nodiscard]] std::vector<BrokerCount> counts() const;
  [[nodiscard]] std::vector<BrokerPath> paths() const;
  /// ok unless add_error() was called.
  [[nodiscard]] Status error() const;
  /// What encode() would come to.
  [[nodiscard]] std::size_t size() const { return size_; }

  /// Errors: resource_exhausted beyond broker_bytes_max.
  [[nodiscard]] Result<std::string> encode() const;
  /// Errors: data_loss when the header is wrong or a field is cut off; unimplemented for a later version.
  static Result<BrokerMessage> decode(std::string_view bytes);

 private:
  static constexpr std::size_t header_size = 16;
  std::vector<std::pair<BrokerKey, std::string>> fields_;
  std::size_t size_ = header_size;
};

}  // namespace shunt::wire
