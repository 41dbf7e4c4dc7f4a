#pragma once
// Own<T>: the one owner of a resource. A reference or a plain pointer only borrows.

#include <memory>

namespace shunt {

template <typename T>
using Own = std::unique_ptr<T>;

template <typename T, typename... Args>
Own<T> make_own(Args&&... args) {
  return std::make_unique<T>(std::forward<Args>(args)...);
}

}  // namespace shunt
