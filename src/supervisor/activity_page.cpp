#include "supervisor/activity_page.h"

#include <fmt/format.h>
#include <signal.h>

namespace shunt::supervisor {

namespace {

constexpr std::uint32_t page_magic = 0x31544341;  // "ACT1"
constexpr std::size_t signal_stack_bytes = 64 << 10;

// A signal handler has no argument of ours: these two are how it finds the page and the thread's place.
std::atomic<ActivityPage*> witness_page{nullptr};
thread_local std::size_t witness_slot = ActivityPage::slots;

void on_fatal_signal(int signal, siginfo_t* info, void*) {
  if (ActivityPage* page = witness_page.load(std::memory_order_acquire)) page->mark_crashed(witness_slot);
  // The disposition is the default again (SA_RESETHAND): a fault repeats when we return and ends the process where it
  // happened. A signal that somebody sent does not repeat by itself.
  if (info->si_code <= 0) ::raise(signal);
}

}  // namespace

Result<ActivityPage> ActivityPage::create() {
  ActivityPage result;
  SHUNT_TRY(result.memory_, os::make_memfd("shunt-activity", sizeof(Page)));
  SHUNT_TRY(result.mapping_, os::Mapping::map(result.memory_.get(), sizeof(Page)));
  result.page()->magic = page_magic;
  return result;
}

Result<ActivityPage> ActivityPage::open(os::Fd memory) {
  SHUNT_TRY(std::size_t size, os::size_of(memory.get()));
  if (size < sizeof(Page)) return fail(Code::data_loss, "the activity page is too short");
  ActivityPage result;
  result.memory_ = std::move(memory);
  SHUNT_TRY(result.mapping_, os::Mapping::map(result.memory_.get(), sizeof(Page)));
  if (result.page()->magic != page_magic) return fail(Code::data_loss, "this is not an activity page");
  return result;
}

std::string ActivityPage::text(std::size_t slot) const {
  if (slot >= slots) return {};
  std::uint32_t number = page()->slots[slot].known.load(std::memory_order_acquire);
  const Text& at = number > 0 && number <= known_max ? page()->known[number - 1] : page()->slots[slot];
  // Read once and bounded: the page was written by a process that went wrong.
  std::size_t size = std::min<std::size_t>(at.size.load(std::memory_order_acquire), text_bytes_max);
  std::string result(at.text, size);
  for (char& each : result) {
    if (static_cast<unsigned char>(each) < 0x20 || static_cast<unsigned char>(each) >= 0x7f) each = '?';
  }
  return result;
}

std::string ActivityPage::last_words() const {
  std::uint32_t crashed = page()->crashed.load(std::memory_order_acquire);
  if (crashed > 0 && crashed <= slots) return text(crashed - 1);
  std::string all;
  for (std::size_t slot = 0; slot < slots; ++slot) {
    std::string each = text(slot);
    if (each.empty() || all.find(each) != std::string::npos) continue;
    all += all.empty() ? each : fmt::format("; {}", each);
  }
  return all;
}

void ActivityPage::reset() {
  page()->crashed.store(0, std::memory_order_release);
  page()->learned.store(0, std::memory_order_release);
  for (std::size_t slot = 0; slot < slots; ++slot) clear(slot);
}

ThreadActivity::ThreadActivity(ActivityPage& page, std::size_t slot)
    : page_(page), slot_(slot), stack_(std::make_unique<char[]>(signal_stack_bytes)) {
  witness_slot = slot;
  stack_t stack{};
  stack.ss_sp = stack_.get();
  stack.ss_size = signal_stack_bytes;
  ::sigaltstack(&stack, nullptr);
}

ThreadActivity::~ThreadActivity() {
  stack_t none{};
  none.ss_flags = SS_DISABLE;
  ::sigaltstack(&none, nullptr);
  witness_slot = ActivityPage::slots;
  page_.clear(slot_);
}

void install_crash_witness(ActivityPage& page) {
  witness_page.store(&page, std::memory_order_release);
  struct sigaction action{};
  action.sa_sigaction = on_fatal_signal;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESETHAND;
  for (int signal : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT}) ::sigaction(signal, &action, nullptr);
}

}  // namespace shunt::supervisor
