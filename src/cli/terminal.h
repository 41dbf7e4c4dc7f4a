#pragma once
// What the commands print: colours where they are wanted, aligned tables, text that can't harm a terminal.

#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace shunt::cli {

/// Colours, or nothing: on a terminal, unless NO_COLOR is set or TERM is dumb.
class Style {
 public:
  static Style for_descriptor(int fd);
  static Style plain() { return Style(false); }
  static Style colored() { return Style(true); }

  [[nodiscard]] bool is_colored() const { return colored_; }
  [[nodiscard]] std::string bold(std::string_view text) const { return wrap("1", text); }
  [[nodiscard]] std::string dim(std::string_view text) const { return wrap("2", text); }
  [[nodiscard]] std::string red(std::string_view text) const { return wrap("31", text); }
  [[nodiscard]] std::string green(std::string_view text) const { return wrap("32", text); }
  [[nodiscard]] std::string yellow(std::string_view text) const { return wrap("33", text); }

 private:
  explicit Style(bool colored) : colored_(colored) {}
  [[nodiscard]] std::string wrap(std::string_view code, std::string_view text) const;
  bool colored_;
};

enum class Align { left, right };
enum class Paint { none, dim, red, green, yellow };

struct Cell {
  std::string text;
  Paint paint = Paint::none;
};

/// Rows under a header, two spaces between columns, as wide as its widest cell.
class Table {
 public:
  explicit Table(std::vector<std::pair<std::string, Align>> columns) : columns_(std::move(columns)) {}
  /// A row of as many cells as there are columns.
  void add(std::vector<Cell> row) { rows_.push_back(std::move(row)); }
  [[nodiscard]] std::string render(const Style& style) const;

 private:
  std::vector<std::pair<std::string, Align>> columns_;
  std::vector<std::vector<Cell>> rows_;
};

/// One line of it, without control characters: what a service says can't move the cursor or end the line.
std::string printable(std::string_view text);

/// "3d 4h", "12m 5s": how long something has been, two units at most.
std::string format_age(double seconds);

/// Writes everything, or ends the process quietly when nobody reads any more.
void write_out(std::string_view text);
void write_err(std::string_view text);

/// Prints the error and how to learn more. Returns the exit code: 64 for usage, 69 when no node answers, else 1.
int report(const Status& status);

}  // namespace shunt::cli
