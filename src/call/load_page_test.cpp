#include "call/load_page.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include "os/memory.h"

namespace shunt::call {
namespace {

TEST(LoadPage, what_its_owner_tells_others_read) {
  auto page = LoadPage::create();
  ASSERT_TRUE(page) << page.error().to_string();
  auto view = LoadView::open(*os::Fd(dup(page->fd())).duplicate());
  ASSERT_TRUE(view);
  page->tell({.running = 3, .capacity = 4});
  EXPECT_EQ(view->read().running, 3u);
  EXPECT_TRUE(view->read().has_room());
  page->tell({.running = 3, .capacity = 4, .blocking = 1});
  EXPECT_FALSE(view->read().has_room());
  page->tell({.running = 4, .capacity = 4});
  EXPECT_FALSE(view->read().has_room());
  page->tell({.running = 9, .capacity = 0, .closed = true});
  EXPECT_FALSE(view->read().has_room());
}

TEST(LoadPage, nobody_else_can_write_it) {
  auto page = LoadPage::create();
  ASSERT_TRUE(page);
  EXPECT_EQ(mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, page->fd(), 0), MAP_FAILED);
  EXPECT_LT(write(page->fd(), "x", 1), 0);
  EXPECT_NE(ftruncate(page->fd(), 0), 0);
}

TEST(LoadPage, a_file_that_could_shrink_under_its_reader_is_refused) {
  os::Fd plain(memfd_create("plain", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(ftruncate(plain.get(), 4096), 0);
  EXPECT_FALSE(LoadView::open(plain));
  os::Fd pipe_end = std::move(os::make_pipe(os::Blocking::no, os::Blocking::no)->read);
  EXPECT_FALSE(LoadView::open(pipe_end));
  auto other = os::make_memfd("short", 100);
  EXPECT_FALSE(LoadView::open(*other));
  EXPECT_FALSE(LoadView::open(os::Fd()));
}

}  // namespace
}  // namespace shunt::call
