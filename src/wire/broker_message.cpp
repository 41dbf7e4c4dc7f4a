#include "wire/broker_message.h"

#include <fmt/format.h>

#include <utility>

namespace shunt::wire {

namespace {

constexpr std::uint32_t broker_magic = 0x31424853;  // "SHB1", little endian.
constexpr std::size_t field_header_size = 8;
constexpr std::size_t latency_buckets_max = 64;

void put(std::string& out, std::uint64_t value, int bytes) {
  for (int i = 0; i < bytes; i++) out.push_back(static_cast<char>(value >> (8 * i)));
}
void put_text(std::string& out, std::string_view text) {
  // Names are short; what is longer could not be a name.
  text = text.substr(0, 0xffff);
  put(out, text.size(), 2);
  out += text;
}

/// Takes from the front; once something was missing, everything is.
class Reader {
 public:
  explicit Reader(std::string_view in) : in_(in) {}
  std::uint64_t number(std::size_t bytes) {
    if (in_.size() < bytes) return fail();
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < bytes; i++) {
      value |= static_cast<std::uint64_t>(static_cast<unsigned char>(in_[i])) << (8 * i);
    }
    in_.remove_prefix(bytes);
    return value;
  }
  std::string_view bytes(std::size_t size) {
    if (in_.size() < size) {
      fail();
      return {};
    }
    auto taken = in_.substr(0, size);
    in_.remove_prefix(size);
    return taken;
  }
  std::string text() { return std::string(bytes(number(2))); }
  [[nodiscard]] bool good() const { return good_; }
  [[nodiscard]] bool at_end() const { return in_.empty(); }

 private:
  std::uint64_t fail() {
    good_ = false;
    in_ = {};
    return 0;
  }
  std::string_view in_;
  bool good_ = true;
};

}  // namespace

BrokerMessage& BrokerMessage::add(BrokerKey key, std::string_view text) {
  fields_.emplace_back(key, text);
  size_ += field_header_size + text.size();
  return *this;
}

BrokerMessage& BrokerMessage::add_value(BrokerKey key, std::uint64_t value) {
  std::string bytes;
  put(bytes, value, 8);
  return add(key, bytes);
}

BrokerMessage& BrokerMessage::add(const BrokerCommand& command) {
  std::string bytes;
  put_text(bytes, command.name);
  put(bytes, command.timeout_ns, 8);
  put(bytes, command.effect, 1);
  put(bytes, command.stream, 1);
  put(bytes, command.flags, 1);
  return add(BrokerKey::command, bytes);
}

BrokerMessage& BrokerMessage::add(const BrokerCount& count) {
  std::string bytes;
  put_text(bytes, count.service);
  put_text(bytes, count.command);
  put_text(bytes, count.instance);
  put(bytes, count.code, 1);
  put(bytes, count.calls, 8);
  put(bytes, count.latency_ns_sum, 8);
  put(bytes, count.latency.size(), 1);
  for (auto bucket : count.latency) put(bytes, bucket, 8);
  return add(BrokerKey::count, bytes);
}

BrokerMessage& BrokerMessage::add(const BrokerPath& path) {
  std::string bytes;
  put_text(bytes, path.service);
  put_text(bytes, path.instance);
  put_text(bytes, path.counts);
  return add(BrokerKey::path, bytes);
}

BrokerMessage& BrokerMessage::add_error(const Status& status) {
  add_value(BrokerKey::code, static_cast<std::uint64_t>(status.code()));
  add_value(BrokerKey::retry, static_cast<std::uint64_t>(status.retry()));
  add(BrokerKey::error_id, status.id());
  return add(BrokerKey::text, status.message());
}

std::string_view BrokerMessage::text(BrokerKey key) const {
  for (const auto& [each, bytes] : fields_) {
    if (each == key) return bytes;
  }
  return {};
}

std::uint64_t BrokerMessage::value(BrokerKey key) const {
  for (const auto& [each, bytes] : fields_) {
    if (each == key && bytes.size() >= 8) return Reader(bytes).number(8);
  }
  return 0;
}

