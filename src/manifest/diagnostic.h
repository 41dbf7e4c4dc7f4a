#pragma once
// Diagnostic: one thing that is wrong with a file, told so that its writer can mend it: the place, the line itself with a
// caret, what exists, what to do, and an id to read more under. Knows nothing of manifests.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace shunt::manifest {

enum class Severity : std::uint8_t { error, warning };

/// Where something stands in a file, with all that is needed to show it after the file itself is gone.
struct Place {
  int line = 0;                  ///< From 1; 0: the file as a whole.
  int column = 0;                ///< From 1, in characters.
  int width = 0;                 ///< Characters under the caret.
  std::string source_line = {};  ///< The line as shown: clipped where it is very long, control characters replaced.
  int caret_offset = 0;          ///< Characters of source_line before the caret.
};

struct Diagnostic {
  Severity severity = Severity::error;
  std::string id = {};    ///< Stable: an entry of spec/errors.json.
  std::string file = {};  ///< As the user named it.
  int line = 0;           ///< 0: the file as a whole, then there is no source line.
  int column = 0;
  std::string message = {};
  std::string source_line = {};
  int caret_offset = 0;
  int caret_width = 0;
  std::string known = {};  ///< What exists, or empty.
  std::string fix = {};    ///< What to do, or empty.
};

enum class Colour : bool { no, yes };

/// Several lines, each ending in '\n':
///
///   shop/shunt.json:16:15: error S2010: unknown key 'egnine'
///      16 |       "egnine": {
///         |       ^^^^^^^^
///     known: args, engine, type
///     fix:   write "engine"
///     more:  shunt help S2010
std::string render(const Diagnostic& diagnostic, Colour colour = Colour::no);

/// One JSON object on one line, for programs.
std::string to_json(const Diagnostic& diagnostic);

/// True when one of them is an error, not only a warning.
bool has_errors(std::span<const Diagnostic> diagnostics);

/// Text from a file made fit for a terminal and for one line: control characters are replaced, a long text is clipped.
/// Without quotes of its own.
std::string shown(std::string_view text, std::size_t characters_max = 60);

}  // namespace shunt::manifest
