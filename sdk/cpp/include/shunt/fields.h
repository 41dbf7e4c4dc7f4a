#pragma once
// SHUNT_FIELDS(Type, a, b, ...): describes a plain struct once. Its JSON form both ways, its JSON Schema, and the
// fingerprint by which two modules know that they mean the same layout all follow from it. Part of <shunt/service.h>.
//
//   struct Item { std::string sku; std::int64_t count; };
//   SHUNT_FIELDS(Item, sku, count)                       at namespace scope, after the struct
//
//   enum class Size { small, large };
//   SHUNT_ENUM(Size, small, large)                       its names are strings in JSON
//
// A member may be: bool, integers, float, double, std::string, std::optional (may be absent), std::vector,
// std::map<std::string, ...>, Json, Bytes (base64), and structs and enums described like this.

#include <cstring>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "shunt/json.h"
#include "shunt/shunt.h"
#include "shunt/task.h"

namespace shunt {
inline namespace sdk {
namespace detail {

/// Two independent 64-bit hashes of everything that decides a layout.
class Fingerprint {
 public:
  Fingerprint() {
    add("shunt-fields-1");
#if defined(__clang__)
    add("clang"), add(__clang_major__);
#elif defined(__GNUC__)
    add("gcc"), add(__GNUC__);
#else
    add(__VERSION__);
#endif
#if defined(_LIBCPP_ABI_VERSION)
    add("libc++"), add(_LIBCPP_ABI_VERSION);
#elif defined(__GLIBCXX__)
    add("libstdc++"), add(_GLIBCXX_USE_CXX11_ABI);
#endif
#if defined(_GLIBCXX_DEBUG)
    add("debug");
#endif
    add(sizeof(void*)), add(sizeof(std::string)), add(sizeof(long double));
  }
  void add(std::string_view text) {
    for (char c : text) mix(static_cast<unsigned char>(c));
    mix(0x100 + text.size());
  }
  void add(std::uint64_t number) { mix(number ^ 0x9e3779b97f4a7c15ULL); }
  [[nodiscard]] std::uint64_t first() const { return finish(a_); }
  [[nodiscard]] std::uint64_t second() const { return finish(b_); }

  /// A struct on the way to itself, as in a tree: told by its name.
  std::vector<std::string_view> within;

 private:
  void mix(std::uint64_t value) {
    a_ = (a_ ^ value) * 0x100000001b3ULL;
    b_ = (b_ + value) * 0xff51afd7ed558ccdULL;
    b_ ^= b_ >> 32;
  }
  static std::uint64_t finish(std::uint64_t hash) {
    hash = (hash ^ (hash >> 30)) * 0xbf58476d1ce4e5b9ULL;
    hash = (hash ^ (hash >> 27)) * 0x94d049bb133111ebULL;
    return hash ^ (hash >> 31);
  }
  std::uint64_t a_ = 0xcbf29ce484222325ULL;
  std::uint64_t b_ = 0x84222325cbf29ce4ULL;
};

/// Writes a JSON Schema (draft 2020-12). A struct that contains itself goes to $defs.
class Schema {
 public:
  std::string text;

  template <typename Write>
  void object(std::string_view name, Write&& write) {
    for (Open& open : open_) {
      if (open.name == name) {
        open.recursive = true;
        return reference(name);
      }
    }
    open_.push_back({name, false});
    std::string outer = std::exchange(text, {});
    write();
    bool recursive = open_.back().recursive;
    open_.pop_back();
    if (recursive) {
      definitions_[std::string(name)] = std::exchange(text, std::move(outer));
      reference(name);
    } else {
      text.insert(0, outer);
    }
  }
  std::string finish() {
    if (definitions_.empty()) return std::move(text);
    std::string all = "{\"$defs\":{";
    for (const auto& [name, definition] : definitions_) {
      if (all.back() != '{') all += ',';
      append_json_string(all, name);
      all.append(":").append(definition);
    }
    return all.append("},").append(text, 1);
  }

 private:
  struct Open {
    std::string_view name;
    bool recursive;
  };
  void reference(std::string_view name) { text.append("{\"$ref\":\"#/$defs/").append(name).append("\"}"); }
  std::vector<Open> open_;
  std::map<std::string, std::string> definitions_;
};

/// One field of SHUNT_FIELDS.
template <auto Member>
struct Field;
template <typename Owner, typename T, T Owner::* Member>
struct Field<Member> {
  using type = T;
  std::string_view name;
  static T& of(Owner& owner) { return owner.*Member; }
  static const T& of(const Owner& owner) { return owner.*Member; }
  static std::uint64_t offset() {
    T Owner::* member = Member;
    std::ptrdiff_t offset = 0;  // What a pointer to a member is, in the Itanium ABI.
    static_assert(sizeof(member) == sizeof(offset));
    std::memcpy(&offset, &member, sizeof(offset));
    return static_cast<std::uint64_t>(offset);
  }
};

template <typename... F>
struct Fields {
  std::string_view type_name;
  std::tuple<F...> fields;
  static constexpr std::size_t count = sizeof...(F);
};
template <typename... F>
constexpr Fields<F...> make_fields(std::string_view type_name, F... fields) {
  return {type_name.substr(type_name.rfind(':') + 1), {fields...}};
}

template <typename T>
struct Enumerator {
  std::string_view name;
  T value;
};

template <typename T>
concept Described = requires(const T* type) { shunt_fields_of(type); };
template <typename T>
concept DescribedEnum = requires(const T* type) { shunt_enumerators_of(type); };

/// How a type reads, writes and describes itself. A type without one can't be part of a message.
template <typename T>
struct Codec {
  static_assert(sizeof(T) == 0,
                "Shunt does not know this type: describe a struct with SHUNT_FIELDS(Type, fields...), "
                "an enum with SHUNT_ENUM(Type, names...), right after it, in its namespace");
};

template <>
struct Codec<bool> {
  static bool read(Input& in, bool& out) { return in.boolean(out); }
  static void write(Output& out, bool value) { out.raw(value ? "true" : "false"); }
  static void schema(Schema& schema) { schema.text += R"({"type":"boolean"})"; }
  static void fingerprint(Fingerprint& print) { print.add("bool"); }
  static std::size_t weigh(bool) { return 5; }
};

template <typename T>
  requires(std::is_integral_v<T> && !std::is_same_v<T, bool> && !std::is_same_v<T, char> &&
           !std::is_same_v<T, wchar_t> && !std::is_same_v<T, char8_t>)
struct Codec<T> {
  static bool read(Input& in, T& out) { return in.integer(out); }
  static void write(Output& out, T value) { out.integer(value); }
  static void schema(Schema& schema) {
    schema.text += R"({"type":"integer")";
    if constexpr (sizeof(T) < 8 || std::is_unsigned_v<T>) {
      schema.text += ",\"minimum\":" + std::to_string(std::numeric_limits<T>::min());
    }
    if constexpr (sizeof(T) < 8 || std::is_unsigned_v<T>) {
      schema.text += ",\"maximum\":" + std::to_string(std::numeric_limits<T>::max());
    }
    schema.text += '}';
  }
  static void fingerprint(Fingerprint& print) { print.add(std::is_signed_v<T> ? "int" : "uint"), print.add(sizeof(T)); }
  static std::size_t weigh(T) { return 8; }
};

template <typename T>
  requires(std::is_floating_point_v<T> && sizeof(T) <= 8)
struct Codec<T> {
  static bool read(Input& in, T& out) {
    double value = 0;
    if (!in.number(value)) return false;
    out = static_cast<T>(value);
    return true;
  }
  static void write(Output& out, T value) { out.number(value); }
  static void schema(Schema& schema) { schema.text += R"({"type":"number"})"; }
  static void fingerprint(Fingerprint& print) { print.add("float"), print.add(sizeof(T)); }
  static std::size_t weigh(T) { return 12; }
};

template <>
struct Codec<std::string> {
  static bool read(Input& in, std::string& out) { return in.string(out); }
  static void write(Output& out, const std::string& value) { out.string(value); }
  static void schema(Schema& schema) { schema.text += R"({"type":"string"})"; }
  static void fingerprint(Fingerprint& print) { print.add("string"); }
  static std::size_t weigh(const std::string& value) { return value.size() + 2; }
};

template <>
struct Codec<Bytes> {
  static bool read(Input& in, Bytes& out) {
    if (!in.string(out.data)) return false;
    auto bytes = from_base64(out.data);
    if (!bytes) return in.fail("expected base64");
    out.data = *std::move(bytes);
    return true;
  }
  static void write(Output& out, const Bytes& value) { out.string(base64(value.data)); }
  static void schema(Schema& schema) { schema.text += R"({"type":"string","contentEncoding":"base64"})"; }
  static void fingerprint(Fingerprint& print) { print.add("bytes"); }
  static std::size_t weigh(const Bytes& value) { return value.data.size() / 3 * 4 + 6; }
};

template <>
struct Codec<Json> {
  static bool read(Input& in, Json& out) { return out.read(in); }
  static void write(Output& out, const Json& value) { value.write(out); }
  static void schema(Schema& schema) { schema.text += "{}"; }
  static void fingerprint(Fingerprint& print) { print.add("json-1"), print.add(sizeof(Json)); }
  static std::size_t weigh(const Json& value) { return value.weigh(); }
};

template <typename T>
struct Codec<std::optional<T>> {
  static bool read(Input& in, std::optional<T>& out) {
    if (in.kind() == Input::Kind::null) return out.reset(), in.null();
    return Codec<T>::read(in, out.emplace());
  }
  static void write(Output& out, const std::optional<T>& value) {
    value ? Codec<T>::write(out, *value) : out.raw("null");
  }
  static void schema(Schema& schema) {
    schema.text += R"({"anyOf":[)";
    Codec<T>::schema(schema);
    schema.text += R"(,{"type":"null"}]})";
  }
  static void fingerprint(Fingerprint& print) {
    print.add("optional"), print.add(sizeof(std::optional<T>));
    Codec<T>::fingerprint(print);
  }
  static std::size_t weigh(const std::optional<T>& value) { return value ? Codec<T>::weigh(*value) : 4; }
};

template <typename T>
struct Codec<std::vector<T>> {
  static bool read(Input& in, std::vector<T>& out) {
    out.clear();
    return in.array([&](std::size_t) {
      if constexpr (std::is_same_v<T, bool>) {
        bool value = false;
        if (!in.boolean(value)) return false;
        return out.push_back(value), true;
      } else {
        return Codec<T>::read(in, out.emplace_back());
      }
    });
  }
  static void write(Output& out, const std::vector<T>& value) {
    out.raw('[');
    for (std::size_t i = 0; i < value.size(); ++i) {
      if (i != 0) out.raw(',');
      Codec<T>::write(out, value[i]);
    }
    out.raw(']');
  }
  static void schema(Schema& schema) {
    schema.text += R"({"type":"array","items":)";
    Codec<T>::schema(schema);
    schema.text += '}';
  }
  static void fingerprint(Fingerprint& print) {
    print.add("vector"), print.add(sizeof(std::vector<T>));
    Codec<T>::fingerprint(print);
  }
  static std::size_t weigh(const std::vector<T>& value) {
    std::size_t sum = 2;
    for (const auto& item : value) sum += Codec<T>::weigh(item) + 1;
    return sum;
  }
};

template <typename T>
struct Codec<std::map<std::string, T>> {
  using Map = std::map<std::string, T>;
  static bool read(Input& in, Map& out) {
    out.clear();
    return in.object([&](std::string_view key) {
      auto [at, fresh] = out.try_emplace(std::string(key));
      return fresh ? Codec<T>::read(in, at->second) : in.fail("is given twice");
    });
  }
  static void write(Output& out, const Map& value) {
    out.raw('{');
    bool first = true;
    for (const auto& [key, item] : value) {
      if (!std::exchange(first, false)) out.raw(',');
      out.string(key);
      out.raw(':');
      Codec<T>::write(out, item);
    }
    out.raw('}');
  }
  static void schema(Schema& schema) {
    schema.text += R"({"type":"object","additionalProperties":)";
    Codec<T>::schema(schema);
    schema.text += '}';
  }
  static void fingerprint(Fingerprint& print) {
    print.add("map"), print.add(sizeof(Map));
    Codec<T>::fingerprint(print);
  }
  static std::size_t weigh(const Map& value) {
    std::size_t sum = 2;
    for (const auto& [key, item] : value) sum += key.size() + 4 + Codec<T>::weigh(item);
    return sum;
  }
};

template <DescribedEnum T>
struct Codec<T> {
  static constexpr auto names = shunt_enumerators_of(static_cast<const T*>(nullptr));
  static bool read(Input& in, T& out) {
    std::string name;
    if (!in.string(name)) return false;
    for (const auto& each : names) {
      if (each.name == name) return out = each.value, true;
    }
    std::string known;
    for (const auto& each : names) known.append(known.empty() ? "" : ", ").append(each.name);
    return in.fail("\"" + name + "\" is none of " + known);
  }
  static void write(Output& out, T value) {
    for (const auto& each : names) {
      if (each.value == value) return out.string(each.name);
    }
    out.integer(static_cast<std::int64_t>(value));
  }
  static void schema(Schema& schema) {
    schema.text += R"({"enum":[)";
    for (const auto& each : names) schema.text.append(&each == names.data() ? "\"" : ",\"").append(each.name) += '"';
    schema.text += "]}";
  }
  static void fingerprint(Fingerprint& print) {
    print.add("enum"), print.add(sizeof(T));
    for (const auto& each : names) print.add(each.name), print.add(static_cast<std::uint64_t>(each.value));
  }
  static std::size_t weigh(T) { return 12; }
};

template <typename T>
inline constexpr bool is_optional = false;
template <typename T>
inline constexpr bool is_optional<std::optional<T>> = true;

template <Described T>
struct Codec<T> {
  static constexpr auto described = shunt_fields_of(static_cast<const T*>(nullptr));
  static constexpr std::size_t count = decltype(described)::count;
  static_assert(count <= 64, "SHUNT_FIELDS takes at most 64 fields");

  static bool read(Input& in, T& out) {
    std::uint64_t seen = 0;
    std::size_t expected = 0;  // Fields mostly come in the order in which they are declared.
    bool well = in.object([&](std::string_view key) {
      std::size_t index = find(key, expected);
      if (index == count) return in.fail(unknown_field());
      if ((seen >> index & 1) != 0) return in.fail("is given twice");
      seen |= std::uint64_t{1} << index;
      expected = index + 1;
      return readers[index](in, out);
    });
    if (!well) return false;
    std::uint64_t missing = required & ~seen;
    if (missing == 0) return true;
    return in.fail_field(name(static_cast<std::size_t>(__builtin_ctzll(missing))), "is missing");
  }
  static void write(Output& out, const T& value) {
    out.raw('{');
    bool first = true;
    each([&](auto field) {
      const auto& member = field.of(value);
      if constexpr (is_optional<typename decltype(field)::type>) {
        if (!member) return;
      }
      if (!std::exchange(first, false)) out.raw(',');
      out.raw('"');
      out.raw(field.name);
      out.raw("\":");
      Codec<typename decltype(field)::type>::write(out, member);
    });
    out.raw('}');
  }
  static void schema(Schema& schema) {
    schema.object(described.type_name, [&] {
      schema.text.append(R"({"title":")").append(described.type_name).append(R"(","type":"object","properties":{)");
      std::string required_names;
      bool first = true;
      each([&](auto field) {
        if (!std::exchange(first, false)) schema.text += ',';
        schema.text.append("\"").append(field.name).append("\":");
        Codec<typename decltype(field)::type>::schema(schema);
        if constexpr (requires { shunt_number_of(static_cast<const T*>(nullptr), &field); }) {
          schema.text.back() = schema.text.ends_with("{}") ? ' ' : ',';
          schema.text +=
              "\"x-proto-field\":" + std::to_string(shunt_number_of(static_cast<const T*>(nullptr), &field)) + '}';
        }
        if constexpr (!is_optional<typename decltype(field)::type>) {
          required_names.append(required_names.empty() ? "\"" : ",\"").append(field.name) += '"';
        }
      });
      schema.text += '}';
      if (!required_names.empty()) schema.text += ",\"required\":[" + required_names + "]";
      schema.text += ",\"additionalProperties\":false}";
    });
  }
  static void fingerprint(Fingerprint& print) {
    print.add("struct"), print.add(described.type_name), print.add(sizeof(T)), print.add(alignof(T));
    for (std::string_view outer : print.within) {
      if (outer == described.type_name) return;
    }
    print.within.push_back(described.type_name);
    each([&](auto field) {
      print.add(field.name), print.add(field.offset()), print.add(sizeof(typename decltype(field)::type));
      Codec<typename decltype(field)::type>::fingerprint(print);
    });
    print.within.pop_back();
  }
  static std::size_t weigh(const T& value) {
    std::size_t sum = 2;
    each([&](auto field) {
      sum += field.name.size() + 4 + Codec<typename decltype(field)::type>::weigh(field.of(value));
    });
    return sum;
  }

 private:
  template <typename Do>
  static void each(Do&& act) {
    std::apply([&](auto... field) { (act(field), ...); }, described.fields);
  }
  static constexpr std::array<std::string_view, count> names =
      std::apply([](auto... field) { return std::array<std::string_view, count>{field.name...}; }, described.fields);
  static std::string_view name(std::size_t index) { return names[index]; }
  static std::size_t find(std::string_view key, std::size_t expected) {
    if (expected < count && names[expected] == key) return expected;
    std::size_t index = 0;
    while (index < count && names[index] != key) ++index;
    return index;
  }
  static std::string unknown_field() {
    std::string known;
    for (std::string_view name : names) known.append(known.empty() ? "" : ", ").append(name);
    return "is no known field; " + (known.empty() ? "there is none" : "there are " + known);
  }
  template <typename F>
  static bool read_one(Input& in, T& out) {
    return Codec<typename F::type>::read(in, F::of(out));
  }
  using Reader = bool (*)(Input&, T&);
  static constexpr std::array<Reader, count> readers = std::apply(
      [](auto... field) { return std::array<Reader, count>{&read_one<decltype(field)>...}; }, described.fields);
  static constexpr std::uint64_t required_bits() {
    std::uint64_t bits = 0;
    std::uint64_t bit = 1;
    std::apply(
        [&](auto... field) { ((bits |= is_optional<typename decltype(field)::type> ? 0 : bit, bit <<= 1), ...); },
        described.fields);
    return bits;
  }
  static constexpr std::uint64_t required = required_bits();
};

// ---- Values that travel in boxes --------------------------------------------------------------------------------------

template <typename T>
T* make_box(T&& value) {  // By rvalue only: T is always given, never deduced.
  static_assert(alignof(T) <= __STDCPP_DEFAULT_NEW_ALIGNMENT__);
  return new (Pool::allocate(sizeof(T))) T(std::forward<T>(value));
}
template <typename T>
void free_box(void* box) {
  static_cast<T*>(box)->~T();
  Pool::free(box, sizeof(T));
}

/// The C ABI's description of T. The same object for each T within a module.
template <typename T>
SHUNT_SDK_HIDDEN const shunt_type& type_of() {
  static const shunt_type type = [] {
    Fingerprint print;
    print.add(sizeof(T));
    Codec<T>::fingerprint(print);
    shunt_type made{};
    made.size = sizeof(shunt_type);
    made.value_bytes = sizeof(T);
    made.fingerprint[0] = print.first();
    made.fingerprint[1] = print.second();
    made.destroy = &free_box<T>;
    made.copy = [](const void* value) -> void* { return make_box<T>(T(*static_cast<const T*>(value))); };
    made.write = [](const void* value, void (*append)(void*, const char*, std::size_t), void* to) {
      Output out(append, to);
      Codec<T>::write(out, *static_cast<const T*>(value));
    };
    made.weigh = [](const void* value) { return Codec<T>::weigh(*static_cast<const T*>(value)); };
    return made;
  }();
  return type;
}

inline bool same_type(const shunt_type& a, const shunt_type& b) {
  return &a == &b || (a.fingerprint[0] == b.fingerprint[0] && a.fingerprint[1] == b.fingerprint[1] &&
                      a.value_bytes == b.value_bytes);
}

}  // namespace detail

/// A value as JSON text, and back. Errors: invalid_argument naming what is wrong by its path.
template <typename T>
std::string to_json(const T& value) {
  std::string text;
  detail::Output out(text);
  detail::Codec<T>::write(out, value);
  out.flush();
  return text;
}
template <typename T>
Result<T> from_json(std::string_view text) {
  detail::Input in(text);
  T value{};
  if (!detail::Codec<T>::read(in, value) || !in.finish()) return std::move(in.error());
  return value;
}
/// The JSON Schema of T, as text.
template <typename T>
std::string json_schema() {
  detail::Schema schema;
  detail::Codec<T>::schema(schema);
  return schema.finish();
}

}  // namespace sdk
}  // namespace shunt

