// bench_links_link: the bare link between two processes: mux and carrier, an echo at the end of it, no node and no SDK. Variants:
// unix, tcp (the carrier of a connected socket), shm (the carrier of a ring).
#include <fcntl.h>

#include "base/own.h"
#include "link/mux_link.h"
#include "link/unix/socket_carrier.h"
#include "loop/epoll_loop.h"
#include "measure.h"
#include "os/clock_id.h"
#include "raw_socket.h"

#if __has_include("link/shm/ring_carrier.h")
#include "link/shm/ring_carrier.h"
#define SHUNT_BENCH_RINGS 1
#endif

namespace bench {
namespace {

using namespace shunt;

template <typename T>
T must(Result<T> result) {
  if (!result) give_up(result.error().message());
  return std::move(*result);
}

/// A call whose request did not come with its opening: a large one, in fragments.
class LateEcho final : public call::CalleeEvents {
 public:
  explicit LateEcho(call::IncomingHandle call) : call_(std::move(call)) { call_->listen(*this); }
  void on_message(call::Message message) override { message_ = std::move(message); }
  void on_half_close() override {
    call_->finish_with(std::move(message_));
    delete this;
  }
  void on_cancel(call::Cancel reason) override {
    call_->finish(call::cancel_status(reason), {});
    delete this;
  }

 private:
  call::IncomingHandle call_;
  call::Message message_;
};

class EchoService final : public call::Service {
 public:
  void begin(call::IncomingHandle call, const call::Open&, call::Opening opening) override {
    if (opening.has_message && opening.last == call::Last::yes) {
      call->finish_with(std::move(opening.message));
    } else {
      new LateEcho(std::move(call));
    }
  }
};

class Owner final : public link::LinkOwner {
 public:
  void on_closed(const Status& why) override { give_up("the link closed: " + std::string(why.message())); }
};

/// One of the calls in flight: asks again when it was answered.
class Asking final : public call::CallerEvents {
 public:
  Asking(loop::Loop& loop, call::Link& link, const Bytes& block, Meter& meter)
      : loop_(loop), link_(link), block_(block), meter_(meter) {}
  void ask() {
    static const call::Principal principal{
        .kind = call::PrincipalKind::service, .service = "bench.driver", .user = {}, .token = {}};
    began_ = ticks();
    call::Open open;
    open.service = "bench.echo";
    open.command = "echo";
    open.deadline = Deadline::after(loop_.now(), std::chrono::seconds(60));
    open.principal = &principal;
    call_ = link_.open(open, *this, call::Opening::unary(call::Message(block_)));
  }

 private:
  bool wants_answer() const override { return true; }
  void on_answer(call::Message message) override {
    message_ = std::move(message);
    on_end(Status(), {});
  }
  void on_message(call::Message message) override { message_ = std::move(message); }
  void on_end(Status status, call::Metadata) override {
    if (!status.is_ok()) give_up("a call failed: " + std::string(status.message()));
    if (message_.size() != block_.size()) give_up("a wrong answer");
    meter_.answered(began_);
    call_.reset();
    if (meter_.over()) return loop_.stop();
    ask();
  }
  loop::Loop& loop_;
  call::Link& link_;
  const Bytes& block_;
  Meter& meter_;
  std::uint64_t began_ = 0;
  call::Message message_;
  call::OutgoingHandle call_;
};

/// What each side makes its carrier from, after the fork.
class Ends {
 public:
  explicit Ends(const Ask& ask) {
    if (ask.variant == "shm") {
#ifdef SHUNT_BENCH_RINGS
      rings_ = must(link::make_ring_pair());
      return;
#else
      give_up("there is no carrier over shared memory yet");
#endif
    }
    auto ends = socket_ends(ask.variant == "tcp");
    for (std::size_t i = 0; i < 2; ++i) sockets_[i] = os::Fd(ends[i]);
    for (auto& socket : sockets_) must_fcntl(socket.get());
  }
  Own<link::Carrier> carrier(loop::EpollLoop& loop, std::size_t side) {
#ifdef SHUNT_BENCH_RINGS
    if (rings_[side].memory.is_open()) {
      auto mine = std::move(rings_[side]);
      rings_[1 - side] = {};
      return must(
          link::make_ring_carrier(loop, std::move(mine), side == 0 ? link::RingSide::first : link::RingSide::second));
    }
#endif
    sockets_[1 - side] = {};
    return link::make_socket_carrier(loop, std::move(sockets_[side]));
  }

 private:
  static void must_fcntl(int fd) {
    if (fcntl(fd, F_SETFL, O_NONBLOCK) != 0) give_up("no socket");
  }
  std::array<os::Fd, 2> sockets_;
#ifdef SHUNT_BENCH_RINGS
  std::array<link::RingEnds, 2> rings_;
#endif
};

link::MuxLinkOptions options(wire::Side side) {
  link::MuxLinkOptions options;
  options.side = side;
  options.limits.link_bytes_max = 1ull << 30;
  options.hello.clock = os::clock_id();
  options.trust_principal = true;
  return options;
}

void measure(const Ask& ask) {
  Ends ends(ask);
  EchoService echo;
  Owner owner;
  Callee callee(ask, [&](auto ready) {
    auto loop = must(loop::EpollLoop::create({}));
    auto link = link::MuxLink::create(*loop, ends.carrier(*loop, 1), echo, owner, options(wire::Side::acceptor));
    ready("");
    loop->run();
  });
  auto loop = must(loop::EpollLoop::create({}));
  auto link = link::MuxLink::create(*loop, ends.carrier(*loop, 0), echo, owner, options(wire::Side::dialler));
  Bytes block = Bytes::copy_of(std::string(ask.bytes, 'x'));
  Meter meter(ask.seconds, callee.clocks());
  std::vector<std::unique_ptr<Asking>> calls;
  for (std::size_t i = 0; i < ask.in_flight; ++i) {
    calls.push_back(std::make_unique<Asking>(*loop, *link, block, meter));
    calls.back()->ask();
  }
  loop->run();
  meter.print();
  callee.end(SIGKILL);
  std::_Exit(0);
}

}  // namespace
}  // namespace bench

int main(int argc, char** argv) { bench::measure(bench::ask_of(argc, argv)); }
