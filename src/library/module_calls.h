#pragma once
// The two kinds of calls that a module has, seen from this side of the C ABI. Not for other rooms.

#include <cstdint>
#include <memory>
#include <string_view>

#include "call/ends.h"
#include "library/module_service.h"
#include "loop/task.h"

namespace shunt::library {

class PlacedCall;
class ServedCall;

/// What a shunt_call* points to. Allocated from the pool of frames. Calls that may outlast the stack that they began in
/// join() their service's list.
class ModuleCall {
 public:
  ModuleCall(const ModuleCall&) = delete;
  ModuleCall& operator=(const ModuleCall&) = delete;
  virtual call::Sent send(call::Message message, call::Last last) = 0;
  virtual void half_close() {}
  virtual void consume(std::size_t cost) = 0;
  virtual void send_metadata(call::Metadata metadata) { (void)metadata; }
  virtual void finish(Status status, call::Message* last, call::Metadata trailers) {
    (void)status, (void)last, (void)trailers;
  }
  virtual void cancel(call::Cancel reason) { (void)reason; }
  /// Frees the object.
  virtual void release() = 0;
  /// The service is taken off its loop and the module did not let go: ends the call and frees the object.
  virtual void abandon() = 0;
  /// Of a call that came in.
  virtual void who(shunt_open& open) const { (void)open; }
  void set_user(void* of_module) {
    user = of_module;
    if (has_news) tell_news();
  }
  [[nodiscard]] inline ServedCall* as_served();

  [[nodiscard]] shunt_call* handle() { return reinterpret_cast<shunt_call*>(this); }
  static ModuleCall& of(shunt_call* call) { return *reinterpret_cast<ModuleCall*>(call); }

  ModuleService::State& state;
  void* user = nullptr;
  ModuleCall* next = nullptr;  // All calls of the service.

 protected:
  enum class End : std::uint8_t { served, placed };
  ModuleCall(ModuleService::State& owner, End end) : state(owner), end_(end) {}
  virtual ~ModuleCall() { leave_service(); }
  virtual void tell_news() {}
  void join_service();
  void leave_service();

  bool has_news = false;  ///< It ended before the module could say who hears of it.

 private:
  ModuleCall* previous_ = nullptr;
  const End end_;
  bool joined_ = false;
};

/// A call that the module serves, and on whose behalf it may place others.
class ServedCall : public ModuleCall {
 public:
  [[nodiscard]] Deadline deadline() const { return deadline_; }
  [[nodiscard]] std::uint8_t hops() const { return hops_; }
  [[nodiscard]] bool is_cancelled() const { return cancelled_; }
  [[nodiscard]] std::string_view command() const { return command_; }
  /// The number that stands for the command on the page of activities; 0: none.
  [[nodiscard]] std::uint32_t activity() const { return activity_; }
  /// As whom calls on behalf of this one go out: nullptr where they go out as the service alone. Owners: this and those
  /// calls.
  const std::shared_ptr<const call::Principal>& on_behalf() {
    if (user_ != nullptr && principal_ == nullptr) make_principal();
    return principal_;
  }

 protected:
  ServedCall(ModuleService::State& owner, std::string_view command, std::uint32_t activity, Deadline deadline,
             std::uint8_t hops)
      : ModuleCall(owner, End::served), command_(command), deadline_(deadline), activity_(activity), hops_(hops) {}
  ~ServedCall();
  void tell(std::uint32_t kind);
  /// Tells the module, and cancels what was called on behalf of the call. It may be freed meanwhile.
  void tell_cancel(call::Cancel reason);
  void make_principal();

  std::string_view command_;  // The module's own text.
  Deadline deadline_;
  const call::Principal* user_ = nullptr;  // Who called, where that names a user or has a token.
  std::shared_ptr<const call::Principal> principal_;

 private:
  friend class PlacedCall;
  PlacedCall* children_ = nullptr;
  bool* gone_ = nullptr;  // Set when this is freed while tell_cancel is on the stack.
  const std::uint32_t activity_;

