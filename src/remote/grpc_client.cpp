#include "remote/grpc_client.h"

#include <fmt/format.h>

#include <algorithm>
#include <list>
#include <utility>
#include <vector>

#include "loop/event.h"
#include "remote/grpc_connection.h"

namespace shunt::remote {

using call::Last;
using call::Message;
using call::Sent;

namespace {
/// Beyond it a caller is held; Http2Stream tells of half of it.
constexpr std::size_t unsent_bytes_max = net::Http2Stream::high_mark;
}  // namespace

struct GrpcClient::State final : private GrpcConnectionOwner, private loop::Runnable {
  State(loop::EpollLoop& on, Random& dice, GrpcClientOptions wanted)
      : loop(on), random(dice), options(std::move(wanted)) {}

  /// The connection that takes calls; dials if there is none. Errors: a pause is on.
  Result<GrpcConnection*> connection();
  void begin_waiting();
  void forget(Call& call);
  void end_all(call::Cancel reason);

  loop::EpollLoop& loop;
  Random& random;
  const GrpcClientOptions options;
  std::list<Call*> calls;            // open ones
  std::vector<Call*> waiting;        // for room on the connection
  std::vector<loop::Event*> drains;  // who waits until no call is open
  std::vector<Own<GrpcConnection>> retired;
  std::vector<Own<GrpcConnection>> lost;  // to be freed outside their stack
  Own<GrpcConnection> current;
  Duration pause{0};
  Instant pause_until{0};
  std::string why_lost;
  call::LinkStats counts;
  bool draining = false;

 private:
  void on_connected(GrpcConnection& connection) override;
  void on_goaway(GrpcConnection& connection) override;
  void on_lost(GrpcConnection& connection, const Status& why, bool was_connected) override;
  void run() override {
    lost.clear();
    begin_waiting();
  }
};

// Lives until it is released and has no event of its own on the stack.
class GrpcClient::Call final : public call::Outgoing, private net::GrpcCallEvents, private loop::Timer {
 public:
  Call(State& state, call::CallerEvents& events) : state_(&state), events_(&events) {
    at_ = state.calls.insert(state.calls.end(), this);
    ++state.counts.calls_open;
    ++state.counts.calls_opened;
  }
  static void* operator new(std::size_t size) { return loop::allocate_frame(size); }
  static void operator delete(void* memory, std::size_t size) { loop::free_frame(memory, size); }

  void begin(const call::Open& open, call::Opening opening);
  /// On the connection, if it has room. False: wait.
  bool start(GrpcConnection& connection);
  /// The client goes: the handle stays until it is released.
  void end_with_link(Status status) {
    Busy busy(*this);
    end(std::move(status), {});
    state_ = nullptr;
  }
  void fail(Status status) {
    Busy busy(*this);
    end(std::move(status), {});
  }

  Sent send(Message message, Last last) override;
  void half_close() override;
  void consumed(std::size_t cost) override {
    if (call_ != nullptr) call_->consumed(cost);
  }
  void cancel(call::Cancel reason) override {
    Busy busy(*this);
    end(call::cancel_status(reason), {});
  }
  void release() override {
    released_ = true;
    events_ = nullptr;
    if (!ended_) end(Status(), {});
    if (busy_ == 0) delete this;
  }

 private:
  struct Busy {
    explicit Busy(Call& busy) : call(busy) { ++call.busy_; }
    ~Busy() {
      if (--call.busy_ == 0 && call.released_) delete &call;  // NOLINT(clang-analyzer-cplusplus.NewDelete)
    }
    Busy(const Busy&) = delete;
    Busy& operator=(const Busy&) = delete;
    Call& call;
  };
  struct Waiting {
    Bytes message;
    Last last;
  };

  void on_metadata(net::GrpcMetadata metadata) override {
    Busy busy(*this);
    if (events_ != nullptr) events_->on_metadata(to_metadata(std::move(metadata)));
  }
  void on_message(Bytes message) override {
    Busy busy(*this);
    if (events_ != nullptr) events_->on_message(Message(std::move(message)));
  }
  void on_drained() override { give_credit(); }
  void on_end(Status status, net::GrpcMetadata trailers) override {
    Busy busy(*this);
    call_ = nullptr;
    end(std::move(status), to_metadata(std::move(trailers)));
  }
  void fire() override { cancel(call::Cancel::deadline); }

  static call::Metadata to_metadata(net::GrpcMetadata&& from) {
    call::Metadata metadata;
    for (auto& [key, value] : from) (void)metadata.add(key, value);  // One that can't travel on is left behind.
    return metadata;
  }
  void give_credit() {
    Busy busy(*this);
    if (std::exchange(held_, false) && events_ != nullptr) events_->on_credit();
  }
  void end(Status status, call::Metadata trailers);
  [[nodiscard]] std::size_t unsent() const { return call_ != nullptr ? call_->unsent() : waiting_bytes_; }

