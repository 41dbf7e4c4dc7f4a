#pragma once
// The C++ SDK of Shunt: write a service as a shared library whose commands are functions or coroutines.
//
//   #include <shunt/service.h>
//
//   struct Item { std::string sku; };
//   struct Price { std::int64_t cents; };
//   SHUNT_FIELDS(Item, sku)
//   SHUNT_FIELDS(Price, cents)
//
//   shunt::Task<shunt::Result<Price>> get(shunt::Call& call, Item item) {
//     if (item.sku.empty()) co_return shunt::invalid_argument("sku", "is empty");
//     co_return Price{995};
//   }
//
//   SHUNT_SERVICE(service) {
//     service.command("get", get, {.description = "The price of one item.", .effect = shunt::Effect::none});
//   }
//
// Build it with shunt_module(NAME sources...) of the CMake package Shunt, or with any compiler that makes a shared
// library of C++20. It needs nothing but the standard library. See docs/reference/cpp.md.

#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "shunt/call.h"
#include "shunt/error.h"
#include "shunt/fields.h"
#include "shunt/json.h"
#include "shunt/task.h"

namespace shunt {
inline namespace sdk {

/// What a command may do when called: decides whether it may be tried again, and answer GET.
enum class Effect { any, idempotent, none };

struct CommandOptions {
  std::string description = {};
  Effect effect = Effect::any;
  std::chrono::milliseconds timeout{0};  ///< The default deadline of its calls; zero: the service's.
};

namespace detail {

// ---- What a handler looks like ----------------------------------------------------------------------------------------

template <typename T>
struct Unwrap {
  static constexpr bool ok = false;
};
template <typename T>
struct Unwrap<Result<T>> {
  static constexpr bool ok = true;
  static constexpr bool is_task = false;
  using type = T;
};
template <typename T>
struct Unwrap<Task<Result<T>>> {
  static constexpr bool ok = true;
  static constexpr bool is_task = true;
  using type = T;
};

template <typename... Rest>
struct Arguments {
  static constexpr bool ok = false;
};
template <>
struct Arguments<> {
  static constexpr bool ok = true;
  static constexpr bool reads = false;
  static constexpr bool writes = false;
  using Request = void;
  using Written = void;
};
template <typename R>
struct Arguments<R> : Arguments<> {
  using Request = std::remove_cvref_t<R>;
};
template <typename R>
struct Arguments<Reader<R>> : Arguments<> {
  static constexpr bool reads = true;
  using Request = R;
};
template <typename W>
struct Arguments<Writer<W>> : Arguments<> {
  static constexpr bool writes = true;
  using Written = W;
};
template <typename R, typename W>
struct Arguments<R, Writer<W>> : Arguments<R> {
  static constexpr bool writes = true;
  using Written = W;
};

template <typename F>
struct Signature : Signature<decltype(&F::operator())> {};
template <typename R, typename... A>
struct Signature<R (*)(Call&, A...)> {
  using Returned = R;
  using Taken = Arguments<A...>;
};
template <typename R, typename... A>
struct Signature<R (*)(Call&, A...) noexcept> : Signature<R (*)(Call&, A...)> {};
template <typename C, typename R, typename... A>
struct Signature<R (C::*)(Call&, A...)> : Signature<R (*)(Call&, A...)> {};
template <typename C, typename R, typename... A>
struct Signature<R (C::*)(Call&, A...) const> : Signature<R (*)(Call&, A...)> {};
template <typename C, typename R, typename... A>
struct Signature<R (C::*)(Call&, A...) const noexcept> : Signature<R (*)(Call&, A...)> {};

// ---- Running it -------------------------------------------------------------------------------------------------------

/// One command of a module.
class Command {
 public:
  virtual ~Command() = default;
  virtual void begin(Attachment& at, const shunt_event& event) = 0;
  /// How it is served directly with values of these types, if it is.
  virtual bool find_direct(const shunt_type* request_given, const shunt_type* response_wanted,
                           shunt_direct_command& found) = 0;

  std::string name;
  const shunt_type* request = nullptr;
  const shunt_type* response = nullptr;
};

/// A call of one request that did not come with the opening, as a large one does not between processes. Waits for it, then
/// begins the command as if it had. Keeps what the opening lent; deletes itself.
class LateRequest final : public EventTarget {
 public:
  static bool is_late(const shunt_event& opening) { return (opening.flags & (SHUNT_HAS_MESSAGE | SHUNT_LAST)) == 0; }
  static void await(Command& command, Attachment& at, const shunt_event& opening) {
    auto* late = new LateRequest(command, at, opening);
    at.api->set_user(opening.call, static_cast<EventTarget*>(late));
  }

 private:
  LateRequest(Command& command, Attachment& at, const shunt_event& opening)
      : command_(command),
        at_(at),
        call_(opening.call),
        target_(view(opening.open->target)),
        service_(view(opening.open->principal_service)),
        user_(view(opening.open->principal_user)),
        token_(view(opening.open->token)) {
    const shunt_open& given = *opening.open;
    metadata_.reserve(given.metadata_count);
    for (std::size_t i = 0; i < given.metadata_count; ++i) {
      metadata_.emplace_back(view(given.metadata[i].key), view(given.metadata[i].value));
    }
    for (const auto& [key, value] : metadata_) pairs_.push_back({slice(key), slice(value)});
    open_.size = sizeof open_;
    open_.target = slice(target_);
    open_.deadline_ns = given.deadline_ns;
    open_.metadata = pairs_.data();
    open_.metadata_count = pairs_.size();
    open_.principal_kind = given.principal_kind;
    open_.command = given.command;
    open_.principal_service = slice(service_);
    open_.principal_user = slice(user_);
    open_.token = slice(token_);
  }

  void on_event(const shunt_event& event) override {
    switch (event.kind) {
      case SHUNT_EVENT_MESSAGE:
        return begin(event, SHUNT_HAS_MESSAGE | (event.flags & SHUNT_LAST));
      case SHUNT_EVENT_HALF_CLOSE:
        return begin(event, SHUNT_LAST);
      case SHUNT_EVENT_CANCEL: {
        Error error = cancelled("the call was cancelled before its request had come");
        shunt_status status = to_status(error);
        at_.api->finish(call_, &status, nullptr, nullptr, 0);
        at_.api->release(call_);
        delete this;
        return;
      }
      default:
        return;
    }
  }
  void begin(const shunt_event& event, std::uint32_t flags) {
    std::unique_ptr<LateRequest> self(this);
    open_.flags = flags;
    shunt_event opening{};
    opening.size = sizeof opening;
    opening.kind = SHUNT_EVENT_CALL;
    opening.flags = flags;
    opening.call = call_;
    opening.message = (flags & SHUNT_HAS_MESSAGE) != 0 ? event.message : nullptr;
    opening.cost = event.cost;
    opening.open = &open_;
    command_.begin(at_, opening);
  }

  Command& command_;
  Attachment& at_;
  shunt_call* call_;
  std::string target_;
  std::string service_;
  std::string user_;
  std::string token_;
  Metadata metadata_;
  std::vector<shunt_pair> pairs_;
  shunt_open open_{};
};

inline const shunt_status ok_status = {sizeof(shunt_status), 0, 0, {nullptr, 0}, {nullptr, 0}, {nullptr, 0}};

/// What the caller hears of an exception; what() is for the log alone.
inline Error thrown_error(const Call& call, std::string_view command) {
  std::string what;
  try {
    throw;
  } catch (const std::exception& exception) {
    what = exception.what();
  } catch (...) {
    what = "something that is no std::exception";
  }
  call.log(Level::error, std::string("the handler of ").append(command).append(" threw: ").append(what));
  return internal("the handler of " + std::string(command) + " failed; the service's log says why").with_id("S1031");
}

template <typename Handler>
class HandlerCommand final : public Command {
  using Shape = Signature<Handler>;
  using Taken = typename Shape::Taken;
  using Returned = Unwrap<typename Shape::Returned>;
  static_assert(Returned::ok, "a command returns shunt::Task<shunt::Result<T>>, or shunt::Result<T>");
  static_assert(Taken::ok, "a command takes (shunt::Call&), then a request or a shunt::Reader, then a shunt::Writer");
  using Request = typename Taken::Request;
  using Answered = typename Returned::type;
  static constexpr bool waits = Returned::is_task;
  static constexpr bool has_request = !std::is_void_v<Request>;
  static_assert(waits || (!Taken::reads && !Taken::writes), "a command that streams is a shunt::Task");
  static_assert(!Taken::writes || std::is_void_v<Answered>, "a command with a Writer returns Task<Result<void>>");

 public:
  using Response = std::conditional_t<Taken::writes, typename Taken::Written, Answered>;
  static constexpr std::string_view stream =
      Taken::reads ? (Taken::writes ? "both" : "client") : (Taken::writes ? "server" : "unary");
  static constexpr bool is_blocking = !waits;
  /// Takes and gives messages of protobuf, which the node makes of JSON where the caller sends that.
  static constexpr bool is_proto = ProtoMessage<Request> || ProtoMessage<Response>;
  static_assert(!is_proto || ((ProtoMessage<Request> || std::is_same_v<Request, Bytes>) &&
                              (ProtoMessage<Response> || std::is_same_v<Response, Bytes>)),
                "a command that takes or answers a protobuf message does both (or shunt::Bytes on one side)");

  explicit HandlerCommand(Handler handler) : handler_(std::move(handler)) {
    if constexpr (has_request) request = message_type<Request>();
    if constexpr (!std::is_void_v<Response>) response = message_type<Response>();
  }

  static void describe(std::string& out) {
    if constexpr (is_proto) {
      out += R"(,"encoding":"proto")";
      if constexpr (ProtoMessage<Request> && ProtoMessage<Response>) {
        out += R"(,"request-message":")" + std::string(Request().GetTypeName());
        out += R"(","response-message":")" + std::string(Response().GetTypeName()) + '"';
      }
      return;
    }
    if constexpr (!has_request) {
      out += R"(,"request":{"type":"object","properties":{},"additionalProperties":false})";
    } else if constexpr (!std::is_same_v<Request, Bytes> && !is_proto) {
      out += ",\"request\":" + json_schema<Request>();
    }
    if constexpr (std::is_void_v<Response>) {
      out += R"(,"response":{"type":"object","properties":{},"additionalProperties":false})";
    } else if constexpr (!std::is_same_v<Response, Bytes> && !is_proto) {
      out += ",\"response\":" + json_schema<Response>();
    }
  }

  void begin(Attachment& at, const shunt_event& event) override {
    if constexpr (!Taken::reads) {
      if (LateRequest::is_late(event)) return LateRequest::await(*this, at, event);
    }
    if constexpr (waits) {
      auto* served = new (Pool::allocate(sizeof(Served))) Served(*this, at, event);
      served->start(event);
    } else {
      Immediate(*this, at, event).run(event);
    }
  }

  bool find_direct(const shunt_type* request_given, const shunt_type* response_wanted,
                   shunt_direct_command& found) override {
    if constexpr (takes_values) {
      auto agree = [](const shunt_type* a, const shunt_type* b) {
        return a == nullptr || b == nullptr ? a == b : same_type(*a, *b);
      };
      if (!agree(request, request_given) || !agree(response, response_wanted)) return false;
      found.serve = &serve;
      found.command = this;
      return true;
    } else {
      return false;
    }
  }

 private:
  // A unary command whose messages have types of their own.
  static constexpr bool takes_values = !Taken::reads && !Taken::writes && is_direct<Request> && is_direct<Answered>;

  static int serve(void* self, void* attached, shunt_direct* direct) {
    auto& command = *static_cast<HandlerCommand*>(self);
    auto& at = *static_cast<Attachment*>(attached);
    if constexpr (waits) {
      return (new (Pool::allocate(sizeof(Served))) Served(command, at, *direct))->serve(*direct);
    } else {
      return Immediate(command, at, *direct).serve(*direct);
    }
  }
  template <typename Base>
  static auto invoke_directly(HandlerCommand& command, Base& call, const shunt_direct& direct) ->
      typename Shape::Returned {
    if constexpr (has_request) {
      return command.handler_(call, std::move(*static_cast<Request*>(direct.request)));
    } else {
      return command.handler_(call);
    }
  }
  // Puts the answer where the caller wants it; false when it must go the long way.
  static bool place(Result<Answered>& result, const shunt_direct& direct) {
    if (!result.has_value()) return false;
    if constexpr (!std::is_void_v<Answered>) {
      if (weigh(*result) > direct.response_bytes_max) return false;
      new (direct.response) Answered(std::move(*result));
    }
    return true;
  }

  // The answer as a message. A command that writes a stream has none of its own.
  static void answer(const Command& command, Result<Answered>& result, auto&& end, auto&& end_with) {
    (void)command;
    if (!result) return end(std::move(result).error());
    if constexpr (Taken::writes) {
      end_with(nullptr);
    } else if constexpr (std::is_void_v<Answered>) {
      shunt_message message = empty_object();
      end_with(&message);
    } else {
      shunt_message message = to_message(command.response, *std::move(result));
      end_with(&message);
    }
  }
  // Calls the handler with its request; `error` says why there was none to call it with.
  template <typename Base>
  static auto invoke(HandlerCommand& command, Base& call, const shunt_event& event, std::optional<Error>& error)
      -> std::optional<typename Shape::Returned> {
    if constexpr (Taken::reads) {
      if constexpr (Taken::writes) {
        return command.handler_(call, Reader<Request>(call), Writer<Response>(call));
      } else {
        return command.handler_(call, Reader<Request>(call));
      }
    } else {
      shunt_message* message = (event.flags & SHUNT_HAS_MESSAGE) != 0 ? event.message : nullptr;
      if constexpr (!has_request) {
        if (!takes_nothing(message, error)) return misfit(error);
        if constexpr (Taken::writes) {
          return command.handler_(call, Writer<Response>(call));
        } else {
          return command.handler_(call);
        }
      } else {
        Argument<Request> argument;
        if (!argument.load(command.request, message, error)) return misfit(error);
        if constexpr (Taken::writes) {
          return command.handler_(call, argument.take(), Writer<Response>(call));
        } else {
          return command.handler_(call, argument.take());
        }
      }
    }
  }
  static std::nullopt_t misfit(std::optional<Error>& error) {
    if (error->id().empty()) error = std::move(*error).with_id("S1030");
    return std::nullopt;
  }
  static bool takes_nothing(const shunt_message* message, std::optional<Error>& error) {
    if (message == nullptr || (message->type == nullptr && message->size == 0)) return true;
    std::string text = text_of(*message);
    if (text == "{}") return true;
    Input in(text);
    if (in.object([&](std::string_view) { return in.fail("is no known field; the command takes none"); }) &&
        in.finish()) {
      return true;
    }
    error = std::move(in.error());
    return false;
  }

  // A call of a plain function: over when it returns.
  class Immediate final : public Call {
   public:
    Immediate(HandlerCommand& command, Attachment& at, const shunt_event& event) : Call(at, event), command_(command) {}
    Immediate(HandlerCommand& command, Attachment& at, const shunt_direct& direct)
        : Call(at, direct), command_(command) {}
    int serve(const shunt_direct& direct) {
      std::optional<Error> error;
      try {
        auto result = invoke_directly(command_, *this, direct);
        if (!this->has_trailers() && place(result, direct)) return SHUNT_ANSWERED;
        answer_with(result);
        return SHUNT_PENDING;
      } catch (...) {
        error = thrown_error(*this, command_.name);
      }
      this->end(*error);
      return SHUNT_PENDING;
    }
    void run(const shunt_event& event) {
      std::optional<Error> error;
      try {
        auto result = invoke(command_, *this, event, error);
        if constexpr (!waits) {
          if (result) return answer_with(*result);
        }
      } catch (...) {
        error = thrown_error(*this, command_.name);
      }
      this->end(*error);
    }

   private:
    void answer_with(Result<Answered>& result) {
      answer(
          command_, result, [this](const Error& failed) { this->end(failed); },
          [this](shunt_message* last) {
            if constexpr (std::is_same_v<Answered, Bytes> && !is_proto) this->say_bytes();
            this->end(ok_status, last);
          });
    }
    HandlerCommand& command_;
  };

  // A call of a coroutine. Lives until the coroutine has ended; freed to the pool.
  class Served final : public Call, private RootEnd {
   public:
    Served(HandlerCommand& command, Attachment& at, const shunt_event& event) : Call(at, event), command_(command) {}
    Served(HandlerCommand& command, Attachment& at, const shunt_direct& direct) : Call(at, direct), command_(command) {}

    int serve(const shunt_direct& direct) {
      std::optional<Error> error;
      try {
        if constexpr (waits) task_ = invoke_directly(command_, *this, direct);
        started_ = true;
      } catch (...) {
        error = thrown_error(*this, command_.name);
      }
      if (!started_) {
        finish_with_error(*std::move(error));
        return SHUNT_PENDING;
      }
      starting_ = true;
      if constexpr (waits) task_.start(*this);
      starting_ = false;
      if (!done_) {
        at_->api->set_user(call_, static_cast<EventTarget*>(this));
        link();
        return SHUNT_PENDING;
      }
      if constexpr (waits) {
        auto* result = task_.peek();
        if (result != nullptr && !has_trailers() && !is_pinned() && place(*result, direct)) {
          drop_frame();
          destroy();
          return SHUNT_ANSWERED;
        }
      }
      complete();
      return SHUNT_PENDING;
    }
    void start(const shunt_event& event) {
      at_->api->set_user(call_, static_cast<EventTarget*>(this));
      if constexpr (Taken::reads) {
        if ((event.flags & SHUNT_HAS_MESSAGE) != 0) inbox_.push(*event.message, event.cost);
      }
      std::optional<Error> error;
      try {
        auto task = invoke(command_, *this, event, error);
        if (task) {
          if constexpr (waits) task_ = *std::move(task);
          started_ = true;
        }
      } catch (...) {
        error = thrown_error(*this, command_.name);
      }
      if (!started_) return finish_with_error(*std::move(error));
      starting_ = true;
      if constexpr (waits) task_.start(*this);
      starting_ = false;
      if (done_) return complete();
      keep_open();
      link();
    }

   private:
    void on_task_done() noexcept override {
      done_ = true;
      if (!starting_) complete();
    }
    void complete() noexcept {
      if constexpr (waits) {
        std::optional<Error> error;
        try {
          auto result = task_.take();
          drop_frame();
          if (input_error_) {
            error = std::move(input_error_);
          } else {
            return answer(
                command_, result, [this](Error failed) { finish_with_error(std::move(failed)); },
                [this](shunt_message* last) {
                  Ending ending(*this);
                  if constexpr (std::is_same_v<Answered, Bytes> && !is_proto) this->say_bytes();
                  this->end(ok_status, last);
                });
          }
        } catch (...) {
          error = thrown_error(*this, command_.name);
          drop_frame();
        }
        finish_with_error(*std::move(error));
      }
    }
    void drop_frame() {
      // Answers that the handler did not await are cancelled here.
      auto ended = std::move(task_);
    }
    void finish_with_error(Error error) {
      Ending ending(*this);
      this->end(error);
    }
    // Frees the call when its end has been told, or leaves that to a deferred wake.
    struct Ending {
      explicit Ending(Served& ended) : served(ended) { served.finished_ = true; }
      ~Ending() {
        if (!served.is_pinned()) served.destroy();
      }
      Served& served;
    };
    void abandon(Error why) noexcept override {
      if (finished_) return;
      drop_frame();
      finish_with_error(std::move(why));
    }
    void destroy() noexcept override {
      unlink();
      this->~Served();
      Pool::free(this, sizeof(Served));
    }

    HandlerCommand& command_;
    std::conditional_t<waits, typename Shape::Returned, int> task_{};
    bool started_ = false;
    bool starting_ = false;
    bool done_ = false;
  };

  Handler handler_;
};

/// A module: what shunt_module_main made, and shunt_module.self. Lives as long as the process.
struct ModuleState {
  const shunt_api* api = nullptr;
  shunt_module abi{};
  std::string definition;
  std::vector<shunt_command> table;
  std::vector<std::unique_ptr<Command>> commands;
  std::function<void()> on_start;
  std::function<void()> on_stop;
  std::mutex mutex;  // Of `attached`.
  int attached = 0;

  static void* attach(void* self, shunt_context* context) {
    auto& module = *static_cast<ModuleState*>(self);
    if (!module.enter(context)) return nullptr;
    auto* at = new Attachment{module.api, context, &module};
    at->sites.enable(*module.api);
    return at;
  }
  static void detach(void* self, shunt_context* context) {
    auto* at = static_cast<Attachment*>(self);
    while (at->calls != nullptr) {
      Call* call = at->calls;
      call->abandon(unavailable("the service is shutting down"));
      if (at->calls == call) call->destroy();  // Its deferred wake will not come any more.
    }
    auto& module = *at->module;
    delete at;
    Pool::trim();
    module.leave(context);
  }
  static void on_event(void* self, shunt_context*, const shunt_event* event) {
    auto& at = *static_cast<Attachment*>(self);
    if (event->kind != SHUNT_EVENT_CALL) {
      if (event->user != nullptr) static_cast<EventTarget*>(event->user)->on_event(*event);
      return;
    }
    auto& commands = at.module->commands;
    if (event->open->command >= commands.size()) return unknown_command(at, *event);
    commands[event->open->command]->begin(at, *event);
  }
  static int find_direct(void* self, std::uint32_t command, const shunt_type* request, const shunt_type* response,
                         shunt_direct_command* found) {
    auto& commands = static_cast<ModuleState*>(self)->commands;
    return command < commands.size() && commands[command]->find_direct(request, response, *found) ? 1 : 0;
  }

 private:
  static void unknown_command(Attachment& at, const shunt_event& event) {
    Error error = unimplemented("there is no command of that name");
    shunt_status status = to_status(error);
    at.api->finish(event.call, &status, nullptr, nullptr, 0);
    at.api->release(event.call);
  }
  bool enter(shunt_context* context) {
    std::lock_guard lock(mutex);
    if (attached == 0 && on_start && !run(on_start, "on_start", context)) return false;
    attached++;
    return true;
  }
  void leave(shunt_context* context) {
    std::lock_guard lock(mutex);
    if (--attached == 0 && on_stop) run(on_stop, "on_stop", context);
  }
  bool run(const std::function<void()>& act, std::string_view name, shunt_context* context) const {
    std::string what;
    try {
      act();
      return true;
    } catch (const std::exception& exception) {
      what = exception.what();
    } catch (...) {
      what = "something that is no std::exception";
    }
    api->log(context, 3, slice(std::string(name) + " threw: " + what));
    return false;
  }
};

}  // namespace detail

/// What SHUNT_SERVICE fills in.
class Service {
 public:
  /// Adds a command. The handler is a function or a function object, and one of
  ///   Task<Result<Response>> f(Call&, Request)                              a coroutine: may wait
  ///   Task<Result<void>>     f(Call&, Request, Writer<Response>)            streams its answer
  ///   Task<Result<Response>> f(Call&, Reader<Request>)                      reads a stream
  ///   Task<Result<void>>     f(Call&, Reader<Request>, Writer<Response>)    both
  ///   Result<Response>       f(Call&, Request)                              a plain function: must not wait
  /// A Request may be left out; Response may be void. Both are structs of SHUNT_FIELDS, Json or Bytes.
  template <typename Handler>
  void command(std::string name, Handler handler, CommandOptions options = {}) {
    using Made = detail::HandlerCommand<std::decay_t<Handler>>;
    constexpr std::string_view effects[] = {"any", "idempotent", "none"};
    if (!commands_.empty()) described_ += ',';
    detail::append_json_string(described_, name);
    described_.append(":{\"effect\":\"").append(effects[static_cast<int>(options.effect)]);
    described_.append("\",\"stream\":\"").append(Made::stream).append("\"");
    if (!options.description.empty()) {
      described_ += ",\"description\":";
      detail::append_json_string(described_, options.description);
    }
    if (options.timeout.count() > 0) {
      described_ += ",\"timeout\":\"" + std::to_string(options.timeout.count()) + "ms\"";
    }
    if (Made::is_blocking) described_ += ",\"blocking\":true";
    Made::describe(described_);
    described_ += '}';
    check_name(name);
    commands_.push_back(std::make_unique<Made>(std::move(handler)));
    commands_.back()->name = std::move(name);
  }

