#pragma once
// Status: how a call or an operation ended. The codes and their numbers are gRPC's.
//
// An ok Status is one word and allocates nothing. Anything else says what happened (code, message), which of our
// documented errors it is (id, see spec/errors.json), what a program may read (details, JSON) and what to do (retry).

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace shunt {

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

inline constexpr int code_count = 17;

/// The code's name as gRPC and Connect spell it: `invalid_argument`.
std::string_view code_name(Code code);

/// The code of that name, in any case (`NOT_FOUND`, `not_found`); nothing for an unknown name.
std::optional<Code> code_from_name(std::string_view name);

/// What a caller may do about a failure. On the wire as one byte.
enum class Retry : std::uint8_t {
  no = 0,         ///< The same call would fail again.
  later = 1,      ///< Wait, then try again: something was full.
  reconnect = 2,  ///< The link is gone: get a new one first.
  elsewhere = 3,  ///< Never started here, so it is safe at another instance at once.
};

/// How something ended. Values move; copies copy the text.
class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(Code code, std::string message);
  /// `id` is the stable id of the error, such as "S1004"; it must stand in spec/errors.json.
  Status(Code code, std::string_view id, std::string message);

  Status(const Status& other);
  Status& operator=(const Status& other);
  Status(Status&&) noexcept = default;
  Status& operator=(Status&&) noexcept = default;
  ~Status() = default;

  [[nodiscard]] bool is_ok() const { return code_ == Code::ok; }
  [[nodiscard]] Code code() const { return code_; }
  [[nodiscard]] Retry retry() const { return retry_; }
  [[nodiscard]] std::string_view id() const { return body_ ? std::string_view(body_->id) : std::string_view(); }
  [[nodiscard]] std::string_view message() const {
    return body_ ? std::string_view(body_->message) : std::string_view();
  }
  /// A JSON array of the error's details in Connect's form, or empty.
  [[nodiscard]] std::string_view details() const {
    return body_ ? std::string_view(body_->details) : std::string_view();
  }

  Status& with_retry(Retry retry) &;
  Status&& with_retry(Retry retry) &&;
  Status& with_details(std::string details) &;
  Status&& with_details(std::string details) &&;
  /// Puts `context` and ": " before the message.
  Status&& with_context(std::string_view context) &&;

  /// One line for a log or a terminal: "S1004 deadline_exceeded: call thumbs.resize: ...".
  [[nodiscard]] std::string to_string() const;

 private:
  struct Body {
    std::string id;
    std::string message;
    std::string details;
  };
  Body& body();

  Code code_ = Code::ok;
  Retry retry_ = Retry::no;
  std::unique_ptr<Body> body_;
};

}  // namespace shunt
