#include "cli/call.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>

#include "base/names.h"
#include "cli/commands.h"
#include "cli/grpc_call.h"
#include "cli/node_client.h"
#include "cli/terminal.h"

namespace shunt::cli {
namespace {

using nlohmann::json;

constexpr std::size_t request_bytes_max = 1024UL * 1024 * 1024;
constexpr std::size_t error_bytes_max = 1024 * 1024;

/// What nlohmann says of a text, without its prefix, and where.
struct JsonError {
  std::size_t at;  ///< Bytes before the place.
  std::string what;
};

std::optional<JsonError> parse_json(std::string_view text, json& value) {
  try {
    value = json::parse(text);
    return std::nullopt;
  } catch (const json::parse_error& error) {
    std::string what = error.what();
    // "[json.exception.parse_error.101] parse error at line 1, column 3: syntax error while parsing ...; ..."
    if (const auto cut = what.find(": "); cut != std::string::npos) what.erase(0, cut + 2);
    for (const std::string_view noise : {"syntax error while parsing ", "; last read: "}) {
      if (const auto found = what.find(noise); found == 0) what.erase(0, noise.size());
    }
    return JsonError{error.byte > 0 ? error.byte - 1 : 0, std::move(what)};
  } catch (const json::exception& error) {
    return JsonError{0, error.what()};
  }
}

std::unexpected<Status> bad_json(std::string_view text, std::string_view origin, const JsonError& error) {
  const std::size_t at = std::min(error.at, text.size());
  const auto line_start = at == 0 ? 0 : text.rfind('\n', at - 1) + 1;  // npos + 1 is 0.
  const auto line_end = std::min(text.find('\n', at), text.size());
  const auto line = 1 + std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(at), '\n');
  // A long line is shown around the place.
  const std::size_t from = at - line_start > 60 ? at - 50 : line_start;
  const std::string before = printable(text.substr(from, at - from));
  const std::string after = printable(text.substr(at, std::min<std::size_t>(line_end - at, 40)));
  const auto caret = std::count_if(before.begin(), before.end(), [](char c) { return (c & 0xc0) != 0x80; });
  std::string message = fmt::format("{}, line {}, column {}: {}\n  {}{}\n  {}^", origin, line, at - line_start + 1,
                                    error.what, before, after, std::string(static_cast<std::size_t>(caret), ' '));
  const auto first = text.find_first_not_of(" \t\r\n");
  if (first != std::string_view::npos && text[first] != '{' && text[first] != '[' &&
      text.find('\n') == std::string_view::npos)
    message +=
        "\nA request is a JSON object, such as '{\"name\": \"Ann\"}'. A file's content is sent with @FILE, raw bytes "
        "with --content-type.";
  return fail(Code::invalid_argument, "S5017", std::move(message));
}

Result<std::string> read_descriptor(int fd, std::string_view origin) {
  std::string text;
  while (true) {
    const std::size_t before = text.size();
    if (before > request_bytes_max)
      return fail(Code::resource_exhausted, "S5010",
                  fmt::format("{} is larger than {} bytes.", origin, request_bytes_max));
    text.resize(before + 64UL * 1024);
    const ssize_t got = ::read(fd, text.data() + before, 64UL * 1024);
    text.resize(before + static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
    if (got == 0) return text;
    if (got < 0 && errno != EINTR)
      return fail(Code::invalid_argument, "S5010", fmt::format("{} can't be read: {}.", origin, std::strerror(errno)));
  }
}

Result<RequestBody> read_request(const CallCommand& command) {
  std::string text = "{}";
  std::string origin = "the argument";
  if (command.argument && *command.argument == "-") {
    origin = "stdin";
    SHUNT_TRY(text, read_descriptor(STDIN_FILENO, origin));
  } else if (command.argument && command.argument->starts_with('@')) {
    origin = command.argument->substr(1);
    const int fd = ::open(origin.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0)
      return fail(Code::invalid_argument, "S5010", fmt::format("{} can't be read: {}.", origin, std::strerror(errno)));
    auto read = read_descriptor(fd, origin);
    ::close(fd);
    SHUNT_TRY(text, std::move(read));
  } else if (command.argument) {
    text = *command.argument;
  }
  if (!command.content_type.empty()) return RequestBody{command.content_type, std::move(text)};
  return json_request(text, origin);
}

/// The exit code of a call that was sent: the number of its status.
int report_call(const Status& status) {
  report(status);
  return static_cast<int>(status.code());
}

int print_stream(HttpClient& client) {
  LineSplitter splitter;
  std::optional<Status> failed;
  const auto print = [&](std::string_view line) {
    if (auto error = error_line(line)) {
      failed = std::move(error);
    } else {
      write_out(std::string(line) + "\n");
    }
  };
  while (true) {
    const auto piece = client.read_piece();
    if (!piece) return report_call(piece.error());
    if (piece->empty()) break;
    splitter.add(*piece, print);
  }
  if (!splitter.rest().empty()) print(splitter.rest());
  return failed ? report_call(*failed) : 0;
}

int print_answer(HttpClient& client, const ResponseHead& head) {
  const bool text = head.header("content-type").starts_with("application/json");
  char last = '\n';
  while (true) {
    const auto piece = client.read_piece();
    if (!piece) return report_call(piece.error());
    if (piece->empty()) break;
    last = piece->back();
    write_out(*piece);
  }
  if (text && last != '\n') write_out("\n");
  return 0;
}

std::string path_of(std::string_view target) {
  const auto split = split_target(target);
  return fmt::format("/{}/{}", split->first, split->second);
}

}  // namespace

Result<RequestBody> json_request(std::string_view text, std::string_view origin) {
  json value;
  const auto whole = parse_json(text, value);
  if (!whole) return RequestBody{"application/json", std::string(text)};
  // Several values, each on its line: a request that streams.
  std::string lines;
  std::size_t count = 0;
  std::size_t from = 0;
  while (from < text.size()) {
    const auto end = std::min(text.find('\n', from), text.size());
    const std::string_view line = text.substr(from, end - from);
    if (line.find_first_not_of(" \t\r") != std::string_view::npos) {
      if (auto error = parse_json(line, value)) {
        if (count == 0) return bad_json(text, origin, *whole);
        return bad_json(text, origin, {from + error->at, error->what});
      }
      lines += fmt::format("{}\n", line);
      ++count;
    }
    from = end + 1;
  }
  if (count == 0) return bad_json(text, origin, *whole);
  return RequestBody{"application/x-ndjson", std::move(lines)};
}

int call(const CallCommand& command) {
  auto endpoint = find_node(command.node);
  if (!endpoint) return report(endpoint.error());
  auto request = read_request(command);
  if (!request) return report(request.error());
  if (endpoint->grpc) return call_grpc(command, *endpoint, std::move(*request));
  Headers headers = {{"content-type", request->content_type}};
  std::optional<Duration> give_up_after;
  if (command.timeout) {
    const auto ms = std::max<std::int64_t>(1, command.timeout->count() / 1'000'000);
    headers.emplace_back("connect-timeout-ms", fmt::format("{}", ms));
    // The node keeps the deadline; this is for a node that does not answer at all.
    give_up_after = *command.timeout + std::chrono::seconds(2);
  }
  for (const auto& [key, value] : command.metadata) headers.emplace_back(key, value);
  auto client = HttpClient::dial(*endpoint, give_up_after);
  if (!client) return report(client.error());
  const auto head = client->post(path_of(command.target), headers, request->bytes);
  if (!head) return report_call(head.error());
  if (head->status >= 300) {
    const auto body = client->read_all(error_bytes_max);
    return report_call(body ? read_error(head->status, *body) : body.error());
  }
  if (head->header("content-type").starts_with("application/x-ndjson")) return print_stream(*client);
  return print_answer(*client, *head);
}

}  // namespace shunt::cli
