#pragma once
// How two nodes come to know each other before a link's first byte: who each is, and, where they share a key, that the other
// knows it. The key itself never travels, and what does is of no use a second time: each side proves itself with the
// other's fresh challenge.
//
//   dialler                                              acceptor
//   headers: version, node, epoch, challenge  ─────────▶
//                                             ◀─────────  headers: version, node, epoch, challenge, "key" or "open"
//   first message: proof                      ─────────▶  checks it before anything else
//                                             ◀─────────  first message: proof, then frames
//
// The acceptor's comes last, so that nobody who just dials gets anything made with the key. Texts only: no sockets.

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace shunt::link {

inline constexpr std::string_view interconnect_path = "/shunt.interconnect.v1.Interconnect/Link";

/// A node as another one knows it.
struct NodeIdentity {
  std::string id;           ///< 32 hexadecimal digits; stays over restarts.
  std::string name;         ///< For people.
  std::uint64_t epoch = 0;  ///< Greater with each start.
  std::string software;     ///< "shunt 0.1.0"
};

/// One side's half of the headers, both ways. `keyed`: it wants proof.
struct Introduction {
  NodeIdentity node;
  std::string challenge;  ///< 32 hexadecimal digits, never twice.
  bool keyed = false;
};

/// As header fields; names in lower case.
std::vector<std::pair<std::string, std::string>> introduction_fields(const Introduction& introduction);
/// `find` gives a header's value, or an empty text.
/// Errors: invalid_argument S5061 for headers that are missing or broken, failed_precondition S1023 for another version.
Result<Introduction> read_introduction(const std::function<std::string_view(std::string_view)>& find);

enum class HandshakeSide : std::uint8_t { dialler, acceptor };
/// What `side` sends: 32 bytes.
std::string make_proof(std::string_view key, HandshakeSide side, const Introduction& dialler,
                       const Introduction& acceptor);

}  // namespace shunt::link
