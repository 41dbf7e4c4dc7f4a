// Whatever comes, and however it is torn: no crash, the same messages whole and in pieces; texts and statuses that were
// written are read back as they were. The first byte chooses the pieces.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "net/grpc/envelope.h"
#include "net/grpc/proto_fields.h"
#include "net/grpc/status.h"
#include "net/grpc/text.h"

namespace {

using namespace shunt;
using namespace shunt::net;

void check(bool holds) {
  if (!holds) std::abort();
}

std::string messages(std::string_view text, std::size_t size) {
  EnvelopeReader reader(1000);
  std::string seen;
  while (!text.empty()) {
    std::string piece(text.substr(0, size));
    text.remove_prefix(piece.size());
    reader.feed(piece);
    for (;;) {
      Envelope envelope;
      const EnvelopeReader::Event event = reader.next(envelope);
      if (event == EnvelopeReader::Event::need_more) break;
      if (event == EnvelopeReader::Event::too_large) {
        check(reader.size() > 1000);
        return seen + "!";
      }
      append_envelope(seen, envelope.flags, envelope.message.view());
    }
    check(reader.unread().empty());
    piece.assign(piece.size(), '#');
  }
  return seen;
}

void texts(std::string_view text) {
  check(decode_grpc_message(encode_grpc_message(text)) == text);
  (void)decode_grpc_message(text);
  (void)parse_grpc_content_type(text);
  (void)parse_grpc_status(text);
  (void)grpc_list_names(text, "gzip");
  const auto timeout = parse_grpc_timeout(text);
  if (timeout) check(parse_grpc_timeout(format_grpc_timeout(*timeout)).has_value());
  GrpcMetadata metadata;
  if (add_grpc_metadata(metadata, "x-bin", text)) {
    std::string list;
    for (const auto& [key, value] : metadata) list.append(grpc_header_value(key, value)).append(",");
    list.pop_back();
    GrpcMetadata again;
    check(add_grpc_metadata(again, "x-bin", list).has_value() && again == metadata);
  }
}

void statuses(std::string_view text) {
  Status status = decode_rpc_status(Code::internal, "m", text);
  const std::string once = encode_rpc_status(status);
  const Status again = decode_rpc_status(Code::internal, "m", once);
  check(again.retry() == status.retry());
  check(encode_rpc_status(again) == once);
  (void)encode_rpc_status(Status(Code::internal, std::string(text)).with_details(std::string(text)));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  const std::string whole = messages(text, text.size() + 1);
  check(whole == messages(text, 1 + data[0] % 16));
  check(text.starts_with(whole.substr(0, whole.size() - (whole.ends_with('!') ? 1 : 0))) || whole.ends_with('!'));
  texts(text);
  statuses(text);
  return 0;
}
