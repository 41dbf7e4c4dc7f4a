#include "cli/terminal.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <utility>

#include "cli/options.h"

namespace shunt::cli {
namespace {

/// Columns that the text takes, with one for each UTF-8 character.
std::size_t width(std::string_view text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

std::string painted(const Style& style, const Cell& cell) {
  switch (cell.paint) {
    case Paint::none:
      return cell.text;
    case Paint::dim:
      return style.dim(cell.text);
    case Paint::red:
      return style.red(cell.text);
    case Paint::green:
      return style.green(cell.text);
    case Paint::yellow:
      return style.yellow(cell.text);
  }
  return cell.text;
}

void write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(fd, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) std::_Exit(1);  // A closed pipe or a full disk: there is nobody to tell.
    text.remove_prefix(static_cast<std::size_t>(written));
  }
}

}  // namespace

Style Style::for_descriptor(int fd) {
  const char* no_color = std::getenv("NO_COLOR");
  const char* term = std::getenv("TERM");
  const bool refused = no_color != nullptr && *no_color != '\0';
  const bool dumb = term != nullptr && std::string_view(term) == "dumb";
  return Style(::isatty(fd) == 1 && !refused && !dumb);
}

std::string Style::wrap(std::string_view code, std::string_view text) const {
  if (!colored_ || text.empty()) return std::string(text);
  return fmt::format("\x1b[{}m{}\x1b[0m", code, text);
}

std::string Table::render(const Style& style) const {
  std::vector<std::size_t> widths;
  for (const auto& [title, align] : columns_) widths.push_back(width(title));
  for (const auto& row : rows_)
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], width(row[i].text));

  std::string out;
  const auto put = [&](const std::vector<Cell>& row) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) {
      const std::string padding(widths[i] - width(row[i].text), ' ');
      const bool right = columns_[i].second == Align::right;
      if (i > 0) line += "  ";
      line += right ? padding + painted(style, row[i]) : painted(style, row[i]) + padding;
    }
    line.erase(line.find_last_not_of(' ') + 1);
    out += line + "\n";
  };
  std::vector<Cell> header;
  for (const auto& [title, align] : columns_) header.push_back({title, Paint::dim});
  put(header);
  for (const auto& row : rows_) put(row);
  return out;
}

std::string printable(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    // C1 controls (U+0080 to U+009F) are two bytes in UTF-8: c2 80 to c2 9f. Some terminals obey them.
    const bool c1 = c == 0xc2 && i + 1 < text.size() && static_cast<unsigned char>(text[i + 1]) < 0xa0;
    if (c == '\t') {
      out += ' ';
    } else if (c == '\n' || c == '\r') {
      if (!out.empty() && out.back() != ' ') out += ' ';
    } else if (c1) {
      out += '?';
      ++i;
    } else if (c < 0x20 || c == 0x7f) {
      out += '?';
    } else {
      out += text[i];
    }
  }
  return out;
}

std::string format_age(double seconds) {
  const auto total = static_cast<std::uint64_t>(std::clamp(seconds, 0.0, 1e15));
  const std::pair<std::uint64_t, char> units[] = {
      {total / 86400, 'd'}, {total / 3600 % 24, 'h'}, {total / 60 % 60, 'm'}, {total % 60, 's'}};
  for (std::size_t i = 0; i < 3; ++i) {
    if (units[i].first == 0) continue;
    return fmt::format("{}{} {}{}", units[i].first, units[i].second, units[i + 1].first, units[i + 1].second);
  }
  return fmt::format("{}s", total);
}

void write_out(std::string_view text) { write_all(STDOUT_FILENO, text); }
void write_err(std::string_view text) { write_all(STDERR_FILENO, text); }

int report(const Status& status) {
  const Style style = Style::for_descriptor(STDERR_FILENO);
  const std::string_view id = status.id();
  std::string line;
  if (!id.empty()) line += style.bold(printable(id)) + " ";
  line += style.red(fmt::format("{}:", code_name(status.code()))) + " ";
  // Our own errors may have several lines (a manifest's show the place); each is made harmless.
  std::string_view rest = status.message();
  for (bool first = true; first || !rest.empty(); first = false) {
    const auto end = rest.find('\n');
    line += printable(rest.substr(0, end)) + "\n";
    rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
  }
  write_err(line);
  if (style.is_colored() && !id.empty())
    write_err(style.dim(fmt::format("  more: shunt help {}", printable(id))) + "\n");
  // Nobody there; or nobody whom we may believe to be the node.
  if (id == "S5015" || id == "S5032" || id == "S5033" || id == "S5035") return exit_unavailable;
  if (id == "S5004" || id == "S5034" || id == "S5009" || id == "S5016" || id == "S5017") return exit_usage;
  return 1;
}

}  // namespace shunt::cli
