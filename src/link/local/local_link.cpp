#include "link/local/local_link.h"

#include <fmt/format.h>

#include <optional>
#include <utility>
#include <vector>

#include "call/direct.h"
#include "call/policy.h"
#include "loop/task.h"

namespace shunt::link {

using call::Cancel;
using call::Last;
using call::Message;
using call::Metadata;
using call::Sent;
using call::too_large;

// The analyzer does not count references: it sees a call freed by an end that was let go of inside, while a Keep on the
// stack still holds it.
// NOLINTBEGIN(clang-analyzer-cplusplus.NewDelete)

// Both ends of one call. Lives until both are released; its memory comes from the pool of frames.
class LocalLink::Call final : public call::OpenCalls::Node, private loop::Timer, private loop::Runnable {
 public:
  Call(call::DirectPort& port, call::CallerEvents& caller)
      : loop_(port.loop),
        limits_(port.limits),
        caller_(&caller),
        to_callee_(limits_.stream_credit),
        to_caller_(limits_.stream_credit) {
    port.calls.add(*this);
    port.calls.stats.calls_opened++;
  }
  static void* operator new(std::size_t size) { return loop::allocate_frame(size); }
  static void operator delete(void* memory, std::size_t size) { loop::free_frame(memory, size); }

  call::Outgoing& outgoing() { return outgoing_; }

  void begin(call::Service& service, const call::Open& open, call::Opening opening) {
    Keep keep(*this);
    if (opening.has_message) to_callee_ -= static_cast<std::int64_t>(opening.message.cost());
    half_closed_ = opening.last == Last::yes;
    caller_held_ = opening_held_ = !half_closed_ && to_callee_ <= 0;
    service.begin(call::IncomingHandle(&incoming_), open, std::move(opening));
    if (!ended_ && !open.deadline.is_never()) loop_.arm(*this, open.deadline.at());
  }

  void end_open(Status status, Cancel reason) override { fail_both(std::move(status), reason); }

 private:
  // Keeps the call alive while it is on the stack: the ends may be released by whoever it tells something.
  struct Keep {
    explicit Keep(Call& call) : kept(call) { kept.refs_++; }
    ~Keep() { kept.unref(); }
    Keep(const Keep&) = delete;
    Keep& operator=(const Keep&) = delete;
    Call& kept;
  };
  struct CallerSide final : call::Outgoing {
    explicit CallerSide(Call& owner) : call(owner) {}
    Sent send(Message message, Last last) override { return call.send_to_callee(std::move(message), last); }
    void half_close() override { call.half_close(); }
    void consumed(std::size_t cost) override { call.credit_to_callee_end(cost); }
    void cancel(Cancel reason) override { call.fail_both(call::cancel_status(reason), reason); }
    void release() override { call.release_caller(); }
    Call& call;
  };
  struct CalleeSide final : call::Incoming {
    explicit CalleeSide(Call& owner) : call(owner) {}
    void listen(call::CalleeEvents& events) override { call.listen(events); }
    void send_metadata(Metadata metadata) override { call.send_metadata(std::move(metadata)); }
    Sent send(Message message) override { return call.send_to_caller(std::move(message)); }
    void consumed(std::size_t cost) override { call.credit_to_caller_end(cost); }
    void finish(Status status, Metadata trailers) override { call.finish(std::move(status), std::move(trailers)); }
    void finish_with(Message message) override { call.finish_with(std::move(message)); }
    void release() override { call.release_callee(); }
    Call& call;
  };
  struct Waiting {
    Message message;
    bool has_message = false;
    Last last = Last::no;
  };

