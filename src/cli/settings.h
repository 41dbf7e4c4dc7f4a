#pragma once
// What the environment says, below the flags and above the manifest's `listen` and the defaults.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "cli/options.h"

namespace shunt::cli {

struct Settings {
  std::vector<std::string> listen;          ///< SHUNT_LISTEN: one or several, with commas or spaces between.
  std::string data;                         ///< SHUNT_DATA
  std::optional<bool> dev;                  ///< SHUNT_DEV
  std::optional<std::string> as_if_remote;  ///< SHUNT_AS_IF_REMOTE; "1" means its defaults.
  std::string tls;                          ///< SHUNT_TLS
  std::string tls_cert;                     ///< SHUNT_TLS_CERT
  std::string tls_key;                      ///< SHUNT_TLS_KEY
  std::string tls_client_ca;                ///< SHUNT_TLS_CLIENT_CA
  std::string tls_client;                   ///< SHUNT_TLS_CLIENT
  std::vector<std::string> peers;           ///< SHUNT_PEER: one or several, with commas or spaces between.
  std::string peer_key;                     ///< SHUNT_PEER_KEY_FILE
  std::string node_name;                    ///< SHUNT_NODE_NAME
};

/// Errors: S5009, with the variable and what it may be.
Result<Settings> load_settings(const Environment& environment);

/// $XDG_STATE_HOME/shunt, else ~/.local/state/shunt. Errors: S5012 when there is no home either.
Result<std::string> default_data_folder(const Environment& environment);

/// True for ADDR:PORT and [V6]:PORT, with http:// or https:// before it or not.
bool is_listen_address(std::string_view text);

/// Reads 1, true, yes, on and their opposites.
std::optional<bool> parse_bool(std::string_view text);

}  // namespace shunt::cli
