// A server meets whatever a client sends: no crash, and after an error nothing more. The first byte chooses the pieces and
// whether clients are asked for a certificate.
#include <cstdint>
#include <cstdlib>
#include <ctime>
#include <string>

#include "net/tls/certificate.h"
#include "net/tls/tls_context.h"
#include "net/tls/tls_session.h"

namespace {

using namespace shunt::net;

void check(bool holds) {
  if (!holds) std::abort();
}

shunt::Own<TlsContext> make_context(ClientCertificate client) {
  const std::int64_t now = ::time(nullptr);
  const auto authority = make_authority("Fuzz CA", now, 30);
  const auto leaf = make_leaf(*authority, {.subject = "localhost", .names = {"localhost"}, .now_s = now});
  TlsServerOptions options;
  options.certificates = leaf->certificate;
  options.key = leaf->key;
  options.client = client;
  options.client_authorities = authority->certificate;
  return TlsContext::create(options).value();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const auto plain = make_context(ClientCertificate::none);
  static const auto asking = make_context(ClientCertificate::optional);
  if (size == 0) return 0;
  std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  const std::size_t piece = data[0] < 2 ? text.size() + 1 : data[0];
  auto session = TlsSession::accept(data[0] % 2 == 0 ? *plain : *asking).value();
  std::string plaintext;
  std::string to_peer;
  bool over = false;
  while (!text.empty()) {
    const std::string part(text.substr(0, piece));
    text.remove_prefix(part.size());
    const std::size_t said = to_peer.size();
    const auto result = session->receive(part, plaintext, to_peer);
    check(!over || (!result && to_peer.size() == said));
    if (!result) {
      over = true;
      check(!result.error().id().empty() && !result.error().message().empty());
    }
  }
  // Nobody gets through a handshake without knowing what a client has to know.
  check(plaintext.empty());
  session->close(to_peer);
  return 0;
}
