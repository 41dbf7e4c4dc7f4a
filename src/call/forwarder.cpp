#include "call/forwarder.h"

#include <utility>
#include <vector>

#include "loop/task.h"

namespace shunt::call {

namespace {

// Messages that wait for credit, with no memory of its own while there are none.
class MessageQueue {
 public:
  void push(Message message, Last last) { queue_.emplace_back(std::move(message), last); }
  [[nodiscard]] bool empty() const { return next_ == queue_.size(); }
  std::pair<Message, Last> pop() {
    auto front = std::move(queue_[next_++]);
    if (empty()) {
      queue_.clear();
      next_ = 0;
    }
    return front;
  }

 private:
  std::vector<std::pair<Message, Last>> queue_;
  std::size_t next_ = 0;
};

class ForwardedCall {
 public:
  explicit ForwardedCall(IncomingHandle in) : in_(std::move(in)) {}
  static void* operator new(std::size_t size) { return loop::allocate_frame(size); }
  static void operator delete(void* memory, std::size_t size) { loop::free_frame(memory, size); }

  void begin(Caller& caller, const Open& open, Opening opening) {
    Keep keep(*this);
    in_->listen(from_caller_);
    first_cost_ = opening.has_message ? opening.message.cost() : 0;
    CallStart start{.service = open.service,
                    .command = open.command,
                    .metadata = open.metadata,
                    .deadline = open.deadline,
                    .principal = open.principal,
                    .hops = open.hops,
                    .encoding = open.encoding};
    auto out = caller.start(start, from_callee_, std::move(opening));
    if (ended_) return;
    out_ = std::move(out);
    if (owed_ > 0) out_->consumed(std::exchange(owed_, 0));
    if (ended_) return;
    if (first_cost_ > 0 && in_ != nullptr) in_->consumed(std::exchange(first_cost_, 0));
    pump_to_callee();
  }

 private:
  struct Keep {
    explicit Keep(ForwardedCall& call) : kept(call) { kept.refs_++; }
    ~Keep() {
      // The analyzer does not count: whoever is on the stack holds one, so only the outermost gets to zero.
      if (--kept.refs_ == 0) delete &kept;  // NOLINT(clang-analyzer-cplusplus.NewDelete)
    }
    Keep(const Keep&) = delete;
    Keep& operator=(const Keep&) = delete;
    ForwardedCall& kept;
  };

  struct FromCaller final : CalleeEvents {
    explicit FromCaller(ForwardedCall& owner) : call(owner) {}
    void on_message(Message message) override {
      Keep keep(call);
      call.to_callee_.push(std::move(message), Last::no);
      call.pump_to_callee();
    }
    void on_half_close() override {
      Keep keep(call);
      call.half_close_ = true;
      call.pump_to_callee();
    }
    void on_cancel(Cancel reason) override {
      Keep keep(call);
      if (call.ended_) {
        call.finish();  // What it still had to read is not wanted any more.
      } else if (call.out_ != nullptr) {
        call.out_->cancel(reason);
      } else {
        call.end(cancel_status(reason), {});
      }
    }
    void on_credit() override {
      Keep keep(call);
      call.in_held_ = false;
      call.pump_to_caller();
    }
    ForwardedCall& call;
  };

  struct FromCallee final : CallerEvents {
    explicit FromCallee(ForwardedCall& owner) : call(owner) {}
    void on_metadata(Metadata metadata) override {
      Keep keep(call);
      if (call.in_ != nullptr) call.in_->send_metadata(std::move(metadata));
    }
    void on_message(Message message) override {
      Keep keep(call);
      call.to_caller_.push(std::move(message), Last::no);
      call.pump_to_caller();
    }
    void on_credit() override {
      Keep keep(call);
      call.out_held_ = false;
      call.pump_to_callee();
    }
    void on_end(Status status, Metadata trailers) override { call.end(std::move(status), std::move(trailers)); }
    ForwardedCall& call;
  };

  void pump_to_callee() {
    while (out_ != nullptr && !ended_ && !out_held_ && !to_callee_.empty()) {
      auto [message, last] = to_callee_.pop();
      std::size_t cost = message.cost();
      Sent sent = out_->send(std::move(message), last);
      if (sent == Sent::ended) return;
      out_held_ = sent == Sent::held;
      if (in_ != nullptr) in_->consumed(cost);
    }
    if (half_close_ && to_callee_.empty() && out_ != nullptr && !ended_) {
      half_close_ = false;
      out_->half_close();
    }
  }
  void pump_to_caller() {
    while (in_ != nullptr && !in_held_ && !to_caller_.empty()) {
      auto [message, last] = to_caller_.pop();
      std::size_t cost = message.cost();
      Sent sent = in_->send(std::move(message));
      if (sent == Sent::ended) break;
      in_held_ = sent == Sent::held;
      if (ended_) continue;
      // A callee in this process may answer before start() has given us the handle.
      if (out_ == nullptr) {
        owed_ += cost;
      } else {
        out_->consumed(cost);
      }
    }
    if (ended_ && to_caller_.empty()) finish();
  }
  void end(Status status, Metadata trailers) {
    if (std::exchange(ended_, true)) return;
    Keep keep(*this);
    status_ = std::move(status);
    trailers_ = std::move(trailers);
    // A failed call does not wait until the caller has read what came before: gRPC's rule.
    if (to_caller_.empty() || !status_.is_ok()) finish();
  }
  void finish() {
    if (in_ == nullptr) return;
    auto in = std::move(in_);
    out_ = nullptr;
    in->finish(std::move(status_), std::move(trailers_));
    in = nullptr;
    refs_--;  // Our own: whoever is on the stack holds the last one.
  }

  IncomingHandle in_;
  OutgoingHandle out_;
  FromCaller from_caller_{*this};
  FromCallee from_callee_{*this};
  MessageQueue to_callee_;
  MessageQueue to_caller_;
  Status status_;
  Metadata trailers_;
  std::size_t first_cost_ = 0;
  std::size_t owed_ = 0;  // Credit for the callee, while there is no handle to give it by.
  int refs_ = 1;
  bool in_held_ = false;
  bool out_held_ = false;
  bool half_close_ = false;
  bool ended_ = false;
};

}  // namespace

void Forwarder::begin(IncomingHandle call, const Open& open, Opening opening) {
  (new ForwardedCall(std::move(call)))->begin(caller_, open, std::move(opening));
}

}  // namespace shunt::call
