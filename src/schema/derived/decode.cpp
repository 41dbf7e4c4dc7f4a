// Messages to the handler's JSON.

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <charconv>
#include <cmath>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "base/base64.h"
#include "base/names.h"
#include "schema/derived/transcoder.h"
#include "schema/text_forms.h"
#include "schema/wire_format.h"

namespace shunt::schema::derived {
namespace {

/// What one message may become: each of many empty messages becomes all its required fields, with their names.
constexpr std::size_t output_bytes_max = std::size_t{64} << 20;

/// One field of a message as it stands on the wire.
struct WireField {
  std::uint32_t number = 0;
  WireType type = WireType::varint;
  std::uint64_t value = 0;  ///< Of varint, fixed64 and fixed32.
  std::string_view bytes;   ///< Of delimited.
};

/// Reads fields one after the other; groups, which nothing of ours has, are passed over.
class FieldReader {
 public:
  explicit FieldReader(std::string_view bytes) : in_(bytes) {}

  /// False at the end, and when what follows is broken: see is_broken().
  bool next(WireField& out) {
    while (!in_.done()) {
      if (!in_.tag(out.number, out.type)) return broken();
      if (out.type != WireType::group_begin) return read(out) || broken();
      if (!in_.skip(out.number, out.type)) return broken();
    }
    return false;
  }
  /// One number of a packed list.
  bool next_packed(WireField& out) { return !in_.done() && (read(out) || broken()); }
  [[nodiscard]] bool is_broken() const { return broken_; }

 private:
  bool read(WireField& out) {
    switch (out.type) {
      case WireType::varint:
        return in_.varint(out.value);
      case WireType::fixed64:
        return in_.fixed(out.value);
      case WireType::delimited:
        return in_.delimited(out.bytes);
      case WireType::fixed32: {
        std::uint32_t value = 0;
        const bool well = in_.fixed(value);
        out.value = value;
        return well;
      }
      default:
        return false;
    }
  }
  bool broken() {
    broken_ = true;
    return false;
  }

  WireReader in_;
  bool broken_ = false;
};

class Decoder {
 public:
  explicit Decoder(std::string_view message) { out_.reserve(message.size() * 2); }

  bool body(const BodyType& body, std::string_view message);
  std::string take() { return std::move(out_); }
  [[nodiscard]] Status error(const BodyType& body) const;

 private:
  /// A field that was met: which, and what stood there. A message's fields may come in any order and in pieces; JSON has
  /// each once.
  struct Met {
    std::uint32_t index;
    std::uint32_t order;
    WireField field;
  };

  bool message(const MessageType& type, std::string_view bytes, int depth);
  bool collect(const MessageType& type, std::string_view bytes);
  bool present(const FieldType& type, std::size_t begin, std::size_t end, int depth);
  bool absent(const FieldType& type);
  bool repeated(const FieldType& type, std::size_t begin, std::size_t end, int depth);
  bool packed(const FieldType& type, WireField field, bool& first);
  bool map(const FieldType& type, std::size_t begin, std::size_t end, int depth);
  bool single(const FieldType& type, const WireField& field, int depth);
  bool number(double value, bool mark);
  bool string(std::string_view text);
  bool value(std::string_view bytes, int depth);
  bool structure(std::string_view bytes, int depth);
  bool list(std::string_view bytes, int depth);
  bool fail(std::string_view id, std::string what) {
    if (what_.empty()) what_ = std::move(what), id_ = id;
    return false;
  }
  bool broken() { return fail("S1041", "these bytes end within a field, or hold one that can't be"); }
  bool too_deep(int depth) { return depth > depth_max && !fail("S1041", "is nested too deep"); }
  bool too_large() {
    return out_.size() > output_bytes_max &&
           !fail("S1043", fmt::format("as JSON it is larger than {} bytes", output_bytes_max));
  }
  bool at(std::string_view name) {
    path_.insert(0, fmt::format(".{}", name));
    return false;
  }
  bool at(std::size_t index) {
    path_.insert(0, fmt::format("[{}]", index));
    return false;
  }

