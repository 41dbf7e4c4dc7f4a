// JSON into a message of every kind of field and back, and bytes as such a message: no input crashes, and what is accepted
// is stable: the JSON that we write is read again, and gives the same. The first byte chooses.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "schema/json_to_wire.h"
#include "schema/pool.h"
#include "schema/test_proto_test.h"
#include "schema/types.h"
#include "schema/wire_to_json.h"

namespace {

using namespace shunt;
using namespace shunt::schema;

void require(bool good) {
  if (!good) std::abort();
}

struct Rig {
  Rig() {
    std::string error;
    auto pool = build_pool(test_descriptors(error));
    require(pool.has_value());
    types = Types::create(pool->files);
  }
  std::shared_ptr<const Types> types;
};

// What we have written reads as the same message, and that as the same text.
void stable(const Types& types, const MessageType& type, const Bytes& json, const JsonForm& form) {
  auto wire = json_to_wire(types, type, json.view());
  require(wire.has_value());
  auto again = wire_to_json(types, type, wire->view(), form);
  require(again.has_value());
  require(again->view() == json.view());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const Rig rig;
  if (size == 0) return 0;
  const std::string_view input(reinterpret_cast<const char*>(data) + 1, size - 1);
  static constexpr std::string_view names[] = {"test.All", "test2.Old", "google.protobuf.Value", "test.Order"};
  const MessageType& type = *rig.types->message(names[(data[0] >> 1) & 3]);
  const JsonForm form{.numbers = (data[0] & 8) != 0, .output_bytes_max = std::size_t{1} << 20};
  if ((data[0] & 1) != 0) {
    auto wire = json_to_wire(*rig.types, type, input);
    if (!wire) return 0;
    auto json = wire_to_json(*rig.types, type, wire->view(), form);
    if (json) stable(*rig.types, type, *json, form);
  } else {
    auto json = wire_to_json(*rig.types, type, input, form);
    if (json) stable(*rig.types, type, *json, form);
  }
  return 0;
}
