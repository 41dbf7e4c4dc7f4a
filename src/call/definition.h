#pragma once
// What a service is, as the kernel needs it: its commands with their shape, effect and time limit, and who may call.
// Filled in by manifest/ and by what the code describes; immutable once it is in a routing snapshot.

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/time.h"
#include "call/contract.h"
#include "call/distance.h"

namespace shunt::call {

/// What a command may do when called.
enum class Effect : std::uint8_t { any, idempotent, none };
/// Which directions carry more than one message.
enum class StreamShape : std::uint8_t { unary, client, server, both };

struct CommandDefinition {
  std::string name;
  std::string description;
  std::string request_schema;   ///< JSON Schema text; "{}": any JSON; empty: any bytes.
  std::string response_schema;  ///< The same.
  Effect effect = Effect::any;
  StreamShape stream = StreamShape::unary;
  Duration timeout{0};    ///< Default deadline; zero: the service's (60 s).
  bool blocking = false;  ///< Runs synchronously in its worker: while it runs the worker has no other room.
  Encoding encoding = Encoding::json;  ///< What its handler receives and answers.
  /// Owners: every snapshot that has the definition. nullptr: messages are passed as they are.
  std::shared_ptr<const Transcoder> transcoder;
};

/// One entry of `uses` or `allow`: a service, or one command of it.
struct Reach {
  std::string service;
  std::string command;  ///< Empty: every command.
};

enum class Auth : std::uint8_t { none, token };

struct ServiceDefinition {
  std::string app;
  std::string name;       ///< Within the app.
  std::string full_name;  ///< "app.service", or the app's name for an app of one service.
  std::string version;
  std::string description;
  std::map<std::string, CommandDefinition, std::less<>> commands;
  std::vector<Reach> uses;
  std::vector<std::string> allow;  ///< Services that may call; empty: those of the same app.
  bool allow_all = false;          ///< "allow": ["*"].
  bool exposed = false;            ///< Reachable by the gateway.
  Auth auth = Auth::none;
  Placement placement;                          ///< How calls to it may travel.
  Duration timeout = std::chrono::seconds(60);  ///< Default deadline of its commands.
  std::shared_ptr<const Contract> contract;     ///< Its protobuf view. Owners: every snapshot with the definition.
};

}  // namespace shunt::call
