#pragma once
// A node for the tests of libshunt: the other ends of a worker's links, in this process and on a loop of its own, which the
// test turns.

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "call/ends.h"
#include "link/mux_link.h"
#include "link/unix/socket_carrier.h"
#include "loop/epoll_loop.h"
#include "os/clock_id.h"
#include "os/socket.h"

namespace shunt::sdk {

/// What a caller at the node hears.
struct NodeCaller final : call::CallerEvents {
  void on_metadata(call::Metadata got) override { metadata = std::move(got); }
  void on_message(call::Message message) override {
    consumed_later += message.cost();
    messages.emplace_back(message.bytes().view());
    if (consume) end->consumed(std::exchange(consumed_later, 0));
  }
  void on_credit() override { held = false; }
  void on_end(Status how, call::Metadata got) override {
    status = std::move(how);
    trailers = std::move(got);
  }
  call::Sent send(std::string text, call::Last last = call::Last::no) {
    auto sent = end->send(call::Message(Bytes::adopt(std::move(text))), last);
    held = sent == call::Sent::held;
    return sent;
  }

  std::vector<std::string> messages;
  call::Metadata metadata;
  call::Metadata trailers;
  std::optional<Status> status;
  std::size_t consumed_later = 0;
  bool consume = true;
  bool held = false;
  call::OutgoingHandle end;
};

/// A call that the worker placed, as the node sees it.
struct NodeCall final : call::CalleeEvents {
  void on_message(call::Message message) override { messages.emplace_back(message.bytes().view()); }
  void on_half_close() override { half_closed = true; }
  void on_cancel(call::Cancel reason) override { cancelled = reason; }

  std::string target;
  call::Metadata metadata;
  call::Principal principal;
  Deadline deadline;
  std::size_t link = 0;
  std::vector<std::string> messages;
  bool half_closed = false;
  std::optional<call::Cancel> cancelled;
  call::IncomingHandle end;
};

class TestNode {
 public:
  TestNode() : loop_(*loop::EpollLoop::create({.name = "node", .slow_turn = Duration(0)})) {}
  ~TestNode() {
    for (auto& call : calls) call->end.reset();
    links_.clear();
  }

  /// Opens a link; returns the worker's end of it.
  os::Fd add_link(std::uint32_t concurrency = 0) {
    auto pair = *os::make_socket_pair(os::SocketKind::stream, os::Blocking::no, os::Blocking::yes);
    links_.push_back(make_own<NodeSide>(*this, links_.size()));
    NodeSide& side = *links_.back();
    link::MuxLinkOptions options;
    options.side = wire::Side::dialler;
    options.hello.role = "node";
    options.hello.clock = os::clock_id();
    options.hello.concurrency = concurrency;
    options.peer.kind = call::PrincipalKind::service;
    options.peer.service = "shop.cart";
    side.link = link::MuxLink::create(*loop_, link::make_socket_carrier(*loop_, std::move(pair.first)), side, side,
                                      std::move(options));
    return std::move(pair.second);
  }
  /// As if the node had died.
  void die() {
    for (auto& call : calls) call->end.reset();
    links_.clear();
  }

  Own<NodeCaller> call(std::size_t link, std::string_view command, call::Opening opening, call::Open open = {}) {
    auto caller = make_own<NodeCaller>();
    open.service = "shop.cart";
    open.command = command;
    caller->end = links_[link]->link->open(open, *caller, std::move(opening));
    return caller;
  }
  Own<NodeCaller> unary(std::string_view command, std::string text) {
    return call(0, command, call::Opening::unary(call::Message(Bytes::adopt(std::move(text)))));
  }

  void turn() { loop_->turn(Duration(0)); }
  link::MuxLink& link(std::size_t index) { return *links_[index]->link; }
  [[nodiscard]] std::size_t link_count() const { return links_.size(); }

  std::vector<Own<NodeCall>> calls;  ///< Those that the worker placed.
  std::vector<wire::Hello> hellos;
  std::vector<std::uint64_t> grants;

 private:
  struct NodeSide final : link::LinkOwner, call::Service {
    NodeSide(TestNode& node, std::size_t index) : node(node), index(index) {}
    void on_open(const wire::Hello& peer) override { node.hellos.push_back(peer); }
    void on_grant(std::uint64_t, const wire::GrantFrame& grant) override { node.grants.push_back(grant.grant); }
    void begin(call::IncomingHandle end, const call::Open& open, call::Opening opening) override {
      auto call = make_own<NodeCall>();
      call->target = std::string(open.service) + "." + std::string(open.command);
      if (open.metadata != nullptr) call->metadata = *open.metadata;
      if (open.principal != nullptr) call->principal = *open.principal;
      call->deadline = open.deadline;
      call->link = index;
      if (opening.has_message) call->messages.emplace_back(opening.message.bytes().view());
      call->half_closed = opening.last == call::Last::yes;
      end->listen(*call);
      call->end = std::move(end);
      node.calls.push_back(std::move(call));
    }
    TestNode& node;
    std::size_t index;
    Own<link::MuxLink> link;
  };

  Own<loop::EpollLoop> loop_;
  std::vector<Own<NodeSide>> links_;
};

}  // namespace shunt::sdk
