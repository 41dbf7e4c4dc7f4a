#include "gateway/text.h"

#include <cstdint>

#include "base/json_text.h"

namespace shunt::gateway {

namespace {

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

std::optional<std::string> decode_query(std::string_view text) {
  if (text.find_first_of("+%") == std::string_view::npos) return std::string(text);
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '+') {
      out += ' ';
    } else if (text[i] != '%') {
      out += text[i];
    } else {
      const int high = i + 1 < text.size() ? hex_digit(text[i + 1]) : -1;
      const int low = i + 2 < text.size() ? hex_digit(text[i + 2]) : -1;
      if (high < 0 || low < 0) return std::nullopt;
      out += static_cast<char>(high * 16 + low);
      i += 2;
    }
  }
  return out;
}

std::string escape_html(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

int http_status(Code code) {
  switch (code) {
    case Code::ok:
      return 200;
    case Code::cancelled:
      return 499;
    case Code::unknown:
      return 500;
    case Code::invalid_argument:
      return 400;
    case Code::deadline_exceeded:
      return 504;
    case Code::not_found:
      return 404;
    case Code::already_exists:
      return 409;
    case Code::permission_denied:
      return 403;
    case Code::resource_exhausted:
      return 429;
    case Code::failed_precondition:
      return 400;
    case Code::aborted:
      return 409;
    case Code::out_of_range:
      return 400;
    case Code::unimplemented:
      return 501;
    case Code::internal:
      return 500;
    case Code::unavailable:
      return 503;
    case Code::data_loss:
      return 500;
    case Code::unauthenticated:
      return 401;
  }
  return 500;
}

std::string error_json(const Status& status) {
  std::string out = "{\"code\":";
  // Connect spells it its own way.
  out += status.code() == Code::cancelled ? "\"canceled\"" : quote_json(code_name(status.code()));
  out += ",\"message\":";
  out += quote_json(status.message());
  if (!status.id().empty()) {
    out += ",\"id\":";
    out += quote_json(status.id());
  }
  if (!status.details().empty()) {
    out += ",\"details\":";
    out += status.details();
  }
  out += '}';
  return out;
}

}  // namespace shunt::gateway