// A macro for each of up to 64 arguments (and more, up to 256).
#define SHUNT_SDK_EXPAND(...) SHUNT_SDK_EXPAND3(SHUNT_SDK_EXPAND3(SHUNT_SDK_EXPAND3(SHUNT_SDK_EXPAND3(__VA_ARGS__))))
#define SHUNT_SDK_EXPAND3(...) SHUNT_SDK_EXPAND2(SHUNT_SDK_EXPAND2(SHUNT_SDK_EXPAND2(SHUNT_SDK_EXPAND2(__VA_ARGS__))))
#define SHUNT_SDK_EXPAND2(...) SHUNT_SDK_EXPAND1(SHUNT_SDK_EXPAND1(SHUNT_SDK_EXPAND1(SHUNT_SDK_EXPAND1(__VA_ARGS__))))
#define SHUNT_SDK_EXPAND1(...) __VA_ARGS__
#define SHUNT_SDK_PARENS ()
#define SHUNT_SDK_EACH(macro, type, ...) __VA_OPT__(SHUNT_SDK_EXPAND(SHUNT_SDK_EACH_(macro, type, __VA_ARGS__)))
#define SHUNT_SDK_EACH_(macro, type, first, ...) \
  macro(type, first) __VA_OPT__(SHUNT_SDK_EACH_AGAIN SHUNT_SDK_PARENS(macro, type, __VA_ARGS__))
