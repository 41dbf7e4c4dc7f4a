#include "link/shm/ring_model_test.h"

#include <algorithm>
#include <cmath>

namespace shunt::link::model {

namespace {

constexpr std::size_t stack_bytes = 64u << 10;

bool acquires(std::memory_order order) {
  return order == std::memory_order_acquire || order == std::memory_order_acq_rel || order == std::memory_order_seq_cst;
}
bool releases(std::memory_order order) {
  return order == std::memory_order_release || order == std::memory_order_acq_rel || order == std::memory_order_seq_cst;
}

}  // namespace

std::string Explorer::explore(const Program& program, Limits limits) {
  limits_ = limits;
  explorer = this;
  choices_.clear();
  for (runs_ = 1;; runs_++) {
    next_choice_ = 0;
    run_once(program);
    if (!wrong_.empty() || runs_ >= limits_.runs_max) break;
    // The next list of choices: the last one that has another way takes it.
    while (!choices_.empty() && choices_.back().taken + 1 == choices_.back().of) choices_.pop_back();
    if (choices_.empty()) break;
    choices_.back().taken++;
  }
  explorer = nullptr;
  if (wrong_.empty() && runs_ >= limits_.runs_max) return "not all executions were seen";
  return wrong_;
}

std::uint32_t Explorer::choose(std::size_t of) {
  if (of == 1) return 0;
  if (next_choice_ == choices_.size()) choices_.push_back({0, static_cast<std::uint32_t>(of)});
  return choices_[next_choice_++].taken;
}

void Explorer::enter() {
  Explorer& self = *explorer;
  Thread& thread = self.threads_[static_cast<std::size_t>(self.current_)];
  thread.body();
  thread.has_ended = true;
  self.pause();
}

void Explorer::run_once(const Program& program) {
  words_.clear();
  bytes_.clear();
  fences_ = {};
  switches_ = steps_ = 0;
  wrong_.clear();
  auto bodies = program();
  for (std::size_t i = 0; i < threads; i++) {
    Thread& thread = threads_[i];
    thread.now = thread.pending = thread.released = {};
    thread.has_ended = thread.sleeps = thread.is_rung = false;
    thread.body = std::move(bodies[i]);
    thread.stack.resize(stack_bytes);
    getcontext(&thread.context);
    thread.context.uc_stack.ss_sp = thread.stack.data();
    thread.context.uc_stack.ss_size = thread.stack.size();
    thread.context.uc_link = nullptr;
    makecontext(&thread.context, &Explorer::enter, 0);
  }
  current_ = static_cast<int>(choose(threads));
  while (wrong_.empty()) {
    if (!can_run(current_)) {
      // Only a switch that nothing forces counts.
      const int other = 1 - current_;
      if (!can_run(other)) break;
      current_ = other;
    }
    is_inside_ = true;
    swapcontext(&main_, &threads_[static_cast<std::size_t>(current_)].context);
    is_inside_ = false;
  }
  if (!wrong_.empty()) return;
  for (const Thread& thread : threads_) {
    if (thread.sleeps) fail("a thread sleeps, and nobody will wake it");
  }
}

void Explorer::pause() { swapcontext(&threads_[static_cast<std::size_t>(current_)].context, &main_); }

// Before each operation that another thread could notice: it may run first.
void Explorer::step() {
  if (++steps_ > limits_.steps_max) fail("an execution does not end");
  Thread& thread = threads_[static_cast<std::size_t>(current_)];
  if (switches_ < limits_.switches_max && can_run(1 - current_) && choose(2) == 1) {
    switches_++;
    const int self = current_;
    current_ = 1 - current_;
    swapcontext(&threads_[static_cast<std::size_t>(self)].context, &main_);
  }
  thread.now.clock[static_cast<std::size_t>(current_)]++;
}

void Explorer::fail(std::string what) {
  if (wrong_.empty()) wrong_ = std::move(what);
  // The execution is over; nobody goes on with it.
  if (is_inside_) pause();
}

std::size_t Explorer::add_word() {
  words_.push_back({Stored{}});
  return words_.size() - 1;
}

std::uint64_t Explorer::load(std::size_t word, std::memory_order order) {
  step();
  Thread& thread = threads_[static_cast<std::size_t>(current_)];
  auto& stored = words_[word];
  const auto first =
      std::ranges::find_if(stored, [&](const Stored& one) { return one.place >= thread.now.seen[word]; });
  const auto known = static_cast<std::size_t>(first - stored.begin());
  // The newest first: it is what mostly happens.
  const Stored& read = stored[stored.size() - 1 - choose(stored.size() - known)];
  thread.now.seen[word] = read.place;
  thread.pending.join(read.view);
  if (acquires(order)) thread.now.join(read.view);
  return read.value;
}

void Explorer::store(std::size_t word, std::uint64_t value, std::memory_order order) {
  step();
  Thread& thread = threads_[static_cast<std::size_t>(current_)];
  auto& stored = words_[word];
  // It stands behind what the thread knows; before or behind what it does not know.
  std::vector<std::size_t> gaps;
  for (std::size_t i = 0; i < stored.size(); i++) {
    if (stored[i].place >= thread.now.seen[word] && !stored[i].is_taken) gaps.push_back(i);
  }
  const std::size_t after = gaps[gaps.size() - 1 - choose(gaps.size())];
  const double low = stored[after].place;
  const double place = after + 1 == stored.size() ? std::floor(low) + 1 : (low + stored[after + 1].place) / 2;
  thread.now.seen[word] = place;
  Stored made{place, value, releases(order) ? thread.now : thread.released, false};
  made.view.seen[word] = place;
  stored.insert(stored.begin() + static_cast<std::ptrdiff_t>(after) + 1, made);
}

std::uint64_t Explorer::exchange(std::size_t word, std::uint64_t value) {
  step();
  Thread& thread = threads_[static_cast<std::size_t>(current_)];
  auto& stored = words_[word];
  std::vector<std::size_t> may;
  for (std::size_t i = 0; i < stored.size(); i++) {
    if (stored[i].place >= thread.now.seen[word] && !stored[i].is_taken) may.push_back(i);
  }
  const std::size_t at = may[may.size() - 1 - choose(may.size())];
  stored[at].is_taken = true;
  const Stored read = stored[at];
  const double place = at + 1 == stored.size() ? std::floor(read.place) + 1 : (read.place + stored[at + 1].place) / 2;
  thread.pending.join(read.view);
  thread.now.seen[word] = place;
  Stored made{place, value, thread.released, false};
  made.view.join(read.view);
  made.view.seen[word] = place;
  stored.insert(stored.begin() + static_cast<std::ptrdiff_t>(at) + 1, made);
  return read.value;
}

void Explorer::fence() {
  step();
  Thread& thread = threads_[static_cast<std::size_t>(current_)];
  thread.now.join(thread.pending);
  thread.now.join_seen(fences_);
  fences_.join_seen(thread.now);
  thread.released = thread.now;
}

void Explorer::touch(const void* byte, bool writes) {
  step();
  const Thread& thread = threads_[static_cast<std::size_t>(current_)];
  auto found = std::ranges::find(bytes_, byte, &std::pair<const void*, Touched>::first);
  if (found == bytes_.end()) found = bytes_.insert(bytes_.end(), {byte, {}});
  Touched& touched = found->second;
  const auto self = static_cast<std::size_t>(current_);
  const std::size_t other = 1 - self;
  if (touched.wrote[other] > thread.now.clock[other] || (writes && touched.read[other] > thread.now.clock[other])) {
    fail(writes ? "a byte is written while the other side may still use it"
                : "a byte is read that may not be there yet");
  }
  (writes ? touched.wrote : touched.read)[self] = thread.now.clock[self];
}

// A bell is the system's: its two sides are ordered.
void Explorer::ring(int thread) {
  step();
  Thread& rung = threads_[static_cast<std::size_t>(thread)];
  rung.is_rung = true;
  rung.sleeps = false;
}

void Explorer::sleep() {
  step();
  Thread& thread = threads_[static_cast<std::size_t>(current_)];
  if (!thread.is_rung) {
    thread.sleeps = true;
    pause();
  }
  thread.is_rung = false;
}

}  // namespace shunt::link::model
