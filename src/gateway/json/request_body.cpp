#include "gateway/json/request_body.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "base/json_text.h"
#include "gateway/media.h"
#include "net/forms/urlencoded.h"
#include "net/header.h"

namespace shunt::gateway {

namespace {

constexpr std::size_t fields_max = 1024;
constexpr std::size_t piece_bytes_max = 64u << 10;
// Deflate gives at most about a thousand bytes for one: so much is decompressed before the callee is asked again.
constexpr std::size_t coded_step_bytes = 1u << 10;

std::unexpected<Status> bad_body(std::string text) { return fail(Code::invalid_argument, "S4017", std::move(text)); }

Status too_large(std::string_view what, std::uint64_t bytes_max) {
  return {Code::resource_exhausted, "S4003", fmt::format("{} is longer than {} bytes", what, bytes_max)};
}

// Of a decompressor: told with an id of ours.
Status coding_error(const Status& status, std::uint64_t bytes_max) {
  if (status.code() == Code::resource_exhausted) return too_large("the body, decompressed,", bytes_max);
  return {Code::invalid_argument, "S4017", std::string(status.message())};
}

}  // namespace

BodyKind body_kind(std::string_view content_type) {
  const std::string_view type = without_parameters(content_type);
  if (is_json_type(type)) return BodyKind::json;
  if (is_lines_type(type)) return BodyKind::lines;
  if (net::iequals(type, "application/octet-stream")) return BodyKind::bytes;
  if (net::iequals(type, "application/x-www-form-urlencoded")) return BodyKind::form;
  if (net::iequals(type, "multipart/form-data")) return BodyKind::multipart;
  return BodyKind::other;
}

Result<void> RequestBody::begin(BodyKind kind, bool is_stream, net::Coding coding, std::string_view content_type,
                                std::uint64_t bytes_max) {
  kind_ = kind;
  is_stream_ = is_stream;
  bytes_max_ = bytes_max;
  if (coding != net::Coding::identity) decompressor_ = net::make_decompressor(coding);
  if (kind != BodyKind::multipart) return {};
  const auto boundary = net::multipart_boundary(content_type);
  if (!boundary) return bad_body(std::string(boundary.error().message()));
  parser_ = make_own<net::MultipartParser>(*boundary);
  return {};
}

Result<void> RequestBody::feed(std::string_view piece, bool last) {
  if (is_stream_) {
    // A held callee stops the client, but not at once: what is on its way is kept as it came.
    (decompressor_ ? coded_ : text_).append(piece);
    return {};
  }
  ended_ = ended_ || last;
  if (decompressor_) {
    if (auto done = decompressor_->write(piece, bytes_max_, text_); !done) {
      return std::unexpected(coding_error(done.error(), bytes_max_));
    }
  } else if (last && text_.empty()) {
    whole_ = Bytes::copy_of(piece);
  } else {
    text_.append(piece);
  }
  if (text_.size() > bytes_max_) return std::unexpected(too_large("the body", bytes_max_));
  return {};
}

// --- A stream of messages ---

RequestBody::Next RequestBody::next() {
  if (over_) return error_.is_ok() ? Next::end : Next::error;
  for (;;) {
    const Next next = kind_ == BodyKind::lines       ? next_line()
                      : kind_ == BodyKind::multipart ? next_part()
                                                     : next_piece();
    if (next == Next::end && decompressor_) {
      if (auto done = decompressor_->finish(); !done) return fail_with(coding_error(done.error(), bytes_max_));
    }
    if (next != Next::need_more) return next;
    // Nothing whole is left of what was decoded.
    text_.erase(0, text_at_);
    scanned_ -= std::min(scanned_, text_at_);
    text_at_ = 0;
    if (decode_some()) continue;
    return over_ ? Next::error : Next::need_more;
  }
}

// Decompresses a little more. False when there is nothing more, or it is broken.
bool RequestBody::decode_some() {
  if (!decompressor_ || coded_.empty()) return false;
  const std::string_view step = std::string_view(coded_).substr(coded_at_, coded_step_bytes);
  // What one step may give is bounded by the format; what a message may have, where it ends.
  auto done = decompressor_->write(step, UINT64_MAX - 1, text_);
  coded_at_ += step.size();
  if (coded_at_ == coded_.size()) {
    coded_.clear();
    coded_at_ = 0;
  }
  if (done) return true;
  fail_with(coding_error(done.error(), bytes_max_));
  return false;
}

RequestBody::Next RequestBody::next_line() {
  for (;;) {
    const std::size_t end = text_.find('\n', std::max(scanned_, text_at_));
    const bool is_rest = end == std::string::npos;
    if (is_rest && (!ended_ || !coded_.empty())) {
      scanned_ = text_.size();
      if (text_.size() - text_at_ > bytes_max_) return fail_with(too_large("a line of the body", bytes_max_));
      return Next::need_more;
    }
    const std::string_view line = trim(std::string_view(text_).substr(text_at_, is_rest ? end : end - text_at_));
    if (line.size() > bytes_max_) return fail_with(too_large("a line of the body", bytes_max_));
    text_at_ = is_rest ? text_.size() : end + 1;
    if (!line.empty()) return found(Bytes::copy_of(line));
    if (is_rest) {
      over_ = true;
      return Next::end;
    }
  }
}

RequestBody::Next RequestBody::next_piece() {
  const std::string_view piece = std::string_view(text_).substr(text_at_, piece_bytes_max);
  if (!piece.empty()) {
    text_at_ += piece.size();
    return found(Bytes::copy_of(piece));
  }
  if (!ended_ || !coded_.empty()) return Next::need_more;
  over_ = true;
  return Next::end;
}

// A part is told as its description; a file's bytes follow, and an empty message ends them.
RequestBody::Next RequestBody::next_part() {
  for (;;) {
    switch (parser_->next()) {
      case net::MultipartParser::Event::need_more:
        if (text_at_ < text_.size()) {
          parser_->feed(std::string_view(text_).substr(text_at_));
          text_at_ = text_.size();
        } else if (ended_ && coded_.empty()) {
          parser_->feed_end();
        } else {
          return Next::need_more;
        }
        break;
      case net::MultipartParser::Event::part:
        in_file_ = parser_->part().filename.has_value();
        value_.clear();
        if (in_file_) return found(Bytes::adopt(part_json()));
        break;
      case net::MultipartParser::Event::data:
        if (in_file_) return found(Bytes::copy_of(parser_->data()));
        value_.append(parser_->data());
        if (value_.size() > bytes_max_) return fail_with(too_large("a field of the form", bytes_max_));
        break;
      case net::MultipartParser::Event::part_end:
        return found(in_file_ ? Bytes() : Bytes::adopt(part_json()));
      case net::MultipartParser::Event::end:
        over_ = true;
        return Next::end;
      case net::MultipartParser::Event::error:
        return fail_with(Status(Code::invalid_argument, "S4017", std::string(parser_->error().message())));
    }
  }
}

std::string RequestBody::part_json() const {
  const net::MultipartPart& part = parser_->part();
  std::string json = "{\"name\":" + quote_json(part.name);
  if (!in_file_) return json + ",\"value\":" + quote_json(value_) + "}";
  return json + ",\"filename\":" + quote_json(*part.filename) + ",\"type\":" + quote_json(part.content_type) + "}";
}

RequestBody::Next RequestBody::found(Bytes message) {
  message_ = std::move(message);
  return Next::message;
}

RequestBody::Next RequestBody::fail_with(Status status) {
  over_ = true;
  error_ = std::move(status);
  return Next::error;
}

// --- One message ---

Result<void> RequestBody::finish_decoding() {
  if (!decompressor_) return {};
  if (auto done = decompressor_->finish(); !done) return std::unexpected(coding_error(done.error(), bytes_max_));
  return {};
}

Result<Bytes> RequestBody::take_whole(const ParameterTypes* types) {
  SHUNT_CHECK(finish_decoding());
  if (kind_ == BodyKind::form || kind_ == BodyKind::multipart) {
    if (!whole_.empty()) text_ = whole_.view();
    const ParameterTypes untyped;
    const ParameterTypes& known = types == nullptr ? untyped : *types;
    SHUNT_TRY(std::string json, kind_ == BodyKind::form ? form_json(known) : multipart_json(known));
    return Bytes::adopt(std::move(json));
  }
  if (!text_.empty()) whole_ = Bytes::adopt(std::exchange(text_, {}));
  return std::exchange(whole_, {});
}

Result<std::string> RequestBody::form_json(const ParameterTypes& types) const {
  // curl calls every -d a form. A form's own brace would be percent-encoded.
  if (text_.starts_with('{') || text_.starts_with('[')) {
    return fail(Code::invalid_argument, "S4008",
                "the body says that it is a form, and looks like JSON: send it with Content-Type: application/json");
  }
  auto fields = net::parse_form(text_, fields_max);
  if (!fields) return bad_body(std::string(fields.error().message()));
  std::vector<FormValue> form;
  form.reserve(fields->size());
  for (net::FormField& field : *fields) {
    form.push_back({.name = std::move(field.name), .text = std::move(field.value)});
  }
  return types.to_json(form);
}

Result<std::string> RequestBody::multipart_json(const ParameterTypes& types) {
  std::vector<FormValue> form;
  parser_->feed(text_);
  parser_->feed_end();
  std::string().swap(text_);
  for (;;) {
    switch (parser_->next()) {
      case net::MultipartParser::Event::part: {
        const net::MultipartPart& part = parser_->part();
        form.push_back({.name = part.name,
                        .text = {},
                        .is_json = !part.filename && is_json_type(without_parameters(part.content_type)),
                        .is_file = part.filename.has_value(),
                        .filename = part.filename.value_or(""),
                        .type = part.content_type});
        break;
      }
      case net::MultipartParser::Event::data:
        form.back().text.append(parser_->data());
        break;
      case net::MultipartParser::Event::part_end:
        break;
      case net::MultipartParser::Event::end:
        return types.to_json(form);
      default:
        return bad_body(std::string(parser_->error().message()));
    }
  }
}

}  // namespace shunt::gateway
