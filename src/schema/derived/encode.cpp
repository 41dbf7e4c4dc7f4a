// The handler's JSON to messages.

#include <fmt/format.h>

#include <cmath>
#include <limits>

#include "base/base64.h"
#include "base/names.h"
#include "schema/derived/transcoder.h"
#include "schema/json_reader.h"
#include "schema/text_forms.h"
#include "schema/wire_format.h"

namespace shunt::schema::derived {
namespace {

/// What `write` appends, with its length before it. Gives what `write` gave.
template <typename Write>
bool put_delimited(std::string& out, Write&& write) {
  const std::size_t begin = begin_delimited(out);
  const bool well = write();
  end_delimited(out, begin);
  return well;
}

void put_text(std::string& out, std::uint32_t number, std::string_view text) {
  put_tag(out, number, WireType::delimited);
  put_varint(out, text.size());
  out += text;
}

/// False for a whole number that the double could not keep.
bool is_exact(std::string_view text, double value) {
  if (text.find_first_of(".eE") != std::string_view::npos || std::abs(value) < 0x1p53) return true;
  return fmt::format("{:.0f}", value) == text;
}

std::string_view expected_of(Kind kind) {
  return kind == Kind::integer ? "an integer of 64 bits" : "an integer of 64 bits from 0";
}

class Encoder {
 public:
  explicit Encoder(std::string_view json) : in_(json), json_(json) { out_.reserve(json.size()); }

  bool body(const BodyType& body);
  std::string take() { return std::move(out_); }
  [[nodiscard]] Status error(const BodyType& body) const;

 private:
  bool message(const MessageType& type, int depth);
  bool field(const FieldType& type, int depth);
  bool repeated(const FieldType& type, int depth);
  bool map(const FieldType& type, int depth);
  bool single(const FieldType& type, std::uint32_t number, bool keep_default, int depth);
  bool scalar(const FieldType& type, std::uint32_t number, bool tagged, bool keep_default);
  bool value(int depth);
  bool structure(int depth);
  bool list(int depth);
  bool number_value();
  bool string(std::string_view& out);
  bool number_text(std::string_view& out, std::string_view expected);
  bool mismatch(std::string_view expected) {
    return wrong(in_.at(), fmt::format("expected {}, found {}", expected, in_.found(in_.at())));
  }
  /// Always false.
  bool wrong(std::size_t at, std::string what) {
    if (what_.empty()) what_ = std::move(what), wrong_at_ = at;
    return false;
  }
  bool too_deep(int depth) { return depth > depth_max && !wrong(in_.at(), "is nested too deep"); }
  // Only on the way out of a failure.
  bool at(std::string_view name) {
    path_.insert(0, fmt::format(".{}", name));
    return false;
  }
  bool at(std::size_t index) {
    path_.insert(0, fmt::format("[{}]", index));
    return false;
  }

