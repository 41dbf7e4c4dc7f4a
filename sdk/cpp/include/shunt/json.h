#pragma once
// Json: a value of any shape; and the reader and writer of JSON text on which fields.h stands too. Part of
// <shunt/service.h>; can be used alone.
//
// Strict RFC 8259: UTF-8 is checked, nothing may follow the value, a key may not come twice, at most 64 levels deep.
// Integers of 64 bits are exact; larger ones become doubles.

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <limits>
#include <string>
#include <string_view>
#include <type_traits>
#include <unordered_set>
#include <utility>
#include <variant>
#include <vector>

#include "shunt/error.h"

namespace shunt {
inline namespace sdk {

/// Raw bytes. A message of Bytes is passed as it is; a field of Bytes is base64 in JSON.
struct Bytes {
  std::string data;

  Bytes() = default;
  explicit Bytes(std::string bytes) : data(std::move(bytes)) {}
  [[nodiscard]] std::string_view view() const { return data; }
  [[nodiscard]] std::size_t size() const { return data.size(); }
  friend bool operator==(const Bytes&, const Bytes&) = default;
};

namespace detail {

inline constexpr int json_depth_max = 64;

/// Writes JSON in small pieces to append(to, data, size).
class Output {
 public:
  using Append = void (*)(void* to, const char* data, std::size_t size);
  Output(Append append, void* to) : append_(append), to_(to) {}
  explicit Output(std::string& text)
      : Output([](void* to, const char* data, std::size_t size) { static_cast<std::string*>(to)->append(data, size); },
               &text) {}
  Output(const Output&) = delete;
  Output& operator=(const Output&) = delete;
  ~Output() { flush(); }

  void raw(char c) {
    if (used_ == sizeof(buffer_)) flush();
    buffer_[used_++] = c;
  }
  void raw(std::string_view text) {
    if (text.size() > sizeof(buffer_) - used_) {
      flush();
      if (text.size() > sizeof(buffer_)) return append_(to_, text.data(), text.size());
    }
    std::memcpy(buffer_ + used_, text.data(), text.size());
    used_ += text.size();
  }
  template <typename Integer>
  void integer(Integer number) {
    char digits[24];
    raw({digits, static_cast<std::size_t>(std::to_chars(digits, digits + sizeof(digits), number).ptr - digits)});
  }
  /// JSON has no NaN and no infinity: they become null.
  template <typename Float>
  void number(Float number) {
    if (!std::isfinite(number)) return raw("null");
    char digits[40];
    std::string_view text(
        digits, static_cast<std::size_t>(std::to_chars(digits, digits + sizeof(digits), number).ptr - digits));
    raw(text);
    if (text == "-0") raw(".0");
  }
  /// What is not UTF-8 becomes U+FFFD.
  void string(std::string_view text) {
    write_json_string(text, [this](std::string_view part) { raw(part); });
  }

  void flush() {
    if (used_ != 0) append_(to_, buffer_, used_);
    used_ = 0;
  }

 private:
  Append append_;
  void* to_;
  std::size_t used_ = 0;
  char buffer_[512];
};

/// Where in a value the reader stands: a chain on the stack, written out only for an error.
struct Path {
  const Path* parent = nullptr;
  std::string_view name;  ///< A field; empty: an index.
  std::size_t index = 0;

  static std::string text(const Path* path) {
    if (path == nullptr) return {};
    std::string all = text(path->parent);
    if (path->name.data() == nullptr) return all + "[" + std::to_string(path->index) + "]";
    if (!all.empty()) all += ".";
    return all.append(path->name);
  }
};

/// Reads JSON text piece by piece. Every function returns false after a failure, which error() then tells.
class Input {
 public:
  enum class Kind : std::uint8_t { end, null, boolean, number, string, array, object, bad };

  explicit Input(std::string_view text) : begin_(text.data()), at_(text.data()), end_(text.data() + text.size()) {}

  /// What comes next.
  Kind kind() {
    skip_space();
    if (at_ == end_) return Kind::end;
    switch (*at_) {
      case 'n':
        return Kind::null;
      case 't':
      case 'f':
        return Kind::boolean;
      case '"':
        return Kind::string;
      case '[':
        return Kind::array;
      case '{':
        return Kind::object;
      default:
        return *at_ == '-' || is_digit(*at_) ? Kind::number : Kind::bad;
    }
  }

  bool null() { return kind() == Kind::null ? word("null") : unexpected("null"); }
  bool boolean(bool& out) {
    if (kind() != Kind::boolean) return unexpected("true or false");
    out = *at_ == 't';
    return word(out ? "true" : "false");
  }
  bool string(std::string& out) {
    if (kind() != Kind::string) return unexpected("a string");
    std::string_view view;
    if (!text(view, out)) return false;
    if (view.data() != out.data()) out.assign(view);
    return true;
  }
  template <typename Integer>
  bool integer(Integer& out) {
    if (kind() != Kind::number) return unexpected("an integer");
    bool whole = false;
    std::string_view token;
    if (!number_token(token, whole)) return false;
    if (whole) {
      auto [end, problem] = std::from_chars(token.data(), token.data() + token.size(), out);
      if (problem == std::errc() && end == token.data() + token.size()) return true;
      if (token == "-0") return out = 0, true;
      return out_of_range<Integer>(token);
    }
    double value = to_double(token);
    if (std::trunc(value) != value || std::fabs(value) > 9007199254740992.0) {
      return fail("expected an integer, found " + shortened(token));
    }
    if (value < static_cast<double>(std::numeric_limits<Integer>::min()) ||
        value > static_cast<double>(std::numeric_limits<Integer>::max())) {
      return out_of_range<Integer>(token);
    }
    out = static_cast<Integer>(value);
    return true;
  }
  bool number(double& out) {
    if (kind() != Kind::number) return unexpected("a number");
    bool whole = false;
    std::string_view token;
    if (!number_token(token, whole)) return false;
    out = to_double(token);
    return std::isfinite(out) ? true : fail("the number " + shortened(token) + " is too large");
  }
  /// A number as it is written; `whole` without fraction and exponent.
  bool number_token(std::string_view& token, bool& whole) {
    const char* start = at_;
    if (at_ != end_ && *at_ == '-') ++at_;
    if (at_ == end_ || !is_digit(*at_)) return syntax("a digit must follow '-'");
    if (*at_ == '0' && at_ + 1 != end_ && is_digit(at_[1])) return syntax("a number must not begin with 0");
    skip_digits();
    whole = true;
    if (at_ != end_ && *at_ == '.') {
      whole = false;
      ++at_;
      if (!skip_digits()) return syntax("a digit must follow '.'");
    }
    if (at_ != end_ && (*at_ == 'e' || *at_ == 'E')) {
      whole = false;
      ++at_;
      if (at_ != end_ && (*at_ == '+' || *at_ == '-')) ++at_;
      if (!skip_digits()) return syntax("a digit must follow the exponent's sign");
    }
    token = {start, static_cast<std::size_t>(at_ - start)};
    return true;
  }

  /// Calls each(index) for every item; each reads it.
  template <typename Each>
  bool array(Each&& each) {
    if (kind() != Kind::array) return unexpected("an array");
    if (!deeper()) return false;
    ++at_;
    if (!skip_if(']')) {
      Path here{path_, {}, 0};
      path_ = &here;
      do {
        if (!each(here.index)) return false;  // The path stays for the error, which is written by now.
        here.index++;
      } while (skip_if(','));
      path_ = here.parent;
      if (!skip_if(']')) return syntax("expected ',' or ']'");
    }
    depth_--;
    return true;
  }
  /// Calls each(key) for every member; each reads the value. The key is valid until then.
  template <typename Each>
  bool object(Each&& each) {
    if (kind() != Kind::object) return unexpected("an object");
    if (!deeper()) return false;
    ++at_;
    if (!skip_if('}')) {
      Path here{path_, {}, 0};
      std::string scratch;
      do {
        if (kind() != Kind::string) return syntax("expected a key in quotes");
        if (!text(here.name, scratch)) return false;
        if (here.name.data() == nullptr) here.name = "";
        if (!skip_if(':')) return syntax("expected ':' after the key");
        path_ = &here;
        if (!each(here.name)) return false;
        path_ = here.parent;
      } while (skip_if(','));
      if (!skip_if('}')) return syntax("expected ',' or '}'");
    }
    depth_--;
    return true;
  }
  /// Nothing but space may be left.
  bool finish() { return kind() == Kind::end ? true : syntax("nothing may follow the value"); }

  /// The value is well-formed but not what is wanted.
  bool fail(std::string_view what) {
    if (!failed_) error_ = path_ == nullptr ? invalid_argument(std::string(what)) : wrong(Path::text(path_), what);
    failed_ = true;
    return false;
  }
  /// The same of a field of the value at hand.
  bool fail_field(std::string_view field, std::string_view what) {
    Path here{path_, field, 0};
    path_ = &here;
    fail(what);
    path_ = here.parent;
    return false;
  }
  bool unexpected(std::string_view wanted) {
    switch (kind()) {
      case Kind::end:
        return syntax("the text ends too early");
      case Kind::bad:
        return syntax("a value can't begin like this");
      case Kind::null:
        return found(wanted, "null");
      case Kind::boolean:
        return found(wanted, *at_ == 't' ? "true" : "false");
      case Kind::number:
        return found(wanted, "a number");
      case Kind::string:
        return found(wanted, "a string");
      case Kind::array:
        return found(wanted, "an array");
      case Kind::object:
        return found(wanted, "an object");
    }
    return false;
  }
  [[nodiscard]] Error& error() { return error_; }

  static double to_double(std::string_view token) {
    double value = 0;
#if defined(__cpp_lib_to_chars)
    if (std::from_chars(token.data(), token.data() + token.size(), value).ec == std::errc()) return value;
#endif
    return std::strtod(std::string(token).c_str(), nullptr);
  }

 private:
  static Error wrong(const std::string& field, std::string_view what) { return invalid_argument(field, what); }
  static bool is_digit(char c) { return c >= '0' && c <= '9'; }
  static std::string shortened(std::string_view token) {
    return token.size() <= 40 ? std::string(token) : std::string(token.substr(0, 40)) + "...";
  }
  bool found(std::string_view wanted, std::string_view what) {
    return fail("expected " + std::string(wanted) + ", found " + std::string(what));
  }
  template <typename Integer>
  bool out_of_range(std::string_view token) {
    using Limits = std::numeric_limits<Integer>;
    return fail(shortened(token) + " is out of range: from " + std::to_string(Limits::min()) + " to " +
                std::to_string(Limits::max()));
  }
  bool syntax(std::string_view what) {
    if (!failed_) {
      error_ = invalid_argument("not JSON at offset " + std::to_string(at_ - begin_) + ": " + std::string(what));
    }
    failed_ = true;
    return false;
  }
  bool deeper() { return ++depth_ <= json_depth_max ? true : syntax("deeper than 64 levels"); }
  void skip_space() {
    while (at_ != end_ && (*at_ == ' ' || *at_ == '\n' || *at_ == '\r' || *at_ == '\t')) ++at_;
  }
  bool skip_if(char c) {
    skip_space();
    if (at_ == end_ || *at_ != c) return false;
    ++at_;
    return true;
  }
  bool skip_digits() {
    const char* start = at_;
    while (at_ != end_ && is_digit(*at_)) ++at_;
    return at_ != start;
  }
  bool word(std::string_view literal) {
    if (static_cast<std::size_t>(end_ - at_) < literal.size() || std::string_view(at_, literal.size()) != literal) {
      return syntax("expected " + std::string(literal));
    }
    at_ += literal.size();
    return true;
  }

  // A string in quotes. `view` shows the text itself where it has no escapes, else `scratch`.
  bool text(std::string_view& view, std::string& scratch) {
    const char* start = ++at_;
    while (at_ != end_ && *at_ != '"' && *at_ != '\\' && static_cast<unsigned char>(*at_) >= 0x20 &&
           static_cast<unsigned char>(*at_) < 0x80) {
      ++at_;
    }
    if (at_ != end_ && *at_ == '"') {
      view = {start, static_cast<std::size_t>(at_ - start)};
      ++at_;
      return true;
    }
    scratch.assign(start, at_);
    while (at_ != end_ && *at_ != '"') {
      unsigned char c = static_cast<unsigned char>(*at_);
      if (c < 0x20) return syntax("a control character in a string");
      if (c == '\\') {
        if (!escape(scratch)) return false;
        continue;
      }
      std::size_t length = utf8_length(at_, end_);
      if (length == 0) return syntax("not UTF-8");
      scratch.append(at_, length);
      at_ += length;
    }
    if (at_ == end_) return syntax("the string does not end");
    ++at_;
    view = scratch;
    return true;
  }
  bool escape(std::string& out) {
    ++at_;
    if (at_ == end_) return syntax("the string does not end");
    switch (*at_++) {
      case '"':
        return out.push_back('"'), true;
      case '\\':
        return out.push_back('\\'), true;
      case '/':
        return out.push_back('/'), true;
      case 'b':
        return out.push_back('\b'), true;
      case 'f':
        return out.push_back('\f'), true;
      case 'n':
        return out.push_back('\n'), true;
      case 'r':
        return out.push_back('\r'), true;
      case 't':
        return out.push_back('\t'), true;
      case 'u':
        return unicode(out);
      default:
        return --at_, syntax("an escape that JSON does not have");
    }
  }
  bool hex4(unsigned& out) {
    if (end_ - at_ < 4) return syntax("four hexadecimal digits must follow \\u");
    auto [end, problem] = std::from_chars(at_, at_ + 4, out, 16);
    if (problem != std::errc() || end != at_ + 4) return syntax("four hexadecimal digits must follow \\u");
    at_ += 4;
    return true;
  }
  bool unicode(std::string& out) {
    unsigned point = 0;
    if (!hex4(point)) return false;
    if (point >= 0xDC00 && point <= 0xDFFF) return syntax("half of a surrogate pair");
    if (point >= 0xD800 && point <= 0xDBFF) {
      unsigned low = 0;
      if (end_ - at_ < 2 || at_[0] != '\\' || at_[1] != 'u') return syntax("half of a surrogate pair");
      at_ += 2;
      if (!hex4(low)) return false;
      if (low < 0xDC00 || low > 0xDFFF) return syntax("half of a surrogate pair");
      point = 0x10000 + ((point - 0xD800) << 10) + (low - 0xDC00);
    }
    auto put = [&](unsigned byte) { out.push_back(static_cast<char>(byte)); };
    if (point < 0x80) {
      put(point);
    } else if (point < 0x800) {
      put(0xC0 | point >> 6), put(0x80 | (point & 63));
    } else if (point < 0x10000) {
      put(0xE0 | point >> 12), put(0x80 | (point >> 6 & 63)), put(0x80 | (point & 63));
    } else {
      put(0xF0 | point >> 18), put(0x80 | (point >> 12 & 63)), put(0x80 | (point >> 6 & 63)), put(0x80 | (point & 63));
    }
    return true;
  }

  const char* begin_;
  const char* at_;
  const char* end_;
  const Path* path_ = nullptr;
  int depth_ = 0;
  bool failed_ = false;
  Error error_{Code::invalid_argument, ""};
};

}  // namespace detail

namespace detail {
// A template, so that Json may hold members before it is complete itself.
template <typename Value>
struct JsonMember {
  std::string key;
  Value value;
  friend bool operator==(const JsonMember&, const JsonMember&) = default;
};
}  // namespace detail

/// A JSON value. Reading what is not there gives null, so `order["items"][0]["sku"]` is safe on any value.
class Json {
 public:
  using Array = std::vector<Json>;
  using Member = detail::JsonMember<Json>;
  /// In the order in which they came.
  using Object = std::vector<Member>;

  Json() = default;
  Json(std::nullptr_t) {}
  Json(bool value) : value_(value) {}
  Json(double value) : value_(value) {}
  template <typename Integer>
    requires(std::is_integral_v<Integer> && !std::is_same_v<Integer, bool>)
  Json(Integer value) {
    if (std::is_signed_v<Integer> ||
        static_cast<std::uint64_t>(value) <= static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
      value_ = static_cast<std::int64_t>(value);
    } else {
      value_ = static_cast<std::uint64_t>(value);
    }
  }
  Json(std::string value) : value_(std::move(value)) {}
  Json(std::string_view value) : value_(std::string(value)) {}
  Json(const char* value) : value_(std::string(value)) {}
  Json(Array value);
  static Json array(std::initializer_list<Json> items);
  static Json object(std::initializer_list<std::pair<std::string_view, Json>> members);

  /// Errors: invalid_argument with the offset of what is wrong.
  static Result<Json> parse(std::string_view text);
  [[nodiscard]] std::string dump() const;

  [[nodiscard]] bool is_null() const { return std::holds_alternative<std::nullptr_t>(value_); }
  [[nodiscard]] bool is_bool() const { return std::holds_alternative<bool>(value_); }
  /// An integer that fits into 64 bits.
  [[nodiscard]] bool is_integer() const {
    return std::holds_alternative<std::int64_t>(value_) || std::holds_alternative<std::uint64_t>(value_);
  }
  [[nodiscard]] bool is_number() const { return is_integer() || std::holds_alternative<double>(value_); }
  [[nodiscard]] bool is_string() const { return std::holds_alternative<std::string>(value_); }
  [[nodiscard]] bool is_array() const { return std::holds_alternative<Array>(value_); }
  [[nodiscard]] bool is_object() const { return std::holds_alternative<Object>(value_); }

  /// The value, or `otherwise` when it is of another kind or does not fit.
  [[nodiscard]] bool as_bool(bool otherwise = false) const {
    auto* found = std::get_if<bool>(&value_);
    return found != nullptr ? *found : otherwise;
  }
  [[nodiscard]] std::int64_t as_int(std::int64_t otherwise = 0) const {
    auto* found = std::get_if<std::int64_t>(&value_);
    return found != nullptr ? *found : otherwise;
  }
  [[nodiscard]] std::uint64_t as_uint(std::uint64_t otherwise = 0) const {
    if (auto* found = std::get_if<std::uint64_t>(&value_)) return *found;
    auto* found = std::get_if<std::int64_t>(&value_);
    return found != nullptr && *found >= 0 ? static_cast<std::uint64_t>(*found) : otherwise;
  }
  [[nodiscard]] double as_double(double otherwise = 0) const {
    if (auto* found = std::get_if<double>(&value_)) return *found;
    if (auto* found = std::get_if<std::int64_t>(&value_)) return static_cast<double>(*found);
    if (auto* found = std::get_if<std::uint64_t>(&value_)) return static_cast<double>(*found);
    return otherwise;
  }
  [[nodiscard]] std::string_view as_string(std::string_view otherwise = {}) const {
    auto* found = std::get_if<std::string>(&value_);
    return found != nullptr ? std::string_view(*found) : otherwise;
  }
  /// The items; none when it is no array.
  [[nodiscard]] const Array& items() const {
    static const Array none;
    auto* found = std::get_if<Array>(&value_);
    return found != nullptr ? *found : none;
  }
  /// The members; none when it is no object.
  [[nodiscard]] const Object& members() const;
  [[nodiscard]] std::size_t size() const;

  [[nodiscard]] const Json* find(std::string_view key) const;
  [[nodiscard]] const Json& operator[](std::string_view key) const {
    const Json* found = find(key);
    return found != nullptr ? *found : none();
  }
  [[nodiscard]] const Json& operator[](const char* key) const { return (*this)[std::string_view(key)]; }
  template <std::integral Index>
  [[nodiscard]] const Json& operator[](Index index) const {
    return static_cast<std::size_t>(index) < items().size() ? items()[static_cast<std::size_t>(index)] : none();
  }

  /// Sets a member; what is no object becomes one.
  Json& set(std::string key, Json value);
  /// Adds an item; what is no array becomes one.
  Json& push(Json value);

  friend bool operator==(const Json& a, const Json& b) { return a.value_ == b.value_; }

  void write(detail::Output& out) const;
  bool read(detail::Input& in);
  [[nodiscard]] std::size_t weigh() const;

 private:
  static const Json& none() {
    static const Json null;
    return null;
  }
  bool read_number(detail::Input& in);
  bool read_object(detail::Input& in);
  std::variant<std::nullptr_t, bool, std::int64_t, std::uint64_t, double, std::string, Array, Object> value_;
};

inline Json::Json(Array value) : value_(std::move(value)) {}
inline Json Json::array(std::initializer_list<Json> items) { return {Array(items)}; }
inline Json Json::object(std::initializer_list<std::pair<std::string_view, Json>> members) {
  Json made;
  made.value_ = Object();
  for (const auto& [key, value] : members) made.set(std::string(key), value);
  return made;
}
inline const Json::Object& Json::members() const {
  static const Object none;
  auto* found = std::get_if<Object>(&value_);
  return found != nullptr ? *found : none;
}
inline std::size_t Json::size() const { return is_object() ? members().size() : items().size(); }
inline const Json* Json::find(std::string_view key) const {
  for (const Member& member : members()) {
    if (member.key == key) return &member.value;
  }
  return nullptr;
}
inline Json& Json::set(std::string key, Json value) {
  if (!is_object()) value_ = Object();
  auto& members = std::get<Object>(value_);
  for (Member& member : members) {
    if (member.key == key) return member.value = std::move(value), *this;
  }
  members.push_back({std::move(key), std::move(value)});
  return *this;
}
inline Json& Json::push(Json value) {
  if (!is_array()) value_ = Array();
  std::get<Array>(value_).push_back(std::move(value));
  return *this;
}

inline void Json::write(detail::Output& out) const {
  struct Visitor {
    detail::Output& out;
    void operator()(std::nullptr_t) const { out.raw("null"); }
    void operator()(bool value) const { out.raw(value ? "true" : "false"); }
    void operator()(std::int64_t value) const { out.integer(value); }
    void operator()(std::uint64_t value) const { out.integer(value); }
    void operator()(double value) const { out.number(value); }
    void operator()(const std::string& value) const { out.string(value); }
    void operator()(const Array& items) const {
      out.raw('[');
      for (std::size_t i = 0; i < items.size(); ++i) {
        if (i != 0) out.raw(',');
        items[i].write(out);
      }
      out.raw(']');
    }
    void operator()(const Object& members) const {
      out.raw('{');
      for (std::size_t i = 0; i < members.size(); ++i) {
        if (i != 0) out.raw(',');
        out.string(members[i].key);
        out.raw(':');
        members[i].value.write(out);
      }
      out.raw('}');
    }
  };
  std::visit(Visitor{out}, value_);
}
inline std::string Json::dump() const {
  std::string text;
  detail::Output out(text);
  write(out);
  out.flush();
  return text;
}

inline bool Json::read(detail::Input& in) {
  using Kind = detail::Input::Kind;
  switch (in.kind()) {
    case Kind::null:
      return value_ = nullptr, in.null();
    case Kind::boolean:
      return in.boolean(value_.emplace<bool>());
    case Kind::number:
      return read_number(in);
    case Kind::string:
      return in.string(value_.emplace<std::string>());
    case Kind::array: {
      Array& items = value_.emplace<Array>();
      return in.array([&](std::size_t) { return items.emplace_back().read(in); });
    }
    case Kind::object:
      return read_object(in);
    default:
      return in.unexpected("a value");
  }
}
inline bool Json::read_number(detail::Input& in) {
  std::string_view token;
  bool whole = false;
  if (!in.number_token(token, whole)) return false;
  const char* begin = token.data();
  const char* end = begin + token.size();
  if (std::int64_t value = 0; whole && token != "-0" && std::from_chars(begin, end, value).ec == std::errc()) {
    return value_ = value, true;
  }
  if (std::uint64_t value = 0; whole && token[0] != '-' && std::from_chars(begin, end, value).ec == std::errc()) {
    return value_ = value, true;
  }
  double value = detail::Input::to_double(token);
  if (!std::isfinite(value)) return in.fail("a number that is too large");
  return value_ = value, true;
}
inline bool Json::read_object(detail::Input& in) {
  Object& members = value_.emplace<Object>();
  std::unordered_set<std::string> keys;  // Only for large objects, where looking through all would take long.
  return in.object([&](std::string_view key) {
    constexpr std::size_t few = 16;
    if (members.size() < few) {
      for (const Member& member : members) {
        if (member.key == key) return in.fail("is given twice");
      }
    } else {
      if (keys.empty()) {
        for (const Member& member : members) keys.insert(member.key);
      }
      if (!keys.insert(std::string(key)).second) return in.fail("is given twice");
    }
    members.push_back({std::string(key), {}});
    return members.back().value.read(in);
  });
}
inline Result<Json> Json::parse(std::string_view text) {
  detail::Input in(text);
  Json value;
  if (!value.read(in) || !in.finish()) return std::move(in.error());
  return value;
}
inline std::size_t Json::weigh() const {
  if (is_string()) return as_string().size() + 2;
  std::size_t sum = 8;
  for (const Json& item : items()) sum += item.weigh() + 1;
  for (const Member& member : members()) sum += member.key.size() + 4 + member.value.weigh();
  return sum;
}

}  // namespace sdk
}  // namespace shunt
