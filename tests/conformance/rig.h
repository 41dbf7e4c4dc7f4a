#pragma once
// Rig: what every conformance test stands on: a pair of the kind under test, a service whose commands do what their names
// say, and a body that runs as a coroutine on the caller's loop until it ends.

#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "call/client_call.h"
#include "call/server_call.h"
#include "link_pair.h"
#include "loop/scope.h"

namespace shunt::conformance {

using call::CallerEvents;
using call::Cancel;
using call::ClientCall;
using call::Last;
using call::Message;
using call::Metadata;
using call::Opening;
using call::Sent;
using call::ServerCall;
using loop::Task;

inline Message text(std::string_view what) { return Message(Bytes::copy_of(what)); }
inline Message letters(std::size_t size, char letter = 'x') { return Message(Bytes::adopt(std::string(size, letter))); }
inline std::string string_of(Message message) { return std::string(message.bytes().view()); }
inline std::string string_of(std::optional<Message> message) {
  return message.has_value() ? string_of(std::move(*message)) : "(none)";
}

/// A caller's ear that writes down what it hears, and may act on it.
class Ear final : public CallerEvents {
 public:
  std::vector<std::string> heard;  ///< "metadata", "message:…", "credit", "end:code".
  std::vector<std::string> messages;
  std::size_t cost = 0;
  Status status;
  bool ended = false;
  std::function<void(Ear&)> on_any;

  void on_metadata(Metadata) override { hear("metadata"); }
  void on_message(Message message) override {
    cost += message.cost();
    messages.push_back(string_of(std::move(message)));
    hear("message:" + messages.back().substr(0, 20));
  }
  void on_credit() override { hear("credit"); }
  void on_end(Status with, Metadata) override {
    EXPECT_FALSE(ended) << "on_end came twice";
    ended = true;
    status = std::move(with);
    hear("end:" + std::string(code_name(status.code())));
  }

 private:
  void hear(std::string what) {
    heard.push_back(std::move(what));
    if (on_any) on_any(*this);
  }
};

/// A callee's end held by hand.
struct RawCall final : call::CalleeEvents {
  call::IncomingHandle call;
  std::vector<std::string> heard;
  std::vector<std::string> messages;
  std::function<void(RawCall&)> on_any;

  void on_message(Message message) override {
    messages.push_back(string_of(std::move(message)));
    hear("message:" + messages.back().substr(0, 20));
  }
  void on_half_close() override { hear("half_close"); }
  void on_cancel(Cancel reason) override { hear("cancel:" + std::to_string(static_cast<int>(reason))); }
  void on_credit() override { hear("credit"); }
  void hear(std::string what) {
    heard.push_back(std::move(what));
    if (on_any) on_any(*this);
  }
};

class Rig final : public call::Service {
 public:
  explicit Rig(const LinkPairKind& kind, const call::LinkLimits& limits = {})
      : kind(kind), pair(kind.make(limits)), tasks_(pair->callee_loop()) {
    add_commands();
    pair->start(*this);
  }
  ~Rig() override { pair->stop(); }

  /// Runs the body to its end.
  void run(Task<void> body) {
    loop::Scope scope(pair->caller_loop());
    bool done = false;
    scope.spawn(watch(std::move(body), &done));
    EXPECT_TRUE(until([&] { return done; })) << "the test waits for what never comes";
  }
  /// Turns until the condition holds; false when it never will.
  bool until(const std::function<bool()>& condition) {
    // Not a maximum that a test must keep: only real links, whose turns never end, can get there by hanging.
    auto hung = std::chrono::steady_clock::now() + std::chrono::minutes(2);
    while (!condition()) {
      if (!pair->turn()) return condition();
      if (std::chrono::steady_clock::now() > hung) return false;
    }
    return true;
  }
  /// For bodies: goes on once the condition holds. Turns are the pair's, so this looks again after every few events.
  Task<void> wait_for(std::function<bool()> condition) {
    while (!condition()) co_await loop::sleep_for(pair->caller_loop(), std::chrono::microseconds(200));
  }
  Task<void> sleep(Duration span) { co_await loop::sleep_for(pair->caller_loop(), span); }

  call::Open open(std::string_view command, Deadline deadline = {}) {
    call::Open open;
    open.service = "test";
    open.command = command;
    open.deadline = deadline;
    return open;
  }
  Deadline in(Duration span) { return Deadline::after(pair->caller_loop().refresh_now(), span); }
  ClientCall start(std::string_view command, Opening opening, Deadline deadline = {}) {
    return {pair->caller_loop(), pair->link(), open(command, deadline), std::move(opening)};
  }
  call::LinkStats stats() { return pair->link().stats(); }

  const LinkPairKind& kind;
  Own<LinkPair> pair;
  // What the service's commands tell the tests.
  std::vector<Cancel> cancels;
  std::vector<std::string> received;
  std::size_t begun = 0;
  std::size_t sent = 0;
  bool go = false;  ///< What `when_told` waits for.
  std::vector<Own<RawCall>> raw;
  std::function<void(RawCall&)> on_raw;

  [[nodiscard]] std::size_t running() const { return tasks_.running(); }

