#include "schema/derived/names.h"

namespace shunt::schema::derived {
namespace {

bool is_lower(char c) { return c >= 'a' && c <= 'z'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_letter(char c) { return is_lower(c) || (c >= 'A' && c <= 'Z'); }
char to_upper(char c) { return is_lower(c) ? static_cast<char>(c - 'a' + 'A') : c; }

}  // namespace

std::uint32_t hashed_number(std::string_view json_name) {
  // FNV-1a with 64 bits: a few lines in any language.
  std::uint64_t hash = 0xcbf29ce484222325;
  for (const char c : json_name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  return hashed_number_first + static_cast<std::uint32_t>(hash % (number_max - hashed_number_first + 1));
}

bool is_field_number(std::uint64_t number) {
  return number >= 1 && number <= number_max && (number < 19000 || number > 19999);
}

std::string to_identifier(std::string_view name) {
  std::string out;
  if (name.empty() || is_digit(name.front())) out += '_';
  for (const char c : name) out += is_letter(c) || is_digit(c) ? c : '_';
  return out;
}

std::string to_type_name(std::string_view name) {
  const std::string plain = to_identifier(name);
  std::string out;
  for (std::size_t i = 0; i < plain.size(); ++i) {
    if (plain[i] == '_' && i + 1 < plain.size() && is_lower(plain[i + 1])) {
      out += to_upper(plain[++i]);
    } else {
      out += out.empty() ? to_upper(plain[i]) : plain[i];
    }
  }
  return is_letter(out.front()) ? out : "T" + out;
}

std::string to_camel(std::string_view identifier) {
  std::string out;
  bool raise = false;
  for (const char c : identifier) {
    if (c == '_') {
      raise = true;
    } else {
      out += raise ? to_upper(c) : c;
      raise = false;
    }
  }
  return out;
}

}  // namespace shunt::schema::derived