  void description(std::string text) { description_ = std::move(text); }
  void version(std::string text) { version_ = std::move(text); }
  /// Before the first call, once in a process. What throws keeps the service from starting, and is logged.
  void on_start(std::function<void()> act) { on_start_ = std::move(act); }
  /// After the last call, once in a process.
  void on_stop(std::function<void()> act) { on_stop_ = std::move(act); }

  /// For SHUNT_SERVICE. nullptr when the description is wrong, which was logged.
  static const shunt_module* make(const shunt_api* api, void (*describe)(Service&)) noexcept {
    std::string problem;
    try {
      Service service;
      describe(service);
      problem = service.problem_;
      if (problem.empty()) return service.finish(api);
    } catch (const std::exception& exception) {
      problem = std::string("SHUNT_SERVICE threw: ") + exception.what();
    } catch (...) {
      problem = "SHUNT_SERVICE threw something that is no std::exception";
    }
    api->log(nullptr, 3, detail::slice(problem));
    return nullptr;
  }

 private:
  void check_name(std::string_view name) {
    auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; };
    bool well = !name.empty() && name.size() <= 63 && letter(name[0]);
    for (char c : name) well = well && (letter(c) || (c >= '0' && c <= '9') || c == '-');
    if (!well && problem_.empty()) {
      problem_ = "\"" + std::string(name) +
                 "\" can't be the name of a command: it must be [A-Za-z_][A-Za-z0-9_-]*, at most 63";
    }
    for (const auto& command : commands_) {
      if (command->name == name && problem_.empty()) problem_ = "two commands are named " + command->name;
    }
  }
  const shunt_module* finish(const shunt_api* api) {
    auto module = std::make_unique<detail::ModuleState>();
    module->api = api;
    module->commands = std::move(commands_);
    module->on_start = std::move(on_start_);
    module->on_stop = std::move(on_stop_);
    module->definition = "{\"sdk\":\"c++ 0.1.0\",";
    auto member = [&](std::string_view key, const std::string& text) {
      if (text.empty()) return;
      module->definition.append("\"").append(key).append("\":");
      detail::append_json_string(module->definition, text);
      module->definition += ',';
    };
    member("version", version_);
    member("description", description_);
    module->definition += "\"commands\":{" + described_ + "}}";
    for (const auto& command : module->commands) {
      module->table.push_back(
          {sizeof(shunt_command), detail::slice(command->name), command->request, command->response});
    }
    shunt_module& abi = module->abi;
    abi.size = sizeof(shunt_module);
    abi.abi_major = SHUNT_ABI_MAJOR;
    abi.abi_minor = SHUNT_ABI_MINOR;
    abi.definition = detail::slice(module->definition);
    abi.commands = module->table.data();
    abi.command_count = static_cast<std::uint32_t>(module->table.size());
    abi.self = module.get();
    abi.attach = &detail::ModuleState::attach;
    abi.detach = &detail::ModuleState::detach;
    abi.on_event = &detail::ModuleState::on_event;
    abi.find_direct = &detail::ModuleState::find_direct;
    return keep(std::move(module));
  }
  // A module is never unloaded, so neither is its state. Reachable, for leak checkers.
  SHUNT_SDK_HIDDEN static const shunt_module* keep(std::unique_ptr<detail::ModuleState> module) {
    static std::mutex mutex;
    static auto* kept = new std::vector<std::unique_ptr<detail::ModuleState>>();
    std::lock_guard lock(mutex);
    kept->push_back(std::move(module));
    return &kept->back()->abi;
  }

  std::string described_;
  std::string description_;
  std::string version_;
  std::string problem_;
  std::vector<std::unique_ptr<detail::Command>> commands_;
  std::function<void()> on_start_;
  std::function<void()> on_stop_;
};

}  // namespace sdk
}  // namespace shunt

/// SHUNT_SERVICE(service) { service.command("get", get, {...}); }: what the library is. Once in a library, at file scope.
#define SHUNT_SERVICE(name)                                                  \
  static void shunt_describe_service(::shunt::Service& name);                \
  extern "C" {                                                               \
  SHUNT_EXPORT extern const uint32_t shunt_module_abi;                       \
  const uint32_t shunt_module_abi = SHUNT_ABI_MAJOR << 16 | SHUNT_ABI_MINOR; \
  SHUNT_EXPORT const shunt_module* shunt_module_main(const shunt_api* api);  \
  const shunt_module* shunt_module_main(const shunt_api* api) {              \
    return ::shunt::Service::make(api, &shunt_describe_service);             \
  }                                                                          \
  }                                                                          \
  static void shunt_describe_service(::shunt::Service& name)
