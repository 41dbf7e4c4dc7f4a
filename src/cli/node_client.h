#pragma once
// Calls to a node, as the commands make them: find it, send, tell a good answer from an error.

#include <string>
#include <string_view>

#include "cli/http_client.h"
#include "cli/options.h"

namespace shunt::cli {

/// Reads --at and --data, and for https:// the files of --cacert, --cert and --key.
/// Errors: S5004 for an address that is none; S5034 for a file that can't be read.
Result<Endpoint> find_node(const NodeAddress& node);

/// The Status in an error answer's body (Connect's form), or one made from the HTTP status when the body has none.
Status read_error(int http_status, std::string_view body);

/// The code that an HTTP status stands for, where the answer names none.
Code code_of_http(int http_status);

/// One unary call of the node's manager: `command` with a JSON body. `give_up_after`: for each wait on it; nothing: as long
/// as it takes. Errors: as it was answered.
Result<std::string> call_manager(const NodeAddress& node, std::string_view command, std::string_view json,
                                 std::optional<Duration> give_up_after = std::chrono::seconds(30));

/// Cuts a stream of NDJSON into lines, however it arrives.
class LineSplitter {
 public:
  /// Calls `line` for each line that `piece` completes; empty ones are passed over.
  template <typename Line>
  void add(std::string_view piece, Line&& line) {
    rest_ += piece;
    std::size_t from = 0;
    for (auto end = rest_.find('\n'); end != std::string::npos; end = rest_.find('\n', from)) {
      if (end > from) line(std::string_view(rest_).substr(from, end - from));
      from = end + 1;
    }
    rest_.erase(0, from);
  }
  /// What came after the last line's end.
  [[nodiscard]] const std::string& rest() const { return rest_; }

 private:
  std::string rest_;
};

/// The error in a stream's last line, {"$error": {...}}; nothing for any other line.
std::optional<Status> error_line(std::string_view line);

}  // namespace shunt::cli
