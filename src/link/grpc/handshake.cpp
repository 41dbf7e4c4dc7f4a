#include "link/grpc/handshake.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "base/base64.h"
#include "net/digest/digest.h"

namespace shunt::link {

namespace {

constexpr std::string_view version = "1";
constexpr std::size_t text_bytes_max = 256;

bool is_hex(std::string_view text) {
  return text.size() == 32 &&
         std::ranges::all_of(text, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

std::unexpected<Status> missing(std::string_view what) {
  return fail(
      Code::invalid_argument, "S5061",
      fmt::format("the header {} of the interconnect is missing or not of its form; is it a Shunt node?", what));
}

}  // namespace

std::vector<std::pair<std::string, std::string>> introduction_fields(const Introduction& introduction) {
  return {{"shunt-interconnect", std::string(version)},
          {"shunt-node", introduction.node.id},
          {"shunt-node-name-bin", encode_base64(introduction.node.name)},
          {"shunt-epoch", std::to_string(introduction.node.epoch)},
          {"shunt-software", introduction.node.software},
          {"shunt-challenge", introduction.challenge},
          {"shunt-auth", introduction.keyed ? "key" : "open"}};
}

Result<Introduction> read_introduction(const std::function<std::string_view(std::string_view)>& find) {
  const std::string_view theirs = find("shunt-interconnect");
  if (theirs.empty()) return missing("shunt-interconnect");
  if (theirs != version) {
    return fail(Code::failed_precondition, "S1023",
                fmt::format("the other node speaks version {} of the interconnect, this one {}", theirs.substr(0, 16),
                            version));
  }
  Introduction read;
  read.node.id = find("shunt-node");
  if (!is_hex(read.node.id)) return missing("shunt-node");
  auto name = decode_base64(find("shunt-node-name-bin"));
  if (!name || name->empty() || name->size() > text_bytes_max) return missing("shunt-node-name-bin");
  read.node.name = std::move(*name);
  const std::string_view epoch = find("shunt-epoch");
  const auto [end, error] = std::from_chars(epoch.data(), epoch.data() + epoch.size(), read.node.epoch);
  if (error != std::errc() || end != epoch.data() + epoch.size()) return missing("shunt-epoch");
  read.node.software = find("shunt-software").substr(0, text_bytes_max);
  read.challenge = find("shunt-challenge");
  if (!is_hex(read.challenge)) return missing("shunt-challenge");
  const std::string_view auth = find("shunt-auth");
  if (auth != "key" && auth != "open") return missing("shunt-auth");
  read.keyed = auth == "key";
  return read;
}

std::string make_proof(std::string_view key, HandshakeSide side, const Introduction& dialler,
                       const Introduction& acceptor) {
  const std::string text =
      fmt::format("shunt interconnect {} {}\n{} {} {}\n{} {} {}\n", version,
                  side == HandshakeSide::dialler ? "dialler" : "acceptor", dialler.node.id, dialler.node.epoch,
                  dialler.challenge, acceptor.node.id, acceptor.node.epoch, acceptor.challenge);
  const auto digest = net::hmac_sha256(key, text);
  return {reinterpret_cast<const char*>(digest.data()), digest.size()};
}

}  // namespace shunt::link
