#include "link/local/cross_loop_link.h"

#include <fmt/format.h>

#include <atomic>
#include <deque>
#include <memory>
#include <string>
#include <utility>

#include "call/open_calls.h"

namespace shunt::link {

using call::Cancel;
using call::Last;
using call::Message;
using call::Metadata;
using call::Sent;

namespace {

// What an Open borrows, kept for the way to the other loop.
struct KeptOpen {
  explicit KeptOpen(const call::Open& open)
      : service(open.service),
        command(open.command),
        deadline(open.deadline),
        grant(open.grant),
        hops(open.hops),
        blocking(open.blocking),
        encoding(open.encoding) {
    if (open.metadata != nullptr) metadata = *open.metadata;
    if (open.principal != nullptr) principal = *open.principal;
  }
  [[nodiscard]] call::Open open() const {
    return {.service = service,
            .command = command,
            .metadata = &metadata,
            .deadline = deadline,
            .principal = &principal,
            .grant = grant,
            .hops = hops,
            .blocking = blocking,
            .encoding = encoding};
  }
  std::string service;
  std::string command;
  Metadata metadata;
  Deadline deadline;
  call::Principal principal;
  std::uint64_t grant;
  std::uint8_t hops;
  bool blocking;
  call::Encoding encoding;
};

}  // namespace

struct CrossLoopLink::State {
  State(loop::Loop& near_loop, loop::Loop& far_loop, Target to, call::LinkLimits limit)
      : near(near_loop),
        far(far_loop),
        target(std::make_shared<Target>(std::move(to))),
        limits(limit),
        calls(near_loop) {}
  loop::Loop& near;
  loop::Loop& far;
  std::shared_ptr<Target> target;  // Owners: this link, and the far halves of its calls.
  call::LinkLimits limits;
  call::OpenCalls calls;
};

// The near half. The far half (Far) is reached by posts only, and the other way round; each post holds both alive.
class CrossLoopLink::Call final : public call::Outgoing, public call::OpenCalls::Node, private loop::Timer {
 public:
  // On the far loop: a caller of the target link.
  struct Far final : call::CallerEvents {
    explicit Far(Call& near_half) : near(near_half) {}

    void begin(Target& target, const KeptOpen& open, call::Opening opening) {
      call::Link* link = target();
      if (link == nullptr) {
        on_end(Status(Code::unavailable, "S1008", "the process that serves it is gone").with_retry(Retry::elsewhere),
               {});
        return;
      }
      // What opened the call has left the queue between the loops, so its credit goes back.
      std::size_t given = opening.has_message && opening.last == Last::no ? opening.message.cost() : 0;
      auto handle = link->open(open.open(), *this, std::move(opening));
      if (!ended) call = std::move(handle);
      if (given > 0) near.tell_near([given](Call& to) { to.credit(given); });
      pump();
    }
    void send(Message message, Last last) {
      waiting.emplace_back(std::move(message), last);
      pump();
    }
    // Hands on what the near half sent, as the target's credit allows; gives credit back as it goes.
    void pump() {
      std::size_t given = 0;
      while (call != nullptr && !ended && !held && !waiting.empty()) {
        auto [message, last] = std::move(waiting.front());
        waiting.pop_front();
        given += message.cost();
        Sent sent = call->send(std::move(message), last);
        held = sent == Sent::held;
        if (sent == Sent::ended) break;
      }
      if (half_close && waiting.empty() && call != nullptr && !ended) {
        half_close = false;
        call->half_close();
      }
      if (given > 0) near.tell_near([given](Call& to) { to.credit(given); });
    }
    void on_metadata(Metadata metadata) override {
      near.tell_near([metadata = std::move(metadata)](Call& to) mutable {
        if (to.events_ != nullptr && !to.ended_) to.events_->on_metadata(std::move(metadata));
      });
    }
    void on_message(Message message) override {
      near.tell_near([message = std::move(message)](Call& to) mutable {
        if (to.events_ != nullptr && !to.ended_) to.events_->on_message(std::move(message));
      });
    }
    void on_credit() override {
      held = false;
      pump();
    }
    void on_end(Status status, Metadata trailers) override {
      if (std::exchange(ended, true)) return;
      near.tell_near([status = std::move(status), trailers = std::move(trailers)](Call& to) mutable {
        to.end(std::move(status), std::move(trailers));
      });
    }
    Call& near;
    call::OutgoingHandle call;
    std::deque<std::pair<Message, Last>> waiting;
    bool held = false;
    bool half_close = false;
    bool ended = false;
  };

  Call(State& state, call::CallerEvents& events)
      : near_(state.near),
        far_(state.far),
        limits_(state.limits),
        events_(&events),
        credit_(state.limits.stream_credit) {
    state.calls.add(*this);
    state.calls.stats.calls_opened++;
  }

  void begin(const std::shared_ptr<Target>& target, const call::Open& open, call::Opening opening) {
    if (opening.has_message) credit_ -= static_cast<std::int64_t>(opening.message.cost());
    half_closed_ = opening.last == Last::yes;
    opening_held_ = !half_closed_ && credit_ <= 0;
    if (!open.deadline.is_never()) near_.arm(*this, open.deadline.at());
    tell_far([target, kept = KeptOpen(open), opening = std::move(opening)](Far& far) mutable {
      far.begin(*target, kept, std::move(opening));
    });
  }

