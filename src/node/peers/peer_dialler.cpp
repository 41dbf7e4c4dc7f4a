#include "node/peers/peer_dialler.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "os/random.h"

namespace shunt::node {

PeerDialler::PeerDialler(RoutingLoop& routing, const PeerTarget& target, const link::NodeIdentity& self,
                         const std::string& key, call::Service& door, PeerBook& book, const PeerTimes& times,
                         Changed changed)
    : routing_(routing),
      target_(target),
      self_(self),
      key_(key),
      door_(door),
      book_(book),
      times_(times),
      changed_(std::move(changed)),
      scope_(routing.loop) {}

PeerDialler::~PeerDialler() {
  if (lookup_.joinable()) lookup_.join();
}

DialState PeerDialler::state() const {
  return {.peer = known_,
          .open = link_ != nullptr && link_->is_open(),
          .hopeless = hopeless_,
          .round_trip = link_ != nullptr ? link_->round_trip() : Duration(0),
          .last_error = last_error_,
          .attempts = attempts_};
}

void PeerDialler::start() { dial(); }

Duration PeerDialler::jittered(Duration span, double from, double to) {
  const double part = from + (to - from) * static_cast<double>(routing_.random.below(1001)) / 1000;
  return std::chrono::duration_cast<Duration>(span * part);
}

// --- Dialling ---

void PeerDialler::dial() {
  if (stopping_ || hopeless_ || looking_up_ || dialling_ != nullptr || next_ != nullptr) return;
  ++attempts_;
  if (os::is_numeric(target_.address)) {
    dial_at(target_.address);
  } else if (!addresses_.empty()) {
    const os::TcpAddress address = addresses_.front();
    addresses_.erase(addresses_.begin());
    dial_at(address);
  } else {
    look_up();
  }
}

// The system's resolver blocks for as long as it likes: in a thread of its own.
void PeerDialler::look_up() {
  looking_up_ = true;
  if (lookup_.joinable()) lookup_.join();  // It has told, or there would be no second.
  lookup_ = std::thread([this, address = target_.address] {
    auto found = os::resolve_tcp(address);
    routing_.loop.post([this, found = std::move(found)]() mutable { looked_up(std::move(found)); });
  });
}

void PeerDialler::looked_up(Result<std::vector<os::TcpAddress>> found) {
  looking_up_ = false;
  if (!found) {
    fail({Code::unavailable, "S5066", std::string(found.error().message())});
    return;
  }
  addresses_ = std::move(*found);
  --attempts_;
  dial();
}

void PeerDialler::dial_at(const os::TcpAddress& address) {
  link::GrpcDialOptions options;
  options.address = address;
  options.authority = target_.address.to_string();
  options.tls = target_.tls.get();
  options.tls_host = target_.address.host;
  options.self = {.node = self_, .challenge = os::random_hex(16), .keyed = !key_.empty()};
  options.key = key_;
  dialling_ = link::GrpcCarrier::dial(routing_.loop, std::move(options), *this);
}

void PeerDialler::on_ready(const link::NodeIdentity& peer) {
  if (peer.id == self_.id) {
    hopeless_ = true;
    fail({Code::failed_precondition, "S5063",
          fmt::format("{} is this node itself; leave it out of its --peer options", target_.url)});
    return;
  }
  known_ = peer;
  addresses_.clear();
  next_ = make_own<PeerLink>(routing_, std::move(dialling_), wire::Side::dialler, self_, peer, door_, book_, *this);
}

void PeerDialler::on_failed(Status why) { fail(why); }

void PeerDialler::fail(const Status& why) {
  // It is on the stack.
  if (dialling_ != nullptr) routing_.loop.post([old = std::move(dialling_)] {});
  last_error_ = why.to_string();
  if (addresses_.empty()) {
    pause_ = std::clamp(pause_ * 2, times_.pause_min, times_.pause_max);
    routing_.loop.arm(*this, routing_.loop.now() + jittered(pause_, 0.5, 1));
  } else {
    routing_.loop.arm(*this, routing_.loop.now());
  }
  tell();
}

void PeerDialler::fire() {
  gone_.clear();
  dial();  // The first, the next, or a fresh one beside what is open.
  if (link_ != nullptr && !Timer::is_armed()) routing_.loop.arm(*this, routing_.loop.now() + times_.pause_max);
}

// A proxy renews its connections, or the other node begins to end: a fresh link, then this one may go.
void PeerDialler::on_goaway() {
  if (!stopping_) routing_.loop.arm(*this, routing_.loop.now() + jittered(times_.pause_min, 0, 1));
}

// --- The link ---

void PeerDialler::on_open(PeerLink& link) {
  if (&link != next_.get()) return;
  if (link_ != nullptr) retire(std::move(link_));
  link_ = std::move(next_);
  pause_ = Duration(0);
  last_error_.clear();
  routing_.loop.arm(*this, routing_.loop.now() + jittered(times_.renewal, 0.9, 1.1));
  tell();
}

void PeerDialler::on_leaving(PeerLink& link) {
  if (&link != link_.get()) return;
  retire(std::move(link_));
  last_error_ = "the other node is draining";
  routing_.loop.arm(*this, routing_.loop.now() + jittered(times_.pause_min, 0.5, 1));
  tell();
}

void PeerDialler::on_closed(PeerLink& link, const Status& why) {
  const bool current = &link == link_.get();
  if (!current && &link != next_.get()) return;  // An old one; who drains it sees.
  gone_.push_back(std::move(current ? link_ : next_));
  if (stopping_) return;
  if (!current) {
    fail(why);
    return;
  }
  // The first attempt soon: a lost link is not a peer that is down.
  last_error_ = why.to_string();
  routing_.loop.arm(*this, routing_.loop.now() + jittered(times_.pause_min, 0, 0.5));
  tell();
}

void PeerDialler::retire(Own<PeerLink> link) { scope_.spawn(drain_old(std::move(link))); }

loop::Task<void> PeerDialler::drain_old(Own<PeerLink> link) {
  // It may be on the stack.
  co_await loop::sleep_for(routing_.loop, Duration(1));
  co_await link->drain(Deadline::after(routing_.loop.now(), times_.drain));
}

loop::Task<void> PeerDialler::stop(Deadline deadline) {
  stopping_ = true;
  Timer::disarm();
  dialling_ = nullptr;
  next_ = nullptr;
  if (link_ != nullptr) {
    auto link = std::move(link_);
    co_await link->drain(deadline);
  }
  scope_.cancel();
}

}  // namespace shunt::node
