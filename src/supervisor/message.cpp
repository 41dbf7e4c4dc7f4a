#include "supervisor/message.h"

#include <fmt/format.h>

#include <bit>

namespace shunt::supervisor {

namespace {

// Both sides are of one machine: its own byte order.
struct Header {
  std::uint32_t magic;
  std::uint16_t verb;
  std::uint16_t zero;
  std::uint32_t number;
};
struct FieldHeader {
  std::uint16_t key;
  std::uint16_t zero;
  std::uint32_t size;
};
constexpr std::uint32_t message_magic = 0x31505553;  // "SUP1"

template <typename T>
void put(std::string& out, const T& value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

template <typename T>
bool take(std::string_view& in, T& value) {
  if (in.size() < sizeof value) return false;
  in.copy(reinterpret_cast<char*>(&value), sizeof value);
  in.remove_prefix(sizeof value);
  return true;
}

}  // namespace

Message& Message::add(Key key, std::string_view text) {
  fields_.emplace_back(key, text);
  return *this;
}

Message& Message::add(Key key, std::uint64_t value) {
  std::string bytes;
  put(bytes, value);
  fields_.emplace_back(key, std::move(bytes));
  return *this;
}

Message& Message::add(Key key, const std::vector<std::string>& texts) {
  for (const std::string& each : texts) fields_.emplace_back(key, each);
  return *this;
}

Message& Message::add_end(const os::ProcessEnd& end) {
  add(Key::pid, static_cast<std::uint64_t>(end.pid));
  add(Key::by_signal, std::uint64_t{end.by_signal});
  add(Key::value, static_cast<std::uint64_t>(end.value));
  add(Key::core_dumped, std::uint64_t{end.core_dumped});
  return add(Key::memory_peak, static_cast<std::uint64_t>(end.memory_peak_kib));
}

Message& Message::add_error(const Status& status) {
  add(Key::error_code, static_cast<std::uint64_t>(status.code()));
  add(Key::error_id, status.id());
  return add(Key::error_message, status.message());
}

std::string Message::text(Key key) const {
  for (const auto& [each, bytes] : fields_) {
    if (each == key) return bytes;
  }
  return {};
}

std::uint64_t Message::value(Key key) const {
  for (const auto& [each, bytes] : fields_) {
    std::uint64_t result = 0;
    std::string_view rest = bytes;
    if (each == key && take(rest, result)) return result;
  }
  return 0;
}

std::vector<std::string> Message::texts(Key key) const {
  std::vector<std::string> result;
  for (const auto& [each, bytes] : fields_) {
    if (each == key) result.push_back(bytes);
  }
  return result;
}

os::ProcessEnd Message::end() const {
  os::ProcessEnd end;
  end.pid = static_cast<pid_t>(value(Key::pid));
  end.by_signal = value(Key::by_signal) != 0;
  end.value = static_cast<int>(value(Key::value));
  end.core_dumped = value(Key::core_dumped) != 0;
  end.memory_peak_kib = static_cast<long>(value(Key::memory_peak));
  return end;
}

Status Message::error() const {
  std::uint64_t code = value(Key::error_code);
  if (code == 0) return {};
  if (code >= code_count) code = static_cast<std::uint64_t>(Code::unknown);
  return {static_cast<Code>(code), text(Key::error_id), text(Key::error_message)};
}

Result<std::string> Message::encode() const {
  std::string out;
  put(out, Header{message_magic, static_cast<std::uint16_t>(verb), 0, number});
  for (const auto& [key, bytes] : fields_) {
    put(out, FieldHeader{static_cast<std::uint16_t>(key), 0, static_cast<std::uint32_t>(bytes.size())});
    out += bytes;
    if (out.size() > message_bytes_max) {
      return fail(
          Code::resource_exhausted, "S3002",
          fmt::format("the arguments and environment are longer than {} KiB; shorten `args` and `env`, or put them "
                      "in a file",
                      message_bytes_max >> 10));
    }
  }
  return out;
}

Result<Message> Message::decode(std::string_view bytes) {
  Header header{};
  if (!take(bytes, header) || header.magic != message_magic) {
    return fail(Code::data_loss, "a message of the supervisor's socket has a wrong header");
  }
  Message message(static_cast<Verb>(header.verb), header.number);
  while (!bytes.empty()) {
    FieldHeader field{};
    if (!take(bytes, field) || field.size > bytes.size()) {
      return fail(Code::data_loss, "a message of the supervisor's socket is cut off");
    }
    message.fields_.emplace_back(static_cast<Key>(field.key), bytes.substr(0, field.size));
    bytes.remove_prefix(field.size);
  }
  return message;
}

}  // namespace shunt::supervisor
