#pragma once
// The doors of the node: what the `shunt` command calls to run a house, or a part of one. It knows nothing of how the
// command line was spelled: options arrive filled in (flags over environment over file over default).

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/time.h"

namespace shunt::node {

/// What `shunt run` was asked for. What is absent takes the default of the room that it concerns.
struct RunOptions {
  std::vector<std::string> paths;           ///< App folders or manifests, at least one.
  std::vector<std::string> listen;          ///< ADDR:PORT each, or https:// or http:// and that; empty:
                                            ///< 127.0.0.1:8080. Port 0 picks one. Without a scheme: TLS when
                                            ///< there is a certificate.
  std::string data;                         ///< The data folder: admin socket, lock, caches. Absolute.
  std::optional<bool> dev;                  ///< --dev, --no-dev; nothing: dev when every address is loopback.
  std::optional<std::string> as_if_remote;  ///< Calls within the process cross a wire: link::parse_as_if_remote().
  bool json = false;                        ///< `ready` and what goes wrong as JSON lines.
  std::optional<unsigned> loops;            ///< Serving loops; nothing: one for each core it may use.
  bool tls_self = false;                    ///< Make a development certificate.
  std::string tls_cert;                     ///< Or show this one: a PEM file; empty: none. Absolute.
  std::string tls_key;                      ///< Its key.
  std::string tls_client_ca;                ///< Who signs clients' certificates; empty: they are not asked.
  bool tls_client_required = true;          ///< Or optional.
  std::vector<std::string> peers;           ///< grpc://HOST:PORT each, or grpcs://.
  std::string peer_key;                     ///< File of the secret that all nodes share; empty: none. Absolute.
  std::string peer_ca;                      ///< PEM: whom grpcs:// trusts; empty: the system's. Absolute.
  std::string node_name;                    ///< What other nodes call this one; empty: the host's name.
  std::string tokens;                       ///< File of bearer tokens for "auth": "token"; empty: none.
  std::optional<std::uint64_t> header_bytes_max;  ///< Of one request's header; beyond: 431.
  std::optional<std::uint64_t> body_bytes_max;    ///< Of one message; beyond: 413.
  std::optional<std::uint64_t> connections_max;   ///< Of the gateway; beyond: 503.
  std::optional<Duration> header_timeout;         ///< For a whole request header; beyond: 408.
  std::optional<Duration> idle_timeout;           ///< Between requests of a connection; beyond: closed.
  std::optional<Duration> drain_timeout;          ///< For calls in flight at shutdown; beyond: cancelled.
};

/// Errors: those of link::parse_as_if_remote().
Result<void> check_as_if_remote(const std::string& text);

/// Runs a house until it is told to stop: supervisor first, which starts the node. Returns the exit code.
int run(const RunOptions& options);

/// Entry points of the processes that Shunt starts of itself (`shunt node`, `worker`, `describe-module`). argv[0] is the
/// name of the command; what follows is between the caller and the entry point. Return exit codes.
int node_main(int argc, char** argv);
int worker_main(int argc, char** argv);
int describe_main(int argc, char** argv);

}  // namespace shunt::node
