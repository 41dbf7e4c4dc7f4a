#include "loop/loop.h"

#include <vector>

#include "base/check.h"

namespace shunt::loop {

void Runnable::unlink() {
  if (next_ == nullptr) return;
  next_->previous_ = previous_;
  previous_->next_ = next_;
  next_ = previous_ = nullptr;
}

RunList::RunList() { anchor_.next_ = anchor_.previous_ = &anchor_; }

RunList::~RunList() {
  while (pop() != nullptr) {
  }
  anchor_.next_ = anchor_.previous_ = nullptr;
}

void RunList::push(Runnable& runnable) {
  if (runnable.is_queued()) return;
  runnable.previous_ = anchor_.previous_;
  runnable.next_ = &anchor_;
  anchor_.previous_->next_ = &runnable;
  anchor_.previous_ = &runnable;
}

Runnable* RunList::pop() {
  if (empty()) return nullptr;
  Runnable* first = anchor_.next_;
  first->unlink();
  return first;
}

bool RunList::empty() const { return anchor_.next_ == &anchor_; }

void Timer::disarm() {
  if (loop_ != nullptr) loop_->disarm(*this);
}

// A binary heap of timers that know their slot, so that disarming needs no search.
struct Loop::Heap {
  std::vector<Timer*> timers;
};

Loop::Loop() : heap_(make_own<Heap>()) {}

Loop::~Loop() {
  for (Timer* timer : heap_->timers) timer->loop_ = nullptr;
}

void Loop::ready(Runnable& runnable) { ready_.push(runnable); }
void Loop::flush(Runnable& runnable) { flush_.push(runnable); }
bool Loop::has_ready() const { return !ready_.empty() || !flush_.empty(); }

void Loop::arm(Timer& timer, Instant at) {
  if (timer.loop_ != nullptr) timer.loop_->disarm(timer);
  auto& heap = heap_->timers;
  timer.loop_ = this;
  timer.at_ = at;
  std::size_t slot = heap.size();
  heap.push_back(&timer);
  while (slot > 0) {
    std::size_t parent = (slot - 1) / 2;
    if (heap[parent]->at_ <= at) break;
    heap[slot] = heap[parent];
    heap[slot]->slot_ = slot;
    slot = parent;
  }
  heap[slot] = &timer;
  timer.slot_ = slot;
}

void Loop::disarm(Timer& timer) {
  if (timer.loop_ != this) return;
  timer.loop_ = nullptr;
  auto& heap = heap_->timers;
  std::size_t slot = timer.slot_;
  Timer* moved = heap.back();
  heap.pop_back();
  if (moved == &timer) return;
  // The last one takes the free place, and moves up or down from there.
  while (slot > 0 && moved->at_ < heap[(slot - 1) / 2]->at_) {
    heap[slot] = heap[(slot - 1) / 2];
    heap[slot]->slot_ = slot;
    slot = (slot - 1) / 2;
  }
  for (;;) {
    std::size_t child = 2 * slot + 1;
    if (child >= heap.size()) break;
    if (child + 1 < heap.size() && heap[child + 1]->at_ < heap[child]->at_) child++;
    if (moved->at_ <= heap[child]->at_) break;
    heap[slot] = heap[child];
    heap[slot]->slot_ = slot;
    slot = child;
  }
  heap[slot] = moved;
  moved->slot_ = slot;
}

Deadline Loop::next_timer() const {
  return heap_->timers.empty() ? Deadline::never() : Deadline(heap_->timers.front()->at_);
}

void Loop::run_timers() {
  // What is armed for a passed time while we fire waits for the next turn: at most as many as are due now.
  std::size_t limit = heap_->timers.size();
  while (limit-- > 0 && !heap_->timers.empty() && heap_->timers.front()->at_ <= now_) {
    Timer* timer = heap_->timers.front();
    disarm(*timer);
    timer->fire();
  }
}

void Loop::run_ready() {
  // Bounded, so that things that make each other ready can't keep the descriptors from being looked at.
  for (int rounds = 0; rounds < 10000; rounds++) {
    Runnable* next = ready_.pop();
    if (next == nullptr) next = flush_.pop();
    if (next == nullptr) return;
    next->run();
  }
}

}  // namespace shunt::loop
