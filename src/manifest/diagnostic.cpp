#include "manifest/diagnostic.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "base/json_text.h"
#include "manifest/source.h"

namespace shunt::manifest {
namespace {

constexpr std::size_t wrap_columns = 110;

struct Paint {
  std::string_view bold, red, yellow, cyan, dim, off;
};

constexpr Paint plain{};
constexpr Paint coloured{"\x1b[1m", "\x1b[1;31m", "\x1b[1;33m", "\x1b[36m", "\x1b[2m", "\x1b[0m"};

/// Breaks a list at ", " so that a long one stays readable; what follows a break is indented under the first item.
std::string wrapped(std::string_view text) {
  constexpr std::size_t indent = 9;
  std::string out;
  std::size_t column = indent;
  while (!text.empty()) {
    const std::size_t comma = text.find(", ");
    const std::string_view item = comma == std::string_view::npos ? text : text.substr(0, comma + 2);
    if (column > indent && column + item.size() > wrap_columns) {
      while (!out.empty() && out.back() == ' ') out.pop_back();
      out += '\n';
      out.append(indent, ' ');
      column = indent;
    }
    out += item;
    column += item.size();
    text.remove_prefix(item.size());
  }
  return out;
}

/// What stands before the caret: a tab stays a tab, so that the caret is under its column on every terminal.
std::string caret_indent(std::string_view line, int characters) {
  std::string out;
  for (std::size_t i = 0; i < line.size() && characters > 0; --characters) {
    out += line[i] == '\t' ? '\t' : ' ';
    i += character_length(line.substr(i));
  }
  return out;
}

}  // namespace

std::string render(const Diagnostic& diagnostic, Colour colour) {
  const Paint& paint = colour == Colour::yes ? coloured : plain;
  const bool error = diagnostic.severity == Severity::error;
  std::string out;
  auto into = std::back_inserter(out);

  fmt::format_to(into, "{}{}", paint.bold, diagnostic.file);
  if (diagnostic.line > 0) fmt::format_to(into, ":{}:{}", diagnostic.line, diagnostic.column);
  fmt::format_to(into, ":{} {}{} {}:{} {}\n", paint.off, error ? paint.red : paint.yellow, error ? "error" : "warning",
                 diagnostic.id, paint.off, diagnostic.message);
  if (diagnostic.line > 0) {
    fmt::format_to(into, "{}{:>5} |{} {}\n", paint.dim, diagnostic.line, paint.off, diagnostic.source_line);
    fmt::format_to(into, "{}      |{} {}{}{:^>{}}{}\n", paint.dim, paint.off,
                   caret_indent(diagnostic.source_line, diagnostic.caret_offset), error ? paint.red : paint.yellow, "",
                   std::max(diagnostic.caret_width, 1), paint.off);
  }
  if (!diagnostic.known.empty()) {
    fmt::format_to(into, "  {}known:{} {}\n", paint.cyan, paint.off, wrapped(diagnostic.known));
  }
  if (!diagnostic.fix.empty()) fmt::format_to(into, "  {}fix:{}   {}\n", paint.cyan, paint.off, diagnostic.fix);
  fmt::format_to(into, "  {}more:{}  shunt help {}\n", paint.cyan, paint.off, diagnostic.id);
  return out;
}

std::string to_json(const Diagnostic& diagnostic) {
  std::string out = fmt::format(R"({{"severity":"{}","id":{},"file":{})",
                                diagnostic.severity == Severity::error ? "error" : "warning", quote_json(diagnostic.id),
                                quote_json(diagnostic.file));
  auto into = std::back_inserter(out);
  if (diagnostic.line > 0) {
    fmt::format_to(into, R"(,"line":{},"column":{},"width":{},"source":{})", diagnostic.line, diagnostic.column,
                   diagnostic.caret_width, quote_json(diagnostic.source_line));
  }
  fmt::format_to(into, R"(,"message":{})", quote_json(diagnostic.message));
  if (!diagnostic.known.empty()) fmt::format_to(into, R"(,"known":{})", quote_json(diagnostic.known));
  if (!diagnostic.fix.empty()) fmt::format_to(into, R"(,"fix":{})", quote_json(diagnostic.fix));
  return out + "}";
}

bool has_errors(std::span<const Diagnostic> diagnostics) {
  return std::ranges::any_of(diagnostics, [](const Diagnostic& d) { return d.severity == Severity::error; });
}

std::string shown(std::string_view text, std::size_t characters_max) {
  std::string out;
  std::size_t characters = 0;
  for (std::size_t i = 0; i < text.size(); ++characters) {
    if (characters == characters_max) return out + "…";
    const std::size_t length = character_length(text.substr(i));
    append_visible(out, text.substr(i, length));
    i += length;
  }
  return out;
}

}  // namespace shunt::manifest
