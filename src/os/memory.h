#pragma once
// Shared memory without a name: a memfd, and a mapping of it.

#include <cstddef>
#include <utility>

#include "base/result.h"
#include "os/fd.h"

namespace shunt::os {

/// A memory file of `size` zero bytes whose size can't change any more. `name` is for /proc only.
Result<Fd> make_memfd(const char* name, std::size_t size);
/// How long the file is.
Result<std::size_t> size_of(int fd);

/// A shared mapping, readable and writable. Lifetime: unmapped with it; it does not need the descriptor any more.
class Mapping {
 public:
  Mapping() = default;
  static Result<Mapping> map(int fd, std::size_t size);
  Mapping(Mapping&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  Mapping& operator=(Mapping&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~Mapping();
  [[nodiscard]] char* data() const { return data_; }
  [[nodiscard]] std::size_t size() const { return size_; }

 private:
  Mapping(char* data, std::size_t size) : data_(data), size_(size) {}
  char* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace shunt::os
