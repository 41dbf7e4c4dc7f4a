#pragma once
// Values: one value of a manifest read as the type that it must have, within its bounds, or a diagnostic that says what
// it must be. And Report, where diagnostics of one file are gathered.

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/time.h"
#include "manifest/document.h"

namespace shunt::manifest {

inline constexpr std::size_t diagnostics_max = 50;  ///< Of one file; then one more says that there are more.

/// What a diagnostic offers besides its message.
struct Help {
  std::string known = {};
  std::string fix = {};
};

/// Gathers what is wrong with one file.
class Report {
 public:
  Report(const Source& source, std::vector<Diagnostic>& out) : source_(source), out_(out) {}

  void error(Span at, std::string_view id, std::string message, Help help = {});
  void warning(Span at, std::string_view id, std::string message, Help help = {});
  [[nodiscard]] int line_of(Span at) const { return source_.place(at).line; }
  [[nodiscard]] bool failed() const { return errors_ > 0; }
  /// Nothing more is shown: whoever has much to say may stop.
  [[nodiscard]] bool full() const { return errors_ > diagnostics_max; }

 private:
  const Source& source_;
  std::vector<Diagnostic>& out_;
  std::size_t errors_ = 0;
  std::size_t warnings_ = 0;
};

struct Bounds {
  std::int64_t min = 1;
  std::int64_t max = 1;
};

inline constexpr std::size_t string_bytes_max = 4096;

/// The member's value, or nothing after a diagnostic. The key is named in each message.
class Values {
 public:
  explicit Values(Report& report) : report_(report) {}

  std::optional<bool> boolean(const Member& member);
  /// Not empty, without NUL, at most `string_bytes_max` bytes.
  std::optional<std::string> string(const Member& member);
  /// The same of any text, which may be empty and is not bounded.
  std::optional<std::string> prose(const Member& member);
  /// A whole number.
  std::optional<std::int64_t> integer(const Member& member, Bounds bounds);
  /// "250ms", or a number of seconds; from 1 ms to a day.
  std::optional<Duration> duration(const Member& member);
  /// "64MiB", or a number of bytes.
  std::optional<std::uint64_t> size(const Member& member, Bounds bounds);
  /// One of `known`, as its index. `what` is how messages call it: "effect".
  std::optional<std::size_t> one_of(const Member& member, std::string_view what, std::string_view id,
                                    std::initializer_list<std::string_view> known);
  /// Its elements as string nodes that string() would take. `single`: one string stands for a list of one.
  enum class Single : bool { no, yes };
  std::vector<const Node*> strings(const Member& member, Single single, std::size_t max);
  /// Whether it is an object.
  bool object(const Member& member);

 private:
  void wrong_type(const Member& member, std::string_view expected, std::string fix = {});
  bool usable(std::string_view key, const Node& node);
  Report& report_;
};

/// 'name' with the text made fit for a terminal.
std::string in_quotes(std::string_view text);
/// `write "nearest"`, or nothing when no known one is near.
std::string write_nearest(std::string_view wrong, std::span<const std::string_view> known);

}  // namespace shunt::manifest