  JsonReader in_;
  std::string_view json_;
  std::string out_;
  std::string path_;
  std::string what_;  ///< Empty: the text is no JSON, and the reader knows why.
  std::size_t wrong_at_ = 0;
};

bool Encoder::string(std::string_view& out) {
  const std::size_t begin = in_.at();
  return in_.string(out) && (is_utf8(out) || wrong(begin, "the string is not UTF-8"));
}

/// A number, also written as a string, as protobuf's JSON may have it.
bool Encoder::number_text(std::string_view& out, std::string_view expected) {
  const JsonKind kind = in_.peek();
  if (kind == JsonKind::string) return string(out);
  return kind == JsonKind::number ? in_.number(out) : mismatch(expected);
}

bool Encoder::body(const BodyType& body) {
  // An empty body is an empty object, as for handlers.
  if (json_.find_first_not_of(" \t\r\n") == std::string_view::npos) return true;
  bool well = false;
  switch (body.form) {
    case Form::message:
      well = message(*body.message, 0);
      break;
    case Form::wrapped:
    case Form::scalar:
      well = field(body.message->fields.front(), 0);
      break;
    case Form::value:
      well = value(0);
      break;
    case Form::structure:
      well = structure(0);
      break;
    case Form::empty:
      well = in_.peek() == JsonKind::null ? in_.null() : mismatch("null");
      break;
    case Form::raw:
      break;
  }
  return well && in_.finish();
}

bool Encoder::message(const MessageType& type, int depth) {
  if (too_deep(depth)) return false;
  if (in_.peek() != JsonKind::object) return mismatch("an object");
  in_.enter();
  bool first = true;
  std::string_view name;
  std::size_t expected = 0;
  // Of the first 64 fields; beyond, protobuf's own rule for what comes twice holds.
  std::uint64_t seen = 0;
  std::size_t name_at = 0;
  JsonReader::Next next;
  while ((next = in_.member(first, name, name_at)) == JsonReader::Next::more) {
    const int index = type.find(name, expected);
    if (index < 0) {  // A message has no place for it.
      if (!in_.skip(depth_max)) return false;
      continue;
    }
    const FieldType& found = type.fields[static_cast<std::size_t>(index)];
    expected = static_cast<std::size_t>(index) + 1;
    if (index < 64) {
      if ((seen >> index & 1U) != 0) {
        wrong(name_at, "is given twice");
        return at(found.name);
      }
      seen |= std::uint64_t{1} << index;
    }
    if (!field(found, depth)) return at(found.name);
  }
  return next == JsonReader::Next::end;
}

bool Encoder::field(const FieldType& type, int depth) {
  if (in_.peek() == JsonKind::null && (type.kind != Kind::value || type.label != Label::single))
    return in_.null();  // Absent.
  switch (type.label) {
    case Label::repeated:
      return repeated(type, depth);
    case Label::map:
      return map(type, depth);
    case Label::single:
      break;
  }
  return single(type, type.number, type.is_optional(), depth);
}

bool Encoder::repeated(const FieldType& type, int depth) {
  if (in_.peek() != JsonKind::array) return mismatch("an array");
  in_.enter();
  bool first = true;
  std::size_t index = 0;
  const bool packs = type.kind <= Kind::number;
  const auto elements = [&] {
    JsonReader::Next next;
    for (; (next = in_.element(first)) == JsonReader::Next::more; ++index) {
      if (!(packs ? scalar(type, 0, false, true) : single(type, type.number, true, depth))) return at(index);
    }
    return next == JsonReader::Next::end;
  };
  if (!packs) return elements();
  const std::size_t before = out_.size();
  put_tag(out_, type.number, WireType::delimited);
  if (!put_delimited(out_, elements)) return false;
  if (index == 0) out_.resize(before);
  return true;
}

bool Encoder::map(const FieldType& type, int depth) {
  if (in_.peek() != JsonKind::object) return mismatch("an object");
  in_.enter();
  bool first = true;
  std::string_view name;
  std::size_t name_at = 0;
  JsonReader::Next next;
  while ((next = in_.member(first, name, name_at)) == JsonReader::Next::more) {
    if (!is_utf8(name)) return wrong(name_at, "the name is not UTF-8");
    const std::string key(name);
    put_tag(out_, type.number, WireType::delimited);
    const bool well = put_delimited(out_, [&] {
      put_text(out_, 1, key);
      return single(type, 2, true, depth);
    });
    if (!well) return at(key);
  }
  return next == JsonReader::Next::end;
}

bool Encoder::single(const FieldType& type, std::uint32_t number, bool keep_default, int depth) {
  if (type.kind < Kind::message) return scalar(type, number, true, keep_default);
  put_tag(out_, number, WireType::delimited);
  return put_delimited(out_, [&] {
    switch (type.kind) {
      case Kind::message:
        return message(*type.message, depth + 1);
      case Kind::structure:
        return structure(depth + 1);
      case Kind::list:
        return list(depth + 1);
      default:
        return value(depth + 1);
    }
  });
}

bool Encoder::scalar(const FieldType& type, std::uint32_t number, bool tagged, bool keep_default) {
  const auto tag = [&](WireType wire) {
    if (tagged) put_tag(out_, number, wire);
  };
  std::string_view text;
  switch (type.kind) {
    case Kind::boolean: {
      bool value = false;
      if (in_.peek() != JsonKind::boolean) return mismatch("a boolean");
      if (!in_.boolean(value)) return false;
      if (!value && !keep_default) return true;
      tag(WireType::varint);
      put_varint(out_, value ? 1 : 0);
      return true;
    }
    case Kind::integer:
    case Kind::unsigned_integer: {
      in_.peek();
      const std::size_t begin = in_.at();
      if (!number_text(text, "an integer")) return false;
      const auto value = read_integer(text, type.kind);
      if (!value) return wrong(begin, fmt::format("expected {}, found {}", expected_of(type.kind), in_.found(begin)));
      if (*value == 0 && !keep_default) return true;
      tag(WireType::varint);
      put_varint(out_, *value);
      return true;
    }
    case Kind::number: {
      in_.peek();
      const std::size_t begin = in_.at();
      if (!number_text(text, "a number")) return false;
      const auto value = parse_real(text);
      if (!value || !std::isfinite(*value)) {
        return wrong(begin, fmt::format("expected a number that a double can hold, found {}", in_.found(begin)));
      }
      if (*value == 0 && !std::signbit(*value) && !keep_default) return true;
      tag(WireType::fixed64);
      put_fixed(out_, *value);
      return true;
    }
    default:
      break;
  }
  if (in_.peek() != JsonKind::string) return mismatch(type.kind == Kind::bytes ? "a base64 string" : "a string");
  const std::size_t begin = in_.at();
  if (!string(text)) return false;
  if (text.empty() && !keep_default) return true;
  tag(WireType::delimited);
  if (type.kind == Kind::string) {
    put_varint(out_, text.size());
    out_ += text;
    return true;
  }
  const auto bytes = decode_base64(text);
  if (!bytes) return wrong(begin, "expected a base64 string, found another string");
  put_varint(out_, bytes->size());
  out_ += *bytes;
  return true;
}

bool Encoder::number_value() {
  std::string_view text;
  const std::size_t begin = in_.at();
  if (!in_.number(text)) return false;
  const auto value = parse_real(text);
  if (!value) return wrong(begin, fmt::format("expected a number that a double can hold, found {}", text));
  if (!is_exact(text, *value)) {
    return wrong(begin, fmt::format("{} can't be in a google.protobuf.Value without being rounded; say its type in the "
                                    "command's schema (an integer), or write it as a string",
                                    text));
  }
  put_tag(out_, 2, WireType::fixed64);
  put_fixed(out_, *value);
  return true;
}

bool Encoder::value(int depth) {
  if (too_deep(depth)) return false;
  std::string_view text;
  bool boolean = false;
  switch (in_.peek()) {
    case JsonKind::object:
      put_tag(out_, 5, WireType::delimited);
      return put_delimited(out_, [&] { return structure(depth + 1); });
    case JsonKind::array:
      put_tag(out_, 6, WireType::delimited);
      return put_delimited(out_, [&] { return list(depth + 1); });
    case JsonKind::string:
      if (!string(text)) return false;
      put_text(out_, 3, text);
      return true;
    case JsonKind::boolean:
      if (!in_.boolean(boolean)) return false;
      put_tag(out_, 4, WireType::varint);
      put_varint(out_, boolean ? 1 : 0);
      return true;
    case JsonKind::null:
      put_tag(out_, 1, WireType::varint);
      put_varint(out_, 0);
      return in_.null();
    case JsonKind::number:
      return number_value();
    default:
      return in_.skip(0);  // Says why.
  }
}

bool Encoder::structure(int depth) {
  if (too_deep(depth)) return false;
  if (in_.peek() != JsonKind::object) return mismatch("an object");
  in_.enter();
  bool first = true;
  std::string_view name;
  std::size_t name_at = 0;
  JsonReader::Next next;
  while ((next = in_.member(first, name, name_at)) == JsonReader::Next::more) {
    if (!is_utf8(name)) return wrong(name_at, "the name is not UTF-8");
    const std::string key(name);
    put_tag(out_, 1, WireType::delimited);
    const bool well = put_delimited(out_, [&] {
      put_text(out_, 1, key);
      put_tag(out_, 2, WireType::delimited);
      return put_delimited(out_, [&] { return value(depth + 1); });
    });
    if (!well) return at(key);
  }
  return next == JsonReader::Next::end;
}

bool Encoder::list(int depth) {
  if (too_deep(depth)) return false;
  if (in_.peek() != JsonKind::array) return mismatch("an array");
  in_.enter();
  bool first = true;
  JsonReader::Next next;
  for (std::size_t index = 0; (next = in_.element(first)) == JsonReader::Next::more; ++index) {
    put_tag(out_, 1, WireType::delimited);
    if (!put_delimited(out_, [&] { return value(depth + 1); })) return at(index);
  }
  return next == JsonReader::Next::end;
}

Status Encoder::error(const BodyType& body) const {
  const bool is_json = !what_.empty();
  const auto place = in_.place(is_json ? wrong_at_ : in_.at());
  const std::string_view path = path_.starts_with('.') ? std::string_view(path_).substr(1) : path_;
  return {Code::invalid_argument, "S1040",
          fmt::format("{}{}{} (line {}, column {} of the {})", path, path.empty() ? "" : ": ",
                      is_json ? what_ : "not JSON: " + in_.error(), place.line, place.column, body.type_name)};
}

}  // namespace

Result<std::string> encode(const BodyType& body, std::string_view json) {
  if (body.form == Form::raw) {
    std::string out;
    if (!json.empty()) put_text(out, 1, json);
    return out;
  }
  Encoder encoder(json);
  if (!encoder.body(body)) return std::unexpected(encoder.error(body));
  return encoder.take();
}

}  // namespace shunt::schema::derived