  Sent send(Message message, Last last) override {
    // open() can't say that the opening used up all credit: one message more is taken.
    if (ended_ || half_closed_ || (credit_ <= 0 && !std::exchange(opening_held_, false))) return Sent::ended;
    if (message.size() > limits_.message_bytes_max) {
      cancel_far(Cancel::protocol);
      end({Code::resource_exhausted, "S1007",
           fmt::format("a message of {} bytes is larger than the limit of {}", message.size(),
                       limits_.message_bytes_max)},
          {});
      return Sent::ended;
    }
    credit_ -= static_cast<std::int64_t>(message.cost());
    half_closed_ = last == Last::yes;
    held_ = credit_ <= 0;
    tell_far([message = std::move(message), last](Far& far) mutable { far.send(std::move(message), last); });
    return held_ ? Sent::held : Sent::more;
  }
  void half_close() override {
    if (ended_ || std::exchange(half_closed_, true)) return;
    tell_far([](Far& far) {
      far.half_close = true;
      far.pump();
    });
  }
  void consumed(std::size_t cost) override {
    if (ended_) return;
    tell_far([cost](Far& far) {
      if (far.call != nullptr && !far.ended) far.call->consumed(cost);
    });
  }
  void cancel(Cancel reason) override {
    if (ended_) return;
    cancel_far(reason);
    end(call::cancel_status(reason), {});
  }
  void release() override {
    events_ = nullptr;
    if (!ended_) {
      cancel_far(Cancel::caller);
      end({}, {});
    }
    unref();
  }

  void end_open(Status status, Cancel reason) override {
    Hold hold(*this);
    cancel_far(reason);
    end(std::move(status), {});
  }
  void end(Status status, Metadata trailers) {
    if (std::exchange(ended_, true)) return;
    Timer::disarm();
    leave();
    // The far end's handle is let go of on its own loop.
    tell_far([](Far& far) {
      far.ended = true;
      far.call = nullptr;
    });
    if (events_ != nullptr) std::exchange(events_, nullptr)->on_end(std::move(status), std::move(trailers));
  }
  void cancel_far(Cancel reason) {
    tell_far([reason](Far& far) {
      if (far.call != nullptr && !far.ended) far.call->cancel(reason);
    });
  }

 private:
  friend class CrossLoopLink;
  ~Call() = default;

  void fire() override {
    cancel_far(Cancel::deadline);
    end(call::cancel_status(Cancel::deadline), {});
  }
  void credit(std::size_t given) {
    credit_ += static_cast<std::int64_t>(given);
    if (!held_ || credit_ <= 0 || ended_) return;
    held_ = false;
    if (events_ != nullptr) events_->on_credit();
  }
  // A hold on both halves, let go of on whichever loop comes last. A closure that is never run (its loop ended) lets go
  // too; by then both loops have stopped.
  struct Hold {
    explicit Hold(Call& call) : held(&call) { call.refs_.fetch_add(1, std::memory_order_relaxed); }
    Hold(Hold&& other) noexcept : held(std::exchange(other.held, nullptr)) {}
    Hold& operator=(Hold&&) = delete;
    ~Hold() {
      if (held != nullptr) held->unref();
    }
    Call* held;
  };
  template <typename Fn>
  void tell_far(Fn fn) {
    far_.post([hold = Hold(*this), fn = std::move(fn)]() mutable { fn(hold.held->far_half_); });
  }
  template <typename Fn>
  void tell_near(Fn fn) {
    near_.post([hold = Hold(*this), fn = std::move(fn)]() mutable { fn(*hold.held); });
  }
  void unref() {
    if (refs_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
  }

  loop::Loop& near_;
  loop::Loop& far_;
  const call::LinkLimits limits_;
  call::CallerEvents* events_;
  std::int64_t credit_;
  bool half_closed_ = false;
  bool opening_held_ = false;
  bool held_ = false;
  bool ended_ = false;
  std::atomic<int> refs_{1};
  Far far_half_{*this};  // Touched on the far loop only.
};

CrossLoopLink::CrossLoopLink(Own<State> state) : state_(std::move(state)) {}

Own<CrossLoopLink> CrossLoopLink::create(loop::Loop& near, loop::Loop& far, Target target, call::LinkLimits limits) {
  return Own<CrossLoopLink>(new CrossLoopLink(make_own<State>(near, far, std::move(target), limits)));
}

CrossLoopLink::~CrossLoopLink() {
  state_->calls.draining = true;
  state_->calls.end_all(
      Status(Code::unavailable, "S1008", "the service was taken away while the call ran").with_retry(Retry::reconnect),
      Cancel::shutdown);
}

call::OutgoingHandle CrossLoopLink::open(const call::Open& open, call::CallerEvents& events, call::Opening opening) {
  auto& state = *state_;
  auto* call = new Call(state, events);
  call::OutgoingHandle handle(call);
  auto refuse = [&](Status status) { call->end(std::move(status), {}); };
  if (state.calls.draining || state.calls.stats.calls_open > state.limits.calls_max) {
    refuse(Status(Code::unavailable, "S1015", "the link takes no more calls").with_retry(Retry::elsewhere));
  } else if (open.deadline.passed(state.near.now())) {
    refuse(call::cancel_status(Cancel::deadline));
  } else if ((open.metadata != nullptr && open.metadata->cost() > state.limits.metadata_bytes_max) ||
             (opening.has_message && opening.message.size() > state.limits.message_bytes_max)) {
    refuse({Code::resource_exhausted, "S1007",
            fmt::format("the opening is larger than the limit of {} bytes of metadata or {} of message",
                        state.limits.metadata_bytes_max, state.limits.message_bytes_max)});
  } else {
    call->begin(state.target, open, std::move(opening));
  }
  return handle;
}

loop::Task<void> CrossLoopLink::drain(Deadline deadline) { return state_->calls.drain(deadline); }
call::LinkStats CrossLoopLink::stats() const { return state_->calls.stats; }

}  // namespace shunt::link
