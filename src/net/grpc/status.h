#pragma once
// A Status as gRPC carries it: google.rpc.Status in grpc-status-details-bin, with our error's id as ErrorInfo, whether to
// try again as RetryInfo, and the details, which a Status has in Connect's form (a JSON array of {type, value, debug}).

#include <string>
#include <string_view>

#include "base/status.h"

namespace shunt::net {

/// The bytes of a google.rpc.Status. Empty when the status has nothing that code and message don't say.
/// - an id becomes google.rpc.ErrorInfo {reason: id, domain: "shunt"}, with metadata {"retry": …} where it may be retried
/// - Retry becomes google.rpc.RetryInfo
/// - each detail {"type": "pkg.Message", "value": base64} becomes an Any; one that is not of this form is left out
std::string encode_rpc_status(const Status& status);

/// The status that `bytes` (of grpc-status-details-bin) tell, with `code` and `message` from the headers, which count where
/// they differ. Bytes that are no google.rpc.Status are passed over.
Status decode_rpc_status(Code code, std::string message, std::string_view bytes);

}  // namespace shunt::net
