#include "manifest/source.h"

#include <algorithm>

#include "base/names.h"

namespace shunt::manifest {
namespace {

/// A minified manifest is one line; this much of it is shown around the place.
constexpr std::size_t shown_before_max = 60;
constexpr std::size_t shown_line_max = 120;

std::size_t count_characters(std::string_view text) {
  std::size_t count = 0;
  for (std::size_t i = 0; i < text.size(); ++count) i += character_length(text.substr(i));
  return count;
}

/// The offset of the character number `index`, or the end.
std::size_t offset_of_character(std::string_view text, std::size_t index) {
  std::size_t i = 0;
  while (i < text.size() && index-- > 0) i += character_length(text.substr(i));
  return i;
}

}  // namespace

Source::Source(std::string file, std::string text) : file_(std::move(file)), text_(std::move(text)), lines_{0} {
  for (std::size_t i = 0; i < text_.size(); ++i) {
    if (text_[i] == '\n') lines_.push_back(i + 1);
  }
}

Place Source::place(Span span) const {
  const std::size_t begin = std::min(span.begin, text_.size());
  const auto next = std::ranges::upper_bound(lines_, begin);
  const std::size_t line_index = static_cast<std::size_t>(next - lines_.begin()) - 1;
  const std::size_t line_begin = lines_[line_index];
  std::size_t line_end = next == lines_.end() ? text_.size() : *next - 1;
  if (line_end > line_begin && text_[line_end - 1] == '\r') --line_end;
  const std::string_view line(text_.data() + line_begin, line_end - line_begin);

  const std::size_t in_line = std::min(begin - line_begin, line.size());
  const std::size_t end_in_line = std::clamp(span.end, begin, std::max(begin, line_end)) - line_begin;
  const std::size_t before = count_characters(line.substr(0, in_line));
  const std::size_t width = end_in_line > in_line ? count_characters(line.substr(in_line, end_in_line - in_line)) : 1;

  Place place{.line = static_cast<int>(line_index) + 1, .column = static_cast<int>(before) + 1};
  std::size_t first = 0;
  if (before > shown_before_max && count_characters(line) > shown_line_max) {
    first = before - shown_before_max;
    place.source_line = "…";
  }
  place.caret_offset = static_cast<int>(before - first) + (first > 0 ? 1 : 0);
  std::size_t characters = 0;
  std::size_t i = offset_of_character(line, first);
  for (; i < line.size() && characters < shown_line_max; ++characters) {
    const std::size_t length = character_length(line.substr(i));
    append_visible(place.source_line, line.substr(i, length));
    i += length;
  }
  if (i < line.size()) place.source_line += "…";
  place.width =
      static_cast<int>(std::clamp<std::size_t>(width, 1, std::max<std::size_t>(1, characters + first - before)));
  return place;
}

std::size_t character_length(std::string_view text) {
  if (text.empty()) return 0;
  const auto first = static_cast<unsigned char>(text[0]);
  if (first < 0x80) return 1;
  const std::size_t length = first < 0xC2 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : first < 0xF5 ? 4 : 1;
  return length <= text.size() && is_utf8(text.substr(0, length)) ? length : 1;
}

void append_visible(std::string& out, std::string_view character) {
  constexpr std::string_view replacement = "\xEF\xBF\xBD";
  const auto first = static_cast<unsigned char>(character[0]);
  if (character.size() == 1) {
    const bool visible = (first >= 0x20 && first < 0x7F) || first == '\t';
    out += visible ? character : replacement;
    return;
  }
  const bool c1_control = first == 0xC2 && static_cast<unsigned char>(character[1]) < 0xA0;
  // U+200E/F, U+2028..202E, U+2066..2069: text after them would be shown where it does not stand.
  const bool reorders = character.starts_with("\xE2\x80") || character.starts_with("\xE2\x81");
  const auto last = static_cast<unsigned char>(character.back());
  const bool mark =
      reorders && (character[1] == '\x80' ? (last == 0x8E || last == 0x8F || (last >= 0xA8 && last <= 0xAE))
                                          : (last >= 0xA6 && last <= 0xA9));
  out += c1_control || mark ? replacement : character;
}

void put_at(Diagnostic& diagnostic, const Place& place) {
  diagnostic.line = place.line;
  diagnostic.column = place.column;
  diagnostic.source_line = place.source_line;
  diagnostic.caret_offset = place.caret_offset;
  diagnostic.caret_width = place.width;
}

}  // namespace shunt::manifest