std::vector<BrokerCommand> BrokerMessage::commands() const {
  std::vector<BrokerCommand> commands;
  for (const auto& [key, bytes] : fields_) {
    if (key != BrokerKey::command) continue;
    Reader in(bytes);
    BrokerCommand command;
    command.name = in.text();
    command.timeout_ns = in.number(8);
    command.effect = static_cast<std::uint8_t>(in.number(1));
    command.stream = static_cast<std::uint8_t>(in.number(1));
    command.flags = static_cast<std::uint8_t>(in.number(1));
    if (in.good()) commands.push_back(std::move(command));
  }
  return commands;
}

std::vector<BrokerCount> BrokerMessage::counts() const {
  std::vector<BrokerCount> counts;
  for (const auto& [key, bytes] : fields_) {
    if (key != BrokerKey::count) continue;
    Reader in(bytes);
    BrokerCount count;
    count.service = in.text();
    count.command = in.text();
    count.instance = in.text();
    count.code = static_cast<std::uint8_t>(in.number(1));
    count.calls = in.number(8);
    count.latency_ns_sum = in.number(8);
    std::size_t buckets = in.number(1);
    if (buckets > latency_buckets_max) continue;
    for (std::size_t i = 0; i < buckets; i++) count.latency.push_back(in.number(8));
    if (in.good()) counts.push_back(std::move(count));
  }
  return counts;
}

std::vector<BrokerPath> BrokerMessage::paths() const {
  std::vector<BrokerPath> paths;
  for (const auto& [key, bytes] : fields_) {
    if (key != BrokerKey::path) continue;
    Reader in(bytes);
    BrokerPath path{in.text(), in.text(), in.text()};
    if (in.good()) paths.push_back(std::move(path));
  }
  return paths;
}

Status BrokerMessage::error() const {
  std::uint64_t code = value(BrokerKey::code);
  if (code == 0) return {};
  if (code >= code_count) code = static_cast<std::uint64_t>(Code::unknown);
  Status status(static_cast<Code>(code), text(BrokerKey::error_id), std::string(text(BrokerKey::text)));
  if (auto retry = value(BrokerKey::retry); retry <= static_cast<std::uint64_t>(Retry::elsewhere)) {
    status.with_retry(static_cast<Retry>(retry));
  }
  return status;
}

Result<std::string> BrokerMessage::encode() const {
  if (size_ > broker_bytes_max || fields_.size() > broker_fields_max) {
    return fail(Code::resource_exhausted,
                fmt::format("a message of the broker socket would be {} bytes in {} fields", size_, fields_.size()));
  }
  std::string out;
  out.reserve(size_);
  put(out, broker_magic, 4);
  put(out, broker_version, 1);
  put(out, 0, 1);
  put(out, static_cast<std::uint64_t>(verb), 2);
  put(out, number, 8);
  for (const auto& [key, bytes] : fields_) {
    put(out, static_cast<std::uint64_t>(key), 2);
    put(out, 0, 2);
    put(out, bytes.size(), 4);
    out += bytes;
  }
  return out;
}

Result<BrokerMessage> BrokerMessage::decode(std::string_view bytes) {
  Reader in(bytes);
  std::uint64_t magic = in.number(4);
  std::uint64_t version = in.number(1);
  in.number(1);
  auto verb = static_cast<BrokerVerb>(in.number(2));
  std::uint64_t number = in.number(8);
  if (!in.good() || magic != broker_magic) {
    return fail(Code::data_loss, "a message of the broker socket has a wrong header");
  }
  if (version != broker_version) {
    return fail(Code::unimplemented, fmt::format("the broker socket speaks version {}; {} is known here", version,
                                                 static_cast<int>(broker_version)));
  }
  BrokerMessage message(verb, number);
  while (!in.at_end()) {
    auto key = static_cast<BrokerKey>(in.number(2));
    in.number(2);
    auto value = in.bytes(in.number(4));
    if (!in.good() || message.fields_.size() >= broker_fields_max) {
      return fail(Code::data_loss, "a message of the broker socket is cut off, or has too many fields");
    }
    message.add(key, value);
  }
  return message;
}

}  // namespace shunt::wire
