#pragma once
// Error and Result: how a command fails. The codes are gRPC's; helpers such as not_found("...") make an Error of each.
// Part of <shunt/service.h>; knows nothing of calls.

#if defined(__GNUC__) && !defined(__clang__) && __GNUC__ < 13
#error \
    "Shunt needs clang 16 or later, or g++ 13 or later: g++ 12 miscompiles coroutines. Try: cmake -DCMAKE_CXX_COMPILER=clang++-19"
#endif
#if __cplusplus < 202002L
#error "Shunt needs C++20: compile with -std=c++20 or later, or set CMAKE_CXX_STANDARD to 20"
#endif

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "shunt/text.h"

namespace shunt {
inline namespace sdk {

/// gRPC's status codes, with their numbers on the wire.
enum class Code : std::uint8_t {
  ok = 0,
  cancelled = 1,
  unknown = 2,
  invalid_argument = 3,
  deadline_exceeded = 4,
  not_found = 5,
  already_exists = 6,
  permission_denied = 7,
  resource_exhausted = 8,
  failed_precondition = 9,
  aborted = 10,
  out_of_range = 11,
  unimplemented = 12,
  internal = 13,
  unavailable = 14,
  data_loss = 15,
  unauthenticated = 16,
};

/// The code's name as gRPC and Connect spell it: `invalid_argument`.
constexpr std::string_view code_name(Code code) {
  constexpr std::string_view names[] = {
      "ok",        "cancelled",      "unknown",           "invalid_argument",   "deadline_exceeded",
      "not_found", "already_exists", "permission_denied", "resource_exhausted", "failed_precondition",
      "aborted",   "out_of_range",   "unimplemented",     "internal",           "unavailable",
      "data_loss", "unauthenticated"};
  return static_cast<std::size_t>(code) < std::size(names) ? names[static_cast<std::size_t>(code)] : "unknown";
}

/// What a caller may do about a failure.
enum class Retry : std::uint8_t { no = 0, later = 1, reconnect = 2, elsewhere = 3 };

/// Why there is no answer: a code, a text for people, and details for programs. Copies copy the text.
class [[nodiscard]] Error {
 public:
  Error(Code code, std::string message) : code_(code), body_(std::make_unique<Body>()) {
    body_->message = std::move(message);
  }
  Error(const Error& other)
      : code_(other.code_), retry_(other.retry_), body_(other.body_ ? std::make_unique<Body>(*other.body_) : nullptr) {}
  Error& operator=(const Error& other) { return *this = Error(other); }
  Error(Error&&) noexcept = default;
  Error& operator=(Error&&) noexcept = default;
  ~Error() = default;

  [[nodiscard]] Code code() const { return code_; }
  [[nodiscard]] Retry retry() const { return retry_; }
  [[nodiscard]] std::string_view message() const { return body_ ? std::string_view(body_->message) : ""; }
  /// The stable id of an error of Shunt itself ("S1004"), or empty.
  [[nodiscard]] std::string_view id() const { return body_ ? std::string_view(body_->id) : ""; }
  /// A JSON array of details in Connect's form, or empty.
  [[nodiscard]] std::string_view details() const { return body_ ? std::string_view(body_->details) : ""; }

  Error&& with_retry(Retry retry) && {
    retry_ = retry;
    return std::move(*this);
  }
  /// `details` is the text of a JSON array.
  Error&& with_details(std::string details) && {
    body().details = std::move(details);
    return std::move(*this);
  }
  Error&& with_id(std::string id) && {
    body().id = std::move(id);
    return std::move(*this);
  }
  /// Puts `context` and ": " before the message.
  Error&& with_context(std::string_view context) && {
    body().message.insert(0, std::string(context) + ": ");
    return std::move(*this);
  }

  /// "not_found: no item has that sku"
  [[nodiscard]] std::string to_string() const {
    std::string text(code_name(code_));
    if (!message().empty()) text.append(": ").append(message());
    return text;
  }

 private:
  template <typename T>
  friend class Result;
  struct Body {
    std::string message;
    std::string id;
    std::string details;
  };
  Error() = default;  // ok: inside a Result only
  Body& body() {
    if (!body_) body_ = std::make_unique<Body>();
    return *body_;
  }

  Code code_ = Code::ok;
  Retry retry_ = Retry::no;
  std::unique_ptr<Body> body_;
};

/// A value, or the Error that says why there is none. Made from either: `co_return price;`, `co_return not_found("...");`
template <typename T = void>
class [[nodiscard]] Result {
 public:
  using value_type = T;

  template <typename U = T>
    requires(std::is_constructible_v<T, U> && !std::is_same_v<std::remove_cvref_t<U>, Result> &&
             !std::is_same_v<std::remove_cvref_t<U>, Error>)
  Result(U&& value) : value_(std::forward<U>(value)) {}
  Result(Error error) : error_(std::move(error)) {}

  [[nodiscard]] bool has_value() const { return value_.has_value(); }
  explicit operator bool() const { return value_.has_value(); }

  /// The value. Ask has_value() first: without one the program stops.
  T& value() & { return require(), *value_; }
  const T& value() const& { return require(), *value_; }
  T&& value() && { return require(), std::move(*value_); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }
  template <typename U>
  T value_or(U&& otherwise) && {
    return has_value() ? std::move(*value_) : static_cast<T>(std::forward<U>(otherwise));
  }

  /// The error. Only where there is no value.
  Error& error() & { return error_; }
  const Error& error() const& { return error_; }
  Error&& error() && { return std::move(error_); }

 private:
  void require() const {
    if (!value_.has_value()) std::abort();
  }
  std::optional<T> value_;
  Error error_;
};

/// Done, or the Error that says why not. `co_return {};` is done.
template <>
class [[nodiscard]] Result<void> {
 public:
  using value_type = void;

  Result() = default;
  Result(Error error) : error_(std::move(error)) {}
  [[nodiscard]] bool has_value() const { return error_.code() == Code::ok; }
  explicit operator bool() const { return has_value(); }
  void value() const {
    if (!has_value()) std::abort();
  }
  Error& error() & { return error_; }
  const Error& error() const& { return error_; }
  Error&& error() && { return std::move(error_); }

 private:
  Error error_;
};

namespace detail {

// google.rpc.BadRequest with one violation: {1: {1: field, 2: description}}.
inline std::string bad_request(std::string_view field, std::string_view description) {
  auto put = [](std::string& to, char tag, std::string_view text) {
    to.push_back(tag);
    for (std::size_t size = text.size();; size >>= 7) {
      to.push_back(static_cast<char>((size & 127) | (size > 127 ? 128 : 0)));
      if (size <= 127) break;
    }
    to.append(text);
  };
  std::string violation;
  put(violation, '\x0a', field);
  put(violation, '\x12', description);
  std::string message;
  put(message, '\x0a', violation);
  std::string details =
      R"([{"type":"google.rpc.BadRequest","value":")" + base64(message) + R"(","debug":{"fieldViolations":[{"field":)";
  append_json_string(details, field);
  details.append(R"(,"description":)");
  append_json_string(details, description);
  details.append("}]}}]");
  return details;
}

}  // namespace detail

inline Error cancelled(std::string text) { return {Code::cancelled, std::move(text)}; }
inline Error unknown(std::string text) { return {Code::unknown, std::move(text)}; }
inline Error invalid_argument(std::string text) { return {Code::invalid_argument, std::move(text)}; }
/// `field` is the path of what is wrong, "items[2].sku"; it stands in the message and, for programs, in the details.
inline Error invalid_argument(std::string_view field, std::string_view text) {
  auto colon = text.starts_with("is ") ? " " : ": ";
  return Error(Code::invalid_argument, std::string(field) + colon + std::string(text))
      .with_details(detail::bad_request(field, text));
}
inline Error deadline_exceeded(std::string text) { return {Code::deadline_exceeded, std::move(text)}; }
inline Error not_found(std::string text) { return {Code::not_found, std::move(text)}; }
inline Error already_exists(std::string text) { return {Code::already_exists, std::move(text)}; }
inline Error permission_denied(std::string text) { return {Code::permission_denied, std::move(text)}; }
inline Error resource_exhausted(std::string text) { return {Code::resource_exhausted, std::move(text)}; }
inline Error failed_precondition(std::string text) { return {Code::failed_precondition, std::move(text)}; }
inline Error aborted(std::string text) { return {Code::aborted, std::move(text)}; }
inline Error out_of_range(std::string text) { return {Code::out_of_range, std::move(text)}; }
inline Error unimplemented(std::string text) { return {Code::unimplemented, std::move(text)}; }
inline Error internal(std::string text) { return {Code::internal, std::move(text)}; }
inline Error unavailable(std::string text) { return {Code::unavailable, std::move(text)}; }
inline Error data_loss(std::string text) { return {Code::data_loss, std::move(text)}; }
inline Error unauthenticated(std::string text) { return {Code::unauthenticated, std::move(text)}; }

}  // namespace sdk
}  // namespace shunt

/// SHUNT_CO_TRY(auto price, co_await prices.call<Price>("get", item)); declares `price`, or ends the coroutine with the
/// error. SHUNT_TRY does the same in a plain function.
#define SHUNT_SDK_CONCAT_(a, b) a##b
#define SHUNT_SDK_CONCAT(a, b) SHUNT_SDK_CONCAT_(a, b)
#define SHUNT_SDK_TRY_(return_word, temporary, declaration, ...)        \
  auto temporary = (__VA_ARGS__);                                       \
  if (!temporary.has_value()) return_word std::move(temporary).error(); \
  declaration = *std::move(temporary)
#define SHUNT_TRY(declaration, ...) \
  SHUNT_SDK_TRY_(return, SHUNT_SDK_CONCAT(shunt_try_, __LINE__), declaration, __VA_ARGS__)
#define SHUNT_CO_TRY(declaration, ...) \
  SHUNT_SDK_TRY_(co_return, SHUNT_SDK_CONCAT(shunt_try_, __LINE__), declaration, __VA_ARGS__)
