#include "call/load_page.h"

#include <new>

namespace shunt::call {

namespace {

// Of one machine, so its own byte order. Each field by itself: readers want a hint, not a moment.
struct Layout {
  std::atomic<std::uint32_t> version;
  std::atomic<std::uint32_t> running;
  std::atomic<std::uint32_t> capacity;
  std::atomic<std::uint32_t> blocking;
  std::atomic<std::uint32_t> closed;
  std::uint32_t zero;
  std::atomic<std::int64_t> blocking_until_ns;  // CLOCK_MONOTONIC.
};
static_assert(std::atomic<std::uint32_t>::is_always_lock_free && sizeof(Layout) == 32);
constexpr std::uint32_t layout_version = 1;
constexpr auto relaxed = std::memory_order_relaxed;

}  // namespace

Result<LoadPage> LoadPage::create() {
  SHUNT_TRY(auto page, os::PublishedPage::create("shunt-load"));
  (new (page.data()) Layout{})->version.store(layout_version, relaxed);
  return LoadPage(std::move(page));
}

void LoadPage::tell(const Load& load) {
  auto* layout = reinterpret_cast<Layout*>(page_.data());
  layout->running.store(load.running, relaxed);
  layout->capacity.store(load.capacity, relaxed);
  layout->blocking_until_ns.store(load.blocking_until.ns, relaxed);
  layout->blocking.store(load.blocking, relaxed);
  layout->closed.store(load.closed ? 1 : 0, relaxed);
}

Result<LoadView> LoadView::open(const os::Fd& fd) {
  SHUNT_TRY(auto page, os::PageView::open(fd));
  return LoadView(std::move(page));
}

Load LoadView::read() const {
  const auto* layout = reinterpret_cast<const Layout*>(page_.data());
  if (layout->version.load(relaxed) != layout_version) return {};
  return {.running = layout->running.load(relaxed),
          .capacity = layout->capacity.load(relaxed),
          .blocking = layout->blocking.load(relaxed),
          .closed = layout->closed.load(relaxed) != 0,
          .blocking_until = Instant{layout->blocking_until_ns.load(relaxed)}};
}

}  // namespace shunt::call
