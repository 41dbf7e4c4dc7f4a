#pragma once
// Call: what a handler knows of the call it serves, and the way from it to other services. Part of <shunt/service.h>.
//
// A call and all that is awaited in it belong to one loop and its thread. When the caller gives up or the deadline
// passes, cancelled() turns true and whatever the handler awaits ends at once with `cancelled`; the handler is expected
// to return soon. One that goes on awaiting is dropped where it waits.

#include <chrono>
#include <coroutine>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "shunt/message.h"
#include "shunt/sites.h"

namespace shunt {
inline namespace sdk {

class Call;
class Client;
template <typename T>
class Reader;
template <typename T>
class Writer;
template <typename T>
class Answer;
template <typename Response, typename Request>
class Exchange;

enum class Level { debug = 0, info = 1, warning = 2, error = 3 };

/// Who calls. Told by the house, never by the caller.
struct Principal {
  enum class Kind { none = 0, service = 1, gateway = 2, command_line = 3, node = 4 };
  Kind kind = Kind::none;
  std::string service;  ///< The calling service's full name, of kind `service`.
  std::string user;     ///< On whose behalf, if any.
};

using Metadata = std::vector<std::pair<std::string, std::string>>;

/// How an outgoing call differs from the default.
struct CallOptions {
  std::chrono::nanoseconds timeout{0};  ///< Zero: what is left to the call at hand.
  Metadata metadata = {};
};

namespace detail {

struct ModuleState;

/// A module on one loop.
struct Attachment {
  const shunt_api* api = nullptr;
  shunt_context* context = nullptr;
  ModuleState* module = nullptr;
  Call* calls = nullptr;  // Those that wait.
  Sites sites = {};
};

/// Whoever hears of a call: what set_user() knows it by.
struct EventTarget {
  virtual void on_event(const shunt_event& event) = 0;

 protected:
  ~EventTarget() = default;
};

/// A coroutine that waits within a call. Woken by what it waits for, or by the call's cancellation.
class Wait {
 public:
  Wait() = default;
  Wait(Wait&&) noexcept {}  // Nothing waits while it is moved.
  Wait& operator=(Wait&&) noexcept { return *this; }
  ~Wait() { unlink(); }

  inline void suspend(Call& call, std::coroutine_handle<> waiting);
  void wake() {
    unlink();
    waiting_.resume();
  }
  inline void unlink();

 private:
  friend class ::shunt::sdk::Call;
  Call* call_ = nullptr;
  Wait* next_ = nullptr;
  Wait* previous_ = nullptr;
  std::coroutine_handle<> waiting_;
};

class OutCall;

}  // namespace detail

class Call : protected detail::EventTarget {
 public:
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  /// When this call must have ended, and how long that is from now; nothing, and a very long time, without a deadline.
  [[nodiscard]] std::optional<std::chrono::steady_clock::time_point> deadline() const {
    if (deadline_ns_ == SHUNT_NO_DEADLINE) return std::nullopt;
    return std::chrono::steady_clock::time_point(std::chrono::nanoseconds(deadline_ns_));
  }
  [[nodiscard]] std::chrono::nanoseconds remaining() const {
    if (deadline_ns_ == SHUNT_NO_DEADLINE) return std::chrono::nanoseconds::max();
    return std::chrono::nanoseconds(std::max<std::int64_t>(0, deadline_ns_ - at_->api->now()));
  }
  /// The caller has gone, or the deadline has passed.
  [[nodiscard]] bool cancelled() const { return cancel_reason_ != 0; }

  /// The first value of that key (lower case) that the caller sent.
  [[nodiscard]] std::optional<std::string> metadata(std::string_view key) const {
    for (auto& [name, value] : metadata()) {
      if (name == key) return value;
    }
    return std::nullopt;
  }
  [[nodiscard]] Metadata metadata() const {
    if (open_ == nullptr) return kept_ ? kept_->metadata : Metadata();
    Metadata all;
    for (std::size_t i = 0; i < open_->metadata_count; ++i) {
      all.emplace_back(detail::view(open_->metadata[i].key), detail::view(open_->metadata[i].value));
    }
    return all;
  }
  [[nodiscard]] Principal principal() const {
    if (is_direct_) {
      shunt_open open{};
      open.size = sizeof(open);
      at_->api->who(call_, &open);
      return principal_of(open);
    }
    if (open_ == nullptr) return kept_ ? kept_->principal : Principal();
    return principal_of(*open_);
  }

  /// Sends initial metadata: once, before the first message.
  void send_metadata(const Metadata& metadata) {
    auto pairs = to_pairs(metadata);
    metadata_sent_ = true;
    at_->api->send_metadata(call_, pairs.data(), pairs.size());
  }
  /// Comes after the answer.
  void add_trailer(std::string key, std::string value) { trailers_.emplace_back(std::move(key), std::move(value)); }

  /// Waits; false when the call was cancelled meanwhile.
  [[nodiscard]] auto sleep(std::chrono::nanoseconds span);

  /// Another service, by its short or full name.
  [[nodiscard]] Client service(std::string_view name);

  void log(std::string_view text) const { log(Level::info, text); }
  void log(Level level, std::string_view text) const {
    at_->api->log(at_->context, static_cast<int>(level), detail::slice(text));
  }

 protected:
  Call(detail::Attachment& at, const shunt_event& event)
      : at_(&at), call_(event.call), open_(event.open), deadline_ns_(event.open->deadline_ns) {
    half_closed_ = (event.flags & SHUNT_LAST) != 0;
  }
  Call(detail::Attachment& at, const shunt_direct& direct)
      : at_(&at), call_(direct.call), open_(nullptr), deadline_ns_(direct.deadline_ns) {
    is_direct_ = true;
    half_closed_ = true;
  }
  ~Call() = default;

  virtual void abandon(Error why) noexcept { (void)why; }  ///< Ends the handler where it waits.
  virtual void destroy() noexcept {}                       ///< Frees the object.

  void link() {
    next_ = at_->calls;
    if (next_ != nullptr) next_->previous_ = this;
    at_->calls = this;
    linked_ = true;
  }
  void unlink() {
    if (!std::exchange(linked_, false)) return;
    (previous_ != nullptr ? previous_->next_ : at_->calls) = next_;
    if (next_ != nullptr) next_->previous_ = previous_;
  }
  /// What the opening event lent is gone when it returns: a handler that waits needs copies.
  void keep_open() {
    if (open_ == nullptr) return;
    if (open_->metadata_count != 0 || open_->principal_kind != 0) {
      kept_ = std::make_unique<Kept>(Kept{metadata(), principal()});
    }
    open_ = nullptr;
  }
  void end(const shunt_status& status, shunt_message* last) {
    auto* api = at_->api;
    auto* call = call_;
    if (trailers_.empty()) {
      api->finish(call, &status, last, nullptr, 0);
    } else {
      auto kept = std::move(trailers_);
      auto pairs = to_pairs(kept);
      api->finish(call, &status, last, pairs.data(), pairs.size());
    }
    api->release(call);
  }
  void end(const Error& error) { end(detail::to_status(error), nullptr); }

  void on_event(const shunt_event& event) final {
    switch (event.kind) {
      case SHUNT_EVENT_MESSAGE:
        inbox_.push(*event.message, event.cost);
        if ((event.flags & SHUNT_LAST) != 0) half_closed_ = true;
        return wake(reading_);
      case SHUNT_EVENT_HALF_CLOSE:
        half_closed_ = true;
        return wake(reading_);
      case SHUNT_EVENT_CREDIT:
        held_ = false;
        return wake(writing_);
      case SHUNT_EVENT_CANCEL:
        cancel_reason_ = event.reason != 0 ? event.reason : std::uint32_t{SHUNT_CANCEL_CALLER};
        if (waits_ != nullptr) defer_wake();  // Never inside the caller's stack.
        return;
      default:
        return;
    }
  }
  [[nodiscard]] bool has_trailers() const { return !trailers_.empty(); }
  /// Set by what may run when the call ends, so that a deferred wake finds it alive.
  [[nodiscard]] bool is_pinned() const { return deferred_ || waking_; }
  /// An answer of raw bytes says so, unless the handler said something of its own: else it would pass for JSON.
  void say_bytes() {
    if (metadata_sent_ || finished_) return;
    metadata_sent_ = true;
    static constexpr std::string_view key = "content-type";
    static constexpr std::string_view value = "application/octet-stream";
    const shunt_pair pair = {detail::slice(key), detail::slice(value)};
    at_->api->send_metadata(call_, &pair, 1);
  }
  bool finished_ = false;
  bool metadata_sent_ = false;
  std::optional<Error> input_error_;  ///< A message of the caller that can't be read: how the call will end.
  detail::Attachment* at_;
  shunt_call* call_;
  detail::Inbox inbox_;

 private:
  friend struct detail::ModuleState;
  friend class detail::Wait;
  friend class detail::OutCall;
  friend class Client;
  template <typename T>
  friend class Reader;
  template <typename T>
  friend class Writer;
  template <typename T>
  friend class Answer;
  template <typename Response, typename Request>
  friend class Exchange;
  struct Kept {
    Metadata metadata;
    Principal principal;
  };
  static constexpr int awaits_after_cancel_max = 1000;

  static Principal principal_of(const shunt_open& open) {
    return {static_cast<Principal::Kind>(open.principal_kind), std::string(detail::view(open.principal_service)),
            std::string(detail::view(open.principal_user))};
  }
  static std::vector<shunt_pair> to_pairs(const Metadata& metadata) {
    std::vector<shunt_pair> pairs;
    for (const auto& [key, value] : metadata) pairs.push_back({detail::slice(key), detail::slice(value)});
    return pairs;
  }
  [[nodiscard]] Error cancel_error() const {
    if (cancel_reason_ == SHUNT_CANCEL_DEADLINE) return deadline_exceeded("the deadline of the call has passed");
    return shunt::sdk::cancelled("the call was cancelled");
  }
  /// An await of a cancelled call is over at once. A handler that does not heed it and awaits for ever is dropped.
  bool pass_cancelled() {
    if (cancel_reason_ == 0) return false;
    if (++awaits_after_cancel_ < awaits_after_cancel_max) return true;
    if (!std::exchange(dropped_, true)) defer_wake();
    return false;
  }
  /// The next of what is awaited has come. A cancelled call is woken by its cancellation alone.
  void wake(detail::Wait*& wait) {
    if (wait != nullptr && cancel_reason_ == 0) std::exchange(wait, nullptr)->wake();
  }
  void defer_wake() {
    if (std::exchange(deferred_, true)) return;
    at_->api->defer(at_->context, [](void* self) { static_cast<Call*>(self)->wake_all(); }, this);
  }
  void wake_all() {
    deferred_ = false;
    if (finished_) return destroy();
    waking_ = true;
    if (dropped_) {
      abandon(shunt::sdk::cancelled("the call was cancelled, and its handler did not heed it"));
    } else {
      while (waits_ != nullptr && !finished_ && !dropped_) waits_->wake();
    }
    waking_ = false;
    if (finished_ && !deferred_) destroy();
  }

  const shunt_open* open_;  // While the opening event lasts.
  std::unique_ptr<Kept> kept_;
  std::int64_t deadline_ns_;
  std::uint32_t cancel_reason_ = 0;
  int awaits_after_cancel_ = 0;
  bool half_closed_ = false;
  bool held_ = false;
  bool deferred_ = false;
  bool waking_ = false;
  bool dropped_ = false;
  bool linked_ = false;
  bool is_direct_ = false;  // It came by the direct way: without metadata, and who calls is asked for.
  detail::Wait* waits_ = nullptr;
  detail::Wait* reading_ = nullptr;
  detail::Wait* writing_ = nullptr;
  Metadata trailers_;
  Call* next_ = nullptr;
  Call* previous_ = nullptr;
};

namespace detail {

inline void Wait::suspend(Call& call, std::coroutine_handle<> waiting) {
  call_ = &call;
  waiting_ = waiting;
  previous_ = nullptr;
  next_ = call.waits_;
  if (next_ != nullptr) next_->previous_ = this;
  call.waits_ = this;
}
inline void Wait::unlink() {
  if (call_ == nullptr) return;
  (previous_ != nullptr ? previous_->next_ : call_->waits_) = next_;
  if (next_ != nullptr) next_->previous_ = previous_;
  call_ = nullptr;
}

class Sleep {
 public:
  Sleep(Call& call, const Attachment& at, std::int64_t until, bool ready)
      : call_(call), at_(at), until_(until), ready_(ready) {}
  Sleep(const Sleep&) = delete;
  Sleep& operator=(const Sleep&) = delete;
  ~Sleep() {
    if (timer_ != nullptr) at_.api->timer_cancel(at_.context, timer_);
  }
  bool await_ready() const { return ready_; }
  void await_suspend(std::coroutine_handle<> waiting) {
    wait_.suspend(call_, waiting);
    timer_ = at_.api->timer(
        at_.context, until_,
        [](void* self) {
          auto* sleep = static_cast<Sleep*>(self);
          sleep->timer_ = nullptr;
          if (!sleep->call_.cancelled()) sleep->wait_.wake();
        },
        this);
  }
  bool await_resume() const { return !call_.cancelled(); }

 private:
  Call& call_;
  const Attachment& at_;
  std::int64_t until_;
  bool ready_;
  void* timer_ = nullptr;
  Wait wait_;
};

/// The caller's end of a call to another service.
class OutCall final : public EventTarget {
 public:
  OutCall(Call& parent, std::string_view service, std::string_view command, const CallOptions& options,
          shunt_message* first, bool last)
      : parent_(&parent), at_(parent.at_) {
    char small[160];
    std::string large;
    std::string_view target = join(service, command, small, sizeof(small), large);
    std::vector<shunt_pair> pairs;
    if (!options.metadata.empty()) pairs = Call::to_pairs(options.metadata);
    shunt_open open{};
    open.size = sizeof(open);
    if (first != nullptr) open.flags |= SHUNT_HAS_MESSAGE;
    if (last) open.flags |= SHUNT_LAST;
    open.target = slice(target);
    open.deadline_ns = options.timeout.count() > 0 ? at_->api->now() + options.timeout.count() : SHUNT_NO_DEADLINE;
    open.metadata = pairs.data();
    open.metadata_count = pairs.size();
    open.parent = parent.call_;
    closed_ = last;
    call_ = at_->api->open(at_->context, &open, first, static_cast<EventTarget*>(this));
  }
  /// A call by the direct way that waits. Its end may come from inside this.
  OutCall(Call& parent, shunt_call* pending) : parent_(&parent), at_(parent.at_), call_(pending), closed_(true) {
    at_->api->set_user(call_, static_cast<EventTarget*>(this));
  }
  OutCall(const OutCall&) = delete;
  OutCall& operator=(const OutCall&) = delete;
  ~OutCall() { at_->api->release(call_); }
  static void* operator new(std::size_t size) { return Pool::allocate(size); }
  static void operator delete(void* memory, std::size_t size) { Pool::free(memory, size); }

  void on_event(const shunt_event& event) override {
    switch (event.kind) {
      case SHUNT_EVENT_MESSAGE:
        if (discard) return at_->api->consume(call_, event.cost);
        inbox.push(*event.message, event.cost);
        return wake(reading);
      case SHUNT_EVENT_METADATA:
        return read_metadata(event, metadata);
      case SHUNT_EVENT_CREDIT:
        held_ = false;
        return wake(writing);
      case SHUNT_EVENT_END: {
        ended_ = true;
        if ((event.flags & SHUNT_HAS_MESSAGE) != 0 && !discard) inbox.push(*event.message, event.cost);
        read_metadata(event, trailers);
        if (event.status->code != 0) status_ = to_error(*event.status);
        // What is woken may free this object. A call has one coroutine, so one of them waits at most.
        return wake(ending != nullptr ? ending : reading != nullptr ? reading : writing);
      }
      default:
        return;
    }
  }

  /// Takes the message; false when the call has ended.
  bool send(shunt_message message, bool last) {
    if (ended_ || closed_) return drop(message);
    closed_ = last;
    int sent = at_->api->send(call_, &message, last ? std::uint32_t{SHUNT_LAST} : 0U);
    held_ = sent == SHUNT_HELD;
    return sent != SHUNT_ENDED;
  }
  void close() {
    if (!ended_ && !std::exchange(closed_, true)) at_->api->half_close(call_);
  }
  Received take() {
    Received message = inbox.pop();
    if (!ended_) at_->api->consume(call_, message.cost());
    return message;
  }
  [[nodiscard]] bool ended() const { return ended_; }
  [[nodiscard]] bool held() const { return held_ && !ended_; }
  [[nodiscard]] Call& parent() const { return *parent_; }
  [[nodiscard]] bool pass_cancelled() const { return parent_->pass_cancelled(); }
  /// How it ended, or how the call at hand did.
  [[nodiscard]] Result<void> status() const {
    if (status_) return *status_;
    if (!ended_ || parent_->cancelled()) return parent_->cancel_error();
    return {};
  }

  Inbox inbox;
  Wait* reading = nullptr;
  Wait* writing = nullptr;
  Wait* ending = nullptr;
  bool discard = false;  ///< Nobody will take what comes.
  Metadata metadata = {};
  Metadata trailers;

 private:
  static std::string_view join(std::string_view service, std::string_view command, char* small, std::size_t capacity,
                               std::string& large) {
    std::size_t size = service.size() + 1 + command.size();
    if (size > capacity) {
      large.append(service).append(".").append(command);
      return large;
    }
    std::memcpy(small, service.data(), service.size());
    small[service.size()] = '.';
    std::memcpy(small + service.size() + 1, command.data(), command.size());
    return {small, size};
  }
  static void read_metadata(const shunt_event& event, Metadata& to) {
    for (std::size_t i = 0; i < event.metadata_count; ++i) {
      to.emplace_back(view(event.metadata[i].key), view(event.metadata[i].value));
    }
  }
  static bool drop(shunt_message& message) {
    Received dropped(message, 0);
    return false;
  }
  void wake(Wait*& wait) {
    if (wait != nullptr && !parent_->cancelled()) std::exchange(wait, nullptr)->wake();
  }

  Call* parent_;
  Attachment* at_;
  shunt_call* call_ = nullptr;
  std::optional<Error> status_;
  bool ended_ = false;
  bool held_ = false;
  bool closed_ = false;
};

}  // namespace detail

inline auto Call::sleep(std::chrono::nanoseconds span) {
  std::int64_t now = at_->api->now();
  std::int64_t until = span.count() > SHUNT_NO_DEADLINE - now ? SHUNT_NO_DEADLINE : now + span.count();
  return detail::Sleep(*this, *at_, until, span.count() <= 0 || pass_cancelled());
}

/// The messages that the caller streams: while (auto item = co_await reader.next()) ...
template <typename T>
class Reader {
 public:
  explicit Reader(Call& call) : call_(&call) {}

  /// The next message; nothing after the last, or when the call was cancelled. A message that can't be read ends the stream,
  /// and the call will end as invalid_argument whatever the handler returns.
  [[nodiscard]] auto next() {
    struct Awaiter {
      Call& call;
      detail::Wait wait;
      bool await_ready() { return call.pass_cancelled() || !call.inbox_.empty() || call.half_closed_; }
      void await_suspend(std::coroutine_handle<> waiting) {
        wait.suspend(call, waiting);
        call.reading_ = &wait;
      }
      std::optional<T> await_resume() {
        call.reading_ = nullptr;
        if (call.cancelled() || call.inbox_.empty() || call.input_error_) return std::nullopt;
        detail::Received message = call.inbox_.pop();
        call.at_->api->consume(call.call_, message.cost());
        detail::Argument<T> argument;
        if (!argument.load(detail::message_type<T>(), &message.message(), call.input_error_)) {
          call.input_error_ = std::move(*call.input_error_).with_id("S1030");
          return std::nullopt;
        }
        return argument.take();
      }
    };
    return Awaiter{*call_, {}};
  }

 private:
  Call* call_;
};

/// The way back for an answer that streams: if (!co_await writer.send(line)) break;
template <typename T>
class Writer {
 public:
  explicit Writer(Call& call) : call_(&call) {}

  /// Waits while the caller takes no more; false when the call was cancelled, and the message is gone.
  [[nodiscard]] auto send(T value) {
    struct Awaiter {
      Call& call;
      T value;
      detail::Wait wait;
      bool await_ready() { return call.pass_cancelled() || !call.held_; }
      void await_suspend(std::coroutine_handle<> waiting) {
        wait.suspend(call, waiting);
        call.writing_ = &wait;
      }
      bool await_resume() {
        call.writing_ = nullptr;
        if (call.cancelled()) return false;
        shunt_message message = detail::to_message(detail::message_type<T>(), std::move(value));
        int sent = call.at_->api->send(call.call_, &message, 0);
        call.held_ = sent == SHUNT_HELD;
        return sent != SHUNT_ENDED;
      }
    };
    return Awaiter{*call_, std::move(value), {}};
  }

 private:
  Call* call_;
};

namespace detail {

/// Where the value of an answer comes to stand.
template <typename T>
class Room {
 public:
  Room() {}   // NOLINT(modernize-use-equals-default): of a union
  ~Room() {}  // NOLINT(modernize-use-equals-default)
  Room(const Room&) = delete;
  Room& operator=(const Room&) = delete;
  void* address() { return &value_; }
  T& value() { return value_; }
  void move_from(Room& other) { new (&value_) T(std::move(other.value_)); }
  void destroy() { value_.~T(); }

 private:
  union {
    T value_;
  };
};
template <>
class Room<void> {
 public:
  static void* address() { return nullptr; }
  void move_from(Room&) {}
  void destroy() {}
};

}  // namespace detail

/// An answer on its way. The call has been started; co_await waits for the Result. Start several, then await each, and
/// they run at the same time. Dropping it cancels the call.
template <typename T>
class [[nodiscard]] Answer {
 public:
  explicit Answer(std::unique_ptr<detail::OutCall> call) : parent_(&call->parent()), call_(std::move(call)) {}
  Answer(Answer&& other) noexcept : parent_(other.parent_), call_(std::move(other.call_)) { take_room(other); }
  Answer& operator=(Answer&& other) noexcept {
    if (this == &other) return *this;
    leave_room();
    parent_ = other.parent_;
    call_ = std::move(other.call_);
    take_room(other);
    return *this;
  }
  ~Answer() { leave_room(); }

  bool await_ready() { return parent_->pass_cancelled() || call_ == nullptr || call_->ended(); }
  void await_suspend(std::coroutine_handle<> waiting) {
    wait_.suspend(*parent_, waiting);
    call_->ending = &wait_;
  }
  Result<T> await_resume() {
    if (call_ != nullptr) return read(*call_);
    if (parent_->cancelled()) return parent_->cancel_error();
    if (!is_here_) return internal("the answer was taken before");
    if constexpr (std::is_void_v<T>) {
      return {};
    } else {
      return std::move(room_.value());
    }
  }

 private:
  friend class Client;
  template <typename Response, typename Request>
  friend class Exchange;
  /// Calls by the direct way; where there is none now, as `elsewhere` does.
  template <typename Elsewhere>
  Answer(Call& parent, shunt_site* site, shunt_unary& unary, const Elsewhere& elsewhere) : parent_(&parent) {
    unary.size = sizeof(unary);
    unary.parent = parent.call_;
    unary.response = room_.address();
    int result = parent.at_->api->unary(site, &unary);
    if (result == SHUNT_ANSWERED) {
      is_here_ = true;
    } else if (result == SHUNT_PENDING) {
      call_ = std::make_unique<detail::OutCall>(parent, unary.call);
    } else {
      call_ = elsewhere();
    }
  }
  void take_room(Answer& other) {
    is_here_ = other.is_here_;
    if (is_here_) room_.move_from(other.room_);
  }
  void leave_room() {
    if (std::exchange(is_here_, false)) room_.destroy();
  }

  static Result<T> read(detail::OutCall& call) {
    call.ending = nullptr;
    Result<void> status = call.status();
    if (!status) return std::move(status).error();
    if constexpr (std::is_void_v<T>) {
      return {};
    } else {
      if (call.inbox.empty()) return internal("the command answered without a message");
      detail::Received message = call.take();
      if (!call.inbox.empty()) return internal("the command answered with more than one message: open() a stream");
      detail::Argument<T> argument;
      std::optional<Error> error;
      if (!argument.load(detail::message_type<T>(), &message.message(), error)) {
        return internal("the answer can't be read: " + std::string(error->message()));
      }
      return argument.take();
    }
  }
  Call* parent_;
  std::unique_ptr<detail::OutCall> call_;  // None: the answer came at once, and stands in room_.
  detail::Room<T> room_;
  bool is_here_ = false;
  detail::Wait wait_;
};

/// A call that streams, seen by its caller. Dropping it cancels the call.
///   auto list = call.service("prices").open<Price>("list", Filter{});       the answer streams
///   while (auto price = co_await list.next()) ...
///   if (auto end = co_await list.result(); !end) co_return std::move(end).error();
template <typename Response, typename Request = void>
class [[nodiscard]] Exchange {
 public:
  explicit Exchange(std::unique_ptr<detail::OutCall> call) : call_(std::move(call)) {}

  /// The next message; nothing at the end: result() says how it ended.
  [[nodiscard]] auto next() {
    struct Awaiter {
      Exchange& exchange;
      detail::Wait wait;
      bool await_ready() {
        auto& call = *exchange.call_;
        return call.pass_cancelled() || !call.inbox.empty() || call.ended();
      }
      void await_suspend(std::coroutine_handle<> waiting) {
        wait.suspend(exchange.call_->parent(), waiting);
        exchange.call_->reading = &wait;
      }
      std::optional<Response> await_resume() {
        auto& call = *exchange.call_;
        call.reading = nullptr;
        if (call.parent().cancelled() || call.inbox.empty() || exchange.unreadable_) return std::nullopt;
        detail::Received message = call.take();
        detail::Argument<Response> argument;
        if (!argument.load(detail::message_type<Response>(), &message.message(), exchange.unreadable_)) {
          return std::nullopt;
        }
        return argument.take();
      }
    };
    return Awaiter{*this, {}};
  }

  /// Waits while the callee takes no more; false when the call has ended.
  template <typename Message = Request>
    requires(!std::is_void_v<Request>)
  [[nodiscard]] auto send(Message value) {
    struct Awaiter {
      detail::OutCall& call;
      Message value;
      detail::Wait wait;
      bool await_ready() { return call.pass_cancelled() || !call.held(); }
      void await_suspend(std::coroutine_handle<> waiting) {
        wait.suspend(call.parent(), waiting);
        call.writing = &wait;
      }
      bool await_resume() {
        call.writing = nullptr;
        if (call.parent().cancelled()) return false;
        return call.send(detail::to_message(detail::message_type<Message>(), std::move(value)), false);
      }
    };
    return Awaiter{*call_, std::move(value), {}};
  }
  /// Nothing more will be sent.
  void close() { call_->close(); }

  /// Waits for the end: how the call ended. Messages that were not taken are thrown away.
  [[nodiscard]] auto result() {
    struct Awaiter {
      Exchange& exchange;
      detail::Wait wait;
      bool await_ready() {
        exchange.drain();
        return exchange.call_->pass_cancelled() || exchange.call_->ended();
      }
      void await_suspend(std::coroutine_handle<> waiting) {
        wait.suspend(exchange.call_->parent(), waiting);
        exchange.call_->ending = &wait;
        exchange.call_->discard = true;
      }
      Result<void> await_resume() {
        exchange.call_->ending = nullptr;
        if (exchange.unreadable_) {
          return internal("a message of the stream can't be read: " + std::string(exchange.unreadable_->message()));
        }
        return exchange.call_->status();
      }
    };
    return Awaiter{*this, {}};
  }
  /// For a command that answers once: closes, and waits for the answer.
  [[nodiscard]] auto answer() {
    struct Awaiter {
      detail::OutCall& call;
      detail::Wait wait;
      bool await_ready() {
        call.close();
        return call.pass_cancelled() || call.ended();
      }
      void await_suspend(std::coroutine_handle<> waiting) {
        wait.suspend(call.parent(), waiting);
        call.ending = &wait;
      }
      Result<Response> await_resume() { return Answer<Response>::read(call); }
    };
    return Awaiter{*call_, {}};
  }

  /// Initial metadata, once the first message is there; trailers after the end.
  [[nodiscard]] const Metadata& metadata() const { return call_->metadata; }
  [[nodiscard]] const Metadata& trailers() const { return call_->trailers; }

 private:
  void drain() {
    while (!call_->inbox.empty()) (void)call_->take();
  }
  std::unique_ptr<detail::OutCall> call_;
  std::optional<Error> unreadable_;
};

/// Another service, as a handler calls it. Cheap to make; belongs to the call.
class Client {
 public:
  Client(Call& call, std::string_view service) : call_(&call), callee_(call.at_->sites.callee(service)) {
    if (callee_ == nullptr) name_ = service;
  }

  /// The same service, called differently: prices.with({.timeout = 50ms}).call<Price>("get", item)
  [[nodiscard]] Client with(CallOptions options) const {
    Client other = *this;
    other.options_ = std::move(options);
    return other;
  }

  /// One request, one answer: Result<Price> price = co_await prices.call<Price>("get", Item{"apple"});
  template <typename Response = void, typename Request>
  Answer<Response> call(std::string_view command, Request request) const {
    static_assert(!detail::ProtoMessage<Request> && !detail::ProtoMessage<Response>,
                  "calls between services carry JSON: a protobuf message is for handlers");
    auto long_way = [&] {
      return start(command, detail::to_message(detail::message_type<Request>(), std::move(request)));
    };
    if constexpr (detail::is_direct<Request> && detail::is_direct<Response>) {
      const shunt_type* type = detail::message_type<Request>();
      if (shunt_site* site = find_site(command, type, detail::message_type<Response>())) {
        shunt_unary unary{};
        unary.deadline_ns = deadline_ns();
        unary.request = &request;
        unary.request_bytes = detail::weigh(request);
        return Answer<Response>(*call_, site, unary, long_way);
      }
    }
    return Answer<Response>(long_way());
  }
  template <typename Response = void>
  Answer<Response> call(std::string_view command) const {
    auto long_way = [&] { return start(command, detail::empty_object()); };
    if constexpr (detail::is_direct<Response>) {
      if (shunt_site* site = find_site(command, nullptr, detail::message_type<Response>())) {
        shunt_unary unary{};
        unary.deadline_ns = deadline_ns();
        return Answer<Response>(*call_, site, unary, long_way);
      }
    }
    return Answer<Response>(long_way());
  }

  /// The answer streams.
  template <typename Response, typename Request>
  Exchange<Response> open(std::string_view command, Request request) const {
    static_assert(!detail::ProtoMessage<Request> && !detail::ProtoMessage<Response>,
                  "calls between services carry JSON: a protobuf message is for handlers");
    return Exchange<Response>(start(command, detail::to_message(detail::message_type<Request>(), std::move(request))));
  }
  /// The request streams, and perhaps the answer: open<Sum, Number>("add").
  template <typename Response, typename Request>
  Exchange<Response, Request> open(std::string_view command) const {
    return Exchange<Response, Request>(
        std::make_unique<detail::OutCall>(*call_, service(), command, options_, nullptr, false));
  }

 private:
  [[nodiscard]] std::unique_ptr<detail::OutCall> start(std::string_view command, shunt_message request) const {
    return std::make_unique<detail::OutCall>(*call_, service(), command, options_, &request, true);
  }
  [[nodiscard]] std::string_view service() const { return callee_ != nullptr ? callee_->name() : name_; }
  [[nodiscard]] std::int64_t deadline_ns() const {
    return options_.timeout.count() > 0 ? call_->at_->api->now() + options_.timeout.count() : SHUNT_NO_DEADLINE;
  }
  /// nullptr: this call goes the long way, as all do that carry metadata.
  [[nodiscard]] shunt_site* find_site(std::string_view command, const shunt_type* request,
                                      const shunt_type* response) const {
    if (callee_ == nullptr || !options_.metadata.empty()) return nullptr;
    return callee_->site(*call_->at_->api, call_->at_->context, command, request, response);
  }
  Call* call_;
  detail::Callee* callee_;
  std::string name_;  // Where it is no Callee.
  CallOptions options_;
};

inline Client Call::service(std::string_view name) { return {*this, name}; }

}  // namespace sdk
}  // namespace shunt