  // --- From the caller ---
  Sent send_to_callee(Message message, Last last) {
    // open() can't say that the opening used up all credit: one message more is taken.
    if (ended_ || half_closed_ || (to_callee_ <= 0 && !std::exchange(opening_held_, false))) return Sent::ended;
    Keep keep(*this);
    if (message.size() > limits_.message_bytes_max) {
      fail_both(too_large(message.size(), limits_.message_bytes_max), Cancel::protocol);
      return Sent::ended;
    }
    to_callee_ -= static_cast<std::int64_t>(message.cost());
    half_closed_ = last == Last::yes;
    caller_held_ = to_callee_ <= 0;
    if (callee_ != nullptr && waiting_.empty()) {
      deliver(std::move(message), last);
    } else if (!finished_) {
      waiting_.push_back({std::move(message), true, last});
    }
    // What the callee did inside may have ended the call or given credit back.
    return ended_ ? Sent::ended : caller_held_ ? Sent::held : Sent::more;
  }
  void half_close() {
    if (ended_ || half_closed_) return;
    Keep keep(*this);
    half_closed_ = true;
    if (callee_ != nullptr && waiting_.empty()) {
      callee_->on_half_close();
    } else if (!finished_) {
      waiting_.push_back({{}, false, Last::yes});
    }
  }
  void release_caller() {
    Keep keep(*this);
    caller_ = nullptr;
    if (!ended_) {
      ended_ = true;
      cancel_callee(Cancel::caller);
    }
    leave();  // The link, which may be gone before the ends are.
    unref();
  }
  // The caller has dealt with what the callee sent.
  void credit_to_callee_end(std::size_t cost) {
    to_caller_ += static_cast<std::int64_t>(cost);
    if (!callee_held_ || to_caller_ <= 0 || finished_ || ended_) return;
    Keep keep(*this);
    callee_held_ = false;
    if (callee_ != nullptr) callee_->on_credit();
  }

  // --- From the callee ---
  void listen(call::CalleeEvents& events) {
    callee_ = &events;
    if (cancelled_) {
      Keep keep(*this);
      events.on_cancel(*std::exchange(cancelled_, std::nullopt));
    } else if (!waiting_.empty()) {
      loop_.ready(*this);
    }
  }
  void send_metadata(Metadata metadata) {
    if (ended_ || finished_ || caller_ == nullptr) return;
    Keep keep(*this);
    if (metadata.cost() > limits_.metadata_bytes_max) {
      fail_both(too_large(metadata.cost(), limits_.metadata_bytes_max), Cancel::protocol);
      return;
    }
    caller_->on_metadata(std::move(metadata));
  }
  Sent send_to_caller(Message message) {
    if (ended_ || finished_ || to_caller_ <= 0) return Sent::ended;
    Keep keep(*this);
    if (message.size() > limits_.message_bytes_max) {
      fail_both(too_large(message.size(), limits_.message_bytes_max), Cancel::protocol);
      return Sent::ended;
    }
    to_caller_ -= static_cast<std::int64_t>(message.cost());
    callee_held_ = to_caller_ <= 0;
    if (caller_ != nullptr) caller_->on_message(std::move(message));
    return ended_ ? Sent::ended : callee_held_ ? Sent::held : Sent::more;
  }
  void credit_to_caller_end(std::size_t cost) {
    to_callee_ += static_cast<std::int64_t>(cost);
    if (!caller_held_ || to_callee_ <= 0 || ended_) return;
    Keep keep(*this);
    caller_held_ = false;
    if (caller_ != nullptr) caller_->on_credit();
  }
  void finish(Status status, Metadata trailers) {
    if (finished_) return;
    Keep keep(*this);
    finished_ = true;
    callee_ = nullptr;
    waiting_.clear();
    if (ended_) return;
    if (!trailers.empty() && trailers.cost() > limits_.metadata_bytes_max) {
      status = too_large(trailers.cost(), limits_.metadata_bytes_max);
      trailers = {};
    }
    end_caller(std::move(status), std::move(trailers));
  }
  void finish_with(Message message) {
    Keep keep(*this);
    bool fits = message.size() <= limits_.message_bytes_max;
    if (!ended_ && !finished_ && fits && caller_ != nullptr && caller_->wants_answer()) {
      finished_ = true;
      callee_ = nullptr;
      waiting_.clear();
      ended_ = true;
      Timer::disarm();
      leave();
      std::exchange(caller_, nullptr)->on_answer(std::move(message));
      return;
    }
    // The answer of a call that finishes needs no credit: nothing follows it.
    if (to_caller_ <= 0) to_caller_ = 1;
    send_to_caller(std::move(message));
    finish({}, {});
  }
  void release_callee() {
    Keep keep(*this);
    if (!finished_) {
      finish({Code::internal, "S1013", "the service let go of the call without answering; see its log"}, {});
    }
    unref();
  }

