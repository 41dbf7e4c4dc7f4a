#include "net/forms/multipart.h"

#include <fmt/format.h>

#include <algorithm>

#include "net/forms/parameters.h"
#include "net/forms/urlencoded.h"
#include "net/header.h"

namespace shunt::net {

namespace {

constexpr std::size_t boundary_size_max = 70;

bool is_boundary_char(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
         std::string_view("'()+_,-./:=? ").find(c) != std::string_view::npos;
}

// How many bytes at the end of `text` could be the beginning of `delimiter`.
std::size_t held_back(std::string_view text, std::string_view delimiter) {
  std::size_t size = std::min(text.size(), delimiter.size() - 1);
  for (; size > 0; --size) {
    if (text.ends_with(delimiter.substr(0, size))) break;
  }
  return size;
}

// Browsers write a quote and line ends in a name as %22, %0D and %0A, and nothing else so.
std::string plain_name(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const std::string_view escape = text.substr(i, 3);
    const char c = escape == "%22" ? '"' : iequals(escape, "%0d") ? '\r' : iequals(escape, "%0a") ? '\n' : '\0';
    out += c != '\0' ? c : text[i];
    if (c != '\0') i += 2;
  }
  return out;
}

std::string without_directories(std::string_view path) {
  return std::string(path.substr(path.find_last_of("/\\") + 1));
}

// RFC 8187: UTF-8'language'percent-encoded.
std::optional<std::string> extended_value(std::string_view text) {
  const std::size_t first = text.find('\'');
  const std::size_t second = first == std::string_view::npos ? first : text.find('\'', first + 1);
  if (second == std::string_view::npos || !iequals(text.substr(0, first), "utf-8")) return std::nullopt;
  std::string out;
  if (!decode_percent(text.substr(second + 1), false, out)) return std::nullopt;
  return out;
}

}  // namespace

Result<std::string> multipart_boundary(std::string_view content_type) {
  const std::size_t semicolon = std::min(content_type.find(';'), content_type.size());
  const std::optional<std::string> boundary = parameter(content_type.substr(semicolon), "boundary");
  if (!boundary || boundary->empty()) {
    return fail(Code::invalid_argument, "the content type of a multipart body must say its boundary");
  }
  if (boundary->size() > boundary_size_max || boundary->ends_with(' ') ||
      !std::ranges::all_of(*boundary, is_boundary_char)) {
    return fail(Code::invalid_argument,
                fmt::format("a multipart boundary has 1 to {} characters: letters, digits and '()+_,-./:=?",
                            boundary_size_max));
  }
  return *boundary;
}

MultipartParser::MultipartParser(std::string_view boundary, const MultipartLimits& limits)
    : limits_(limits), delimiter_(fmt::format("\r\n--{}", boundary)) {}

void MultipartParser::feed(std::string_view piece) {
  if (state_ == State::done || state_ == State::failed) return;
  buffer_.erase(0, at_);
  at_ = 0;
  data_ = {};
  buffer_.append(piece);
}

MultipartParser::Event MultipartParser::next() {
  data_ = {};
  for (;;) {
    Event event = Event::need_more;
    const State before = state_;
    switch (state_) {
      case State::preamble:
        event = pass_preamble();
        break;
      case State::after_boundary:
        event = after_boundary();
        break;
      case State::headers:
        event = read_headers();
        break;
      case State::content:
        event = read_content();
        break;
      case State::done:
        buffer_.clear();
        at_ = 0;
        return Event::end;
      case State::failed:
        return Event::error;
    }
    // A state that has changed and told nothing goes on at once.
    if (event != Event::need_more || state_ == before) return event;
  }
}

MultipartParser::Event MultipartParser::wait() {
  if (!has_ended_) return Event::need_more;
  return fail_with(Code::invalid_argument, "the multipart body ends before its last boundary");
}

MultipartParser::Event MultipartParser::fail_with(Code code, std::string text) {
  state_ = State::failed;
  error_ = Status(code, std::move(text));
  return Event::error;
}

MultipartParser::Event MultipartParser::pass_preamble() {
  const std::size_t found = rest().find(delimiter_);
  const std::size_t passed = found == std::string_view::npos ? rest().size() - held_back(rest(), delimiter_) : found;
  at_ += passed;
  preamble_bytes_ += passed;
  if (preamble_bytes_ > limits_.preamble_bytes_max) {
    return fail_with(Code::invalid_argument, "the multipart body does not begin with its boundary");
  }
  if (found == std::string_view::npos) return wait();
  at_ += delimiter_.size();
  state_ = State::after_boundary;
  return Event::need_more;
}

