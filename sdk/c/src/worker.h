#pragma once
// Worker: what stands behind the shunt_worker_* functions. It turns the kernel's callbacks into a queue of events that
// poll() hands out in batches, and the functions of shunt_api into actions on the ends of calls.
//
// Nothing here throws, and nothing is called back: a runtime sees only poll().

#include <atomic>
#include <string>
#include <vector>

#include "base/own.h"
#include "base/result.h"
#include "call/ends.h"
#include "loop/epoll_loop.h"
#include "shunt/shunt.h"
#include "worker/host.h"

namespace shunt::sdk {

class Worker;

/// Text of ours for a reader of C, and back.
inline shunt_slice to_slice(std::string_view text) { return {text.data(), text.size()}; }
inline std::string_view to_view(shunt_slice slice) {
  return slice.data == nullptr ? std::string_view() : std::string_view(slice.data, slice.size);
}
/// Reads a struct of any version: fields that the writer did not know stay zero.
template <typename T>
T read_struct(const T* from) {
  T to{};
  if (from == nullptr) return to;
  std::size_t size = from->size < sizeof(T) ? from->size : sizeof(T);
  __builtin_memcpy(static_cast<void*>(&to), from, size);
  return to;
}
/// Keeps a received message's bytes for a runtime that may take them over: then it is the message's owner.
struct Holder {
  Bytes bytes;
  static void release(void* owner) { delete static_cast<Holder*>(owner); }
};
/// Takes over what a runtime gives: its bytes are released when the last of us drops them, borrowed ones are copied.
call::Message take_message(shunt_message* message);
Status read_status(const shunt_status* status);
/// Slices into `status`, which must live on.
shunt_status show_status(const Status& status);

/// One end of a call: what a shunt_call is in a worker. Owned by its Worker and used again after release.
/// Threads: the loop's.
class WorkerCall final : public call::CallerEvents, public call::CalleeEvents {
 public:
  explicit WorkerCall(Worker& worker) : worker_(worker) {}

  static WorkerCall& from(shunt_call* call) { return *reinterpret_cast<WorkerCall*>(call); }
  shunt_call* handle() { return reinterpret_cast<shunt_call*>(this); }

  void begin_incoming(call::IncomingHandle call, const call::Open& open, const call::Opening& opening);
  void begin_outgoing(const shunt_open& open, shunt_message* first, void* user);

  shunt_sent send(shunt_message* message, std::uint32_t flags);
  void half_close();
  void consume(std::size_t cost);
  void send_metadata(const shunt_pair* pairs, std::size_t count);
  void finish(const shunt_status* status, shunt_message* last, const shunt_pair* trailers, std::size_t trailer_count);
  void cancel(call::Cancel reason);
  void release();
  void set_user(void* user) { user_ = user; }

  /// True when its events are for nobody any more.
  [[nodiscard]] bool is_void() const { return released_ || (incoming_ && finished_); }
  [[nodiscard]] void* user() const { return user_; }
  [[nodiscard]] const shunt_open* opening() const { return &open_; }
  /// Fills in what an event of that kind shows of the call.
  void show(shunt_event& event) const;

  /// Events that were queued or handed out and not retired yet: while there are any, it is not used again.
  std::uint32_t events_out = 0;
  [[nodiscard]] bool is_reusable() const { return released_ && events_out == 0 && !pending_; }
  /// As new.
  void reset();

 private:
  struct PendingFinish {
    Status status;
    call::Message last;
    call::Metadata trailers;
  };

  // As caller.
  void on_metadata(call::Metadata metadata) override;
  void on_end(Status status, call::Metadata trailers) override;
  // As callee.
  void on_half_close() override;
  void on_cancel(call::Cancel reason) override;
  // As both.
  void on_message(call::Message message) override;
  void on_credit() override;

  void fail_open(Status why);
  Result<void> read_opening(const shunt_open& open, call::Metadata& metadata);
  void finish_pending();
  void adopt(WorkerCall& child);
  void leave_parent();

