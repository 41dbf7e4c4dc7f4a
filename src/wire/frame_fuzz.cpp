// Every decoder of frame.h on any bytes. What decodes must encode to something that decodes to the same.

#include <cstdint>
#include <cstdlib>
#include <string>

#include "wire/call_frame.h"

namespace shunt::wire {
namespace {

/// Encoding is canonical: once through the decoder, it is a fixed point.
template <typename Frame, typename Encode, typename Decode>
void round_trip(std::string_view payload, Encode encode, Decode decode) {
  Result<Frame> first = decode(payload);
  if (!first) return;
  std::string once;
  encode(*first, once);
  Result<Frame> second = decode(once);
  if (!second) std::abort();
  std::string twice;
  encode(*second, twice);
  if (once != twice) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view bytes(reinterpret_cast<const char*>(data), size);
  if (size >= header_bytes) {
    auto header = decode_header(std::span<const char, header_bytes>(bytes.data(), header_bytes));
    if (header) {
      char back[header_bytes];
      encode_header(*header, back);
      if (std::string_view(back, header_bytes) != bytes.substr(0, header_bytes)) std::abort();
    }
  }
  if (size == 0) return 0;
  auto payload = bytes.substr(1);
  switch (data[0] % 9) {
    case 0:
      round_trip<Hello>(payload, [](const Hello& hello, std::string& out) { out = encode_hello(hello); }, decode_hello);
      break;
    case 1:
      round_trip<OpenFrame>(payload, encode_open, decode_open);
      break;
    case 2:
      // A status has a limit for its texts, which is far above what a fuzzer writes.
      round_trip<StatusFrame>(payload, encode_status, decode_status);
      break;
    case 3:
      round_trip<MetadataView>(payload, encode_metadata, decode_metadata);
      break;
    case 4:
      round_trip<WaitFrame>(payload, encode_wait, decode_wait);
      break;
    case 5:
      round_trip<GrantFrame>(payload, encode_grant, decode_grant);
      break;
    case 6:
      round_trip<LoadFrame>(payload, encode_load, decode_load);
      break;
    case 7:
      round_trip<Path>(
          payload,
          [](const Path& path, std::string& out) {
            encode_path({.service = path.service,
                         .command = path.command,
                         .principal_kind = path.principal_kind,
                         .principal_service = path.principal_service},
                        out);
          },
          decode_path);
      break;
    case 8:
      round_trip<OpenFrame>(payload, encode_extra, [](std::string_view extra) -> Result<OpenFrame> {
        OpenFrame open;
        SHUNT_CHECK(decode_extra(extra, open));
        return open;
      });
      break;
  }
  return 0;
}

}  // namespace shunt::wire
