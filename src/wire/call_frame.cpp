#include "wire/call_frame.h"

#include <algorithm>
#include <array>

#include "wire/codec.h"

namespace shunt::wire {

namespace {
/// The last eight bytes of a text, or all of it: where names that are alike differ.
std::uint64_t tail(std::string_view text) {
  std::uint64_t size = text.size();
  if (size >= 8) {
    std::uint64_t last = 0;
    std::memcpy(&last, text.data() + size - 8, 8);
    return size ^ last;
  }
  std::uint64_t word = size;
  for (char c : text) word = word << 8 | static_cast<unsigned char>(c);
  return word;
}
}  // namespace

std::uint16_t path_number(const OpenFrame& open) {
  std::uint64_t mixed = (tail(open.command) + 0x9e3779b97f4a7c15ULL * open.principal_kind) * 0xff51afd7ed558ccdULL;
  mixed = (mixed ^ tail(open.service) ^ (mixed >> 32)) * 0xc4ceb9fe1a85ec53ULL;
  if (!open.principal_service.empty()) mixed = (mixed ^ tail(open.principal_service)) * 0x9e3779b97f4a7c15ULL;
  return static_cast<std::uint16_t>((mixed >> 56) + 1);
}

void encode_path(const OpenFrame& open, std::string& out) {
  put(out, open.principal_kind);
  put(out, std::uint8_t{0});
  put(out, short_size(open.service));
  put(out, short_size(open.command));
  put(out, short_size(open.principal_service));
  for (auto text : {open.service, open.command, open.principal_service}) out.append(cut(text));
}

Result<Path> decode_path(std::string_view payload) {
  Reader in(payload);
  Path path;
  path.principal_kind = in.get<std::uint8_t>();
  in.get<std::uint8_t>();
  std::size_t service = in.get<std::uint16_t>();
  std::size_t command = in.get<std::uint16_t>();
  std::size_t principal_service = in.get<std::uint16_t>();
  if (service + command + principal_service > path_bytes_max) return broken("PATH with names that are too long");
  path.service = in.text(service);
  path.command = in.text(command);
  path.principal_service = in.text(principal_service);
  if (!in.ok()) return broken("PATH ends too early");
  path.given = true;
  return path;
}

void encode_extra(const OpenFrame& open, std::string& out) {
  put(out, open.grant);
  put(out, short_size(open.principal_user));
  put(out, short_size(open.token));
  put(out, metadata_size(open.metadata));
  out.append(cut(open.principal_user));
  out.append(cut(open.token));
  if (!open.metadata.empty()) encode_metadata(open.metadata, out);
}

Result<void> decode_extra(std::string_view extra, OpenFrame& open) {
  Reader in(extra);
  open.grant = in.get<std::uint64_t>();
  auto user = in.get<std::uint16_t>();
  auto token = in.get<std::uint16_t>();
  auto metadata = in.get<std::uint32_t>();
  open.principal_user = in.text(user);
  open.token = in.text(token);
  auto block = in.text(metadata);
  if (!in.ok()) return broken("CALL ends too early");
  if (metadata > 0) {
    SHUNT_TRY(open.metadata, decode_metadata(block));
  }
  return {};
}

}  // namespace shunt::wire