  std::string out_;
  std::vector<Met> met_;  ///< Of the message at hand, above those of the messages around it.
  std::string what_;
  std::string_view id_;
  std::string path_;
};

/// How a field of that kind stands on the wire when it is alone.
WireType wire_of(Kind kind) {
  switch (kind) {
    case Kind::boolean:
    case Kind::integer:
    case Kind::unsigned_integer:
      return WireType::varint;
    case Kind::number:
      return WireType::fixed64;
    default:
      return WireType::delimited;
  }
}

bool Decoder::body(const BodyType& body, std::string_view bytes) {
  switch (body.form) {
    case Form::message:
      return message(*body.message, bytes, 0);
    case Form::value:
      return value(bytes, 0);
    case Form::structure:
      return structure(bytes, 0);
    case Form::empty:
      out_ += "null";
      return true;
    default:
      break;
  }
  const FieldType& only = body.message->fields.front();
  if (!collect(*body.message, bytes)) return false;
  return met_.empty() ? absent(only) : present(only, 0, met_.size(), 0);
}

bool Decoder::collect(const MessageType& type, std::string_view bytes) {
  const std::size_t begin = met_.size();
  FieldReader in(bytes);
  WireField field;
  std::size_t expected = 0;
  bool sorted = true;
  while (in.next(field)) {
    const int found = type.find(field.number, expected);
    if (found < 0) continue;  // Of another version of the type.
    const auto index = static_cast<std::uint32_t>(found);
    const FieldType& known = type.fields[index];
    const WireType wire = known.label == Label::map ? WireType::delimited : wire_of(known.kind);
    const bool is_packed = known.label == Label::repeated && field.type == WireType::delimited;
    if (field.type != wire && !is_packed) continue;
    expected = known.label == Label::single ? index + 1 : index;
    sorted = sorted && (met_.size() == begin || met_.back().index <= index);
    met_.push_back({index, static_cast<std::uint32_t>(met_.size()), field});
  }
  if (in.is_broken()) return broken();
  if (!sorted) {
    std::sort(met_.begin() + static_cast<std::ptrdiff_t>(begin), met_.end(),
              [](const Met& a, const Met& b) { return std::tie(a.index, a.order) < std::tie(b.index, b.order); });
  }
  return true;
}

bool Decoder::message(const MessageType& type, std::string_view bytes, int depth) {
  if (too_deep(depth) || too_large()) return false;
  std::size_t begin = met_.size();
  const std::size_t base = begin;
  if (!collect(type, bytes)) return false;
  const std::size_t end = met_.size();
  out_ += '{';
  bool first = true;
  for (std::uint32_t index = 0; index < type.fields.size(); ++index) {
    const FieldType& field = type.fields[index];
    std::size_t last = begin;
    while (last < end && met_[last].index == index) ++last;
    const std::size_t before = out_.size();
    if (!first) out_ += ',';
    append_json_string(out_, field.name);
    out_ += ':';
    const std::size_t named = out_.size();
    if (!(last == begin ? absent(field) : present(field, begin, last, depth))) return at(field.name);
    if (out_.size() == named) {
      out_.resize(before);  // Left out.
    } else {
      first = false;
    }
    begin = last;
  }
  met_.resize(base);
  out_ += '}';
  return true;
}

/// What JSON has for a field that the message has not; nothing: it is left out.
bool Decoder::absent(const FieldType& type) {
  if (!type.required) return true;
  if (type.nullable) {
    out_ += "null";
  } else if (type.label != Label::single) {
    out_ += type.label == Label::map ? "{}" : "[]";
  } else {
    switch (type.kind) {
      case Kind::boolean:
        out_ += "false";
        break;
      case Kind::integer:
      case Kind::unsigned_integer:
        out_ += '0';
        break;
      case Kind::number:
        out_ += "0.0";
        break;
      case Kind::string:
      case Kind::bytes:
        out_ += "\"\"";
        break;
      default:
        break;
    }
  }
  return true;
}

bool Decoder::present(const FieldType& type, std::size_t begin, std::size_t end, int depth) {
  switch (type.label) {
    case Label::repeated:
      return repeated(type, begin, end, depth);
    case Label::map:
      return map(type, begin, end, depth);
    case Label::single:
      break;
  }
  const WireField last = met_[end - 1].field;
  if (type.kind < Kind::message || end - begin == 1) return single(type, last, depth);
  // The pieces of a message, one after the other, are the message.
  std::string whole;
  for (std::size_t i = begin; i < end; ++i) whole += met_[i].field.bytes;
  WireField merged = last;
  merged.bytes = whole;
  return single(type, merged, depth);
}

bool Decoder::packed(const FieldType& type, WireField field, bool& first) {
  FieldReader in(field.bytes);
  field.type = wire_of(type.kind);
  while (in.next_packed(field)) {
    if (!first) out_ += ',';
    first = false;
    if (too_large() || !single(type, field, 0)) return false;
  }
  return !in.is_broken() || broken();
}

bool Decoder::repeated(const FieldType& type, std::size_t begin, std::size_t end, int depth) {
  out_ += '[';
  bool first = true;
  for (std::size_t i = begin; i < end; ++i) {
    const WireField field = met_[i].field;  // A copy: met_ grows with what is in it.
    if (field.type != wire_of(type.kind)) {
      if (!packed(type, field, first)) return at(i - begin);
      continue;
    }
    if (!first) out_ += ',';
    first = false;
    if (!single(type, field, depth)) return at(i - begin);
  }
  // A packed list of nothing is the same as none.
  if (first && !type.required) {
    out_.pop_back();
  } else {
    out_ += ']';
  }
  return true;
}

bool Decoder::map(const FieldType& type, std::size_t begin, std::size_t end, int depth) {
  struct Entry {
    std::string_view key;
    WireField value;
    bool has_value = false;
  };
  std::vector<Entry> entries;
  std::unordered_map<std::string_view, std::size_t> known;
  for (std::size_t i = begin; i < end; ++i) {
    FieldReader in(met_[i].field.bytes);
    WireField field;
    Entry entry;
    while (in.next(field)) {
      if (field.number == 1 && field.type == WireType::delimited) entry.key = field.bytes;
      if (field.number == 2 && field.type == wire_of(type.kind)) {
        entry.value = field;
        entry.has_value = true;
      }
    }
    if (in.is_broken()) return broken();
    // The last one of a key counts.
    const auto [at, fresh] = known.emplace(entry.key, entries.size());
    if (fresh) {
      entries.push_back(entry);
    } else {
      entries[at->second] = entry;
    }
  }
  out_ += '{';
  bool first = true;
  for (const Entry& entry : entries) {
    if (!first) out_ += ',';
    first = false;
    if (!string(entry.key)) return false;
    out_ += ':';
    // Without a value it has the default, which of messages is the empty one.
    if (!single(type, entry.value, depth)) return at(entry.key);
  }
  out_ += '}';
  return true;
}

bool Decoder::string(std::string_view text) {
  if (!is_utf8(text)) return fail("S1041", "the string is not UTF-8");
  append_json_string(out_, text);
  return true;
}

bool Decoder::number(double value, bool mark) {
  if (!std::isfinite(value)) return fail("S1042", "JSON has no NaN and no infinity");
  const std::size_t before = out_.size();
  append_real(out_, value);
  // 2.0 instead of 2, where that tells a real number from an integer.
  if (mark && out_.find_first_of(".e", before) == std::string::npos) out_ += ".0";
  return true;
}

bool Decoder::single(const FieldType& type, const WireField& field, int depth) {
  switch (type.kind) {
    case Kind::boolean:
      out_ += field.value != 0 ? "true" : "false";
      return true;
    case Kind::integer:
    case Kind::unsigned_integer:
      out_ += integer_text(field.value, type.kind);
      return true;

    case Kind::number:
      return number(std::bit_cast<double>(field.value), true);
    case Kind::string:
      return string(field.bytes);
    case Kind::bytes:
      out_ += '"';
      append_base64(out_, field.bytes, Padding::yes);
      out_ += '"';
      return true;
    case Kind::message:
      return message(*type.message, field.bytes, depth + 1);
    case Kind::structure:
      return structure(field.bytes, depth + 1);
    case Kind::list:
      return list(field.bytes, depth + 1);
    case Kind::value:
      break;
  }
  return value(field.bytes, depth + 1);
}

bool Decoder::value(std::string_view bytes, int depth) {
  if (too_deep(depth) || too_large()) return false;
  FieldReader in(bytes);
  WireField field;
  WireField chosen;  // The last of the oneof.
  while (in.next(field)) {
    constexpr WireType types[] = {WireType::varint, WireType::fixed64,   WireType::delimited,
                                  WireType::varint, WireType::delimited, WireType::delimited};
    if (field.number <= 6 && field.type == types[field.number - 1]) chosen = field;
  }
  if (in.is_broken()) return broken();
  switch (chosen.number) {
    case 2:
      return number(std::bit_cast<double>(chosen.value), false);
    case 3:
      return string(chosen.bytes);
    case 4:
      out_ += chosen.value != 0 ? "true" : "false";
      return true;
    case 5:
      return structure(chosen.bytes, depth + 1);
    case 6:
      return list(chosen.bytes, depth + 1);
    default:
      out_ += "null";
      return true;
  }
}

bool Decoder::structure(std::string_view bytes, int depth) {
  if (too_deep(depth)) return false;
  FieldReader in(bytes);
  WireField field;
  std::vector<std::pair<std::string_view, std::string_view>> entries;
  std::unordered_map<std::string_view, std::size_t> known;
  while (in.next(field)) {
    if (field.number != 1 || field.type != WireType::delimited) continue;
    FieldReader entry(field.bytes);
    std::pair<std::string_view, std::string_view> found;
    while (entry.next(field)) {
      if (field.type != WireType::delimited) continue;
      if (field.number == 1) found.first = field.bytes;
      if (field.number == 2) found.second = field.bytes;
    }
    if (entry.is_broken()) return broken();
    const auto [at, fresh] = known.emplace(found.first, entries.size());
    if (fresh) {
      entries.push_back(found);
    } else {
      entries[at->second] = found;
    }
  }
  if (in.is_broken()) return broken();
  out_ += '{';
  for (std::size_t i = 0; i < entries.size(); ++i) {
    if (i != 0) out_ += ',';
    if (!string(entries[i].first)) return false;
    out_ += ':';
    if (!value(entries[i].second, depth + 1)) return at(entries[i].first);
  }
  out_ += '}';
  return true;
}

bool Decoder::list(std::string_view bytes, int depth) {
  if (too_deep(depth)) return false;
  FieldReader in(bytes);
  WireField field;
  out_ += '[';
  for (std::size_t i = 0; in.next(field);) {
    if (field.number != 1 || field.type != WireType::delimited) continue;
    if (i != 0) out_ += ',';
    if (!value(field.bytes, depth + 1)) return at(i);
    ++i;
  }
  out_ += ']';
  return !in.is_broken() || broken();
}

Status Decoder::error(const BodyType& body) const {
  const std::string_view path = path_.empty() || path_.front() != '.' ? path_ : std::string_view(path_).substr(1);
  return {id_ == "S1043" ? Code::resource_exhausted : Code::invalid_argument, id_,
          fmt::format("{}{}{} (the type is {})", path, path.empty() ? "" : ": ", what_, body.type_name)};
}

/// The bytes of a google.protobuf.BytesValue.
Result<std::string> decode_raw(std::string_view message) {
  FieldReader in(message);
  WireField field;
  std::string_view value;
  while (in.next(field)) {
    if (field.number == 1 && field.type == WireType::delimited) value = field.bytes;
  }
  if (in.is_broken()) {
    return fail(Code::invalid_argument, "S1041",
                "these bytes end within a field, or hold one that can't be (the type is google.protobuf.BytesValue)");
  }
  return std::string(value);
}

}  // namespace

Result<std::string> decode(const BodyType& body, std::string_view message) {
  if (body.form == Form::raw) return decode_raw(message);
  Decoder decoder(message);
  if (!decoder.body(body, message)) return std::unexpected(decoder.error(body));
  return decoder.take();
}

}  // namespace shunt::schema::derived