 private:
  void begin(call::IncomingHandle call, const call::Open& open, Opening opening) override {
    begun++;
    if (open.command == "let_go") return;
    if (open.command == "refuse") {
      call->finish(Status(Code::unavailable, "S1009", "no room").with_retry(Retry::elsewhere), {});
      return;
    }
    // A caller's first message mostly comes with the opening; where the carrier tore them apart, it comes later.
    if (open.command == "at_once" && opening.has_message) {
      call->finish_with(std::move(opening.message));
      return;
    }
    if (open.command == "raw") {
      raw.push_back(make_own<RawCall>());
      auto& mine = *raw.back();
      mine.call = std::move(call);
      mine.call->listen(mine);
      if (opening.has_message) mine.hear("opening:" + string_of(std::move(opening.message)));
      if (opening.last == Last::yes) mine.hear("last");
      if (on_raw) on_raw(mine);
      return;
    }
    tasks_.begin(std::move(call), open, std::move(opening));
  }

  static Task<void> watch(Task<void> body, bool* done) {
    co_await std::move(body);
    *done = true;
  }

  // --- The commands ---

  static Task<Status> echo(ServerCall& call) {
    auto message = co_await call.receive();
    if (!message) co_return Status(Code::invalid_argument, "no message");
    co_await call.send(std::move(*message));
    co_return Status();
  }
  static Task<Status> join(ServerCall& call) {
    std::string all;
    while (auto message = co_await call.receive()) all += string_of(std::move(*message)) + ",";
    if (call.cancelled()) co_return call::cancel_status(*call.cancel_reason());
    co_await call.send(text(all));
    co_return Status();
  }
  static Task<Status> count(ServerCall& call) {
    auto message = co_await call.receive();
    int to = message ? std::atoi(string_of(std::move(*message)).c_str()) : 0;
    for (int i = 0; i < to; i++) {
      if (!co_await call.send(text(std::to_string(i)))) break;
    }
    co_return Status();
  }
  static Task<Status> chat(ServerCall& call) {
    while (auto message = co_await call.receive()) {
      if (!co_await call.send(std::move(*message))) break;
    }
    co_return Status();
  }
  static Task<Status> fail(ServerCall& call) {
    Metadata metadata;
    EXPECT_TRUE(metadata.add("first", "one"));
    call.send_metadata(std::move(metadata));
    co_await call.send(text("before"));
    Metadata trailers;
    EXPECT_TRUE(trailers.add("last", "two"));
    EXPECT_TRUE(trailers.add("raw-bin", std::string_view("\0\xff", 2)));
    call.finish(Status(Code::not_found, "S1002", "there is no such thing").with_details(R"([{"type":"x"}])"),
                std::move(trailers));
    co_return Status();
  }
  static Task<Status> hang(ServerCall& call, Rig* rig) {
    rig->cancels.push_back(co_await call.wait_cancelled());
    co_return Status(Code::cancelled, "S1012", "heard it");
  }
  static Task<Status> read_then_hang(ServerCall& call, Rig* rig) {
    while (auto message = co_await call.receive()) rig->received.push_back(string_of(std::move(*message)));
    if (!call.cancelled()) rig->received.emplace_back("half_close");
    rig->cancels.push_back(co_await call.wait_cancelled());
    co_return Status(Code::cancelled, "S1012", "heard it");
  }
  static Task<Status> flood(ServerCall& call, Rig* rig) {
    while (co_await call.send(letters(1000))) rig->sent++;
    if (auto reason = call.cancel_reason()) rig->cancels.push_back(*reason);
    co_return Status(Code::cancelled, "S1012", "heard it");
  }
  static Task<Status> when_told(ServerCall& call, Rig* rig) {
    while (!rig->go && !call.cancelled()) {
      co_await loop::sleep_for(rig->pair->callee_loop(), std::chrono::microseconds(100));
    }
    if (call.cancelled()) {
      rig->cancels.push_back(*call.cancel_reason());
      co_return call::cancel_status(*call.cancel_reason());
    }
    while (auto message = co_await call.receive()) rig->received.push_back(string_of(std::move(*message)));
    co_await call.send(text("told"));
    co_return Status();
  }
  static Task<Status> tell(ServerCall& call) {
    std::string all = call.command() + " hops=" + std::to_string(call.hops()) + " service=" + call.principal().service +
                      " user=" + call.principal().user +
                      " kind=" + std::to_string(static_cast<int>(call.principal().kind)) +
                      " deadline=" + (call.deadline().is_never() ? "never" : "some");
    for (const auto& [key, value] : call.metadata())
      all += " " + key + "=" + std::to_string(value.size()) + ":" + value;
    co_await call.send(text(all));
    co_return Status();
  }
  static Task<Status> large(ServerCall& call) {
    auto size = std::atoll(string_of(co_await call.receive()).c_str());
    co_await call.send(letters(static_cast<std::size_t>(size), 'L'));
    co_return Status();
  }
  static Task<Status> heavy_trailers(ServerCall& call) {
    co_await call.receive();
    Metadata trailers;
    EXPECT_TRUE(trailers.add("heavy", std::string(200'000, 'h')));
    call.finish({}, std::move(trailers));
    co_return Status();
  }

  void add_commands() {
    tasks_.add("echo", echo);
    tasks_.add("at_once", echo);
    tasks_.add("join", join);
    tasks_.add("count", count);
    tasks_.add("chat", chat);
    tasks_.add("fail", fail);
    tasks_.add("tell", tell);
    tasks_.add("large", large);
    tasks_.add("heavy_trailers", heavy_trailers);
    tasks_.add("hang", [this](ServerCall& call) { return hang(call, this); });
    tasks_.add("read_then_hang", [this](ServerCall& call) { return read_then_hang(call, this); });
    tasks_.add("flood", [this](ServerCall& call) { return flood(call, this); });
    tasks_.add("when_told", [this](ServerCall& call) { return when_told(call, this); });
  }

  call::TaskService tasks_;
};

}  // namespace shunt::conformance
