#include "wire/frame.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <type_traits>

#include "wire/call_frame.h"
#include "wire/codec.h"

namespace shunt::wire {

namespace {

// HELLO's fields. A number once given is never given again.
enum Tag : std::uint16_t {
  tag_role = 1,
  tag_name = 2,
  tag_software = 3,
  tag_clock = 4,
  tag_message_bytes_max = 5,
  tag_calls_max = 6,
  tag_metadata_bytes_max = 7,
  tag_stream_credit = 8,
  tag_concurrency = 9,
  tag_pid = 10,
  tag_definition = 11,
};

void put_text(std::string& out, Tag tag, std::string_view text) {
  if (text.empty()) return;
  put<std::uint16_t>(out, tag);
  put(out, static_cast<std::uint32_t>(text.size()));
  out.append(text);
}

void put_number(std::string& out, Tag tag, std::uint64_t number) {
  put<std::uint16_t>(out, tag);
  put<std::uint32_t>(out, sizeof number);
  put(out, number);
}

void put_metadata(const MetadataView& metadata, std::string& out) {
  auto count = std::min<std::size_t>(metadata.size(), 0xffff);
  put(out, static_cast<std::uint16_t>(count));
  for (std::size_t i = 0; i < count; i++) {
    const auto& [key, value] = metadata[i];
    put(out, short_size(key));
    put(out, static_cast<std::uint32_t>(value.size()));
    out.append(cut(key));
    out.append(value);
  }
}

Result<MetadataView> get_metadata(std::string_view payload) {
  MetadataView metadata;
  if (payload.empty()) return metadata;
  Reader in(payload);
  auto count = in.get<std::uint16_t>();
  // An entry takes six bytes at least: a count beyond what is there reserves nothing.
  metadata.reserve(std::min<std::size_t>(count, in.left() / 6));
  for (std::size_t i = 0; i < count && in.ok(); i++) {
    auto key_size = in.get<std::uint16_t>();
    auto value_size = in.get<std::uint32_t>();
    auto key = in.text(key_size);
    auto value = in.text(value_size);
    if (in.ok() && !is_legal_metadata(key, value)) {
      return broken("metadata with a key or a value that is not allowed");
    }
    metadata.emplace_back(key, value);
  }
  if (!in.ok()) return broken("metadata that ends too early");
  return metadata;
}

}  // namespace

std::unexpected<Status> broken(std::string_view what) {
  return fail(Code::data_loss, "S1022", fmt::format("wire: {}", what));
}

std::uint32_t metadata_size(const MetadataView& metadata) {
  if (metadata.empty()) return 0;
  std::size_t size = 2;
  for (const auto& [key, value] : metadata) size += 6 + short_size(key) + value.size();
  return static_cast<std::uint32_t>(size);
}

void encode_header(const FrameHeader& header, std::span<char, header_bytes> out) {
  write_header(out.data(), header.length, header.type, header.flags, header.call);
}

std::unexpected<Status> header_error(const FrameHeader& header) {
  if (header.length > payload_bytes_max) {
    return broken(fmt::format("a frame of {} bytes; at most {} are allowed", header.length, payload_bytes_max));
  }
  return broken("a frame header whose reserved bytes are not zero");
}

Result<FrameHeader> decode_header(std::span<const char, header_bytes> in) {
  FrameHeader header;
  if (!read_header(in.data(), header)) return header_error(header);
  return header;
}

std::size_t begin_frame(std::string& out) {
  auto begin = out.size();
  out.append(header_bytes, '\0');
  return begin;
}

void end_frame(std::string& out, std::size_t begin, FrameType type, CallId call, std::uint8_t flags) {
  FrameHeader header{static_cast<std::uint32_t>(out.size() - begin - header_bytes), type, flags, call};
  encode_header(header, std::span<char, header_bytes>(out.data() + begin, header_bytes));
}

void append_frame(std::string& out, FrameType type, CallId call, std::string_view payload, std::uint8_t flags) {
  char header[header_bytes];
  encode_header({static_cast<std::uint32_t>(payload.size()), type, flags, call}, header);
  out.append(header, header_bytes);
  out.append(payload);
}

std::string encode_hello(const Hello& hello) {
  std::string out;
  put(out, magic);
  put(out, hello.version_major);
  put(out, hello.version_minor);
  put_text(out, tag_role, hello.role);
  put_text(out, tag_name, hello.name);
  put_text(out, tag_software, hello.software);
  put_text(out, tag_clock, hello.clock);
  put_number(out, tag_message_bytes_max, hello.message_bytes_max);
  put_number(out, tag_calls_max, hello.calls_max);
  put_number(out, tag_metadata_bytes_max, hello.metadata_bytes_max);
  put_number(out, tag_stream_credit, hello.stream_credit);
  put_number(out, tag_concurrency, hello.concurrency);
  put_number(out, tag_pid, hello.pid);
  put_text(out, tag_definition, hello.definition);
  return out;
}

Result<Hello> decode_hello(std::string_view payload) {
  Reader in(payload);
  if (in.get<std::uint32_t>() != magic) return broken("HELLO does not begin with SHNT: the peer is not Shunt's");
  Hello hello;
  hello.version_major = in.get<std::uint16_t>();
  hello.version_minor = in.get<std::uint16_t>();
  if (!in.ok()) return broken("HELLO ends too early");
  if (hello.version_major != version_major) {
    return fail(
        Code::failed_precondition, "S1023",
        fmt::format("the peer speaks version {}.{} of the wire protocol, this side {}.{}; the first number must be "
                    "the same: use the SDK that belongs to the node",
                    hello.version_major, hello.version_minor, version_major, version_minor));
  }
  while (in.left() > 0) {
    auto tag = in.get<std::uint16_t>();
    auto size = in.get<std::uint32_t>();
    auto value = in.text(size);
    if (!in.ok()) return broken("a field of HELLO ends too early");
    bool number_is_broken = false;
    auto number = [&](auto& field) {
      using Field = std::remove_reference_t<decltype(field)>;
      if (value.size() != sizeof(std::uint64_t)) {
        number_is_broken = true;
        return;
      }
      // A limit beyond what the field can hold is as good as its largest value.
      auto read = load_at<std::uint64_t>(value);
      field = static_cast<Field>(std::min<std::uint64_t>(read, std::numeric_limits<Field>::max()));
    };
    switch (tag) {
      case tag_role:
        hello.role = value;
        break;
      case tag_name:
        hello.name = value;
        break;
      case tag_software:
        hello.software = value;
        break;
      case tag_clock:
        hello.clock = value;
        break;
      case tag_message_bytes_max:
        number(hello.message_bytes_max);
        break;
      case tag_calls_max:
        number(hello.calls_max);
        break;
      case tag_metadata_bytes_max:
        number(hello.metadata_bytes_max);
        break;
      case tag_stream_credit:
        number(hello.stream_credit);
        break;
      case tag_concurrency:
        number(hello.concurrency);
        break;
      case tag_pid:
        number(hello.pid);
        break;
      case tag_definition:
        hello.definition = value;
        break;
      default:
        break;  // Of a later minor version.
    }
    if (number_is_broken) return broken(fmt::format("field {} of HELLO must be 8 bytes, not {}", tag, value.size()));
  }
  if (hello.stream_credit == 0) return broken("HELLO gives no stream credit: nothing could ever be sent");
  return hello;
}

void encode_open(const OpenFrame& open, std::string& out) {
  put(out, open.deadline_ns);
  put(out, open.grant);
  put(out, open.hops);
  put(out, open.principal_kind);
  put(out, short_size(open.service));
  put(out, short_size(open.command));
  put(out, short_size(open.principal_service));
  put(out, short_size(open.principal_user));
  put(out, short_size(open.token));
  put(out, metadata_size(open.metadata));
  for (auto text : {open.service, open.command, open.principal_service, open.principal_user, open.token}) {
    out.append(cut(text));
  }
  if (!open.metadata.empty()) put_metadata(open.metadata, out);
  if (open.encoding != 0) put(out, open.encoding);
}

Result<OpenFrame> decode_open(std::string_view payload) {
  Reader in(payload);
  OpenFrame open;
  open.deadline_ns = in.get<std::int64_t>();
  open.grant = in.get<std::uint64_t>();
  open.hops = in.get<std::uint8_t>();
  open.principal_kind = in.get<std::uint8_t>();
  auto service = in.get<std::uint16_t>();
  auto command = in.get<std::uint16_t>();
  auto principal_service = in.get<std::uint16_t>();
  auto principal_user = in.get<std::uint16_t>();
  auto token = in.get<std::uint16_t>();
  auto metadata = in.get<std::uint32_t>();
  open.service = in.text(service);
  open.command = in.text(command);
  open.principal_service = in.text(principal_service);
  open.principal_user = in.text(principal_user);
  open.token = in.text(token);
  auto block = in.text(metadata);
  if (!in.ok()) return broken("OPEN ends too early");
  if (metadata > 0) {
    SHUNT_TRY(open.metadata, get_metadata(block));
  }
  if (auto encoding = in.get<std::uint8_t>(); in.ok()) open.encoding = encoding;
  return open;
}

void encode_status(const StatusFrame& status, std::string& out) {
  // A frame has a limit, so a status has one too: what is beyond it is cut, details (JSON, useless when cut) left out.
  constexpr std::size_t text_max = 128 << 10;
  auto message = status.message.substr(0, text_max);
  auto details = status.details.size() <= text_max ? status.details : std::string_view();
  put(out, static_cast<std::uint8_t>(status.code));
  put(out, static_cast<std::uint8_t>(status.retry));
  put(out, short_size(status.id));
  put(out, static_cast<std::uint32_t>(message.size()));
  put(out, static_cast<std::uint32_t>(details.size()));
  put(out, metadata_size(status.trailers));
  out.append(cut(status.id));
  out.append(message);
  out.append(details);
  if (!status.trailers.empty()) put_metadata(status.trailers, out);
}

Result<StatusFrame> decode_status(std::string_view payload) {
  Reader in(payload);
  StatusFrame status;
  auto code = in.get<std::uint8_t>();
  auto retry = in.get<std::uint8_t>();
  auto id = in.get<std::uint16_t>();
  auto message = in.get<std::uint32_t>();
  auto details = in.get<std::uint32_t>();
  auto trailers = in.get<std::uint32_t>();
  status.id = in.text(id);
  status.message = in.text(message);
  status.details = in.text(details);
  auto block = in.text(trailers);
  if (!in.ok()) return broken("STATUS ends too early");
  // Numbers of a later version: the nearest that this one knows.
  status.code = code < code_count ? static_cast<Code>(code) : Code::unknown;
  status.retry = retry <= static_cast<std::uint8_t>(Retry::elsewhere) ? static_cast<Retry>(retry) : Retry::no;
  if (trailers > 0) {
    SHUNT_TRY(status.trailers, get_metadata(block));
  }
  return status;
}

void encode_metadata(const MetadataView& metadata, std::string& out) { put_metadata(metadata, out); }

Result<MetadataView> decode_metadata(std::string_view payload) { return get_metadata(payload); }

bool is_legal_metadata(std::string_view key, std::string_view value) {
  if (key.empty() || !std::ranges::all_of(key, [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '.';
      })) {
    return false;
  }
  return key.ends_with("-bin") || std::ranges::all_of(value, [](char c) { return c >= 0x20 && c <= 0x7e; });
}

std::size_t metadata_cost(const MetadataView& metadata) {
  std::size_t cost = 0;
  for (const auto& [key, value] : metadata) cost += key.size() + value.size() + 32;
  return cost;
}

void encode_wait(const WaitFrame& wait, std::string& out) {
  put(out, wait.deadline_ns);
  put(out, wait.priority);
  put(out, std::uint8_t{0});
  put(out, short_size(wait.service));
  out.append(cut(wait.service));
}

Result<WaitFrame> decode_wait(std::string_view payload) {
  Reader in(payload);
  WaitFrame wait;
  wait.deadline_ns = in.get<std::int64_t>();
  wait.priority = in.get<std::uint8_t>();
  in.get<std::uint8_t>();
  auto service = in.get<std::uint16_t>();
  wait.service = in.text(service);
  if (!in.ok()) return broken("WAIT ends too early");
  return wait;
}

void encode_grant(const GrantFrame& grant, std::string& out) {
  put(out, grant.grant);
  encode_status(grant.status, out);
}

Result<GrantFrame> decode_grant(std::string_view payload) {
  if (payload.size() < 8) return broken("GRANT ends too early");
  GrantFrame grant;
  grant.grant = load_at<std::uint64_t>(payload);
  SHUNT_TRY(grant.status, decode_status(payload.substr(8)));
  return grant;
}

void encode_load(const LoadFrame& load, std::string& out) {
  put(out, load.running);
  put(out, load.capacity);
}

Result<LoadFrame> decode_load(std::string_view payload) {
  Reader in(payload);
  LoadFrame load;
  load.running = in.get<std::uint32_t>();
  load.capacity = in.get<std::uint32_t>();
  if (!in.ok()) return broken("LOAD ends too early");
  return load;
}

}  // namespace shunt::wire
