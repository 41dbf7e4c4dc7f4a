#pragma once
// Shared memory without a name: a memfd, and a mapping of it. And what the process does with its own.

#include <cstddef>
#include <utility>

#include "base/result.h"
#include "os/fd.h"

namespace shunt::os {

/// A memory file of `size` zero bytes whose size can't change any more, allocated at once: a full memory is an error here,
/// not a SIGBUS later. It needs no /dev/shm. `name` is for /proc only.
Result<Fd> make_memfd(const char* name, std::size_t size);
/// The same, of which only the first `allocated` bytes are allocated now; allocate() does the rest, a part at a time.
Result<Fd> make_sparse_memfd(const char* name, std::size_t size, std::size_t allocated);
/// Allocates a part of it. Errors: resource_exhausted when there is no memory.
Result<void> allocate(int fd, std::size_t offset, std::size_t size);
/// For a memory file that somebody else made: fails unless its size can't change any more, and it may be written.
Result<void> check_sealed(int fd);
/// How long the file is.
Result<std::size_t> size_of(int fd);

/// For a process that carries messages: what is freed stays with the process, up to 64 MiB, and is used again. Else each
/// message of a MiB is taken from the system and given back, and its pages are made and cleared: more than it costs to send.
void keep_freed_memory();

enum class OnFork : bool { keep, drop };
enum class Access : bool { read, write };

/// A shared mapping. Lifetime: unmapped with it; it does not need the descriptor any more.
class Mapping {
 public:
  Mapping() = default;
  /// Readable and writable; a child of fork() has it too.
  static Result<Mapping> map(int fd, std::size_t size);
  /// `offset`: a multiple of the page. OnFork::drop: a child of fork() has nothing there.
  static Result<Mapping> map(int fd, std::size_t offset, std::size_t size, Access access, OnFork on_fork);
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
