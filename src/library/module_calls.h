#pragma once
// The two kinds of calls that a module has, seen from this side of the C ABI. Not for other rooms.

#include <cstdint>
#include <memory>
#include <string_view>

#include "call/ends.h"
#include "library/module_service.h"
#include "loop/task.h"

namespace shunt::library {

class IncomingCall;
class OutgoingCall;

/// What a shunt_call* points to. Allocated from the pool of frames.
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
  virtual IncomingCall* as_incoming() { return nullptr; }

  [[nodiscard]] shunt_call* handle() { return reinterpret_cast<shunt_call*>(this); }
  static ModuleCall& of(shunt_call* call) { return *reinterpret_cast<ModuleCall*>(call); }

  ModuleService::State& state;
  void* user = nullptr;
  ModuleCall* next = nullptr;  // All calls of the service.
  ModuleCall* previous = nullptr;

 protected:
  explicit ModuleCall(ModuleService::State& owner);
  virtual ~ModuleCall();
};

/// A call that the module serves.
class IncomingCall final : public ModuleCall, private call::CalleeEvents {
 public:
  IncomingCall(ModuleService::State& owner, call::IncomingHandle call, const call::Open& open,
               std::string_view command);
  static void* operator new(std::size_t size) { return loop::allocate_frame(size); }
  static void operator delete(void* memory, std::size_t size) { loop::free_frame(memory, size); }

  void start(const call::Open& open, call::Opening opening, std::uint32_t index);

  call::Sent send(call::Message message, call::Last last) override;
  void consume(std::size_t cost) override;
  void send_metadata(call::Metadata metadata) override;
  void finish(Status status, call::Message* last, call::Metadata trailers) override;
  void release() override;
  void abandon() override;
  IncomingCall* as_incoming() override { return this; }

  [[nodiscard]] Deadline deadline() const { return deadline_; }
  [[nodiscard]] std::uint8_t hops() const { return hops_; }
  [[nodiscard]] bool is_cancelled() const { return cancelled_; }
  [[nodiscard]] std::string_view command() const { return command_; }

 private:
  friend class OutgoingCall;
  void on_message(call::Message message) override;
  void on_half_close() override;
  void on_cancel(call::Cancel reason) override;
  void on_credit() override;
  void tell(std::uint32_t kind);
  ~IncomingCall();

  call::IncomingHandle call_;
  std::string_view command_;  // The module's own text.
  Deadline deadline_;
  // Only where there is a user or a token to hand on. Owners: this and the calls on its behalf.
  std::shared_ptr<call::Principal> principal_;
  OutgoingCall* children_ = nullptr;
  bool* gone_ = nullptr;  // Set when this is freed while on_cancel is on the stack.
  std::uint8_t hops_ = 0;
  bool finished_ = false;
  bool cancelled_ = false;
};

/// A call that the module makes.
class OutgoingCall final : public ModuleCall, private call::CallerEvents {
 public:
  OutgoingCall(ModuleService::State& owner, IncomingCall* parent, void* user);
  static void* operator new(std::size_t size) { return loop::allocate_frame(size); }
  static void operator delete(void* memory, std::size_t size) { loop::free_frame(memory, size); }

  void start(const shunt_open& open, call::Opening opening);

  call::Sent send(call::Message message, call::Last last) override;
  void half_close() override;
  void consume(std::size_t cost) override;
  void cancel(call::Cancel reason) override;
  void release() override;
  void abandon() override;

 private:
  friend class IncomingCall;
  void on_metadata(call::Metadata metadata) override;
  void on_message(call::Message message) override;
  void on_credit() override;
  void on_end(Status status, call::Metadata trailers) override;
  bool wants_answer() const override { return true; }
  void on_answer(call::Message message) override;
  void begin(const shunt_open& open, call::Opening opening);
  [[nodiscard]] std::string_view command() const {
    return parent_ != nullptr ? parent_->command() : std::string_view();
  }
  void leave_parent();
  ~OutgoingCall();

  std::shared_ptr<call::Principal> principal_;  // The parent's, which may go first.
  call::OutgoingHandle call_;
  IncomingCall* parent_;
  OutgoingCall* next_sibling_ = nullptr;
  OutgoingCall* previous_sibling_ = nullptr;
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

}  // namespace shunt::library