  // --- Both ---
  void deliver(Message message, Last last) {
    callee_->on_message(std::move(message));
    if (last == Last::yes && callee_ != nullptr && !ended_) callee_->on_half_close();
  }
  // What the caller sent before the callee listened.
  void run() override {
    Keep keep(*this);
    auto waiting = std::move(waiting_);
    waiting_.clear();
    for (auto& one : waiting) {
      if (callee_ == nullptr || ended_) return;
      if (one.has_message) {
        deliver(std::move(one.message), one.last);
      } else {
        callee_->on_half_close();
      }
    }
  }
  void fire() override { fail_both(call::cancel_status(Cancel::deadline), Cancel::deadline); }

  // Ends the call for both: the callee hears the reason, the caller the status.
  void fail_both(Status status, Cancel reason) {
    if (ended_) return;
    Keep keep(*this);
    ended_ = true;
    cancel_callee(reason);
    end_caller(std::move(status), {});
  }
  void cancel_callee(Cancel reason) {
    Timer::disarm();
    waiting_.clear();
    if (finished_) return;
    if (callee_ != nullptr) {
      callee_->on_cancel(reason);
    } else {
      cancelled_ = reason;
    }
  }
  void end_caller(Status status, Metadata trailers) {
    ended_ = true;
    Timer::disarm();
    leave();
    if (caller_ != nullptr) std::exchange(caller_, nullptr)->on_end(std::move(status), std::move(trailers));
  }
  void unref() {
    if (--refs_ == 0) delete this;
  }

  loop::Loop& loop_;
  const call::LinkLimits limits_;
  call::CallerEvents* caller_;
  call::CalleeEvents* callee_ = nullptr;
  CallerSide outgoing_{*this};
  CalleeSide incoming_{*this};
  std::int64_t to_callee_;
  std::int64_t to_caller_;
  std::vector<Waiting> waiting_;
  std::optional<Cancel> cancelled_;
  int refs_ = 2;  // The caller's end and the callee's.
  bool half_closed_ = false;
  bool ended_ = false;     // For the caller.
  bool finished_ = false;  // By the callee.
  bool caller_held_ = false;
  bool opening_held_ = false;
  bool callee_held_ = false;
};

LocalLink::LocalLink(std::shared_ptr<call::DirectPort> port) : port_(std::move(port)) {}

Own<LocalLink> LocalLink::create(loop::Loop& loop, call::Service& service, call::LinkLimits limits) {
  return Own<LocalLink>(new LocalLink(std::make_shared<call::DirectPort>(loop, service, limits)));
}

LocalLink::~LocalLink() {
  port_->is_open = false;
  port_->calls.draining = true;
  port_->calls.end_all(
      Status(Code::unavailable, "S1008", "the service was taken away while the call ran").with_retry(Retry::reconnect),
      Cancel::shutdown);
}

call::OutgoingHandle LocalLink::open(const call::Open& open, call::CallerEvents& events, call::Opening opening) {
  auto& port = *port_;
  const auto& limits = port.limits;
  if (port.calls.draining) {
    return call::end_unopened(
        events, Status(Code::unavailable, "S1015", "the service is shutting down").with_retry(Retry::elsewhere));
  }
  if (port.calls.stats.calls_open >= limits.calls_max) {
    return call::end_unopened(
        events, Status(Code::unavailable, "S1015",
                       fmt::format("{} calls are open on this link, as many as it takes", limits.calls_max))
                    .with_retry(Retry::elsewhere));
  }
  if (open.deadline.passed(port.loop.now())) return call::end_unopened(events, call::cancel_status(Cancel::deadline));
  if (open.metadata != nullptr && !open.metadata->empty() && open.metadata->cost() > limits.metadata_bytes_max) {
    return call::end_unopened(events, too_large(open.metadata->cost(), limits.metadata_bytes_max));
  }
  if (opening.has_message && opening.message.size() > limits.message_bytes_max) {
    return call::end_unopened(events, too_large(opening.message.size(), limits.message_bytes_max));
  }
  auto* call = new Call(port, events);
  call::OutgoingHandle handle(&call->outgoing());
  call->begin(port.service, open, std::move(opening));
  return handle;
}

loop::Task<void> LocalLink::drain(Deadline deadline) { return port_->calls.drain(deadline); }
call::LinkStats LocalLink::stats() const { return port_->calls.stats; }
std::shared_ptr<call::DirectPort> LocalLink::direct() const { return port_; }

// NOLINTEND(clang-analyzer-cplusplus.NewDelete)

}  // namespace shunt::link
