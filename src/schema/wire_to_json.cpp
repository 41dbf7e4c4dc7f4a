#include "schema/wire_to_json.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <charconv>
#include <cmath>
#include <optional>

#include "base/base64.h"
#include "base/json_text.h"
#include "base/names.h"
#include "schema/text_forms.h"
#include "schema/wire_format.h"

namespace shunt::schema {

namespace {

// Where one value of a field stands in its message.
struct Occurrence {
  std::uint32_t index;   ///< Of the field; dropped: no value after all.
  std::uint32_t offset;  ///< Of what follows the tag.
};
constexpr std::uint32_t dropped = ~std::uint32_t{0};

struct Scalar {
  std::uint64_t bits = 0;
  std::string_view text;
};

std::string_view base_name(std::string_view url) {
  const auto slash = url.rfind('/');
  return slash == std::string_view::npos ? url : url.substr(slash + 1);
}

WireType wire_type(FieldType type) {
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

bool can_pack(const Field& field) {
  const WireType type = wire_type(field.type);
  return field.repeated && type != WireType::delimited && type != WireType::group_begin;
}

class WireToJson {
 public:
  WireToJson(const Types& types, const JsonForm& form) : types_(types), form_(form) {}

  Result<Bytes> convert(const MessageType& type, std::string_view bytes) {
    if (bytes.size() > 0x7fffffff) {
      return fail(Code::resource_exhausted, "S1043", fmt::format("a message of {} is beyond 2 GiB", type.name));
    }
    out_.reserve(bytes.size() * 2 + 16);
    if (body(type, bytes, 1)) return Bytes::adopt(std::move(out_));
    const std::string at = path_.empty() ? "" : path_ + ": ";
    switch (fault_) {
      case Fault::wire:
        return fail(Code::invalid_argument, "S1041", fmt::format("these bytes are no {}: {}{}", type.name, at, what_));
      case Fault::no_json:
        return fail(Code::invalid_argument, "S1042", fmt::format("a {} without JSON: {}{}", type.name, at, what_));
      case Fault::too_large:
        break;
    }
    return fail(Code::resource_exhausted, "S1043",
                fmt::format("as JSON this {} is larger than {} bytes", type.name, form_.output_bytes_max));
  }

 private:
  enum class Fault : std::uint8_t { wire, no_json, too_large };

  bool wrong(Fault fault, std::string what) {
    if (what_.empty()) {
      fault_ = fault;
      what_ = std::move(what);
    }
    return false;
  }
  bool broken() { return wrong(Fault::wire, "they end within a field, or hold one that can't be"); }
  bool within(std::string_view name) {
    path_ = path_.empty() || path_.starts_with('[') ? std::string(name) + path_ : fmt::format("{}.{}", name, path_);
    return false;
  }
  bool within(std::size_t index) { return within(std::string_view(fmt::format("[{}]", index))); }
  bool too_large() {
    if (out_.size() <= form_.output_bytes_max) return false;
    wrong(Fault::too_large, "it is too large");
    return true;
  }

  // ---- A message's fields.

  // The occurrences of one message: a part of the stack, given back at the end.
  class Scan {
   public:
    Scan(WireToJson& of, const MessageType& type, std::string_view bytes)
        : of_(of), bytes_(bytes), begin_(of.occurrences_.size()), good_(of.scan(type, bytes, begin_)) {}
    ~Scan() { of_.occurrences_.resize(begin_); }
    Scan(const Scan&) = delete;
    Scan& operator=(const Scan&) = delete;

    [[nodiscard]] bool good() const { return good_; }
    [[nodiscard]] std::string_view bytes() const { return bytes_; }
    [[nodiscard]] std::size_t begin() const { return begin_; }
    [[nodiscard]] std::size_t end() const { return end_; }
    /// Those of one field, which are together after scan().
    [[nodiscard]] std::pair<std::size_t, std::size_t> of(std::uint32_t index) const {
      const auto first = of_.occurrences_.begin() + static_cast<std::ptrdiff_t>(begin_);
      const auto last = of_.occurrences_.begin() + static_cast<std::ptrdiff_t>(end_);
      const auto range = std::equal_range(first, last, Occurrence{index, 0},
                                          [](const Occurrence& a, const Occurrence& b) { return a.index < b.index; });
      return {begin_ + static_cast<std::size_t>(range.first - first),
              begin_ + static_cast<std::size_t>(range.second - first)};
    }

   private:
    WireToJson& of_;
    std::string_view bytes_;
    std::size_t begin_;
    bool good_;
    std::size_t end_ = of_.occurrences_.size();
  };

  /// Puts what is in `bytes` on the stack, sorted by field and in the order of the wire within each.
  bool scan(const MessageType& type, std::string_view bytes, std::size_t begin) {
    WireReader in(bytes);
    bool sorted = true;
    std::uint32_t last = 0;
    while (!in.done()) {
      std::uint32_t number = 0;
      WireType wire{};
      if (!in.tag(number, wire)) return broken();
      const auto offset = static_cast<std::uint32_t>(in.at() - bytes.data());
      const Field* field = type.find(number);
      if (!in.skip(number, wire)) return broken();
      // A field of another wire type than declared counts as unknown, as for every protobuf parser.
      if (field == nullptr) continue;
      const bool packed = wire == WireType::delimited && can_pack(*field);
      if (!packed && wire != wire_type(field->type)) continue;
      if (field->index < last) sorted = false;
      last = field->index;
      // Whether it is packed is told by the highest bit of the offset, which no message needs.
      occurrences_.push_back({field->index, offset | (packed ? packed_bit : 0)});
    }
    if (!type.oneofs.empty() && occurrences_.size() - begin > 1) settle_oneofs(type, begin);
    if (!sorted) {
      sort(begin);
    }
    while (occurrences_.size() > begin && occurrences_.back().index == dropped) occurrences_.pop_back();
    return true;
  }
  static constexpr std::uint32_t packed_bit = 0x80000000;
  void sort(std::size_t begin) {
    std::sort(occurrences_.begin() + static_cast<std::ptrdiff_t>(begin), occurrences_.end(),
              [](const Occurrence& a, const Occurrence& b) {
                return a.index != b.index ? a.index < b.index : (a.offset & ~packed_bit) < (b.offset & ~packed_bit);
              });
  }

  /// Of the members of a oneof the last one counts, and of it what came since another was set.
  void settle_oneofs(const MessageType& type, std::size_t begin) {
    constexpr std::uint32_t open = dropped - 1;
    std::vector<std::uint32_t> winner(type.oneofs.size(), open);
    bool any_dropped = false;
    for (std::size_t i = occurrences_.size(); i-- > begin;) {
      const int oneof = type.fields[occurrences_[i].index].oneof;
      if (oneof < 0) continue;
      std::uint32_t& wins = winner[static_cast<std::size_t>(oneof)];
      if (wins == open) wins = occurrences_[i].index;
      if (wins == occurrences_[i].index) continue;
      wins = dropped;
      occurrences_[i].index = dropped;
      any_dropped = true;
    }
    if (!any_dropped) return;
    sort(begin);
  }

  bool body(const MessageType& type, std::string_view bytes, int depth) {
    if (depth > depth_max) return wrong(Fault::wire, fmt::format("they are nested deeper than {} messages", depth_max));
    if (too_large()) return false;
    switch (type.special) {
      case Special::none: {
        out_.push_back('{');
        bool first = true;
        if (!members(type, bytes, depth, first)) return false;
        out_.push_back('}');
        return true;
      }
      case Special::any:
        return any(type, bytes, depth);
      case Special::timestamp:
      case Special::duration:
        return time(type, bytes);
      case Special::field_mask:
        return field_mask(type, bytes);
      case Special::structure: {
        const Scan scan(*this, type, bytes);
        return scan.good() && map(type.fields[0], scan.bytes(), scan.begin(), scan.end(), depth);
      }
      case Special::list_value: {
        const Scan scan(*this, type, bytes);
        return scan.good() && repeated(type.fields[0], scan.bytes(), scan.begin(), scan.end(), depth);
      }
      case Special::value:
        return value(type, bytes, depth);
      case Special::wrapper: {
        const Scan scan(*this, type, bytes);
        if (!scan.good()) return false;
        Scalar scalar;
        if (scan.end() > scan.begin() && !read(type.fields[0], scan.bytes(), occurrences_[scan.end() - 1], scalar)) {
          return false;
        }
        return put(type.fields[0], scalar);
      }
    }
    return false;
  }

  void comma(bool& first) {
    if (!first) out_.push_back(',');
    first = false;
  }

  bool members(const MessageType& type, std::string_view bytes, int depth, bool& first) {
    const Scan scan(*this, type, bytes);
    if (!scan.good()) return false;
    std::uint32_t next_default = 0;
    for (std::size_t i = scan.begin(); i < scan.end();) {
      const std::uint32_t index = occurrences_[i].index;
      std::size_t end = i + 1;
      while (end < scan.end() && occurrences_[end].index == index) ++end;
      if (form_.defaults) defaults(type, next_default, index, first);
      next_default = index + 1;
      const Field& field = type.fields[index];
      if (!member(field, bytes, i, end, depth, first)) return within(field.json_name);
      i = end;
    }
    if (form_.defaults) defaults(type, next_default, static_cast<std::uint32_t>(type.fields.size()), first);
    for (const std::uint32_t index : type.required) {
      const auto [begin, end] = scan.of(index);
      if (begin != end) continue;
      wrong(Fault::wire, fmt::format("the required field '{}' is missing", type.fields[index].name));
      return false;
    }
    return true;
  }
  /// Fields that are absent and can't be told from their default.
  void defaults(const MessageType& type, std::uint32_t from, std::uint32_t to, bool& first) {
    for (std::uint32_t i = from; i < to; ++i) {
      const Field& field = type.fields[i];
      if (field.presence || field.required) continue;
      if (form_.unnamed != nullptr && form_.unnamed->contains(&field)) continue;
      comma(first);
      out_ += form_.file_names ? field.file_key : field.key;
      if (field.is_map()) {
        out_ += "{}";
      } else if (field.repeated) {
        out_ += "[]";
      } else {
        (void)put(field, Scalar());
      }
    }
  }

  bool member(const Field& field, std::string_view bytes, std::size_t begin, std::size_t end, int depth, bool& first) {
    if (field.repeated) {
      // Empty packed runs are no elements: known only when it is written.
      const std::size_t before = out_.size();
      const bool was_first = first;
      comma(first);
      out_ += form_.file_names ? field.file_key : field.key;
      const std::size_t value_at = out_.size();
      if (!(field.is_map() ? map(field, bytes, begin, end, depth) : repeated(field, bytes, begin, end, depth))) {
        return false;
      }
      if (!form_.defaults && out_.size() == value_at + 2) {
        out_.resize(before);
        first = was_first;
      }
      return true;
    }
    if (field.message != nullptr) {
      comma(first);
      out_ += form_.file_names ? field.file_key : field.key;
      return message(field, bytes, begin, end, depth);
    }
    Scalar scalar;
    if (!last(field, bytes, begin, end, scalar)) return what_.empty();  // Nothing that its enum knows: it is unset.
    if (!field.presence && !form_.defaults && scalar.bits == 0 && scalar.text.empty()) return true;
    comma(first);
    out_ += form_.file_names ? field.file_key : field.key;
    return put(field, scalar);
  }

  /// The last of them that counts. False: there is none, or an error.
  bool last(const Field& field, std::string_view bytes, std::size_t begin, std::size_t end, Scalar& out) {
    for (std::size_t i = end; i-- > begin;) {
      if (!read(field, bytes, occurrences_[i], out)) return false;
      if (!is_unknown(field, out.bits)) return true;
    }
    return false;
  }
  /// A number that a closed enum has no name for is kept by protobuf, but is no value of the field.
  static bool is_unknown(const Field& field, std::uint64_t bits) {
    return field.enumeration != nullptr && field.enumeration->closed &&
           !field.enumeration->by_number.contains(static_cast<std::int32_t>(bits));
  }

  bool content(const Field& field, std::string_view bytes, const Occurrence& at, std::string_view& out) {
    WireReader in(bytes.substr(at.offset));
    if (field.type == FieldType::group ? in.group(field.number, out) : in.delimited(out)) return true;
    return broken();
  }
  /// A message that comes in several parts is what the parts are together.
  bool message(const Field& field, std::string_view bytes, std::size_t begin, std::size_t end, int depth) {
    std::string_view part;
    if (end - begin == 1) {
      return content(field, bytes, occurrences_[begin], part) && body(*field.message, part, depth + 1);
    }
    std::string whole;
    for (std::size_t i = begin; i < end; ++i) {
      if (!content(field, bytes, occurrences_[i], part)) return false;
      if (!is_whole(part)) return broken();  // Two halves of a field make none.
      whole += part;
    }
    return body(*field.message, whole, depth + 1);
  }

  static bool is_whole(std::string_view part) {
    WireReader in(part);
    while (!in.done()) {
      std::uint32_t number = 0;
      WireType wire{};
      if (!in.tag(number, wire) || !in.skip(number, wire)) return false;
    }
    return true;
  }

  bool repeated(const Field& field, std::string_view bytes, std::size_t begin, std::size_t end, int depth) {
    out_.push_back('[');
    std::size_t count = 0;
    for (std::size_t i = begin; i < end; ++i) {
      if (too_large()) return false;
      const Occurrence at = occurrences_[i];
      if (field.message != nullptr) {
        if (count > 0) out_.push_back(',');
        std::string_view part;
        if (!content(field, bytes, at, part) || !body(*field.message, part, depth + 1)) return within(count);
        ++count;
      } else if ((at.offset & packed_bit) != 0) {
        if (!packed(field, bytes.substr(at.offset & ~packed_bit), count)) return within(count);
      } else {
        Scalar scalar;
        if (!read(field, bytes, at, scalar)) return within(count);
        if (is_unknown(field, scalar.bits)) continue;
        if (count > 0) out_.push_back(',');
        if (!put(field, scalar)) return within(count);
        ++count;
      }
    }
    out_.push_back(']');
    return true;
  }
  bool packed(const Field& field, std::string_view bytes, std::size_t& count) {
    WireReader outer(bytes);
    std::string_view run;
    if (!outer.delimited(run)) return broken();
    WireReader in(run);
    while (!in.done()) {
      Scalar scalar;
      if (!number(field, in, scalar)) return broken();
      if (is_unknown(field, scalar.bits)) continue;
      if (count > 0) out_.push_back(',');
      if (!put(field, scalar) || too_large()) return false;
      ++count;
    }
    return true;
  }

  // ---- Maps: of equal keys the last counts; keys are written in their order.

  struct Entry {
    Scalar key = {};
    std::string_view bytes = {};  ///< The entry as a whole.
    std::size_t position = 0;
  };
  bool map(const Field& field, std::string_view bytes, std::size_t begin, std::size_t end, int depth) {
    const MessageType& type = *field.message;
    const Field& key_field = type.fields[0];
    std::vector<Entry> entries;
    entries.reserve(end - begin);
    for (std::size_t i = begin; i < end; ++i) {
      Entry entry{.position = i};
      if (!content(field, bytes, occurrences_[i], entry.bytes)) return false;
      const Scan scan(*this, type, entry.bytes);
      if (!scan.good()) return false;
      const auto [from, to] = scan.of(0);
      if (from != to && !read(key_field, entry.bytes, occurrences_[to - 1], entry.key)) return false;
      entries.push_back(entry);
    }
    const bool is_signed = key_field.type == FieldType::int32 || key_field.type == FieldType::int64 ||
                           key_field.type == FieldType::sint32 || key_field.type == FieldType::sint64 ||
                           key_field.type == FieldType::sfixed32 || key_field.type == FieldType::sfixed64;
    auto less = [&](const Entry& a, const Entry& b) {
      if (key_field.type == FieldType::string) return a.key.text < b.key.text;
      if (is_signed) return static_cast<std::int64_t>(a.key.bits) < static_cast<std::int64_t>(b.key.bits);
      return a.key.bits < b.key.bits;
    };
    std::ranges::sort(entries, [&](const Entry& a, const Entry& b) {
      if (less(a, b)) return true;
      return !less(b, a) && a.position < b.position;
    });
    out_.push_back('{');
    bool first = true;
    for (std::size_t i = 0; i < entries.size(); ++i) {
      if (i + 1 < entries.size() && !less(entries[i], entries[i + 1])) continue;
      if (too_large()) return false;
      const std::size_t before = out_.size();
      const bool was_first = first;
      comma(first);
      const std::size_t key_at = out_.size();
      if (!map_key(key_field, entries[i].key)) return false;
      const std::size_t key_end = out_.size();
      out_.push_back(':');
      bool unset = false;
      if (!map_value(type, entries[i].bytes, depth + 1, unset)) {
        return within(fmt::format("[{}]", std::string_view(out_).substr(key_at, key_end - key_at)));
      }
      if (unset) {
        out_.resize(before);
        first = was_first;
      }
    }
    out_.push_back('}');
    return true;
  }
  bool map_key(const Field& field, const Scalar& key) {
    if (field.type == FieldType::string) return put(field, key);
    out_.push_back('"');
    if (field.type == FieldType::boolean) {
      out_ += key.bits != 0 ? "true" : "false";
    } else {
      whole(field, key.bits);
    }
    out_.push_back('"');
    return true;
  }
  /// `unset`: of a closed enum, a number without a name: the whole entry is not one.
  bool map_value(const MessageType& type, std::string_view entry, int depth, bool& unset) {
    const Field& field = type.fields[1];
    const Scan scan(*this, type, entry);
    if (!scan.good()) return false;
    const auto [begin, end] = scan.of(1);
    if (field.message != nullptr) {
      if (begin == end) return body(*field.message, {}, depth + 1);
      return message(field, entry, begin, end, depth);
    }
    Scalar scalar;
    if (begin != end && !read(field, entry, occurrences_[end - 1], scalar)) return false;
    unset = is_unknown(field, scalar.bits);
    return unset || put(field, scalar);
  }

  // ---- Scalars.

  bool read(const Field& field, std::string_view bytes, const Occurrence& at, Scalar& out) {
    WireReader in(bytes.substr(at.offset & ~packed_bit));
    if ((at.offset & packed_bit) != 0) return broken();  // Only of repeated fields, which do not come here.
    if (wire_type(field.type) == WireType::delimited) return in.delimited(out.text) || broken();
    return number(field, in, out) || broken();
  }
  /// Its value, as 64 bits that are sign-extended where it is signed.
  static bool number(const Field& field, WireReader& in, Scalar& out) {
    std::uint32_t narrow = 0;
    switch (field.type) {
      case FieldType::real64:
      case FieldType::fixed64:
      case FieldType::sfixed64:
        return in.fixed(out.bits);
      case FieldType::real32:
      case FieldType::fixed32:
        if (!in.fixed(narrow)) return false;
        out.bits = narrow;
        return true;
      case FieldType::sfixed32:
        if (!in.fixed(narrow)) return false;
        out.bits = static_cast<std::uint64_t>(static_cast<std::int64_t>(static_cast<std::int32_t>(narrow)));
        return true;
      default:
        break;
    }
    std::uint64_t bits = 0;
    if (!in.varint(bits)) return false;
    switch (field.type) {
      case FieldType::int32:
      case FieldType::enumeration:
        bits = static_cast<std::uint64_t>(static_cast<std::int64_t>(static_cast<std::int32_t>(bits)));
        break;
      case FieldType::uint32:
        bits = static_cast<std::uint32_t>(bits);
        break;
      case FieldType::sint32:
        bits = static_cast<std::uint64_t>(unzigzag(static_cast<std::uint32_t>(bits)));
        break;
      case FieldType::sint64:
        bits = static_cast<std::uint64_t>(unzigzag(bits));
        break;
      case FieldType::boolean:
        bits = bits != 0 ? 1 : 0;
        break;
      default:
        break;
    }
    out.bits = bits;
    return true;
  }

  void whole(const Field& field, std::uint64_t bits) {
    char digits[24];
    const bool is_unsigned = field.type == FieldType::uint32 || field.type == FieldType::uint64 ||
                             field.type == FieldType::fixed32 || field.type == FieldType::fixed64;
    const auto end = is_unsigned ? std::to_chars(digits, digits + sizeof digits, bits).ptr
                                 : std::to_chars(digits, digits + sizeof digits, static_cast<std::int64_t>(bits)).ptr;
    out_.append(digits, end);
  }

  bool put(const Field& field, const Scalar& scalar) {
    switch (field.type) {
      case FieldType::real64:
        append_real(out_, std::bit_cast<double>(scalar.bits));
        return true;
      case FieldType::real32:
        append_real(out_, std::bit_cast<float>(static_cast<std::uint32_t>(scalar.bits)));
        return true;
      case FieldType::boolean:
        out_ += scalar.bits != 0 ? "true" : "false";
        return true;
      case FieldType::string:
        if (!is_utf8(scalar.text)) return wrong(Fault::wire, "this string is not UTF-8");
        append_json_string(out_, scalar.text);
        return true;
      case FieldType::bytes:
        out_.push_back('"');
        append_base64(out_, scalar.text, Padding::yes);
        out_.push_back('"');
        return true;
      case FieldType::enumeration:
        enumerator(*field.enumeration, scalar.bits);
        return true;
      case FieldType::int64:
      case FieldType::uint64:
      case FieldType::fixed64:
      case FieldType::sfixed64:
      case FieldType::sint64:
        if (form_.numbers) break;
        out_.push_back('"');
        whole(field, scalar.bits);
        out_.push_back('"');
        return true;
      default:
        break;
    }
    whole(field, scalar.bits);
    return true;
  }
  void enumerator(const EnumType& type, std::uint64_t bits) {
    if (type.null_value) {
      out_ += "null";
      return;
    }
    const auto number = static_cast<std::int32_t>(bits);
    const auto found = type.by_number.find(number);
    if (found == type.by_number.end()) {
      out_ += std::to_string(number);
      return;
    }
    out_.push_back('"');
    out_ += found->second;  // An identifier: nothing to escape.
    out_.push_back('"');
  }

  // ---- Types with a JSON of their own.

  /// A singular scalar field of a well-known type, or its default.
  bool known(const Scan& scan, const MessageType& type, std::uint32_t index, Scalar& out) {
    const auto [begin, end] = scan.of(index);
    return begin == end || read(type.fields[index], scan.bytes(), occurrences_[end - 1], out);
  }

  bool time(const MessageType& type, std::string_view bytes) {
    const Scan scan(*this, type, bytes);
    Scalar seconds;
    Scalar nanos;
    if (!scan.good() || !known(scan, type, 0, seconds) || !known(scan, type, 1, nanos)) return false;
    const SecondsAndNanos value{.seconds = static_cast<std::int64_t>(seconds.bits),
                                .nanos = static_cast<std::int32_t>(nanos.bits)};
    if (type.special == Special::timestamp) {
      return append_timestamp(out_, value) ||
             wrong(Fault::no_json,
                   fmt::format("{} s and {} ns lie outside of the years 1 to 9999", value.seconds, value.nanos));
    }
    return append_duration(out_, value) ||
           wrong(Fault::no_json, fmt::format("{} s and {} ns are no duration", value.seconds, value.nanos));
  }

  bool field_mask(const MessageType& type, std::string_view bytes) {
    const Scan scan(*this, type, bytes);
    if (!scan.good()) return false;
    std::string paths;
    for (std::size_t i = scan.begin(); i < scan.end(); ++i) {
      Scalar path;
      if (!read(type.fields[0], bytes, occurrences_[i], path)) return false;
      if (!is_utf8(path.text)) return wrong(Fault::wire, "this string is not UTF-8");
      const auto camel = camel_path(path.text);
      if (!camel || camel->contains(',')) {
        return wrong(Fault::no_json, fmt::format("the path {} can't be read back", quote_json(path.text)));
      }
      if (!paths.empty()) paths.push_back(',');
      paths += *camel;
    }
    append_json_string(out_, paths);
    return true;
  }

  bool value(const MessageType& type, std::string_view bytes, int depth) {
    const Scan scan(*this, type, bytes);
    if (!scan.good()) return false;
    if (scan.begin() == scan.end()) {
      out_ += "null";
      return true;
    }
    // All fields are of one oneof, so what is left is of one of them.
    const Field& field = type.fields[occurrences_[scan.begin()].index];
    if (field.message != nullptr) return message(field, bytes, scan.begin(), scan.end(), depth);
    Scalar scalar;
    if (!read(field, bytes, occurrences_[scan.end() - 1], scalar)) return false;
    if (field.type == FieldType::real64 && !std::isfinite(std::bit_cast<double>(scalar.bits))) {
      return wrong(Fault::no_json, "a google.protobuf.Value can't be NaN or infinite");
    }
    return put(field, scalar);
  }

  bool any(const MessageType& type, std::string_view bytes, int depth) {
    const Scan scan(*this, type, bytes);
    Scalar url;
    Scalar content;
    if (!scan.good() || !known(scan, type, 0, url) || !known(scan, type, 1, content)) return false;
    out_.push_back('{');
    if (!url.text.empty() || !content.text.empty()) {
      const MessageType* inner = url.text.contains('/') ? types_.message(base_name(url.text)) : nullptr;
      if (inner == nullptr) {
        return wrong(Fault::no_json, fmt::format("no type {} is known here", quote_json(url.text)));
      }
      out_ += "\"@type\":";
      if (!is_utf8(url.text)) return wrong(Fault::wire, "this string is not UTF-8");
      append_json_string(out_, url.text);
      bool first = false;
      if (inner->special == Special::none) {
        if (!members(*inner, content.text, depth + 1, first)) return false;
      } else {
        out_ += ",\"value\":";
        if (!body(*inner, content.text, depth + 1)) return within(std::string_view("value"));
      }
    }
    out_.push_back('}');
    return true;
  }

  const Types& types_;
  const JsonForm& form_;
  std::string out_;
  std::vector<Occurrence> occurrences_;  ///< Of the messages that are open; a stack.
  std::string path_;
  std::string what_;
  Fault fault_ = Fault::wire;
};

}  // namespace

Result<Bytes> wire_to_json(const Types& types, const MessageType& type, std::string_view bytes, const JsonForm& form) {
  return WireToJson(types, form).convert(type, bytes);
}

}  // namespace shunt::schema
