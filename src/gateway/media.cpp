#include "gateway/media.h"

#include <algorithm>

#include "net/http1/http1.h"

namespace shunt::gateway {

std::string_view trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t' || text.front() == '\r')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t' || text.back() == '\r')) text.remove_suffix(1);
  return text;
}

std::string_view without_parameters(std::string_view type) { return trim(type.substr(0, type.find(';'))); }

bool accepts(std::string_view accept, std::string_view type) {
  while (!accept.empty()) {
    const std::size_t comma = std::min(accept.find(','), accept.size());
    if (net::iequals(without_parameters(accept.substr(0, comma)), type)) return true;
    accept.remove_prefix(std::min(comma + 1, accept.size()));
  }
  return false;
}

bool is_json_type(std::string_view type) {
  if (net::iequals(type, "application/json")) return true;
  constexpr std::string_view start = "application/";
  constexpr std::string_view end = "+json";
  return type.size() > start.size() + end.size() && net::iequals(type.substr(0, start.size()), start) &&
         net::iequals(type.substr(type.size() - end.size()), end) && !net::iequals(type, "application/connect+json");
}

bool is_lines_type(std::string_view type) {
  return net::iequals(type, "application/x-ndjson") || net::iequals(type, "application/ndjson") ||
         net::iequals(type, "application/jsonl");
}

}  // namespace shunt::gateway
