#include "schema/json_to_wire.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <charconv>
#include <cmath>
#include <limits>
#include <set>

#include "base/base64.h"
#include "base/json_text.h"
#include "base/names.h"
#include "schema/json_reader.h"
#include "schema/text_forms.h"
#include "schema/wire_format.h"

namespace shunt::schema {

namespace {

// What a scalar is before it is written: a number's bits as the wire has them, or text.
struct Scalar {
  std::uint64_t bits = 0;
  std::string_view text;
};

std::string_view base_name(std::string_view url) {
  const auto slash = url.rfind('/');
  return slash == std::string_view::npos ? url : url.substr(slash + 1);
}

class JsonToWire {
 public:
  JsonToWire(const Types& types, std::string_view json) : types_(types), json_(json), in_(json) {}

  Result<Bytes> convert(const MessageType& type) {
    out_.reserve(json_.size());
    if (!is_utf8(json_)) {
      wrong(first_bad_byte(), "the text is not UTF-8 here");
      return report(type);
    }
    if (!body(type, 1) || !(in_.finish() || syntax())) return report(type);
    return Bytes::adopt(std::move(out_));
  }

 private:
  // ---- What is wrong.

  bool wrong(std::size_t at, std::string what) {
    if (what_.empty()) {
      at_ = at;
      what_ = std::move(what);
    }
    return false;
  }
  bool syntax() { return wrong(in_.at(), in_.error().empty() ? "this is no JSON" : in_.error()); }
  bool expected(std::string_view what) {
    return wrong(in_.at(), fmt::format("expected {}, found {}", what, in_.found(in_.at())));
  }
  bool expected_at(std::size_t at, std::string_view what) {
    return wrong(at, fmt::format("expected {}, found {}", what, in_.found(at)));
  }
  /// On the way out of a value that is wrong: what it is part of.
  bool within(std::string_view name) {
    path_ = path_.empty() || path_.starts_with('[') ? std::string(name) + path_ : fmt::format("{}.{}", name, path_);
    return false;
  }
  bool within(std::size_t index) {
    const std::string part = fmt::format("[{}]", index);
    path_ = path_.empty() || path_.starts_with('[') ? part + path_ : fmt::format("{}.{}", part, path_);
    return false;
  }
  [[nodiscard]] std::size_t first_bad_byte() const {
    std::size_t good = 0;
    for (std::size_t step = std::bit_floor(json_.size() | 1); step > 0; step /= 2) {
      // A prefix that ends within a character is not UTF-8 either, so three more bytes are allowed for.
      while (good + step <= json_.size() && prefix_is_good(good + step)) good += step;
    }
    return good;
  }
  [[nodiscard]] bool prefix_is_good(std::size_t size) const {
    for (std::size_t end = size; end + 4 > size && end > 0; --end) {
      if (is_utf8(json_.substr(0, end))) return true;
    }
    return false;
  }
  std::unexpected<Status> report(const MessageType& type) {
    const auto place = in_.place(at_);
    std::string message = fmt::format("{}{}{} (line {}, column {} of the {})", path_, path_.empty() ? "" : ": ", what_,
                                      place.line, place.column, type.name);
    // google.rpc.BadRequest {1: FieldViolation {1: field, 2: description}}
    std::string violation;
    put_tag(violation, 1, WireType::delimited);
    put_varint(violation, path_.size());
    violation += path_;
    put_tag(violation, 2, WireType::delimited);
    put_varint(violation, what_.size());
    violation += what_;
    std::string request;
    put_tag(request, 1, WireType::delimited);
    put_varint(request, violation.size());
    request += violation;
    std::string details = R"([{"type":"google.rpc.BadRequest","value":")";
    append_base64(details, request);
    details += R"(","debug":{"fieldViolations":[{"field":)" + quote_json(path_) + R"(,"description":)" +
               quote_json(what_) + "}]}}]";
    return std::unexpected(
        Status(Code::invalid_argument, "S1040", std::move(message)).with_details(std::move(details)));
  }

  // ---- Messages.

  /// The content of a message, without tag or length, whatever its JSON is.
  bool body(const MessageType& type, int depth) {
    if (depth > depth_max) return wrong(in_.at(), fmt::format("it is nested deeper than {} messages", depth_max));
    switch (type.special) {
      case Special::none:
        if (in_.peek() != JsonKind::object) return expected(fmt::format("an object ({})", type.name));
        return members(type, depth, false);
      case Special::any:
        return any(depth);
      case Special::timestamp:
        return time(true);
      case Special::duration:
        return time(false);
      case Special::field_mask:
        return field_mask();
      case Special::structure:
        if (in_.peek() != JsonKind::object) return expected("an object");
        return map(type.fields[0], depth);
      case Special::value:
        return value(depth);
      case Special::list_value:
        return list_value(depth);
      case Special::wrapper:
        return singular(type.fields[0], depth, false);
    }
    return false;
  }

  bool members(const MessageType& type, int depth, bool of_any) {
    in_.enter();
    const std::size_t seen = bits_.size();
    bits_.resize(seen + (type.fields.size() + type.oneofs.size() + 63) / 64, 0);
    bool first = true;
    std::string_view key;
    std::size_t key_at = 0;
    for (;;) {
      const auto next = in_.member(first, key, key_at);
      if (next == JsonReader::Next::bad) return syntax();
      if (next == JsonReader::Next::end) break;
      if (of_any && key == "@type") {
        if (!in_.skip(1)) return syntax();
        continue;
      }
      const auto found = type.by_name.find(key);
      if (found == type.by_name.end()) return unknown(type, key, key_at);
      const Field& field = *found->second;
      if (!mark(seen, field.index)) {
        wrong(key_at, "it is here a second time");
        return within(field.json_name);
      }
      if (!member(type, field, seen, key_at, depth)) return within(field.json_name);
    }
    for (const std::uint32_t index : type.required) {
      if (is_marked(seen, index)) continue;
      wrong(in_.at() - 1, fmt::format("it is required and missing ({})", type.name));
      return within(type.fields[index].json_name);
    }
    bits_.resize(seen);
    return true;
  }

  bool member(const MessageType& type, const Field& field, std::size_t seen, std::size_t key_at, int depth) {
    const bool is_null = in_.peek() == JsonKind::null;
    if (is_null && !takes_null(field)) return field.required ? expected("a value") : in_.null() || syntax();
    if (field.oneof >= 0 && !mark(seen, type.fields.size() + static_cast<std::size_t>(field.oneof))) {
      const Field* other = &field;
      for (const Field& candidate : type.fields) {
        if (&candidate != &field && candidate.oneof == field.oneof && is_marked(seen, candidate.index))
          other = &candidate;
      }
      return wrong(key_at, fmt::format("only one of oneof '{}' may be set, and '{}' is too",
                                       type.oneofs[static_cast<std::size_t>(field.oneof)], other->json_name));
    }
    if (field.is_map()) {
      if (in_.peek() != JsonKind::object) return expected("an object (a map)");
      return map(field, depth);
    }
    if (field.repeated) return repeated(field, depth);
    return singular(field, depth, !field.presence);
  }
  static bool takes_null(const Field& field) {
    if (field.repeated) return false;
    return (field.message != nullptr && field.message->special == Special::value) ||
           (field.enumeration != nullptr && field.enumeration->null_value);
  }

  bool unknown(const MessageType& type, std::string_view key, std::size_t key_at) {
    std::vector<std::string_view> names;
    for (const Field& field : type.fields) names.emplace_back(field.json_name);
    const auto near = key.size() <= 64 ? nearest(key, names) : std::nullopt;
    std::string shown(key.substr(0, 64));
    while (!is_utf8(shown)) shown.pop_back();
    std::string what = fmt::format("{} has no such field", type.name);
    if (near) {
      what += fmt::format("; did you mean '{}'?", *near);
    } else if (names.empty()) {
      what += "; it has none";
    } else {
      constexpr std::size_t names_max = 12;
      const std::size_t count = std::min(names.size(), names_max);
      what += fmt::format("; it has {}{}",
                          fmt::join(names.begin(), names.begin() + static_cast<std::ptrdiff_t>(count), ", "),
                          names.size() > count ? ", …" : "");
    }
    wrong(key_at, std::move(what));
    return within(shown);
  }

  bool mark(std::size_t base, std::size_t bit) {
    std::uint64_t& word = bits_[base + bit / 64];
    const std::uint64_t mask = std::uint64_t{1} << (bit % 64);
    if ((word & mask) != 0) return false;
    word |= mask;
    return true;
  }
  [[nodiscard]] bool is_marked(std::size_t base, std::size_t bit) const {
    return ((bits_[base + bit / 64] >> (bit % 64)) & 1) != 0;
  }

  // ---- Fields.

  /// One value with its tag. `skip_default`: a default is the same as absence, and not written.
  bool singular(const Field& field, int depth, bool skip_default) {
    if (field.message != nullptr) return message(field, depth);
    Scalar scalar;
    if (!read(field, scalar)) return false;
    if (skip_default && scalar.bits == 0 && scalar.text.empty()) return true;
    put_tag(out_, field.number, wire_type(field.type));
    put(field, scalar);
    return true;
  }
  bool message(const Field& field, int depth) {
    if (field.type == FieldType::group) {
      put_tag(out_, field.number, WireType::group_begin);
      if (!body(*field.message, depth + 1)) return false;
      put_tag(out_, field.number, WireType::group_end);
      return true;
    }
    put_tag(out_, field.number, WireType::delimited);
    const std::size_t begin = begin_delimited(out_);
    if (!body(*field.message, depth + 1)) return false;
    end_delimited(out_, begin);
    return true;
  }

  bool repeated(const Field& field, int depth) {
    if (in_.peek() != JsonKind::array) return expected("an array");
    in_.enter();
    const std::size_t before = out_.size();
    std::size_t begin = 0;
    if (field.packed) {
      put_tag(out_, field.number, WireType::delimited);
      begin = begin_delimited(out_);
    }
    std::size_t count = 0;
    for (bool first = true;; ++count) {
      const auto next = in_.element(first);
      if (next == JsonReader::Next::bad) return syntax();
      if (next == JsonReader::Next::end) break;
      if (!element(field, depth)) return within(count);
    }
    if (!field.packed) return true;
    if (count == 0) {
      out_.resize(before);
    } else {
      end_delimited(out_, begin);
    }
    return true;
  }
  bool element(const Field& field, int depth) {
    if (field.message != nullptr) {
      // null would be taken for an unset message; within an array there is none.
      if (in_.peek() == JsonKind::null && field.message->special != Special::value) return expected("a value");
      return message(field, depth);
    }
    Scalar scalar;
    if (!read(field, scalar)) return false;
    if (!field.packed) put_tag(out_, field.number, wire_type(field.type));
    put(field, scalar);
    return true;
  }

  bool map(const Field& field, int depth) {
    in_.enter();
    const Field& key_field = field.message->fields[0];
    const Field& value_field = field.message->fields[1];
    std::set<std::string, std::less<>> keys;
    bool first = true;
    std::string_view key;
    std::size_t key_at = 0;
    for (;;) {
      const auto next = in_.member(first, key, key_at);
      if (next == JsonReader::Next::bad) return syntax();
      if (next == JsonReader::Next::end) return true;
      const auto placed = keys.emplace(key);
      const std::string& stored = *placed.first;
      auto at_key = [&] { return within(fmt::format("[{}]", quote_json(stored))); };
      if (!placed.second) {
        wrong(key_at, "this key is here a second time");
        return at_key();
      }
      put_tag(out_, field.number, WireType::delimited);
      const std::size_t begin = begin_delimited(out_);
      Scalar scalar;
      if (!map_key(key_field, stored, key_at, scalar)) return at_key();
      put_tag(out_, 1, wire_type(key_field.type));
      put(key_field, scalar);
      if (in_.peek() == JsonKind::null && !takes_null(value_field)) {
        expected("a value");
        return at_key();
      }
      if (!singular(value_field, depth + 1, false)) return at_key();
      end_delimited(out_, begin);
    }
  }
  bool map_key(const Field& field, std::string_view key, std::size_t key_at, Scalar& out) {
    if (field.type == FieldType::string) {
      out.text = key;
      return true;
    }
    if (field.type == FieldType::boolean) {
      if (key != "true" && key != "false") return expected_at(key_at, "a key that is \"true\" or \"false\"");
      out.bits = key == "true" ? 1 : 0;
      return true;
    }
    // As numbers are spelled in one way only, two keys are equal when their texts are.
    const bool plain =
        key == "0" || (!key.empty() && key[key[0] == '-' ? 1 : 0] != '0' &&
                       key.find_first_not_of("0123456789", key[0] == '-' ? 1 : 0) == std::string_view::npos);
    if (!plain || !integer(field, key, out)) return expected_at(key_at, fmt::format("a key that is {}", wanted(field)));
    return true;
  }

  // ---- Scalars.

  bool read(const Field& field, Scalar& out) {
    switch (field.type) {
      case FieldType::boolean: {
        bool flag = false;
        if (in_.peek() != JsonKind::boolean) return expected("true or false");
        if (!in_.boolean(flag)) return syntax();
        out.bits = flag ? 1 : 0;
        return true;
      }
      case FieldType::string:
        if (in_.peek() != JsonKind::string) return expected("a string");
        return in_.string(out.text) || syntax();
      case FieldType::bytes: {
        if (in_.peek() != JsonKind::string) return expected("a string of base64");
        const std::size_t at = in_.at();
        if (!in_.string(out.text)) return syntax();
        auto bytes = decode_base64(out.text);
        if (!bytes) return expected_at(at, "a string of base64");
        decoded_ = std::move(*bytes);
        out.text = decoded_;
        return true;
      }
      case FieldType::enumeration:
        return enumerator(*field.enumeration, out);
      case FieldType::real32:
      case FieldType::real64:
        return real(field, out);
      default:
        return whole(field, out);
    }
  }

  bool whole(const Field& field, Scalar& out) {
    const JsonKind kind = in_.peek();
    const std::size_t at = in_.at();
    std::string_view text;
    if (kind == JsonKind::number) {
      if (!in_.number(text)) return syntax();
    } else if (kind == JsonKind::string) {
      if (!in_.string(text)) return syntax();
      if (!is_number(text)) return expected_at(at, wanted(field));
    } else {
      return expected(wanted(field));
    }
    return integer(field, text, out) || expected_at(at, wanted(field));
  }
  /// Whether a string has a JSON number in it and nothing else.
  static bool is_number(std::string_view text) {
    if (text.empty() || !(text[0] == '-' || (text[0] >= '0' && text[0] <= '9'))) return false;
    JsonReader reader(text);
    std::string_view number;
    return reader.number(number) && number.size() == text.size();
  }
  static bool integer(const Field& field, std::string_view text, Scalar& out) {
    switch (field.type) {
      case FieldType::int32:
      case FieldType::sint32:
      case FieldType::sfixed32:
        return set_signed(field, parse_signed(text, INT32_MIN, INT32_MAX), out);
      case FieldType::int64:
      case FieldType::sint64:
      case FieldType::sfixed64:
        return set_signed(field, parse_signed(text, INT64_MIN, INT64_MAX), out);
      default: {
        const bool narrow = field.type == FieldType::uint32 || field.type == FieldType::fixed32;
        const auto value = parse_unsigned(text, narrow ? UINT32_MAX : UINT64_MAX);
        out.bits = value.value_or(0);
        return value.has_value();
      }
    }
  }
  static bool set_signed(const Field& field, std::optional<std::int64_t> value, Scalar& out) {
    if (!value) return false;
    const bool zig = field.type == FieldType::sint32 || field.type == FieldType::sint64;
    out.bits = zig ? zigzag(*value) : static_cast<std::uint64_t>(*value);
    return true;
  }
  static std::string_view wanted(const Field& field) {
    switch (field.type) {
      case FieldType::int32:
      case FieldType::sint32:
      case FieldType::sfixed32:
        return "a whole number of 32 bits";
      case FieldType::uint32:
      case FieldType::fixed32:
        return "a whole number of 32 bits, not negative";
      case FieldType::uint64:
      case FieldType::fixed64:
        return "a whole number of 64 bits, not negative";
      default:
        return "a whole number of 64 bits";
    }
  }

  bool real(const Field& field, Scalar& out) {
    static constexpr std::string_view what = R"(a number, "NaN", "Infinity" or "-Infinity")";
    const JsonKind kind = in_.peek();
    const std::size_t at = in_.at();
    std::string_view text;
    std::optional<double> value;
    if (kind == JsonKind::number) {
      if (!in_.number(text)) return syntax();
      value = parse_real(text);
    } else if (kind == JsonKind::string) {
      if (!in_.string(text)) return syntax();
      if (text == "NaN") {
        value = std::numeric_limits<double>::quiet_NaN();
      } else if (text == "Infinity" || text == "-Infinity") {
        value = text[0] == '-' ? -std::numeric_limits<double>::infinity() : std::numeric_limits<double>::infinity();
      } else if (is_number(text)) {
        value = parse_real(text);
      } else {
        return expected_at(at, what);
      }
    } else {
      return expected(what);
    }
    if (!value) return wrong(at, fmt::format("{} is beyond the largest number", in_.found(at)));
    if (field.type == FieldType::real64) {
      out.bits = std::bit_cast<std::uint64_t>(*value);
      return true;
    }
    // Once through double it might be rounded twice.
    auto narrow = static_cast<float>(*value);
    (void)std::from_chars(text.data(), text.data() + text.size(), narrow);
    if (std::isinf(narrow) && !std::isinf(*value)) {
      return wrong(at, fmt::format("{} is beyond the largest float", in_.found(at)));
    }
    out.bits = std::bit_cast<std::uint32_t>(narrow);
    return true;
  }

  bool enumerator(const EnumType& type, Scalar& out) {
    const JsonKind kind = in_.peek();
    const std::size_t at = in_.at();
    std::string_view text;
    if (kind == JsonKind::null && type.null_value) {
      out.bits = 0;
      return in_.null() || syntax();
    }
    if (kind == JsonKind::number) {
      if (!in_.number(text)) return syntax();
      const auto number = parse_signed(text, INT32_MIN, INT32_MAX);
      if (!number) return expected_at(at, fmt::format("a name or number of {}", type.name));
      if (type.closed && !type.by_number.contains(static_cast<std::int32_t>(*number)))
        return no_enumerator(type, at, "");
      out.bits = static_cast<std::uint64_t>(*number);
      return true;
    }
    if (kind != JsonKind::string) return expected(fmt::format("a name or number of {}", type.name));
    if (!in_.string(text)) return syntax();
    const auto found = type.by_name.find(text);
    if (found == type.by_name.end()) return no_enumerator(type, at, text);
    out.bits = static_cast<std::uint64_t>(static_cast<std::int64_t>(found->second));
    return true;
  }
  bool no_enumerator(const EnumType& type, std::size_t at, std::string_view text) {
    constexpr std::size_t names_max = 12;
    const std::size_t count = std::min(type.names.size(), names_max);
    const auto near = text.size() <= 64 ? nearest(text, type.names) : std::nullopt;
    std::string what = fmt::format("expected a name of {}, found {}", type.name, in_.found(at));
    what +=
        near ? fmt::format("; did you mean '{}'?", *near)
             : fmt::format("; it has {}{}",
                           fmt::join(type.names.begin(), type.names.begin() + static_cast<std::ptrdiff_t>(count), ", "),
                           type.names.size() > count ? ", …" : "");
    return wrong(at, std::move(what));
  }

  static WireType wire_type(FieldType type) {
    switch (type) {
      case FieldType::real64:
      case FieldType::fixed64:
      case FieldType::sfixed64:
        return WireType::fixed64;
      case FieldType::real32:
      case FieldType::fixed32:
      case FieldType::sfixed32:
        return WireType::fixed32;
      case FieldType::string:
      case FieldType::bytes:
      case FieldType::message:
        return WireType::delimited;
      case FieldType::group:
        return WireType::group_begin;
      default:
        return WireType::varint;
    }
  }
  void put(const Field& field, const Scalar& scalar) {
    switch (wire_type(field.type)) {
      case WireType::fixed64:
        return put_fixed(out_, scalar.bits);
      case WireType::fixed32:
        return put_fixed(out_, static_cast<std::uint32_t>(scalar.bits));
      case WireType::delimited:
        put_varint(out_, scalar.text.size());
        out_.append(scalar.text);
        return;
      default:
        return put_varint(out_, scalar.bits);
    }
  }

  // ---- Types with a JSON of their own.

  bool time(bool timestamp) {
    const std::string_view what =
        timestamp ? R"(a time such as "2026-07-01T12:00:00Z")" : R"(a duration such as "1.5s")";
    if (in_.peek() != JsonKind::string) return expected(what);
    const std::size_t at = in_.at();
    std::string_view text;
    if (!in_.string(text)) return syntax();
    const auto parsed = timestamp ? parse_timestamp(text) : parse_duration_text(text);
    if (!parsed) return expected_at(at, what);
    if (parsed->seconds != 0) {
      put_tag(out_, 1, WireType::varint);
      put_varint(out_, static_cast<std::uint64_t>(parsed->seconds));
    }
    if (parsed->nanos != 0) {
      put_tag(out_, 2, WireType::varint);
      put_varint(out_, static_cast<std::uint64_t>(static_cast<std::int64_t>(parsed->nanos)));
    }
    return true;
  }

  bool field_mask() {
    static constexpr std::string_view what = R"(paths such as "name,address.zipCode")";
    if (in_.peek() != JsonKind::string) return expected(what);
    const std::size_t at = in_.at();
    std::string_view text;
    if (!in_.string(text)) return syntax();
    while (!text.empty()) {
      const std::size_t comma = text.find(',');
      const auto path = snake_path(text.substr(0, comma));
      if (!path || path->empty()) return expected_at(at, what);
      put_tag(out_, 1, WireType::delimited);
      put_varint(out_, path->size());
      out_ += *path;
      if (comma == std::string_view::npos) break;
      text.remove_prefix(comma + 1);
      if (text.empty()) return expected_at(at, what);
    }
    return true;
  }

  bool value(int depth) {
    if (depth > depth_max) return wrong(in_.at(), fmt::format("it is nested deeper than {} messages", depth_max));
    bool flag = false;
    std::string_view text;
    switch (in_.peek()) {
      case JsonKind::null:
        out_.append("\x08\x00", 2);
        return in_.null() || syntax();
      case JsonKind::boolean:
        if (!in_.boolean(flag)) return syntax();
        out_.append(flag ? "\x20\x01" : "\x20\x00", 2);
        return true;
      case JsonKind::number: {
        const std::size_t at = in_.at();
        if (!in_.number(text)) return syntax();
        const auto number = parse_real(text);
        if (!number) return wrong(at, fmt::format("{} is beyond the largest number", in_.found(at)));
        put_tag(out_, 2, WireType::fixed64);
        put_fixed(out_, std::bit_cast<std::uint64_t>(*number));
        return true;
      }
      case JsonKind::string:
        if (!in_.string(text)) return syntax();
        put_tag(out_, 3, WireType::delimited);
        put_varint(out_, text.size());
        out_.append(text);
        return true;
      case JsonKind::object: {
        put_tag(out_, 5, WireType::delimited);
        const std::size_t begin = begin_delimited(out_);
        if (!structure(depth + 1)) return false;
        end_delimited(out_, begin);
        return true;
      }
      case JsonKind::array: {
        put_tag(out_, 6, WireType::delimited);
        const std::size_t begin = begin_delimited(out_);
        if (!list_value(depth + 1)) return false;
        end_delimited(out_, begin);
        return true;
      }
      default:
        return in_.skip(0) || syntax();
    }
  }
  bool structure(int depth) {
    if (depth > depth_max) return wrong(in_.at(), fmt::format("it is nested deeper than {} messages", depth_max));
    // Only reached from a Value, so its Struct is among the types.
    return map(types_.message("google.protobuf.Struct")->fields[0], depth);
  }
  bool list_value(int depth) {
    if (depth > depth_max) return wrong(in_.at(), fmt::format("it is nested deeper than {} messages", depth_max));
    if (in_.peek() != JsonKind::array) return expected("an array");
    in_.enter();
    std::size_t index = 0;
    for (bool first = true;; ++index) {
      const auto next = in_.element(first);
      if (next == JsonReader::Next::bad) return syntax();
      if (next == JsonReader::Next::end) return true;
      put_tag(out_, 1, WireType::delimited);
      const std::size_t begin = begin_delimited(out_);
      if (!value(depth + 1)) return within(index);
      end_delimited(out_, begin);
    }
  }

  bool any(int depth) {
    if (in_.peek() != JsonKind::object) return expected("an object with \"@type\"");
    const std::size_t object_at = in_.at();
    std::string url;
    std::size_t type_at = 0;
    std::size_t value_at = 0;
    std::size_t members = 0;
    if (!scan_any(depth, url, type_at, value_at, members)) return false;
    const std::size_t end = in_.at();
    if (type_at == 0) {
      if (members == 0) return true;
      return wrong(object_at, "an Any needs \"@type\", such as \"type.googleapis.com/package.Message\"");
    }
    const MessageType* type = url.contains('/') ? types_.message(base_name(url)) : nullptr;
    if (type == nullptr) {
      wrong(type_at, fmt::format("no type of that name is known here: {}", in_.found(type_at)));
      return within("@type");
    }
    put_tag(out_, 1, WireType::delimited);
    put_varint(out_, url.size());
    out_ += url;
    put_tag(out_, 2, WireType::delimited);
    const std::size_t begin = begin_delimited(out_);
    if (type->special == Special::none) {
      in_.rewind(object_at);
      if (!this->members(*type, depth + 1, true)) return false;
    } else {
      if (value_at == 0) return wrong(object_at, fmt::format("an Any of {} needs \"value\"", type->name));
      if (members > 2)
        return wrong(object_at, fmt::format("an Any of {} has \"@type\" and \"value\" only", type->name));
      in_.rewind(value_at);
      if (!body(*type, depth + 1)) return within("value");
      in_.rewind(end);
    }
    end_delimited(out_, begin);
    return true;
  }
  /// "@type" need not be the first: the object is read once for it. Places of values; 0: there is none.
  bool scan_any(int depth, std::string& url, std::size_t& type_at, std::size_t& value_at, std::size_t& members) {
    in_.enter();
    bool first = true;
    std::string_view key;
    std::size_t key_at = 0;
    for (;;) {
      const auto next = in_.member(first, key, key_at);
      if (next == JsonReader::Next::bad) return syntax();
      if (next == JsonReader::Next::end) return true;
      ++members;
      if (key == "@type") {
        if (type_at != 0) return wrong(key_at, "\"@type\" is here a second time");
        if (in_.peek() != JsonKind::string) {
          expected("a string");
          return within("@type");
        }
        type_at = in_.at();
        std::string_view text;
        if (!in_.string(text)) return syntax();
        url = text;
        continue;
      }
      const bool is_value = key == "value";
      in_.peek();
      if (is_value) value_at = in_.at();
      if (!in_.skip(2 * (depth_max - depth) + 2)) return syntax();
    }
  }

  const Types& types_;
  std::string_view json_;
  JsonReader in_;
  std::string out_;
  std::string decoded_;
  std::vector<std::uint64_t> bits_;  ///< Which fields of each open message have been seen; a stack.
  std::string path_;
  std::string what_;
  std::size_t at_ = 0;
};

}  // namespace

Result<Bytes> json_to_wire(const Types& types, const MessageType& type, std::string_view json) {
  return JsonToWire(types, json).convert(type);
}

}  // namespace shunt::schema