  State* state_;
  call::CallerEvents* events_;  // nullptr: nobody listens any more
  std::list<Call*>::iterator at_;
  net::GrpcCall* call_ = nullptr;
  std::vector<Waiting> waiting_;  // until it is started
  std::size_t waiting_bytes_ = 0;
  std::string path_;
  net::GrpcMetadata metadata_;
  Deadline deadline_;
  int busy_ = 0;
  bool half_closed_ = false;
  bool held_ = false;
  bool ended_ = false;
  bool released_ = false;
};

void GrpcClient::Call::begin(const call::Open& open, call::Opening opening) {
  Busy busy(*this);
  path_ = fmt::format("/{}/{}", open.service, open.command);
  if (open.metadata != nullptr) metadata_.assign(open.metadata->begin(), open.metadata->end());
  deadline_ = open.deadline;
  if (!deadline_.is_never()) state_->loop.arm(*this, deadline_.at());
  auto connection = state_->connection();
  if (!connection) {
    end(std::move(connection).error(), {});
    return;
  }
  // The analyzer does not count: `busy` holds this.
  // NOLINTBEGIN(clang-analyzer-cplusplus.NewDelete)
  if (!state_->waiting.empty() || !start(**connection)) state_->waiting.push_back(this);
  if (ended_) return;
  // NOLINTEND(clang-analyzer-cplusplus.NewDelete)
  if (opening.has_message) {
    (void)send(std::move(opening.message), opening.last);
  } else if (opening.last == Last::yes) {
    half_close();
  }
}

bool GrpcClient::Call::start(GrpcConnection& connection) {
  if (!connection.is_connected()) return false;  // How many calls the server takes it says first.
  Busy busy(*this);
  net::GrpcRequest request;
  request.path = path_;
  request.codec = state_->options.encoding == call::Encoding::json ? net::GrpcCodec::json : net::GrpcCodec::proto;
  request.metadata = metadata_.empty() ? nullptr : &metadata_;
  request.compress = state_->options.compress;
  if (!deadline_.is_never()) request.timeout = deadline_.left(state_->loop.now());
  auto started = connection.session().start(request, *this);
  if (!started) return false;
  call_ = *started;
  for (Waiting& one : std::exchange(waiting_, {})) {
    if (call_ != nullptr) call_->send(one.message, one.last == Last::yes);
  }
  if (half_closed_ && call_ != nullptr) call_->half_close();  // Nothing if the last message said it.
  waiting_bytes_ = 0;
  if (held_ && unsent() <= unsent_bytes_max) give_credit();
  return true;
}

Sent GrpcClient::Call::send(Message message, Last last) {
  Busy busy(*this);
  if (ended_ || half_closed_ || held_) return Sent::ended;
  if (message.size() > state_->options.limits.message_bytes_max) {
    end(Status(Code::resource_exhausted, "S1007",
               fmt::format("a message of {} bytes is larger than the limit of {}; send it as a stream of smaller ones",
                           message.size(), state_->options.limits.message_bytes_max)),
        {});
    return Sent::ended;
  }
  half_closed_ = last == Last::yes;
  if (call_ != nullptr) {
    call_->send(message.bytes(), half_closed_);
  } else {
    waiting_bytes_ += message.cost();
    waiting_.push_back({message.bytes(), last});
  }
  if (ended_) return Sent::ended;
  held_ = unsent() > unsent_bytes_max;
  return held_ ? Sent::held : Sent::more;
}

void GrpcClient::Call::half_close() {
  if (ended_ || std::exchange(half_closed_, true)) return;
  if (call_ != nullptr) call_->half_close();
}

void GrpcClient::Call::end(Status status, call::Metadata trailers) {
  if (std::exchange(ended_, true)) return;
  Timer::disarm();
  if (call_ != nullptr) std::exchange(call_, nullptr)->drop();
  waiting_.clear();
  if (state_ != nullptr) state_->forget(*this);
  if (events_ != nullptr) std::exchange(events_, nullptr)->on_end(std::move(status), std::move(trailers));
}

// --- The connection ---

Result<GrpcConnection*> GrpcClient::State::connection() {
  if (current) return current.get();
  if (loop.now() < pause_until) {
    return shunt::fail(
        Status(Code::unavailable, "S1008",
               fmt::format("{}; the next attempt is due in {}", why_lost,
                           format_duration(std::chrono::ceil<std::chrono::milliseconds>(pause_until - loop.now()))))
            .with_retry(Retry::later));
  }
  // As its owner, which is a base that only we may see.
  auto dialled = Own<GrpcConnection>(new GrpcConnection(loop, options, *this));  // NOLINT(modernize-make-unique)
  if (auto begun = dialled->dial(); !begun) {
    on_lost(*dialled, begun.error(), false);
    return shunt::fail(Status(Code::unavailable, "S1008", why_lost).with_retry(Retry::later));
  }
  current = std::move(dialled);
  return current.get();
}

void GrpcClient::State::begin_waiting() {
  while (!waiting.empty()) {
    Call* call = waiting.front();
    auto on = connection();
    if (!on) {
      call->fail(std::move(on).error());  // It leaves the queue.
    } else if (call->start(**on)) {
      std::erase(waiting, call);
    } else {
      return;
    }
  }
}

void GrpcClient::State::forget(Call& call) {
  std::erase(calls, &call);
  std::erase(waiting, &call);
  --counts.calls_open;
  if (!waiting.empty()) loop.ready(*this);  // There may be room now.
  for (loop::Event* waiter : drains) {
    if (calls.empty()) waiter->set();
  }
}

void GrpcClient::State::end_all(call::Cancel reason) {
  while (!calls.empty()) calls.front()->cancel(reason);
}

void GrpcClient::State::on_connected(GrpcConnection& connection) {
  (void)connection;
  pause = Duration(0);
  loop.ready(*this);  // The server has said how many calls it takes.
}

void GrpcClient::State::on_goaway(GrpcConnection& connection) {
  if (&connection != current.get()) return;
  retired.push_back(std::move(current));
  if (!waiting.empty()) loop.ready(*this);
}

void GrpcClient::State::on_lost(GrpcConnection& connection, const Status& why, bool was_connected) {
  why_lost = why.message();
  if (!was_connected) {
    const auto longer = Duration(static_cast<std::int64_t>(static_cast<double>(pause.count()) * 1.6));
    pause = std::clamp(longer, options.pause_min, std::max(options.pause_min, options.pause_max));
    const std::int64_t fifth = pause.count() / 5;
    const auto jitter = static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(2 * fifth + 1))) - fifth;
    pause_until = loop.now() + pause + Duration(jitter);
  }
  if (&connection == current.get()) lost.push_back(std::move(current));
  for (auto& one : retired) {
    if (one.get() == &connection) lost.push_back(std::move(one));
  }
  std::erase(retired, nullptr);
  loop.ready(*this);
}

