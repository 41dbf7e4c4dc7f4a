#include "net/forms/parameters.h"

#include "net/forms/quality.h"
#include "net/header.h"

namespace shunt::net {

std::string_view trim_blanks(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

std::size_t find_unquoted(std::string_view text, char sign, std::size_t from) {
  bool is_quoted = false;
  for (std::size_t i = from; i < text.size(); ++i) {
    if (is_quoted && text[i] == '\\') {
      ++i;
    } else if (text[i] == '"') {
      is_quoted = !is_quoted;
    } else if (!is_quoted && text[i] == sign) {
      return i;
    }
  }
  return text.size();
}

bool next_parameter(std::string_view& text, std::string_view& name, std::string& value) {
  for (;;) {
    text = trim_blanks(text);
    if (text.empty()) return false;
    if (text.front() == ';') {
      text.remove_prefix(1);
      continue;
    }
    const std::size_t end = find_unquoted(text, ';');
    const std::string_view one = text.substr(0, end);
    text.remove_prefix(end);
    const std::size_t equals = std::min(one.find('='), one.size());
    name = trim_blanks(one.substr(0, equals));
    std::string_view raw = trim_blanks(one.substr(std::min(equals + 1, one.size())));
    value.clear();
    if (!raw.starts_with('"')) {
      value = raw;
      return true;
    }
    raw.remove_prefix(1);
    for (std::size_t i = 0; i < raw.size() && raw[i] != '"'; ++i) {
      if (raw[i] == '\\' && i + 1 < raw.size()) ++i;
      value += raw[i];
    }
    return true;
  }
}

std::optional<std::string> parameter(std::string_view parameters, std::string_view name) {
  std::string_view found;
  std::string value;
  while (next_parameter(parameters, found, value)) {
    if (iequals(found, name)) return value;
  }
  return std::nullopt;
}

int parse_quality(std::string_view text) {
  if (text.empty() || text.size() > 5 || (text.front() != '0' && text.front() != '1')) return 1000;
  if (text.size() > 1 && text[1] != '.') return 1000;
  int thousandths = text.front() == '1' ? 1000 : 0;
  int unit = 100;
  for (const char c : text.substr(std::min<std::size_t>(2, text.size()))) {
    if (c < '0' || c > '9') return 1000;
    thousandths += (c - '0') * unit;
    unit /= 10;
  }
  return std::min(thousandths, 1000);
}

}  // namespace shunt::net
