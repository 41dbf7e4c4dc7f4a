#pragma once
// What gRPC writes into headers: content types, timeouts, messages of a status, binary metadata. Texts only; it knows no
// streams. https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "net/header.h"

namespace shunt::net {

enum class GrpcFlavour : std::uint8_t {
  grpc,      ///< application/grpc
  web,       ///< application/grpc-web: trailers are a frame of the body.
  web_text,  ///< application/grpc-web-text: the same in base64.
};
enum class GrpcCodec : std::uint8_t {
  proto,  ///< No suffix, or +proto.
  json,   ///< +json
  other,  ///< A suffix that is not known.
};

struct GrpcContentType {
  GrpcFlavour flavour = GrpcFlavour::grpc;
  GrpcCodec codec = GrpcCodec::proto;
};

/// Nothing for a content type that is not gRPC's. Parameters are passed over.
std::optional<GrpcContentType> parse_grpc_content_type(std::string_view text);
/// "application/grpc", "application/grpc-web-text+json". Lives for ever.
std::string_view grpc_content_type(GrpcFlavour flavour, GrpcCodec codec);

/// "100m": at most 8 digits, and one of H M S m u n. Nothing for anything else.
std::optional<Duration> parse_grpc_timeout(std::string_view text);
/// Rounded up to what 8 digits hold; at least 1 ns.
std::string format_grpc_timeout(Duration timeout);

/// The value of grpc-message: UTF-8 in percent-encoding. Broken escapes stay as they are.
std::string encode_grpc_message(std::string_view text);
std::string decode_grpc_message(std::string_view text);

/// "5" is not_found; nothing for what is not a number. Numbers that are no code are `unknown`.
std::optional<Code> parse_grpc_status(std::string_view text);
/// What a client makes of an HTTP status when grpc-status is missing.
Code grpc_code_of_http(int http_status);

/// Ordered; values of keys that end in "-bin" are raw bytes.
using GrpcMetadata = std::vector<std::pair<std::string, std::string>>;

/// A header that gRPC or HTTP itself reads, and that is therefore no metadata of the call: "te", "grpc-*",
/// "content-type", "user-agent" … Lower case.
bool is_grpc_reserved(std::string_view name);
/// Adds a header as metadata; the values of a "-bin" key are decoded, one entry for each of a comma list.
/// Errors: invalid_argument when such a value is not base64.
Result<void> add_grpc_metadata(GrpcMetadata& metadata, std::string_view name, std::string_view value);
/// The header's value for a metadata entry: base64 when the key ends in "-bin".
std::string grpc_header_value(std::string_view key, std::string_view value);
/// Whether a metadata entry may be written as a header: not reserved, and text that HTTP carries.
bool is_grpc_metadata(std::string_view key, std::string_view value);

/// True when the list (grpc-accept-encoding: "identity, gzip") names the encoding. Lower case.
bool grpc_list_names(std::string_view list, std::string_view encoding);

}  // namespace shunt::net