  Worker& worker_;
  void* user_ = nullptr;
  bool incoming_ = false;
  bool held_ = false;      // send() answered held: there is no credit before on_credit.
  bool ended_ = false;     // Outgoing: on_end has come.
  bool finished_ = false;  // Incoming: finish() was called.
  bool released_ = false;
  std::uint8_t hops_ = 0;
  std::optional<call::Cancel> cancelled_;
  Deadline deadline_;
  std::string command_;
  call::Principal principal_;
  call::Metadata metadata_;  // Incoming: the opening's. Outgoing: initial metadata.
  call::Metadata trailers_;
  Status status_;
  std::vector<shunt_pair> pairs_;
  std::vector<shunt_pair> trailer_pairs_;
  shunt_open open_{};
  shunt_status shown_status_{};
  Own<PendingFinish> pending_;

  WorkerCall* parent_ = nullptr;
  WorkerCall* first_child_ = nullptr;
  WorkerCall* next_sibling_ = nullptr;
  WorkerCall* previous_sibling_ = nullptr;

  call::IncomingHandle incoming_end_;
  call::OutgoingHandle outgoing_end_;
};

/// Threads: one, but for wake(). Ownership: of every WorkerCall.
class Worker final : private call::Service, private worker::HostEvents {
 public:
  struct Options {
    std::uint32_t concurrency = 0;
    std::string software;
    std::string definition;
  };
  /// Errors: failed_precondition S3060 when the environment is not a worker's; resource_exhausted.
  static Result<Own<Worker>> create(Options options);
  ~Worker();

  static Worker& from(shunt_worker* worker) { return *reinterpret_cast<Worker*>(worker); }
  static Worker& from(shunt_context* context) { return *reinterpret_cast<Worker*>(context); }
  shunt_worker* handle() { return reinterpret_cast<shunt_worker*>(this); }
  shunt_context* context() { return reinterpret_cast<shunt_context*>(this); }

  int poll(shunt_event* events, int capacity, std::int64_t timeout_ns);
  [[nodiscard]] int fd() const { return loop_->fd(); }
  std::int64_t idle_ns();
  void flush();
  void wake();
  void drain() { host_->drain(); }
  [[nodiscard]] const std::string& service() const { return service_; }
  [[nodiscard]] worker::WorkerHost& host() { return *host_; }
  [[nodiscard]] loop::EpollLoop& loop() { return *loop_; }

  shunt_call* open(const shunt_open* open, shunt_message* first, void* user);

  // For WorkerCall.
  void push(std::uint32_t kind, WorkerCall* call, std::uint32_t flags = 0, std::uint32_t reason = 0);
  void push_message(std::uint32_t kind, WorkerCall* call, std::uint32_t flags, call::Message message);
  void reuse(WorkerCall& call);

 private:
  struct Queued {
    std::uint32_t kind = 0;
    std::uint32_t flags = 0;
    std::uint32_t reason = 0;
    WorkerCall* call = nullptr;
    std::size_t cost = 0;
    Bytes bytes;
  };

  explicit Worker(Own<loop::EpollLoop> loop) : loop_(std::move(loop)) {}

  void begin(call::IncomingHandle call, const call::Open& open, call::Opening opening) override;
  void on_drain() override { push(SHUNT_EVENT_DRAIN, nullptr); }
  void on_drained() override {}  // The runtime knows by its own count.
  void on_lost() override { push(SHUNT_EVENT_LOST, nullptr); }

  WorkerCall& take_call();
  void enqueue(Queued queued);
  void retire_batch();
  int fill(shunt_event* events, int capacity);
  void show_message(shunt_event& event, Queued& queued);
  void ring();

  Own<loop::EpollLoop> loop_;
  Own<worker::NodeLinkMaker> maker_;
  std::string service_;
  std::atomic<bool> woken_{false};
  bool polling_ = false;
  bool rung_ = false;  // fd() is readable because of us, until the next turn.
  int polls_without_turn_ = 0;

  std::vector<Queued> queue_;  // From head_ on.
  std::size_t head_ = 0;
  std::vector<WorkerCall*> batch_calls_;
  std::vector<shunt_message> batch_messages_;
  std::vector<Own<Holder>> batch_holders_;  // As batch_messages_; nullptr when taken.
  std::vector<Own<Holder>> holders_free_;

  std::vector<Own<WorkerCall>> calls_;
  std::vector<WorkerCall*> calls_free_;
  Own<worker::WorkerHost> host_;
};

}  // namespace shunt::sdk
