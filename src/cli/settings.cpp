#include "cli/settings.h"

#include <fmt/format.h>
#include <pwd.h>
#include <unistd.h>

#include <charconv>

#include "base/names.h"

namespace shunt::cli {
namespace {

std::optional<std::string> non_empty(const Environment& environment, const char* name) {
  auto value = environment(name);
  if (!value || value->empty()) return std::nullopt;
  return value;
}

std::string home(const Environment& environment) {
  if (auto value = non_empty(environment, "HOME")) return *value;
  const passwd* user = ::getpwuid(::getuid());
  return user != nullptr && user->pw_dir != nullptr ? user->pw_dir : "";
}

/// The XDG folder: its variable when it is absolute (the specification ignores others), else below the home.
std::string xdg(const Environment& environment, const char* variable, const char* below_home) {
  auto value = non_empty(environment, variable);
  if (value && value->front() == '/') return *value;
  const std::string base = home(environment);
  return base.empty() ? "" : base + below_home;
}

std::vector<std::string> split_list(std::string_view text) {
  std::vector<std::string> parts;
  std::string part;
  for (const char c : text) {
    if (c == ',' || c == ' ') {
      if (!part.empty()) parts.push_back(std::move(part));
      part.clear();
    } else {
      part += c;
    }
  }
  if (!part.empty()) parts.push_back(std::move(part));
  return parts;
}

}  // namespace

std::optional<bool> parse_bool(std::string_view text) {
  if (text == "1" || text == "true" || text == "yes" || text == "on") return true;
  if (text == "0" || text == "false" || text == "no" || text == "off") return false;
  return std::nullopt;
}

bool is_listen_address(std::string_view text) {
  text = split_listen(text).address;
  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos || colon == 0) return false;
  const std::string_view port = text.substr(colon + 1);
  unsigned number = 0;
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), number);
  if (port.empty() || error != std::errc() || end != port.data() + port.size() || number > 65535) return false;
  const std::string_view address = text.substr(0, colon);
  const bool bracketed = address.front() == '[' && address.back() == ']' && address.size() > 2;
  return bracketed || address.find_first_of(":[]") == std::string_view::npos;
}

Result<Settings> load_settings(const Environment& environment) {
  Settings settings;
  if (auto listen = non_empty(environment, "SHUNT_LISTEN")) settings.listen = split_list(*listen);
  for (const std::string& each : settings.listen)
    if (!is_listen_address(each))
      return fail(Code::invalid_argument, "S5009",
                  fmt::format("SHUNT_LISTEN has '{}', which is not ADDR:PORT, such as 127.0.0.1:8080.", each));
  if (auto peers = non_empty(environment, "SHUNT_PEER")) settings.peers = split_list(*peers);
  settings.peer_key = non_empty(environment, "SHUNT_PEER_KEY_FILE").value_or("");
  settings.node_name = non_empty(environment, "SHUNT_NODE_NAME").value_or("");
  if (auto data = non_empty(environment, "SHUNT_DATA")) settings.data = *data;
  if (auto dev = non_empty(environment, "SHUNT_DEV")) {
    settings.dev = parse_bool(*dev);
    if (!settings.dev)
      return fail(Code::invalid_argument, "S5009", fmt::format("SHUNT_DEV is '{}'; it may be 1 or 0.", *dev));
  }
  if (auto like = non_empty(environment, "SHUNT_AS_IF_REMOTE"); like && *like != "0") {
    settings.as_if_remote = *like == "1" ? "" : *like;
    if (auto read = node::check_as_if_remote(*settings.as_if_remote); !read) {
      return fail(Code::invalid_argument, "S5009", fmt::format("SHUNT_AS_IF_REMOTE: {}", read.error().message()));
    }
  }
  settings.tls = non_empty(environment, "SHUNT_TLS").value_or("");
  settings.tls_cert = non_empty(environment, "SHUNT_TLS_CERT").value_or("");
  settings.tls_key = non_empty(environment, "SHUNT_TLS_KEY").value_or("");
  settings.tls_client_ca = non_empty(environment, "SHUNT_TLS_CLIENT_CA").value_or("");
  settings.tls_client = non_empty(environment, "SHUNT_TLS_CLIENT").value_or("");
  return settings;
}

Result<std::string> default_data_folder(const Environment& environment) {
  const std::string state = xdg(environment, "XDG_STATE_HOME", "/.local/state");
  if (state.empty())
    return fail(Code::failed_precondition, "S5012",
                "there is no home folder to keep data in. Say where with --data DIR.");
  return state + "/shunt";
}

}  // namespace shunt::cli
