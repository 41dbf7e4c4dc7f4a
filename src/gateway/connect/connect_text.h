#pragma once
// What the Connect protocol says in texts: its content types, the query of a GET, errors and the end of a stream as JSON.
// https://connectrpc.com/docs/protocol. It knows no call and no connection. Only for gateway/'s own files.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "call/contract.h"
#include "call/metadata.h"
#include "gateway/carrier.h"

namespace shunt::gateway {

/// Which of Connect's forms a request has.
struct ConnectForm {
  enum class Kind : std::uint8_t {
    unary,   ///< POST of a bare message.
    get,     ///< The same in a query.
    stream,  ///< Envelopes both ways.
  };
  Kind kind = Kind::unary;
  call::Encoding encoding = call::Encoding::json;
  bool is_known = true;  ///< False: application/connect+ something that is spoken nowhere.

  /// "application/connect+proto". Lives for ever.
  [[nodiscard]] std::string_view content_type() const;
};

/// Nothing for a request that is not Connect's alone. A POST of JSON is Connect's when Connect-Protocol-Version says so;
/// without that header it is plain HTTP, which differs in what people at a terminal like.
std::optional<ConnectForm> connect_form(const Request& request);

/// What the query of a GET carries.
struct ConnectQuery {
  call::Encoding encoding = call::Encoding::json;
  std::string message;      ///< Decoded from base64, not yet decompressed.
  std::string compression;  ///< As it was named; empty: none.
};
/// Errors: invalid_argument S4013 names the parameter; unimplemented S4008 for another encoding.
Result<ConnectQuery> read_connect_query(std::string_view query);

/// Connect's error object. Details that are not of its form ({"type", "value" in base64}) are left out: its clients would
/// refuse the whole error.
std::string connect_error(const Status& status);
/// The JSON of a stream's last envelope: {"error": …, "metadata": {"key": ["value"]}}.
std::string connect_end_of_stream(const Status& status, const call::Metadata& trailers);

}  // namespace shunt::gateway
