#pragma once
// A service's commands bound to the methods of a protobuf service: which method each command is, and what the .proto file
// then says of it. The rules are docs/reference/manifest.md's. Knows no manifest: what is wrong is told by the key.

#include <map>
#include <string>
#include <vector>

#include "call/definition.h"
#include "schema/proto_files.h"

namespace shunt::schema {

struct BindProblem {
  bool warning = false;
  std::string id = {};   ///< S2071, S2074, S2076 to S2079.
  std::string key = {};  ///< Of the manifest: "proto", "commands.get.stream".
  std::string message = {};
  std::string known = {};
  std::string fix = {};
};

/// What is said elsewhere than in the .proto files.
struct BindOptions {
  struct Messages {
    std::string request;
    std::string response;
  };
  std::map<std::string, std::string, std::less<>> methods;  ///< By command: "shop.v1.Items/GetItem".
  std::map<std::string, Messages, std::less<>> messages;    ///< By command: the types that the code works with.
  std::map<std::string, std::string, std::less<>> places;   ///< By command: where in the code, such as "cart.py:12".
  std::string code;                                         ///< The code's file, where a place is missing.
  /// The files are the code's own: where they declare no service with those commands, one is made of `messages`, named as
  /// a derived one is.
  bool make_service = false;
};

/// Sets the definition's contract, and each bound command's transcoder; effect and descriptions too, where they are not
/// said. Nothing is changed where one of the problems is not a warning.
std::vector<BindProblem> bind_proto(call::ServiceDefinition& definition, const ProtoFiles& files,
                                    const BindOptions& options);

/// "GetItem", "get_item", "get-item" and "getItem" are one name.
std::string same_name(std::string_view name);

}  // namespace shunt::schema
