// The caller of the parity tests in C++: makes the call that a script describes, and answers what it heard. caller.py does
// the same.
#include <shunt/service.h>

#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

using shunt::Bytes;

struct Script {
  std::string service;
  std::string command;
  std::vector<Bytes> messages;
  bool streams = false;           // The request is a stream.
  std::int64_t timeout_ms = 0;    // 0: none of its own.
  std::int64_t leave_after = -1;  // Lets go when so many messages have come.
  std::map<std::string, Bytes> metadata;
};
SHUNT_FIELDS(Script, service, command, messages, streams, timeout_ms, leave_after, metadata)

struct Heard {
  std::vector<Bytes> messages;
  std::int32_t code = 0;
  std::string id;
  std::string text;
  std::string details;
  bool left = false;
};
SHUNT_FIELDS(Heard, messages, code, id, text, details, left)

namespace {

template <typename Exchange>
shunt::Task<Heard> listen(Exchange& exchange, std::int64_t leave_after) {
  Heard heard;
  while (leave_after < 0 || static_cast<std::int64_t>(heard.messages.size()) < leave_after) {
    auto message = co_await exchange.next();
    if (!message) break;
    heard.messages.push_back(std::move(*message));
  }
  if (leave_after >= 0 && static_cast<std::int64_t>(heard.messages.size()) >= leave_after) {
    heard.left = true;
    co_return heard;
  }
  if (auto end = co_await exchange.result(); !end) {
    const shunt::Error& error = end.error();
    heard.code = static_cast<std::int32_t>(error.code());
    heard.id = error.id();
    heard.text = error.message();
    heard.details = error.details();
  }
  co_return heard;
}

shunt::Task<shunt::Result<Heard>> drive(shunt::Call& call, Script script) {
  shunt::CallOptions options;
  options.timeout = std::chrono::milliseconds(script.timeout_ms);
  for (const auto& [key, value] : script.metadata) options.metadata.emplace_back(key, value.data);
  const auto callee = call.service(script.service).with(std::move(options));
  if (!script.streams) {
    auto exchange = callee.open<Bytes>(script.command, std::move(script.messages.at(0)));
    co_return co_await listen(exchange, script.leave_after);
  }
  auto exchange = callee.open<Bytes, Bytes>(script.command);
  for (Bytes& message : script.messages) {
    if (!co_await exchange.send(std::move(message))) break;
  }
  exchange.close();
  co_return co_await listen(exchange, script.leave_after);
}

}  // namespace

SHUNT_SERVICE(service) { service.command("drive", drive); }
