// The acceptor's and the dialler's reader of messages, fed in pieces: it never crashes, and how a stream is cut changes nothing.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "link/grpc/link_message.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::size_t cut = data[0] % 64 + 1;
  const std::string_view stream(reinterpret_cast<const char*>(data) + 1, size - 1);
  shunt::link::LinkMessageReader whole;
  std::string at_once;
  const bool good = whole.read(stream, at_once).has_value();
  shunt::link::LinkMessageReader pieces;
  std::string in_pieces;
  bool still = true;
  for (std::size_t at = 0; at < stream.size() && still; at += cut) {
    still = pieces.read(stream.substr(at, cut), in_pieces).has_value();
  }
  if (still != good || (good && (at_once != in_pieces || whole.proof() != pieces.proof()))) std::abort();
  return 0;
}
