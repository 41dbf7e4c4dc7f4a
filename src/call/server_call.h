#pragma once
// ServerCall and TaskService: the callee's end for coroutines. Used by the modules that ship with Shunt and by tests.

#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <string>

#include "call/ends.h"
#include "loop/event.h"
#include "loop/scope.h"

namespace shunt::call {

/// A call being served by a coroutine. Lives in its handler's frame or outlives it; threads: one loop.
class ServerCall final : private CalleeEvents {
 public:
  ServerCall(loop::Loop& loop, IncomingHandle call, const Open& open, Opening opening);
  ~ServerCall();

  [[nodiscard]] const std::string& command() const { return command_; }
  [[nodiscard]] const Metadata& metadata() const { return metadata_; }
  [[nodiscard]] const Principal& principal() const { return principal_; }
  [[nodiscard]] Deadline deadline() const { return deadline_; }
  [[nodiscard]] bool cancelled() const { return cancelled_.has_value(); }
  [[nodiscard]] std::optional<Cancel> cancel_reason() const { return cancelled_; }
  [[nodiscard]] std::uint8_t hops() const { return hops_; }

  /// The next message of the caller; nothing after the last, or when cancelled.
  loop::Task<std::optional<Message>> receive();
  /// Sends; waits while there is no credit. False when the call was cancelled.
  loop::Task<bool> send(Message message);
  void send_metadata(Metadata metadata);
  /// Waits until the call is cancelled.
  loop::Task<Cancel> wait_cancelled();
  void finish(Status status, Metadata trailers = {});

 private:
  void on_message(Message message) override;
  void on_half_close() override;
  void on_cancel(Cancel reason) override;
  void on_credit() override;

  std::string command_;
  Metadata metadata_;
  Principal principal_;
  Deadline deadline_;
  std::uint8_t hops_ = 0;
  std::optional<Cancel> cancelled_;
  std::deque<Message> messages_;
  bool half_closed_ = false;
  bool held_ = false;
  bool finished_ = false;
  loop::Event arrived_;
  loop::Event credit_;
  loop::Event cancel_event_;
  IncomingHandle call_;
};

/// A Service of coroutines: each call runs its command's handler as a task of one scope. Answers unimplemented S1005 for a
/// command that it does not have. Threads: the loop's.
class TaskService final : public Service {
 public:
  /// Serves one call to its end; the returned status finishes it unless the handler did.
  using Handler = std::function<loop::Task<Status>(ServerCall& call)>;

  explicit TaskService(loop::Loop& loop) : loop_(loop), scope_(loop) {}
  void add(std::string command, Handler handler) { handlers_.emplace(std::move(command), std::move(handler)); }
  void begin(IncomingHandle call, const Open& open, Opening opening) override;
  [[nodiscard]] std::size_t running() const { return scope_.size(); }

 private:
  loop::Task<void> serve(Own<ServerCall> call, const Handler* handler);
  loop::Loop& loop_;
  std::map<std::string, Handler, std::less<>> handlers_;
  loop::Scope scope_;
};

}  // namespace shunt::call
