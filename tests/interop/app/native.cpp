// native: in C++, in the node's process. One library, hosted twice: declared by native.proto, and with what is derived from
// these structs.
#include <shunt/service.h>

#include <cstdint>
#include <optional>
#include <string>
#include <utility>

struct CountRequest {
  std::int32_t to = 0;
  std::int32_t bytes = 0;
};
SHUNT_FIELDS(CountRequest, to, bytes)

struct Number {
  std::int32_t value = 0;
  std::optional<shunt::Bytes> data;
};
SHUNT_FIELDS(Number, value, data)

struct Sum {
  std::int32_t total = 0;
  std::int32_t count = 0;
};
SHUNT_FIELDS(Sum, total, count)

struct RefuseRequest {
  std::int32_t code = 0;
  std::string message;
  bool detailed = false;
};
SHUNT_FIELDS(RefuseRequest, code, message, detailed)

shunt::Result<shunt::Json> unary(shunt::Call&, shunt::Json message) { return message; }

shunt::Task<shunt::Result<void>> count(shunt::Call&, CountRequest request, shunt::Writer<Number> out) {
  for (std::int32_t value = 0; value < request.to; ++value) {
    Number number;
    number.value = value;
    if (request.bytes > 0) number.data = shunt::Bytes(std::string(static_cast<std::size_t>(request.bytes), 'x'));
    if (!co_await out.send(number)) break;
  }
  co_return {};
}

shunt::Task<shunt::Result<Sum>> add(shunt::Call&, shunt::Reader<Number> in) {
  Sum sum;
  while (auto number = co_await in.next()) {
    sum.total += number->value;
    ++sum.count;
  }
  co_return sum;
}

shunt::Task<shunt::Result<void>> running(shunt::Call&, shunt::Reader<Number> in, shunt::Writer<Sum> out) {
  Sum sum;
  while (auto number = co_await in.next()) {
    sum.total += number->value;
    ++sum.count;
    if (!co_await out.send(sum)) break;
  }
  co_return {};
}

shunt::Result<shunt::Json> refuse(shunt::Call& call, RefuseRequest request) {
  call.add_trailer("interop-trailer", "told");
  if (request.code == 0) return shunt::Json::object({});
  shunt::Error error(static_cast<shunt::Code>(request.code), request.message);
  if (!request.detailed) return error;
  // google.rpc.ErrorInfo {reason: "AS_ASKED", domain: "interop"}
  return std::move(error).with_details(R"([{"type":"google.rpc.ErrorInfo","value":"CghBU19BU0tFRBIHaW50ZXJvcA=="}])");
}

SHUNT_SERVICE(service) {
  service.description("Echoes, counts and refuses.");
  service.command("unary", unary);
  service.command("count", count, {.effect = shunt::Effect::none});
  service.command("add", add);
  service.command("running", running);
  service.command("refuse", refuse);
}
