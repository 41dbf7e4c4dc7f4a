// The two JSON forms of a derived message: the handler's own, and protobuf's. They are nearly the same.

#include <cmath>

#include "base/base64.h"
#include "schema/derived/transcoder.h"
#include "schema/json_reader.h"
#include "schema/text_forms.h"
#include "schema/wire_format.h"

namespace shunt::schema::derived {
namespace {

/// Copies a text and puts other pieces where they differ.
class Rewriter {
 public:
  explicit Rewriter(std::string_view json) : in_(json), json_(json) {}

  bool body(const BodyType& body);
  std::optional<std::string> take();

 private:
  bool message(const MessageType& type, int depth);
  bool field(const FieldType& type, int depth);
  bool single(const FieldType& type, int depth);
  bool skip() { return in_.skip(depth_max); }
  void replace(std::size_t begin, std::string_view with) {
    out_ += json_.substr(copied_, begin - copied_);
    out_ += with;
    copied_ = in_.at();
    changed_ = true;
  }

  JsonReader in_;
  std::string_view json_;
  std::string out_;
  std::size_t copied_ = 0;
  bool changed_ = false;
};

std::optional<std::string> Rewriter::take() {
  if (!changed_) return std::nullopt;
  out_ += json_.substr(copied_);
  return std::move(out_);
}

bool Rewriter::body(const BodyType& body) {
  switch (body.form) {
    case Form::message:
      return message(*body.message, 0) && in_.finish();
    case Form::wrapped:
    case Form::scalar:
      return field(body.message->fields.front(), 0) && in_.finish();
    default:
      return false;
  }
}

bool Rewriter::message(const MessageType& type, int depth) {
  if (depth > depth_max) return false;
  if (in_.peek() != JsonKind::object) return skip();
  in_.enter();
  bool first = true;
  std::string_view name;
  std::size_t expected = 0;
  std::size_t name_at = 0;
  JsonReader::Next next;
  while ((next = in_.member(first, name, name_at)) == JsonReader::Next::more) {
    const int index = type.find(name, expected);
    if (index < 0) {
      if (!skip()) return false;
      continue;
    }
    const FieldType& found = type.fields[static_cast<std::size_t>(index)];
    expected = static_cast<std::size_t>(index) + 1;
    if (name != found.name) {
      std::string own;
      append_json_string(own, found.name);
      replace(name_at, own += ':');
    }
    if (!field(found, depth)) return false;
  }
  return next == JsonReader::Next::end;
}

bool Rewriter::field(const FieldType& type, int depth) {
  if (type.label == Label::single) return single(type, depth);
  const bool is_map = type.label == Label::map;
  if (in_.peek() != (is_map ? JsonKind::object : JsonKind::array)) return skip();
  in_.enter();
  bool first = true;
  std::string_view name;
  std::size_t name_at = 0;
  for (;;) {
    const JsonReader::Next next = is_map ? in_.member(first, name, name_at) : in_.element(first);
    if (next != JsonReader::Next::more) return next == JsonReader::Next::end;
    if (!single(type, depth)) return false;
  }
}

bool Rewriter::single(const FieldType& type, int depth) {
  if (type.kind == Kind::message) return message(*type.message, depth + 1);
  if (in_.peek() != JsonKind::string) return skip();
  const std::size_t begin = in_.at();
  std::string_view text;
  if (!in_.string(text)) return false;
  if (type.kind == Kind::integer || type.kind == Kind::unsigned_integer) {
    if (const auto bits = read_integer(text, type.kind)) replace(begin, integer_text(*bits, type.kind));
  } else if (type.kind == Kind::number) {
    if (const auto value = parse_real(text); value && std::isfinite(*value)) {
      std::string number;
      append_real(number, *value);
      replace(begin, number);
    }
  } else if (type.kind == Kind::bytes && (text.find_first_of("-_") != std::string_view::npos || text.size() % 4 != 0)) {
    const auto bytes = decode_base64(text);
    if (!bytes) return true;
    std::string standard = "\"";
    append_base64(standard, *bytes, Padding::yes);
    replace(begin, standard += '"');
  }
  return true;
}

/// The text of `value` in {"value": ...} alone.
std::optional<std::string_view> unwrapped(std::string_view json, const FieldType& type) {
  JsonReader in(json);
  if (in.peek() != JsonKind::object) return std::nullopt;
  in.enter();
  bool first = true;
  std::string_view name;
  std::size_t name_at = 0;
  if (in.member(first, name, name_at) != JsonReader::Next::more || name != "value") return std::nullopt;
  const JsonKind kind = in.peek();
  const std::size_t begin = in.at();
  if (!in.skip(depth_max)) return std::nullopt;
  const std::string_view value = json.substr(begin, in.at() - begin);
  if (in.member(first, name, name_at) != JsonReader::Next::end || !in.finish()) return std::nullopt;
  // {"value": {}} may be a map as handlers know it, with a key of that name: then that is what it is.
  const bool is_wrapper =
      type.label == Label::repeated ? kind == JsonKind::array : kind == JsonKind::object && type.kind < Kind::message;
  return is_wrapper ? std::optional(value) : std::nullopt;
}

/// The bytes of a base64 string alone.
std::optional<std::string> bytes_of(std::string_view json) {
  JsonReader in(json);
  std::string_view text;
  if (in.peek() != JsonKind::string || !in.string(text)) return std::nullopt;
  auto bytes = decode_base64(text);
  return in.finish() ? std::move(bytes) : std::nullopt;
}

}  // namespace

std::optional<std::string> to_own_json(const BodyType& body, std::string_view json) {
  if (body.form == Form::raw) return bytes_of(json);
  if (body.form == Form::empty) return "null";
  if (body.form == Form::wrapped) {
    if (const auto inner = unwrapped(json, body.message->fields.front())) {
      Rewriter rewriter(*inner);
      std::optional<std::string> changed;
      if (rewriter.body(body)) changed = rewriter.take();
      return changed ? std::move(changed) : std::optional<std::string>(*inner);
    }
  }
  Rewriter rewriter(json);
  if (!rewriter.body(body)) return std::nullopt;
  return rewriter.take();
}

std::optional<std::string> to_proto_json(const BodyType& body, std::string_view json) {
  std::string out;
  switch (body.form) {
    case Form::wrapped:
      return out.append("{\"value\":").append(json).append("}");
    case Form::raw:
      out += '"';
      append_base64(out, json, Padding::yes);
      return out += '"';
    case Form::empty:
      return "{}";
    default:
      return std::nullopt;
  }
}

}  // namespace shunt::schema::derived
