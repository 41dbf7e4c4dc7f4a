#pragma once
// A JSON text as a tree whose every key and value knows where it stands. Comments are allowed; keys keep their order,
// numbers their spelling. Knows JSON, not manifests. The reader behind it is RapidJSON's.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "manifest/source.h"

namespace shunt::manifest {

struct Member;

enum class Kind : std::uint8_t { null, boolean, number, string, array, object };
std::string_view kind_name(Kind kind);

struct Node {
  Kind kind = Kind::null;
  bool boolean = false;
  Span span = {};
  std::string text = {};  ///< A string's value, a number as it is written.
  std::vector<Node> elements;
  std::vector<Member> members;

  /// The first member of that name, or nullptr.
  [[nodiscard]] const Member* find(std::string_view key) const;
};

struct Member {
  std::string key;
  Span span;  ///< The key, quotes included.
  Node value;
};

inline constexpr std::size_t depth_max = 64;

/// The tree of `source`, or nothing and a diagnostic why: not UTF-8, not JSON, too deep.
std::optional<Node> parse(const Source& source, std::vector<Diagnostic>& diagnostics);

/// Compact JSON text, in the order of the file.
std::string write_json(const Node& node);
/// The same for equal values: sorted keys, one spelling for each number.
std::string write_canonical(const Node& node);

}  // namespace shunt::manifest
