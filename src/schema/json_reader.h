#pragma once
// JsonReader: a JSON text (RFC 8259) read value by value, with the place of each: whoever reads decides what is next, and
// can say where it was not so. Nothing is built and, but for strings with escapes, nothing copied. Knows no types.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace shunt::schema {

enum class JsonKind : std::uint8_t { object, array, string, number, boolean, null, end, bad };

/// Each function that returns bool is false when the text is not JSON there; error() and at() then say what and where.
class JsonReader {
 public:
  /// `text` must outlive the reader.
  explicit JsonReader(std::string_view text) : text_(text) {}

  /// What begins next, after white space.
  JsonKind peek();
  /// Where reading stands: after peek(), the first character of the next value.
  [[nodiscard]] std::size_t at() const { return at_; }
  void rewind(std::size_t at) { at_ = at; }

  /// A string without its quotes, escapes resolved. Valid until the next call of string() or member().
  bool string(std::string_view& out);
  /// A number as it is written; its form has been checked.
  bool number(std::string_view& out);
  bool boolean(bool& out);
  bool null();
  /// Goes into an object or array; peek() must have said that there is one.
  void enter() { ++at_; }
  enum class Next : std::uint8_t { more, end, bad };
  /// The next key of an object, or its end, after which reading stands behind it. `first` is set by the caller.
  Next member(bool& first, std::string_view& key, std::size_t& key_at);
  Next element(bool& first);
  /// Any value, checked as strictly as if it had been read.
  bool skip(int depth_left);
  /// Nothing but white space is left.
  bool finish();

  [[nodiscard]] const std::string& error() const { return error_; }

  struct Place {
    std::size_t line;    ///< From 1.
    std::size_t column;  ///< From 1, in characters.
  };
  [[nodiscard]] Place place(std::size_t at) const;
  /// What stands there, for a message: `the string "abc"`, `an object`, `the number 12.5`.
  [[nodiscard]] std::string found(std::size_t at) const;

 private:
  bool fail(std::string error);
  bool word(std::string_view word);
  bool escape(std::string& out);
  bool hex4(std::uint32_t& out);

  std::string_view text_;
  std::size_t at_ = 0;
  std::string scratch_;
  std::string error_;
};

}  // namespace shunt::schema
