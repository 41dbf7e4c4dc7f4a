#pragma once
// What `shunt help ERROR-ID` knows: spec/errors.json, carried in the binary.

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "cli/terminal.h"

namespace shunt::cli {

struct ErrorEntry {
  std::string id;
  std::string title;
  std::string code;
  std::string text;
  std::string fix;
};

/// Every error, by its id.
std::vector<ErrorEntry> error_catalogue();

/// The page of one error. Ids are accepted in any case. Errors: S5005, naming the nearest.
Result<std::string> render_error(const std::vector<ErrorEntry>& catalogue, std::string_view id, const Style& style);

/// The text in lines of at most `columns`, each after `indent`.
std::string wrapped(std::string_view text, std::string_view indent, std::size_t columns);

}  // namespace shunt::cli
