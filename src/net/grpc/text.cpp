#include "net/grpc/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "base/base64.h"

namespace shunt::net {

namespace {

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

struct TimeUnit {
  char letter;
  std::int64_t ns;
};
constexpr std::array<TimeUnit, 6> time_units = {
    {{'n', 1}, {'u', 1'000}, {'m', 1'000'000}, {'S', 1'000'000'000}, {'M', 60'000'000'000}, {'H', 3'600'000'000'000}}};
constexpr std::int64_t timeout_number_max = 99'999'999;

}  // namespace

std::optional<GrpcContentType> parse_grpc_content_type(std::string_view text) {
  constexpr std::string_view base = "application/grpc";
  text = trimmed(text.substr(0, text.find(';')));
  if (text.size() < base.size() || !iequals(text.substr(0, base.size()), base)) return std::nullopt;
  std::string_view rest = text.substr(base.size());
  GrpcContentType type;
  const std::string_view kind = rest.substr(0, rest.find('+'));
  if (iequals(kind, "-web")) {
    type.flavour = GrpcFlavour::web;
  } else if (iequals(kind, "-web-text")) {
    type.flavour = GrpcFlavour::web_text;
  } else if (!kind.empty()) {
    return std::nullopt;
  }
  rest.remove_prefix(kind.size());
  if (rest.empty() || iequals(rest, "+proto")) {
    type.codec = GrpcCodec::proto;
  } else {
    type.codec = iequals(rest, "+json") ? GrpcCodec::json : GrpcCodec::other;
  }
  return type;
}

std::string_view grpc_content_type(GrpcFlavour flavour, GrpcCodec codec) {
  const bool json = codec == GrpcCodec::json;
  switch (flavour) {
    case GrpcFlavour::grpc:
      return json ? "application/grpc+json" : "application/grpc";
    case GrpcFlavour::web:
      return json ? "application/grpc-web+json" : "application/grpc-web+proto";
    case GrpcFlavour::web_text:
      return json ? "application/grpc-web-text+json" : "application/grpc-web-text+proto";
  }
  return "application/grpc";
}

std::optional<Duration> parse_grpc_timeout(std::string_view text) {
  if (text.size() < 2 || text.size() > 9) return std::nullopt;
  std::int64_t number = 0;
  for (const char c : text.substr(0, text.size() - 1)) {
    if (c < '0' || c > '9') return std::nullopt;
    number = number * 10 + (c - '0');
  }
  for (const TimeUnit& unit : time_units) {
    if (unit.letter != text.back()) continue;
    if (number > INT64_MAX / unit.ns) return Duration::max();
    return Duration(number * unit.ns);
  }
  return std::nullopt;
}

std::string format_grpc_timeout(Duration timeout) {
  const std::int64_t ns = std::max<std::int64_t>(timeout.count(), 1);
  for (const TimeUnit& unit : time_units) {
    const std::int64_t number = ns / unit.ns + (ns % unit.ns != 0 ? 1 : 0);
    if (number <= timeout_number_max) return fmt::format("{}{}", number, unit.letter);
  }
  return fmt::format("{}H", timeout_number_max);
}

std::string encode_grpc_message(std::string_view text) {
  static constexpr char hex[] = "0123456789ABCDEF";
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    if (c >= 0x20 && c <= 0x7e && c != '%') {
      out += c;
    } else {
      out += '%';
      out += hex[static_cast<unsigned char>(c) >> 4];
      out += hex[c & 15];
    }
  }
  // HTTP trims white space at the ends of a value.
  if (out.starts_with(' ')) out.replace(0, 1, "%20");
  if (out.ends_with(' ')) out.replace(out.size() - 1, 1, "%20");
  return out;
}

std::string decode_grpc_message(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    const int high = text[i] == '%' && i + 2 < text.size() ? hex_digit(text[i + 1]) : -1;
    const int low = high >= 0 ? hex_digit(text[i + 2]) : -1;
    if (low < 0) {
      out += text[i];
    } else {
      out += static_cast<char>(high * 16 + low);
      i += 2;
    }
  }
  return out;
}

std::optional<Code> parse_grpc_status(std::string_view text) {
  unsigned number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number < code_count ? static_cast<Code>(number) : Code::unknown;
}

Code grpc_code_of_http(int http_status) {
  switch (http_status) {
    case 400:
      return Code::internal;
    case 401:
      return Code::unauthenticated;
    case 403:
      return Code::permission_denied;
    case 404:
      return Code::unimplemented;
    case 429:
    case 502:
    case 503:
    case 504:
      return Code::unavailable;
    default:
      return Code::unknown;
  }
}

bool is_grpc_reserved(std::string_view name) {
  // "date" and the like are written by the server itself; hop-by-hop headers don't exist in HTTP/2.
  static constexpr std::string_view reserved[] = {
      "te",         "content-type", "content-length",  "content-encoding",  "user-agent",
      "connection", "keep-alive",   "upgrade",         "transfer-encoding", "host",
      "trailer",    "date",         "proxy-connection"};
  if (name.starts_with(':')) return true;
  if (name.starts_with("grpc-")) {
    // These travel: a tag of the client's own and a trace that others hand on.
    return name != "grpc-trace-bin" && name != "grpc-tags-bin";
  }
  return std::ranges::find(reserved, name) != std::end(reserved);
}

Result<void> add_grpc_metadata(GrpcMetadata& metadata, std::string_view name, std::string_view value) {
  if (!name.ends_with("-bin")) {
    metadata.emplace_back(name, value);
    return {};
  }
  while (true) {
    const std::size_t comma = std::min(value.find(','), value.size());
    std::optional<std::string> bytes = decode_base64(trimmed(value.substr(0, comma)));
    if (!bytes) {
      return fail(Code::invalid_argument,
                  fmt::format("the value of '{}' must be base64, as that of every key that ends in -bin", name));
    }
    metadata.emplace_back(name, std::move(*bytes));
    if (comma == value.size()) return {};
    value.remove_prefix(comma + 1);
  }
}

std::string grpc_header_value(std::string_view key, std::string_view value) {
  return key.ends_with("-bin") ? encode_base64(value) : std::string(value);
}

bool is_grpc_metadata(std::string_view key, std::string_view value) {
  const bool is_key = !key.empty() && std::ranges::all_of(key, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '.';
  });
  if (!is_key || is_grpc_reserved(key)) return false;
  return key.ends_with("-bin") || std::ranges::all_of(value, [](char c) { return c >= 0x20 && c <= 0x7e; });
}

bool grpc_list_names(std::string_view list, std::string_view encoding) {
  while (!list.empty()) {
    const std::size_t comma = std::min(list.find(','), list.size());
    if (iequals(trimmed(list.substr(0, comma)), encoding)) return true;
    list.remove_prefix(std::min(comma + 1, list.size()));
  }
  return false;
}

}  // namespace shunt::net
