#pragma once
// DirectCall: a call that goes to another worker without the node in between. It does what the node's router would have done:
// the command's default deadline, hops, counting; and it goes by the node after all when the instance refuses it, when its
// link is gone before it was sent, or, where the command's effect permits, when the instance died under it.

#include <memory>
#include <vector>

#include "call/caller.h"
#include "loop/task.h"
#include "worker/direct_links.h"
#include "worker/end_list.h"

namespace shunt::worker {

/// Who places a call by the node.
class ByNode {
 public:
  /// As Caller::start().
  virtual call::OutgoingHandle place_by_node(const call::CallStart& start, call::CallerEvents& events,
                                             call::Opening opening) = 0;
  /// A direct call was let go of.
  virtual void on_direct_released() = 0;
  /// Nothing is to be moved any more: the worker ends.
  [[nodiscard]] virtual bool is_closing() const = 0;
  [[nodiscard]] virtual loop::Loop& direct_loop() = 0;
  [[nodiscard]] virtual DirectLinks& direct_links() = 0;
  /// Retries after a death are bounded: each call adds a tenth, each retry takes one.
  double retry_budget = 10;

 protected:
  ~ByNode() = default;
};

/// Threads: the loop's. Lifetime: until its caller releases it and nothing of it is on the stack.
class DirectCall final : public End, public call::Outgoing, private call::CallerEvents {
 public:
  DirectCall(ByNode& host, call::CallerEvents& events) : host_(&host), events_(&events) {}
  static void* operator new(std::size_t size) { return loop::allocate_frame(size); }
  static void operator delete(void* memory, std::size_t size) { loop::free_frame(memory, size); }

  /// `way` has a target. What `start` points at is copied, but for the principal.
  void begin(DirectWay way, const call::CallStart& start, call::Opening opening);

  call::Sent send(call::Message message, call::Last last) override;
  void half_close() override;
  void consumed(std::size_t cost) override {
    if (call_ != nullptr) call_->consumed(cost);
  }
  void cancel(call::Cancel reason) override;
  void release() override;

  /// The host is gone; its links have ended.
  void forget_host() override {
    call_ = nullptr;
    host_ = nullptr;
  }

 private:
  struct Keep {
    explicit Keep(DirectCall& call) : kept(call) { kept.refs_++; }
    ~Keep() { kept.unref(); }
    Keep(const Keep&) = delete;
    Keep& operator=(const Keep&) = delete;
    DirectCall& kept;
  };

  void on_metadata(call::Metadata metadata) override;
  void on_message(call::Message message) override;
  void on_credit() override;
  void on_end(Status status, call::Metadata trailers) override;
  [[nodiscard]] bool wants_answer() const override { return events_ != nullptr && events_->wants_answer(); }
  void on_answer(call::Message message) override;

  /// The instance has taken it up.
  void accepted();
  void answered();
  void forget_sent();
  [[nodiscard]] bool may_move(const Status& status) const;
  void move_to_node();
  void pump();
  void leave(Code code);
  [[nodiscard]] Status explain(Status status) const;
  void unref() {
    if (--refs_ == 0) delete this;
  }

  ByNode* host_;
  call::CallerEvents* events_;  ///< nullptr: it has ended, or was released.
  DirectWay way_;
  std::string_view service_;  ///< The route's, which stays.
  call::OutgoingHandle call_;
  const call::Principal* principal_ = nullptr;
  Own<call::Metadata> metadata_;
  Deadline deadline_;
  Instant began_;
  /// What the caller has sent, while it may have to be sent again.
  std::vector<call::Message> sent_;
  std::size_t sent_bytes_ = 0;
  std::size_t given_ = 0;  ///< Of them, those that the call it has now has taken.
  call::Encoding encoding_ = call::Encoding::json;
  std::uint8_t hops_ = 0;
  bool direct_ = false;      ///< It is at its target; else by the node.
  bool last_ = false;        ///< The caller has half-closed …
  bool last_given_ = false;  ///< … and the call it has now knows.
  bool whole_ = true;        ///< sent_ is all that was sent.
  bool accepted_ = false;
  bool answered_ = false;
  bool held_ = false;
  int refs_ = 1;
};

}  // namespace shunt::worker
