#include "os/memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "os/error.h"

namespace shunt::os {

Result<Fd> make_memfd(const char* name, std::size_t size) {
  Fd fd(::memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd) return system_failure("make shared memory", errno);
  // Allocated now: later a full memory would be a SIGBUS, not an error.
  if (int error = ::posix_fallocate(fd.get(), 0, static_cast<off_t>(size)); error != 0) {
    return system_failure("allocate shared memory", error);
  }
  if (::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
    return system_failure("seal shared memory", errno);
  }
  return fd;
}

Result<std::size_t> size_of(int fd) {
  struct stat found{};
  if (::fstat(fd, &found) != 0) return system_failure("ask for a file's size", errno);
  return static_cast<std::size_t>(found.st_size);
}

Result<Mapping> Mapping::map(int fd, std::size_t size) {
  void* data = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (data == MAP_FAILED) return system_failure("map shared memory", errno);
  return Mapping(static_cast<char*>(data), size);
}

Mapping::~Mapping() {
  if (data_ != nullptr) ::munmap(data_, size_);
}

}  // namespace shunt::os
