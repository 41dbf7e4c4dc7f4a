#pragma once
// Result<T>: a value, or the Status that says why there is none. Errors are values in this house: they cross
// languages and wires. No exception crosses a folder.

#include <expected>
#include <utility>

#include "base/status.h"

namespace shunt {

template <typename T>
using Result = std::expected<T, Status>;

/// `return fail(Code::not_found, "S1002", "...")` from a function that returns a Result.
template <typename... Args>
[[nodiscard]] std::unexpected<Status> fail(Args&&... args) {
  return std::unexpected<Status>(Status(std::forward<Args>(args)...));
}

}  // namespace shunt

#define SHUNT_CONCAT_(a, b) a##b
#define SHUNT_CONCAT(a, b) SHUNT_CONCAT_(a, b)

/// SHUNT_TRY(auto link, dial(peer)); declares `link`, or returns the error from this function.
#define SHUNT_TRY(declaration, expression) SHUNT_TRY_(SHUNT_CONCAT(try_, __LINE__), declaration, expression)
#define SHUNT_TRY_(temporary, declaration, expression)                              \
  auto temporary = (expression);                                                    \
  if (!temporary.has_value()) return std::unexpected(std::move(temporary).error()); \
  declaration = std::move(temporary).value()

/// For a Result<void>: goes on, or returns the error.
#define SHUNT_CHECK(expression)                                                                             \
  do {                                                                                                      \
    if (auto check_ = (expression); !check_.has_value()) return std::unexpected(std::move(check_).error()); \
  } while (false)

/// The same two inside a coroutine.
#define SHUNT_CO_TRY(declaration, expression) SHUNT_CO_TRY_(SHUNT_CONCAT(try_, __LINE__), declaration, expression)
#define SHUNT_CO_TRY_(temporary, declaration, expression)                              \
  auto temporary = (expression);                                                       \
  if (!temporary.has_value()) co_return std::unexpected(std::move(temporary).error()); \
  declaration = std::move(temporary).value()

#define SHUNT_CO_CHECK(expression)                                                                             \
  do {                                                                                                         \
    if (auto check_ = (expression); !check_.has_value()) co_return std::unexpected(std::move(check_).error()); \
  } while (false)
