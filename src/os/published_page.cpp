#include "os/published_page.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "os/error.h"

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif

namespace shunt::os {

Result<PublishedPage> PublishedPage::create(const char* name) {
  Fd fd(::memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd) return system_failure("make shared memory", errno);
  if (int error = ::posix_fallocate(fd.get(), 0, bytes); error != 0) {
    return system_failure("allocate shared memory", error);
  }
  void* data = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  if (data == MAP_FAILED) return system_failure("map shared memory", errno);
  PublishedPage page(std::move(fd), static_cast<char*>(data));
  ::madvise(data, bytes, MADV_DONTFORK);
  if (::fcntl(page.fd(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL) != 0) {
    return system_failure("seal shared memory", errno);
  }
  return page;
}

PublishedPage::~PublishedPage() {
  if (data_ != nullptr) ::munmap(data_, bytes);
}

Result<PageView> PageView::open(const Fd& fd) {
  struct stat found{};
  const int seals = ::fcntl(fd.get(), F_GET_SEALS);
  if (seals < 0 || (seals & F_SEAL_SHRINK) == 0 || ::fstat(fd.get(), &found) != 0 ||
      found.st_size < static_cast<off_t>(PublishedPage::bytes)) {
    return fail(Code::failed_precondition, "a published page is no sealed memory file of a page");
  }
  void* data = ::mmap(nullptr, PublishedPage::bytes, PROT_READ, MAP_SHARED, fd.get(), 0);
  if (data == MAP_FAILED) return system_failure("map shared memory", errno);
  ::madvise(data, PublishedPage::bytes, MADV_DONTFORK);
  return PageView(static_cast<const char*>(data));
}

PageView::~PageView() {
  if (data_ != nullptr) ::munmap(const_cast<char*>(data_), PublishedPage::bytes);
}

}  // namespace shunt::os
