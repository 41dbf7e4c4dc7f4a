#pragma once
// The direct way between two modules on one loop, seen from this side of the C ABI: a CallSite is a shunt_site, a DirectCall
// both ends of one call. A call that is answered where it began is a function call with a check before it; one that waits
// becomes what any other call is: it has a deadline, hears cancellation, counts as open. Not for other rooms.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "call/direct.h"
#include "library/module_calls.h"

namespace shunt::library {

/// Where one module's calls of one command go, with messages of two types. Kept by the caller's state, as long as that.
class CallSite {
 public:
  /// Makes it, or nullptr: nothing is called directly from there, the target is none, or there are too many sites.
  static shunt_site* find(ModuleService::State& caller, std::string_view target, const shunt_type* request,
                          const shunt_type* response);
  static CallSite& of(shunt_site* site) { return *reinterpret_cast<CallSite*>(site); }

  CallSite(ModuleService::State& caller, const std::uint64_t& revision, std::string_view service,
           std::string_view command, const shunt_type* request, const shunt_type* response)
      : caller_(caller),
        revision_(revision),
        service_(service),
        command_(command),
        request_(request),
        response_(response) {}

  /// shunt_api.unary.
  int call(shunt_unary& unary);

 private:
  friend class DirectCall;
  void resolve();

  ModuleService::State& caller_;
  const std::uint64_t& revision_;  // The Caller's: another number makes the rest void.
  std::uint64_t resolved_ = 0;
  call::DirectRoute::Ref route_;  // None: there is no direct way.
  ModuleService::State* callee_ = nullptr;
  shunt_direct_command serve_{};
  std::uint32_t index_ = 0;
  const std::string service_;
  const std::string command_;
  const shunt_type* const request_;
  const shunt_type* const response_;

  static constexpr std::size_t sites_max = 4096;
};

/// One direct call. It is the callee's end itself; the caller has an end only when the call did not end at once.
class DirectCall final : public ServedCall {
 public:
  DirectCall(CallSite& site, Deadline deadline, const call::Principal& from, std::uint8_t hops);
  static void* operator new(std::size_t size) { return loop::allocate_frame(size); }
  static void operator delete(void* memory, std::size_t size) { loop::free_frame(memory, size); }

  /// Calls. What is left of it when it was answered at once is nothing.
  int run(CallSite& site, shunt_unary& unary, ServedCall* parent);

  // The callee's end.
  call::Sent send(call::Message message, call::Last last) override;
  void consume(std::size_t) override {}
  void send_metadata(call::Metadata metadata) override;
  void finish(Status status, call::Message* last, call::Metadata trailers) override;
  void release() override;
  void abandon() override;
  void who(shunt_open& open) const override;

 private:
  /// The caller's end, and what only a call needs that outlasts the stack in which it began.
  struct Waiting final : PlacedCall, call::OpenCalls::Node, loop::Timer {
    Waiting(DirectCall& of, ModuleService::State& caller) : PlacedCall(caller), call(of) {}
    call::Sent send(call::Message message, call::Last last) override;
    void consume(std::size_t) override {}
    void cancel(call::Cancel reason) override;
    void release() override;
    void abandon() override { release(); }
    void end_open(Status status, call::Cancel reason) override { call.fail(std::move(status), reason); }
    void fire() override { call.pass_deadline(); }
    void tell_news() override { call.tell_caller(); }
    void begin(ServedCall* parent, bool is_over);
    void leave_all();
    void set_over() { has_news = true; }
    DirectCall& call;
    std::shared_ptr<const call::Principal> from;  // Keeps from_.
    bool released = false;
  };
  struct Keep {
    explicit Keep(DirectCall& call) : kept(call) { kept.refs_++; }
    ~Keep() { kept.unref(); }
    Keep(const Keep&) = delete;
    Keep& operator=(const Keep&) = delete;
    DirectCall& kept;
  };

  void go_on(CallSite& site, shunt_unary& unary, ServedCall* parent);
  void fail(Status status, call::Cancel reason);
  void pass_deadline();
  void end(Code code);
  void tell_caller();
  void unref() {
    if (--refs_ == 0) delete this;
  }
  ~DirectCall();

  shunt_direct raw_;
  call::DirectRoute* route_;  // It counts us as a call, until the end.
  const call::Principal& from_;
  call::DirectTime time_;
  int refs_ = 2;             // The callee's end, and the stack; later the caller's end in place of the stack.
  bool running_ = true;      // serve() is on the stack.
  bool ended_ = false;       // For the caller.
  bool released_ = false;    // By the callee.
  bool is_counted_ = false;  // Among those that came in.
  std::optional<Waiting> waiting_;
  Status status_;  // With which it ended, until the caller has been told.
  std::optional<call::Message> answer_;
};

}  // namespace shunt::library