 protected:
  const std::uint8_t hops_;
  bool finished_ = false;
  bool cancelled_ = false;
};

inline ServedCall* ModuleCall::as_served() { return end_ == End::served ? static_cast<ServedCall*>(this) : nullptr; }

/// A call that the module places.
class PlacedCall : public ModuleCall {
 public:
  [[nodiscard]] std::string_view command() const {
    return parent_ != nullptr ? parent_->command() : std::string_view();
  }
  void tell_answer(call::Message message);
  void tell_end(const Status& status, const call::Metadata& trailers);

 protected:
  explicit PlacedCall(ModuleService::State& owner) : ModuleCall(owner, End::placed) {}
  ~PlacedCall() { leave_parent(); }
  void join_parent(ServedCall* parent);
  void leave_parent();
  void deliver(const shunt_event& event);

  ServedCall* parent_ = nullptr;

 private:
  friend class ServedCall;
  PlacedCall* next_sibling_ = nullptr;
  PlacedCall* previous_sibling_ = nullptr;
};

/// A call that comes over a link.
class IncomingCall final : public ServedCall, private call::CalleeEvents {
 public:
  IncomingCall(ModuleService::State& owner, call::IncomingHandle call, const call::Open& open, std::uint32_t index);
  static void* operator new(std::size_t size) { return loop::allocate_frame(size); }
  static void operator delete(void* memory, std::size_t size) { loop::free_frame(memory, size); }

  void start(const call::Open& open, call::Opening opening, std::uint32_t index);

  call::Sent send(call::Message message, call::Last last) override;
  void consume(std::size_t cost) override;
  void send_metadata(call::Metadata metadata) override;
  void finish(Status status, call::Message* last, call::Metadata trailers) override;
  void release() override;
  void abandon() override;

 private:
  void on_message(call::Message message) override;
  void on_half_close() override { tell(SHUNT_EVENT_HALF_CLOSE); }
  void on_cancel(call::Cancel reason) override;
  void on_credit() override { tell(SHUNT_EVENT_CREDIT); }
  ~IncomingCall();

  call::IncomingHandle call_;
};

/// A call that goes out through the Caller.
class OutgoingCall final : public PlacedCall, private call::CallerEvents {
 public:
  OutgoingCall(ModuleService::State& owner, ServedCall* parent, void* user);
  static void* operator new(std::size_t size) { return loop::allocate_frame(size); }
  static void operator delete(void* memory, std::size_t size) { loop::free_frame(memory, size); }

  /// Frees the object when the module let go of it meanwhile.
  void start(const shunt_open& open, call::Opening opening);

  call::Sent send(call::Message message, call::Last last) override;
  void half_close() override;
  void consume(std::size_t cost) override;
  void cancel(call::Cancel reason) override;
  void release() override;
  void abandon() override;

 private:
  void on_metadata(call::Metadata metadata) override;
  void on_message(call::Message message) override;
  void on_credit() override;
  void on_end(Status status, call::Metadata trailers) override;
  bool wants_answer() const override { return true; }
  void on_answer(call::Message message) override;
  void begin(const shunt_open& open, call::Opening opening);
  ~OutgoingCall() = default;

  std::shared_ptr<const call::Principal> principal_;  // The parent's, which may go first.
  call::OutgoingHandle call_;
  bool opening_ = false;   // start() is on the stack: there is no handle yet.
  bool released_ = false;  // Meanwhile.
  bool ended_ = false;
};

/// A message on its way into an event: what the module does not take is freed with it.
class Lent {
 public:
  explicit Lent(call::Message message);
  Lent(const Lent&) = delete;
  Lent& operator=(const Lent&) = delete;
  ~Lent();
  shunt_message raw{};
  std::size_t cost;
};

/// Takes over what a module gave; nullptr gives an empty message.
call::Message take_message(shunt_message* message);
Status take_status(const shunt_status* status);

/// An event of that call, otherwise empty.
shunt_event event_of(ModuleCall& call, std::uint32_t kind);
/// Borrows from the principal.
void tell_principal(const call::Principal& principal, shunt_open& open);

}  // namespace shunt::library
