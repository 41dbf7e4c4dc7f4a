// Whatever a peer writes to a broker socket: decoding never crashes, and what was decoded is written back the same.

#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "wire/broker_message.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace shunt::wire;
  std::string_view bytes(reinterpret_cast<const char*>(data), size);
  auto message = BrokerMessage::decode(bytes);
  if (!message) return 0;
  (void)message->commands();
  (void)message->counts();
  (void)message->paths();
  (void)message->error();
  (void)message->value(BrokerKey::role);
  auto again = message->encode();
  if (!again) return 0;
  auto back = BrokerMessage::decode(*again);
  if (!back || back->size() != message->size() || back->commands() != message->commands()) std::abort();
  return 0;
}
