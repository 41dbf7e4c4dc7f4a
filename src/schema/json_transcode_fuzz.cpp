// JSON into a message of every kind of field and back, and bytes as such a message: no input crashes, and what is accepted
// is stable: the JSON that we write is read again, and gives the same. Of a type without well-known ones protobuf itself is
// asked: what it parses we must write as it does. (Of a value that another one replaces we do not look inside.) The first byte chooses.
#include <google/protobuf/descriptor.h>
#include <google/protobuf/dynamic_message.h>
#include <google/protobuf/util/json_util.h>

#include <cstdint>
#include <cstdlib>
#include <memory>
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
    auto built = build_pool(test_descriptors(error));
    require(built.has_value());
    pool = std::move(*built);
    types = Types::create(pool.files);
    order = factory.GetPrototype(pool.descriptors->FindMessageTypeByName("test.Order"));
  }
  Pool pool;
  google::protobuf::DynamicMessageFactory factory;
  const google::protobuf::Message* order = nullptr;
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

void as_protobuf(const google::protobuf::Message& prototype, std::string_view input, const Result<Bytes>& ours) {
  const std::unique_ptr<google::protobuf::Message> theirs(prototype.New());
  const bool parsed = theirs->ParseFromArray(input.data(), static_cast<int>(input.size()));
  if (!parsed) return;
  if (!ours) {
    // The tag of an unknown field may lie beyond 32 bits for it, and must not for us.
    const std::size_t with_unknown = theirs->ByteSizeLong();
    theirs->DiscardUnknownFields();
    return require(theirs->ByteSizeLong() != with_unknown);
  }
  std::string json;
  require(google::protobuf::util::MessageToJsonString(*theirs, &json).ok());
  // It escapes more than it must.
  if (json.find('\\') == std::string::npos) require(json == ours->view());
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
    if (type.name == "test.Order") as_protobuf(*rig.order, input, json);
    if (json) stable(*rig.types, type, *json, form);
  }
  return 0;
}
