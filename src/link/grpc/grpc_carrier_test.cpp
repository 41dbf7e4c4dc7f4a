// The dialler against a peer of the test's own making: what it says to whom, and what it survives.

#include "link/grpc/grpc_carrier.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <functional>
#include <optional>
#include <vector>

#include "link/grpc/link_message.h"
#include "net/http2/session.h"
#include "os/fd.h"

namespace shunt::link {

namespace {

using namespace std::chrono_literals;

/// A peer on a socket of its own: HTTP/2 as it should be, and a gRPC stream as each test wants it.
class FakePeer final : net::Http2Events, net::Http2StreamEvents {
 public:
  FakePeer() {
    auto listening = os::listen_tcp({.host = "127.0.0.1", .port = 0}, 1);
    listener_ = std::move(listening->front());
    address = *os::local_address(listener_.get());
  }

  os::TcpAddress address;
  std::string key;
  bool keyed = false;
  bool silent = false;  ///< Reads and answers nothing more.
  int status = 200;
  std::string grpc_status;  ///< Refuses with it.
  std::string greeting;     ///< Said in place of HTTP/2.
  std::string received;     ///< Frames.
  std::optional<Introduction> dialler;
  std::string path;
  net::Http2Stream* stream = nullptr;
  bool closed = false;

  void turn() {
    if (!socket_) {
      if (auto accepted = os::accept_connection(listener_.get()); accepted && *accepted) {
        socket_ = std::move(**accepted);
        session_ = net::make_http2_server(*this, {});
        out_ = greeting;
      }
      return;
    }
    if (silent) return;
    std::array<char, 65536> bytes;
    const ssize_t count = ::recv(socket_.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
    if (count == 0) closed = true;
    if (count > 0 && greeting.empty()) (void)session_->receive({bytes.data(), static_cast<std::size_t>(count)}, 0);
    if (greeting.empty()) session_->collect(out_, 1u << 20);
    const ssize_t sent = ::send(socket_.get(), out_.data(), out_.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent > 0) out_.erase(0, static_cast<std::size_t>(sent));
  }
  void say(std::string_view frames) {
    stream->send(std::string(LinkMessageHead(frames.size()).view()).append(frames), false);
  }
  void hang_up() { socket_.close(); }
  void shut_down() { session_->shut_down(); }
  Introduction self() const {
    return {.node = {.id = std::string(32, 'b'), .name = "peer", .epoch = 1, .software = "test"},
            .challenge = std::string(32, '9'),
            .keyed = keyed};
  }

 private:
  net::Http2StreamEvents* on_request(net::Http2Stream& opened, const net::Http2Head& head, bool) override {
    stream = &opened;
    path = head.path;
    auto read = read_introduction([&](std::string_view name) {
      for (const auto& header : head.headers) {
        if (header.name == name) return header.value;
      }
      return std::string_view();
    });
    if (read) dialler = std::move(*read);
    const auto fields = introduction_fields(self());
    std::vector<net::Header> headers = {{"content-type", "application/grpc"}};
    if (!grpc_status.empty()) {
      headers.push_back({"grpc-status", grpc_status});
      headers.push_back({"grpc-message", "no%21"});
    } else {
      for (const auto& [name, value] : fields) headers.push_back({name, value});
    }
    stream->send_head(status, headers, !grpc_status.empty() || status != 200);
    return this;
  }
  void on_output() override {}
  void on_data(std::string_view piece, bool) override {
    stream->consumed(piece.size());
    const bool had = !reader_.proof().empty();
    (void)reader_.read(piece, received);
    if (!had && !reader_.proof().empty()) {
      stream->send(proof_message(make_proof(key, HandshakeSide::acceptor, *dialler, self())), false);
    }
  }
  void on_close(net::Http2Error) override { stream = nullptr; }

  os::Fd listener_;
  os::Fd socket_;
  LinkMessageReader reader_;
  std::string out_;
  Own<net::Http2Session> session_;
};

struct Dialling : testing::Test, GrpcDialEvents, Carrier::Events {
  Dialling() {
    loop = std::move(*loop::EpollLoop::create({.name = "test", .slow_turn = Duration(0)}));
    options.address = peer.address;
    options.self = {.node = {.id = std::string(32, 'a'), .name = "dialler", .epoch = 1, .software = "test"},
                    .challenge = std::string(32, '1')};
  }
  ~Dialling() override { carrier = nullptr; }

  void dial() { carrier = GrpcCarrier::dial(*loop, options, *this); }
  /// Until it is so; whoever counts seconds finds what hangs.
  void until(const std::function<bool()>& so) {
    while (!so()) {
      peer.turn();
      loop->turn(Duration(100us));
    }
  }
  void dial_and_start() {
    dial();
    until([&] { return ready; });
    carrier->start(*this);
  }
  void write(std::string_view text) {
    const iovec vector{const_cast<char*>(text.data()), text.size()};
    EXPECT_EQ(carrier->write(&vector, 1), text.size());
  }

  void on_ready(const NodeIdentity& identity) override {
    ready = true;
    name = identity.name;
  }
  void on_failed(Status why) override { failed = std::move(why); }
  void on_goaway() override { goaway = true; }
  void on_bytes(std::string_view bytes) override { heard += bytes; }
  void on_writable() override { writable = true; }
  void on_closed(Status why) override { closed = std::move(why); }

