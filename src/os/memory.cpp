#include "os/memory.h"

#include <fcntl.h>
#include <malloc.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "os/error.h"

namespace shunt::os {

namespace {

// Since Linux 6.3: not executable, and never to be; some systems give no other. Older kernels answer EINVAL.
constexpr unsigned no_exec_seal = 8;

int open_memfd(const char* name) {
  unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
  int fd = ::memfd_create(name, flags | no_exec_seal);
  return fd < 0 && errno == EINVAL ? ::memfd_create(name, flags) : fd;
}

}  // namespace

Result<Fd> make_memfd(const char* name, std::size_t size) { return make_sparse_memfd(name, size, size); }

Result<Fd> make_sparse_memfd(const char* name, std::size_t size, std::size_t allocated) {
  Fd fd(open_memfd(name));
  if (!fd) return system_failure("make shared memory", errno);
  if (::ftruncate(fd.get(), static_cast<off_t>(size)) != 0) return system_failure("size shared memory", errno);
  if (allocated > 0) SHUNT_CHECK(allocate(fd.get(), 0, allocated));
  if (::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
    return system_failure("seal shared memory", errno);
  }
  return fd;
}

Result<void> allocate(int fd, std::size_t offset, std::size_t size) {
  int error = 0;
  do {
    error = ::posix_fallocate(fd, static_cast<off_t>(offset), static_cast<off_t>(size));
  } while (error == EINTR);
  if (error != 0) return system_failure("allocate shared memory", error);
  return {};
}

Result<void> check_sealed(int fd) {
  int seals = ::fcntl(fd, F_GET_SEALS);
  if (seals < 0) return system_failure("ask for the seals of shared memory", errno);
  constexpr int wanted = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
  constexpr int unwanted = F_SEAL_WRITE | F_SEAL_FUTURE_WRITE;
  if ((seals & wanted) != wanted || (seals & unwanted) != 0) {
    return fail(Code::failed_precondition, "shared memory is not sealed as it must be: its size could change");
  }
  return {};
}

Result<std::size_t> size_of(int fd) {
  struct stat found{};
  if (::fstat(fd, &found) != 0) return system_failure("ask for a file's size", errno);
  return static_cast<std::size_t>(found.st_size);
}

void keep_freed_memory() {
#if defined(__GLIBC__)
  // The largest that glibc takes. Both are told: telling one ends its own search for the other.
  ::mallopt(M_MMAP_THRESHOLD, 32 << 20);
  ::mallopt(M_TRIM_THRESHOLD, 64 << 20);
#endif
}

Result<Mapping> Mapping::map(int fd, std::size_t size) { return map(fd, 0, size, Access::write, OnFork::keep); }

Result<Mapping> Mapping::map(int fd, std::size_t offset, std::size_t size, Access access, OnFork on_fork) {
  int protection = access == Access::write ? PROT_READ | PROT_WRITE : PROT_READ;
  void* data = ::mmap(nullptr, size, protection, MAP_SHARED, fd, static_cast<off_t>(offset));
  if (data == MAP_FAILED) return system_failure("map shared memory", errno);
  Mapping mapping(static_cast<char*>(data), size);
  if (on_fork == OnFork::drop && ::madvise(data, size, MADV_DONTFORK) != 0) {
    return system_failure("keep shared memory from children", errno);
  }
  return mapping;
}

Mapping::~Mapping() {
  if (data_ != nullptr) ::munmap(data_, size_);
}

}  // namespace shunt::os
