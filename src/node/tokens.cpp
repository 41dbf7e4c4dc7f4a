#include "node/tokens.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <string_view>

#include "os/file.h"

namespace shunt::node {

namespace {
constexpr std::size_t token_bytes_min = 16;
constexpr std::size_t file_bytes_max = 1 << 20;

std::string_view trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t' || text.back() == '\r')) text.remove_suffix(1);
  return text;
}
}  // namespace

Result<std::vector<gateway::TokenTable::Token>> load_tokens(const std::string& path) {
  auto bad = [&](int line, std::string_view what) {
    return fail(Code::failed_precondition, "S5014",
                line == 0 ? fmt::format("{}: {}", path, what) : fmt::format("{}:{}: {}", path, line, what));
  };
  struct stat info{};
  if (stat(path.c_str(), &info) == 0 && (info.st_mode & S_IROTH) != 0) {
    return bad(0, fmt::format("every user of this machine can read these secrets; write: chmod o= {}", path));
  }
  auto text = os::read_file(path, file_bytes_max);
  if (!text) return bad(0, text.error().message());
  std::vector<gateway::TokenTable::Token> tokens;
  std::string_view rest = *text;
  for (int number = 1; !rest.empty(); number++) {
    auto end = rest.find('\n');
    auto line = trim(rest.substr(0, end));
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
    if (line.empty() || line.front() == '#') continue;
    auto space = line.find_first_of(" \t");
    if (space == std::string_view::npos) return bad(number, "write a name, a space and a token on each line");
    auto secret = trim(line.substr(space));
    if (secret.size() < token_bytes_min) {
      return bad(number, fmt::format("the token is shorter than {} characters: it could be guessed", token_bytes_min));
    }
    tokens.push_back({.user = std::string(line.substr(0, space)), .secret = std::string(secret)});
  }
  if (tokens.empty()) return bad(0, "there is no token in it, so nobody could call");
  return tokens;
}

}  // namespace shunt::node