MultipartParser::Event MultipartParser::after_boundary() {
  const std::string_view text = rest();
  if (text.size() >= 2 && text.starts_with("--")) {
    state_ = State::done;
    return Event::end;
  }
  const std::size_t padding = std::min(text.find_first_not_of(" \t"), text.size());
  if (padding > limits_.header_bytes_max) {
    return fail_with(Code::invalid_argument, "a multipart boundary is followed by too many blanks");
  }
  const std::string_view line_end = text.substr(padding, 2);
  if (line_end == "\r\n") {
    if (++parts_ > limits_.parts_max) {
      return fail_with(Code::resource_exhausted,
                       fmt::format("the multipart body has more than {} parts", limits_.parts_max));
    }
    at_ += padding;  // The line end stays: a part without headers begins with an empty line.
    scanned_ = 0;
    part_ = {.name = {}, .filename = {}, .content_type = "text/plain"};
    has_disposition_ = false;
    state_ = State::headers;
    return Event::need_more;
  }
  if (line_end.size() == 2 || (line_end.size() == 1 && line_end != "\r" && line_end != "-")) {
    return fail_with(Code::invalid_argument, "a line of the multipart body begins with the boundary and is none");
  }
  if (line_end == "-" && padding > 0) {
    return fail_with(Code::invalid_argument, "a line of the multipart body begins with the boundary and is none");
  }
  return wait();
}

MultipartParser::Event MultipartParser::read_headers() {
  const std::string_view text = rest();
  const std::size_t end = text.find("\r\n\r\n", scanned_);
  // Of an end that has not come whole, up to three bytes may be here.
  const std::size_t size = end != std::string_view::npos ? end : text.size() - std::min<std::size_t>(text.size(), 3);
  if (size > limits_.header_bytes_max) {
    return fail_with(Code::resource_exhausted,
                     fmt::format("the headers of part {} of the multipart body are larger than {} bytes", parts_,
                                 limits_.header_bytes_max));
  }
  if (end == std::string_view::npos) {
    scanned_ = text.size() < 3 ? 0 : text.size() - 3;
    return wait();
  }
  std::string_view lines = text.substr(0, end + 2);
  lines.remove_prefix(2);
  while (!lines.empty()) {
    const std::size_t line_end = lines.find("\r\n");
    if (!read_header(lines.substr(0, line_end))) return Event::error;
    lines.remove_prefix(line_end + 2);
  }
  if (!has_disposition_) {
    return fail_with(
        Code::invalid_argument,
        fmt::format("part {} of the multipart body has no Content-Disposition: form-data; name=\"…\"", parts_));
  }
  // The last line end stays: an empty part's boundary follows it at once.
  at_ += end + 2;
  state_ = State::content;
  part_is_open_ = false;
  return Event::part;
}

bool MultipartParser::read_header(std::string_view line) {
  const std::size_t colon = line.find(':');
  const bool is_folded = line.starts_with(' ') || line.starts_with('\t');
  if (colon == std::string_view::npos || colon == 0 || is_folded ||
      line.find_first_of(std::string_view("\r\n\0", 3)) != std::string_view::npos) {
    fail_with(Code::invalid_argument,
              fmt::format("part {} of the multipart body has a line that is not a header", parts_));
    return false;
  }
  const std::string_view name = trim_blanks(line.substr(0, colon));
  const std::string_view value = trim_blanks(line.substr(colon + 1));
  if (iequals(name, "content-disposition")) return read_disposition(value);
  if (iequals(name, "content-type")) part_.content_type = value;
  if (iequals(name, "content-transfer-encoding") && !iequals(value, "7bit") && !iequals(value, "8bit") &&
      !iequals(value, "binary")) {
    fail_with(Code::invalid_argument,
              fmt::format("part {} of the multipart body has the transfer encoding '{}'; HTTP has none", parts_,
                          value.substr(0, 40)));
    return false;
  }
  return true;
}

bool MultipartParser::read_disposition(std::string_view value) {
  const std::size_t semicolon = std::min(value.find(';'), value.size());
  const std::string_view parameters = value.substr(semicolon);
  const std::optional<std::string> name = parameter(parameters, "name");
  if (has_disposition_ || !iequals(trim_blanks(value.substr(0, semicolon)), "form-data") || !name) {
    fail_with(
        Code::invalid_argument,
        fmt::format("part {} of the multipart body needs one Content-Disposition: form-data; name=\"…\"", parts_));
    return false;
  }
  has_disposition_ = true;
  part_.name = plain_name(*name);
  if (const auto filename = parameter(parameters, "filename")) {
    part_.filename = without_directories(plain_name(*filename));
  }
  if (const auto extended = parameter(parameters, "filename*")) {
    if (auto decoded = extended_value(*extended)) part_.filename = without_directories(*decoded);
  }
  return true;
}

MultipartParser::Event MultipartParser::read_content() {
  // The head's empty line is the line end before a boundary that follows at once; else it is passed over.
  if (!part_is_open_) {
    const std::string_view text = rest();
    if (text.size() < delimiter_.size() && delimiter_.starts_with(text)) return wait();
    if (!text.starts_with(delimiter_)) at_ += 2;
    part_is_open_ = true;
  }
  const std::string_view text = rest();
  const std::size_t found = text.find(delimiter_);
  if (found == 0) {
    at_ += delimiter_.size();
    state_ = State::after_boundary;
    return Event::part_end;
  }
  const std::size_t size = found == std::string_view::npos ? text.size() - held_back(text, delimiter_) : found;
  if (size == 0) return wait();
  data_ = text.substr(0, size);
  at_ += size;
  return Event::data;
}

}  // namespace shunt::net