#define SHUNT_SDK_EACH_AGAIN() SHUNT_SDK_EACH_

#define SHUNT_SDK_FIELD(Type, name) \
  , ::shunt::detail::Field<&Type::name> { #name }
#define SHUNT_SDK_ENUMERATOR(Type, name) ::shunt::detail::Enumerator<Type>{#name, Type::name},

#define SHUNT_FIELDS(Type, ...)                                                                    \
  [[maybe_unused]] constexpr auto shunt_fields_of(const Type*) {                                   \
    return ::shunt::detail::make_fields(#Type SHUNT_SDK_EACH(SHUNT_SDK_FIELD, Type, __VA_ARGS__)); \
  }
/// The number that a member has in protobuf messages, whatever its name: SHUNT_FIELD_NUMBER(Item, sku, 1), after SHUNT_FIELDS.
/// Without it the number follows from the name.
#define SHUNT_FIELD_NUMBER(Type, member, number)                                                           \
  [[maybe_unused]] constexpr std::uint32_t shunt_number_of(const Type*,                                    \
                                                           const ::shunt::detail::Field<&Type::member>*) { \
    static_assert((number) >= 1 && (number) < (1 << 29) && ((number) < 19000 || (number) > 19999));        \
    return number;                                                                                         \
  }
#define SHUNT_ENUM(Type, ...)                                                   \
  [[maybe_unused]] constexpr auto shunt_enumerators_of(const Type*) {           \
    return std::array{SHUNT_SDK_EACH(SHUNT_SDK_ENUMERATOR, Type, __VA_ARGS__)}; \
  }
