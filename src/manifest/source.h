#pragma once
// Source: the text of a file and where its lines begin, so that an offset can be told as line, column and the line itself.

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "manifest/diagnostic.h"

namespace shunt::manifest {

/// Offsets into a text: [begin, end).
struct Span {
  std::size_t begin = 0;
  std::size_t end = 0;
};

class Source {
 public:
  /// `file` is the name that the user sees.
  Source(std::string file, std::string text);

  [[nodiscard]] const std::string& file() const { return file_; }
  [[nodiscard]] std::string_view text() const { return text_; }
  /// Offsets beyond the end mean the end. A span over several lines is shown by its first.
  [[nodiscard]] Place place(Span span) const;

 private:
  std::string file_;
  std::string text_;
  std::vector<std::size_t> lines_;  ///< Where each begins.
};

/// Bytes of the character at the start of `text`; 1 for a byte that begins none. 0 only for empty text.
std::size_t character_length(std::string_view text);

/// Appends one character, or U+FFFD for what a terminal must not see: control characters, marks that reorder the line,
/// bytes that are no character. A tab stays.
void append_visible(std::string& out, std::string_view character);

/// The diagnostic's place is set from `place`.
void put_at(Diagnostic& diagnostic, const Place& place);

}  // namespace shunt::manifest
