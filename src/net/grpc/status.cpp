#include "net/grpc/status.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <vector>

#include "base/base64.h"
#include "base/json_text.h"
#include "base/names.h"
#include "net/grpc/proto_fields.h"

namespace shunt::net {

namespace {

constexpr std::string_view type_prefix = "type.googleapis.com/";
constexpr std::string_view error_info = "google.rpc.ErrorInfo";
constexpr std::string_view retry_info = "google.rpc.RetryInfo";
constexpr std::string_view domain = "shunt";
constexpr std::uint64_t retry_later_seconds = 1;

// google.rpc.Status {code = 1, message = 2, details = 3}; Any {type_url = 1, value = 2};
// ErrorInfo {reason = 1, domain = 2, metadata = 3}; RetryInfo {retry_delay = 1}; Duration {seconds = 1, nanos = 2}.

std::string_view retry_name(Retry retry) {
  switch (retry) {
    case Retry::no:
      return "";
    case Retry::later:
      return "later";
    case Retry::reconnect:
      return "reconnect";
    case Retry::elsewhere:
      return "elsewhere";
  }
  return "";
}

Retry retry_of(std::string_view name) {
  for (const Retry retry : {Retry::later, Retry::reconnect, Retry::elsewhere}) {
    if (retry_name(retry) == name) return retry;
  }
  return Retry::no;
}

void add_any(ProtoWriter& status, std::string_view type, std::string_view value) {
  std::string any;
  ProtoWriter writer(any);
  writer.bytes(1, std::string(type_prefix).append(type));
  if (!value.empty()) writer.bytes(2, value);
  status.bytes(3, any);
}

// A string of protobuf is UTF-8, or the whole message is thrown away by who reads it.
std::string as_utf8(std::string_view text) {
  std::string out(text);
  if (is_utf8(text)) return out;
  for (char& c : out) {
    if ((c & 0x80) != 0) c = '?';
  }
  return out;
}

void add_error_info(ProtoWriter& writer, const Status& status) {
  std::string info;
  ProtoWriter fields(info);
  if (!status.id().empty()) fields.bytes(1, as_utf8(status.id()));
  fields.bytes(2, domain);
  if (status.retry() != Retry::no) {
    std::string entry;
    ProtoWriter pair(entry);
    pair.bytes(1, "retry");
    pair.bytes(2, retry_name(status.retry()));
    fields.bytes(3, entry);
  }
  add_any(writer, error_info, info);
}

std::string retry_info_of(Retry retry) {
  std::string delay;
  if (retry == Retry::later) ProtoWriter(delay).integer(1, retry_later_seconds);
  std::string info;
  ProtoWriter(info).bytes(1, delay);
  return info;
}

struct Detail {
  std::string type;
  std::string value;
};

std::vector<Detail> read_details(std::string_view details) {
  std::vector<Detail> found;
  const auto array = nlohmann::json::parse(details, nullptr, false);
  if (!array.is_array()) return found;
  for (const auto& detail : array) {
    const auto type = detail.is_object() ? detail.find("type") : detail.end();
    if (!detail.is_object() || type == detail.end() || !type->is_string()) continue;
    const auto value = detail.find("value");
    if (value == detail.end() || !value->is_string()) continue;
    const auto& name = type->get_ref<const std::string&>();
    if (name.empty() || !is_utf8(name)) continue;
    if (auto bytes = decode_base64(value->get_ref<const std::string&>())) found.push_back({name, std::move(*bytes)});
  }
  return found;
}

// Reads an ErrorInfo of ours into `status`; false when it is somebody else's.
bool read_error_info(std::string_view bytes, std::string& id, Retry& retry) {
  std::string_view reason;
  std::string_view whose;
  Retry told = Retry::no;
  ProtoReader reader(bytes);
  while (reader.next()) {
    if (reader.field() == 1) reason = reader.bytes();
    if (reader.field() == 2) whose = reader.bytes();
    if (reader.field() != 3) continue;
    std::string_view key;
    std::string_view value;
    ProtoReader entry(reader.bytes());
    while (entry.next()) (entry.field() == 1 ? key : value) = entry.bytes();
    if (key == "retry") told = retry_of(value);
  }
  if (!reader.is_whole() || whose != domain) return false;
  id = reason;
  retry = told;
  return true;
}

}  // namespace

std::string encode_rpc_status(const Status& status) {
  const bool is_plain = status.id().empty() && status.retry() == Retry::no && status.details().empty();
  if (status.is_ok() || is_plain) return {};
  std::string out;
  ProtoWriter writer(out);
  writer.integer(1, static_cast<std::uint64_t>(status.code()));
  if (!status.message().empty()) writer.bytes(2, as_utf8(status.message()));
  if (!status.id().empty() || status.retry() != Retry::no) add_error_info(writer, status);
  std::vector<Detail> details;
  if (!status.details().empty()) details = read_details(status.details());
  // One that says how long to wait knows better.
  const bool has_retry_info = std::ranges::any_of(details, [](const Detail& one) { return one.type == retry_info; });
  if (status.retry() != Retry::no && !has_retry_info) add_any(writer, retry_info, retry_info_of(status.retry()));
  for (const Detail& detail : details) add_any(writer, detail.type, detail.value);
  return out;
}

Status decode_rpc_status(Code code, std::string message, std::string_view bytes) {
  std::string id;
  std::string details;
  Retry retry = Retry::no;
  bool has_retry_info = false;
  ProtoReader reader(bytes);
  while (reader.next()) {
    if (reader.field() != 3) continue;
    std::string_view url;
    std::string_view value;
    ProtoReader any(reader.bytes());
    while (any.next()) {
      if (any.field() == 1) url = any.bytes();
      if (any.field() == 2) value = any.bytes();
    }
    const std::string_view type = url.substr(url.rfind('/') + 1);
    if (!any.is_whole() || type.empty()) continue;
    if (type == error_info && read_error_info(value, id, retry)) continue;
    if (type == retry_info) {
      has_retry_info = true;
      if (value == retry_info_of(retry == Retry::no ? Retry::later : retry)) continue;  // It says no more than `retry`.
    }
    details += details.empty() ? "[" : ",";
    details.append("{\"type\":").append(quote_json(type)).append(",\"value\":\"");
    append_base64(details, value);
    details += "\"}";
  }
  if (!reader.is_whole()) return {code, std::move(message)};
  if (!details.empty()) details += ']';
  if (has_retry_info && retry == Retry::no) retry = Retry::later;
  Status status(code, id, std::move(message));
  if (retry != Retry::no) status.with_retry(retry);
  if (!details.empty()) status.with_details(std::move(details));
  return status;
}

}  // namespace shunt::net
