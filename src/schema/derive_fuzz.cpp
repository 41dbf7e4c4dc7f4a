// Whatever comes as a schema, a message or JSON: no crash, and what was turned once comes back the same for ever. The first
// byte chooses.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "schema/derive.h"
#include "schema/proto_text.h"

namespace {

using namespace shunt;
using call::Encoding;
using call::Side;

constexpr const char* known_schema = R"({"type":"object","properties":{"i":{"type":"integer","x-proto-field":1},
  "u":{"type":"integer","maximum":18446744073709551615,"x-proto-field":2},"d":{"type":"number","x-proto-field":3},
  "s":{"type":["string","null"],"x-proto-field":4},"y":{"type":"string","contentEncoding":"base64","x-proto-field":5},
  "b":{"type":"boolean","x-proto-field":6},"any":{"x-proto-field":7},"obj":{"type":"object","x-proto-field":8},
  "pair":{"type":"array","prefixItems":[{},{}],"x-proto-field":9},
  "is":{"type":"array","items":{"type":"integer"},"x-proto-field":10},
  "ds":{"type":"array","items":{"type":"number"},"x-proto-field":11},
  "ss":{"type":"array","items":{"type":"string"},"x-proto-field":12},
  "m":{"type":"object","additionalProperties":{"type":"integer"},"x-proto-field":13},
  "me":{"$ref":"#","x-proto-field":14},"us":{"type":"array","items":{"$ref":"#"},"x-proto-field":15},
  "by_name":{"type":"object","additionalProperties":{"$ref":"#"},"x-proto-field":16}},"required":["i","d","s","is","m","b"]})";

call::ServiceDefinition service_of(std::string request) {
  call::ServiceDefinition out;
  out.full_name = "fuzz.it";
  call::CommandDefinition command;
  command.name = "it";
  command.request_schema = std::move(request);
  command.response_schema = "{}";
  out.commands.emplace("it", std::move(command));
  return out;
}

void check(bool holds) {
  if (!holds) std::abort();
}

/// JSON that came from a message is a message again, and the same JSON from that.
void check_round_trip(const call::Transcoder& transcoder, const Bytes& json) {
  const auto message = transcoder.convert(Side::request, Encoding::json, Encoding::proto, json);
  check(message.has_value());
  const auto back = transcoder.convert(Side::request, Encoding::proto, Encoding::json, *message);
  check(back.has_value() && *back == json);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0 || size > 8192) return 0;
  static const schema::Derived known = *schema::derive(service_of(known_schema));
  const call::Transcoder& transcoder = *known.transcoders.at("it");
  const Bytes input = Bytes::copy_of({reinterpret_cast<const char*>(data) + 1, size - 1});
  switch (data[0] % 4) {
    case 0: {
      const auto json = transcoder.convert(Side::request, Encoding::proto, Encoding::json, input);
      if (json) check_round_trip(transcoder, *json);
      break;
    }
    case 1: {
      const auto message = transcoder.convert(Side::request, Encoding::json, Encoding::proto, input);
      if (!message) break;
      const auto json = transcoder.convert(Side::request, Encoding::proto, Encoding::json, *message);
      check(json.has_value());
      check_round_trip(transcoder, *json);
      break;
    }
    case 2: {
      const auto own = transcoder.convert(Side::request, Encoding::proto_json, Encoding::json, input);
      check(own.has_value());
      const auto theirs = transcoder.convert(Side::response, Encoding::json, Encoding::proto_json, input);
      check(theirs.has_value());
      break;
    }
    default: {
      const auto derived = schema::derive(service_of(std::string(input.view())));
      if (derived) check(schema::proto_text(*derived->contract).has_value());
    }
  }
  return 0;
}
