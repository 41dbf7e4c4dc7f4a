#pragma once
// What a supervisor and its node say to each other: one SEQPACKET message each, some with descriptors.
//
// A header (magic, verb, number of the request) and fields, each with a key and a length. Unknown keys and verbs are
// passed over, so a supervisor and a node of neighbouring versions understand each other.

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "os/process.h"

namespace shunt::supervisor {

inline constexpr std::size_t message_bytes_max = 128 << 10;
inline constexpr std::size_t links_per_worker_max = 64;
inline constexpr std::size_t pending_messages_max = 65536;

/// The environment of a node: the numbers of its descriptors.
inline constexpr const char* control_variable = "SHUNT_SUPERVISOR";
inline constexpr const char* activity_variable = "SHUNT_ACTIVITY";

enum class Verb : std::uint16_t {
  // The node asks; reply is the answer, with the same number.
  listen = 1,
  spawn_worker = 2,
  spawn_describe = 3,
  kill = 4,  ///< No answer.
  relink = 5,
  workers = 6,  ///< Answered by one `worker` for each, then reply.
  info = 7,
  renew_broker = 8,
  // The supervisor says.
  reply = 100,
  worker = 101,
  exited = 102,
  shutdown = 103,
  reload = 104,
};

enum class Key : std::uint16_t {
  key = 1,
  service = 2,
  argument = 3,  ///< Repeated.
  variable = 4,  ///< Repeated.
  folder = 5,
  links = 6,
  pid = 7,
  signal = 8,
  address = 9,
  sockets = 10,
  by_signal = 11,
  value = 12,
  core_dumped = 13,
  memory_peak = 14,
  fast = 15,
  restarts = 16,
  last_end = 17,
  last_words = 18,
  error_code = 19,
  error_id = 20,
  error_message = 21,
  broker = 22,
};

class Message {
 public:
  Message() = default;
  explicit Message(Verb verb, std::uint32_t number = 0) : verb(verb), number(number) {}

  Verb verb{};
  std::uint32_t number = 0;

  Message& add(Key key, std::string_view text);
  Message& add(Key key, std::uint64_t value);
  Message& add(Key key, const std::vector<std::string>& texts);
  Message& add_end(const os::ProcessEnd& end);
  Message& add_error(const Status& status);

  /// The first of that key; empty or 0 when there is none.
  [[nodiscard]] std::string text(Key key) const;
  [[nodiscard]] std::uint64_t value(Key key) const;
  [[nodiscard]] std::vector<std::string> texts(Key key) const;
  [[nodiscard]] os::ProcessEnd end() const;
  /// ok unless add_error() was called.
  [[nodiscard]] Status error() const;

  /// Errors: resource_exhausted S3002 beyond message_bytes_max.
  [[nodiscard]] Result<std::string> encode() const;
  /// Errors: data_loss.
  static Result<Message> decode(std::string_view bytes);

 private:
  std::vector<std::pair<Key, std::string>> fields_;
};

}  // namespace shunt::supervisor