struct GrpcClient::Waiter {
  explicit Waiter(State& of) : state(of), event(of.loop) { state.drains.push_back(&event); }
  ~Waiter() { std::erase(state.drains, &event); }
  Waiter(const Waiter&) = delete;
  Waiter& operator=(const Waiter&) = delete;
  State& state;
  loop::Event event;
};

// --- The link ---

GrpcClient::GrpcClient(Own<State> state) : state_(std::move(state)) {}

GrpcClient::~GrpcClient() {
  const Status gone = Status(Code::unavailable, "S1008", "the client was closed").with_retry(Retry::reconnect);
  while (!state_->calls.empty()) state_->calls.front()->end_with_link(gone);
}

Own<GrpcClient> GrpcClient::create(loop::EpollLoop& loop, Random& random, GrpcClientOptions options) {
  return Own<GrpcClient>(new GrpcClient(make_own<State>(loop, random, std::move(options))));
}

call::OutgoingHandle GrpcClient::open(const call::Open& open, call::CallerEvents& events, call::Opening opening) {
  State& state = *state_;
  if (state.draining || state.counts.calls_open >= state.options.limits.calls_max) {
    const auto why =
        state.draining ? Status(Code::unavailable, "S1015", "the link drains")
                       : Status(Code::unavailable, "S1011", fmt::format("{} calls are open", state.counts.calls_open));
    return call::end_unopened(events, Status(why).with_retry(Retry::elsewhere));
  }
  auto* made = new Call(state, events);
  call::OutgoingHandle handle(made);
  made->begin(open, std::move(opening));
  return handle;
}

loop::Task<void> GrpcClient::drain(Deadline deadline) {
  State& state = *state_;
  state.draining = true;
  {
    Waiter emptied(state);  // A task that is dropped while it waits takes it along.
    while (!state.calls.empty()) {
      if (!co_await emptied.event.wait(deadline)) break;
    }
  }
  state.end_all(call::Cancel::shutdown);
  if (state.current) {
    state.retired.push_back(std::move(state.current));
    state.retired.back()->retire();
  }
}

call::LinkStats GrpcClient::stats() const {
  call::LinkStats stats = state_->counts;
  const auto add = [&](const Own<GrpcConnection>& connection) {
    if (!connection) return;
    stats.bytes_sent += connection->sent();
    stats.bytes_received += connection->received();
  };
  add(state_->current);
  for (const auto& connection : state_->retired) add(connection);
  return stats;
}

}  // namespace shunt::remote