  FakePeer peer;
  Own<loop::EpollLoop> loop;
  GrpcDialOptions options;
  Own<GrpcCarrier> carrier;
  bool ready = false;
  bool goaway = false;
  bool writable = false;
  std::string name;
  std::string heard;
  std::optional<Status> failed;
  std::optional<Status> closed;
};

TEST_F(Dialling, bytes_go_both_ways_in_one_grpc_stream) {
  dial_and_start();
  EXPECT_EQ(peer.path, interconnect_path);
  EXPECT_EQ(peer.dialler->node.name, "dialler");
  EXPECT_EQ(name, "peer");
  write("to the peer");
  peer.say("and");
  peer.say(" back");
  until([&] { return peer.received == "to the peer" && heard == "and back"; });
}

TEST_F(Dialling, more_than_the_peer_reads_waits) {
  dial_and_start();
  const std::string block(100'000, 'x');
  std::size_t taken = 0;
  peer.silent = true;
  for (int i = 0; i < 10'000; ++i) {
    const iovec vector{const_cast<char*>(block.data()), block.size()};
    const std::size_t now = carrier->write(&vector, 1);
    taken += now;
    if (now == 0) break;
    loop->turn(Duration(0));
  }
  EXPECT_LT(taken, 100u << 20);
  EXPECT_FALSE(writable);
  peer.silent = false;
  until([&] { return writable && peer.received.size() == taken; });
}

TEST_F(Dialling, two_with_one_key_believe_each_other) {
  options.key = peer.key = "secret";
  options.self.keyed = peer.keyed = true;
  dial_and_start();
  peer.say("hello");
  until([&] { return heard == "hello"; });
}

TEST_F(Dialling, a_peer_with_another_key_is_not_believed) {
  options.key = "secret";
  peer.key = "another";
  options.self.keyed = peer.keyed = true;
  dial();
  until([&] { return failed.has_value(); });
  EXPECT_EQ(failed->code(), Code::unauthenticated);
  EXPECT_EQ(failed->id(), "S5060");
  EXPECT_FALSE(ready);
}

TEST_F(Dialling, a_peer_without_a_key_is_not_believed_by_who_has_one) {
  options.key = "secret";
  options.self.keyed = true;
  dial();
  until([&] { return failed.has_value(); });
  EXPECT_EQ(failed->id(), "S5060");
}

TEST_F(Dialling, a_refusal_is_told_as_it_came) {
  peer.grpc_status = "16";
  dial();
  until([&] { return failed.has_value(); });
  EXPECT_EQ(failed->code(), Code::unauthenticated);
  EXPECT_NE(failed->message().find("no!"), std::string_view::npos);
}

TEST_F(Dialling, what_is_no_node_is_told_so) {
  peer.status = 404;
  dial();
  until([&] { return failed.has_value(); });
  EXPECT_EQ(failed->id(), "S5062");
}

TEST_F(Dialling, what_speaks_something_else_is_told_so) {
  peer.greeting = "HTTP/1.1 400 Bad Request\r\n\r\n";
  dial();
  until([&] { return failed.has_value(); });
  EXPECT_EQ(failed->id(), "S5062");
}

TEST_F(Dialling, nobody_there_is_unavailable) {
  auto listening = os::listen_tcp({.host = "127.0.0.1", .port = 0}, 1);
  options.address = *os::local_address(listening->front().get());
  listening->front().close();
  dial();
  until([&] { return failed.has_value(); });
  EXPECT_EQ(failed->code(), Code::unavailable);
}

TEST_F(Dialling, a_peer_that_never_answers_is_given_up) {
  options.connect_timeout = 20ms;
  peer.silent = true;
  dial();
  until([&] { return failed.has_value(); });
  EXPECT_NE(failed->message().find("did not answer within 20ms"), std::string_view::npos) << failed->message();
}

TEST_F(Dialling, a_peer_that_answers_no_ping_is_lost) {
  options.ping_interval = 10ms;
  options.ping_timeout = 10ms;
  dial_and_start();
  peer.silent = true;
  until([&] { return closed.has_value(); });
  EXPECT_NE(closed->message().find("ping"), std::string_view::npos);
}

TEST_F(Dialling, a_peer_that_answers_pings_is_kept) {
  options.ping_interval = 1ms;
  dial_and_start();
  const Instant until_then = loop->refresh_now() + 50ms;
  until([&] { return loop->now() > until_then; });
  EXPECT_FALSE(closed.has_value());
  peer.say("still here");
  until([&] { return heard == "still here"; });
}

TEST_F(Dialling, a_peer_that_goes_is_lost_after_what_it_said) {
  dial_and_start();
  peer.say("last words");
  until([&] { return heard == "last words"; });
  peer.hang_up();
  until([&] { return closed.has_value(); });
  EXPECT_EQ(closed->code(), Code::unavailable);
}

TEST_F(Dialling, a_goaway_is_told_and_the_stream_goes_on) {
  dial_and_start();
  peer.shut_down();
  until([&] { return goaway; });
  EXPECT_FALSE(closed.has_value());
  peer.say("more");
  until([&] { return heard == "more"; });
}

TEST_F(Dialling, garbage_in_the_stream_is_the_end_of_it) {
  dial_and_start();
  peer.stream->send(std::string_view("\7garbage", 8), false);
  until([&] { return closed.has_value(); });
  EXPECT_EQ(closed->code(), Code::data_loss);
}

TEST_F(Dialling, what_was_said_before_a_close_leaves) {
  dial_and_start();
  write("goodbye");
  carrier->close();
  until([&] { return peer.received == "goodbye" && peer.closed; });
}

TEST_F(Dialling, it_may_be_dropped_at_any_time) {
  for (int turns = 0; turns < 12; ++turns) {
    ready = false;
    FakePeer fresh;
    options.address = fresh.address;
    dial();
    for (int i = 0; i < turns; ++i) {
      fresh.turn();
      loop->turn(Duration(100us));
    }
    carrier = nullptr;
    loop->turn(Duration(0));
  }
}

}  // namespace

}  // namespace shunt::link
