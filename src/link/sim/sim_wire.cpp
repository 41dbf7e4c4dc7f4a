#include "link/sim/sim_wire.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace shunt::link {

/// One way of the wire: what is under way to `receiver`, on its loop.
struct SimWire::Direction final : loop::Timer {
  struct Packet {
    Instant at;
    std::string bytes;
    bool end = false;
    std::string why;
  };
  /// Tells the sender, on its loop, that there is room again.
  struct Room final : loop::Timer {
    Direction& direction;
    explicit Room(Direction& of) : direction(of) {}
    void fire() override;
  };

  loop::Loop& loop;         // The receiver's.
  loop::Loop& sender_loop;  // The sender's.
  const SimWireOptions options;
  SeededRandom random;
  std::deque<Packet> packets;
  std::size_t in_flight = 0;
  Instant last_at{};
  bool stalled = false;
  bool ended = false;  // An end is under way: nothing more is taken.
  bool sender_waits = false;
  End* sender = nullptr;
  End* receiver = nullptr;
  Room room{*this};

  Direction(loop::Loop& to, loop::Loop& from, const SimWireOptions& with, std::uint64_t seed)
      : loop(to), sender_loop(from), options(with), random(seed) {}

  void push(std::string bytes, bool end, std::string why) {
    auto jitter = static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(options.jitter.count()) + 1));
    Instant at = sender_loop.refresh_now() + options.delay + Duration(jitter);
    last_at = std::max(last_at, at);
    in_flight += bytes.size();
    packets.push_back({last_at, std::move(bytes), end, std::move(why)});
    arm();
  }
  void arm() {
    if (!stalled && !packets.empty() && !is_armed()) loop.arm(*this, packets.front().at);
  }
  void fire() override;
};

class SimWire::End final : public Carrier {
 public:
  End(Direction& out, Direction& in) : out_(out), in_(in) {
    out_.sender = this;
    in_.receiver = this;
  }
  ~End() override {
    close();
    if (gone_ != nullptr) *gone_ = true;
  }

  void start(Events& events) override {
    events_ = &events;
    in_.arm();
  }

  std::size_t write(const iovec* vectors, int count) override {
    std::size_t wanted = 0;
    for (int i = 0; i < count; i++) wanted += vectors[i].iov_len;
    if (out_.ended) return wanted;
    std::size_t room = out_.options.in_flight_bytes_max - std::min(out_.in_flight, out_.options.in_flight_bytes_max);
    std::size_t take = std::min(wanted, room);
    if (take > 0 && out_.options.write_bytes_max != SIZE_MAX) {
      take = std::min<std::size_t>(take, 1 + out_.random.below(out_.options.write_bytes_max));
    }
    std::string bytes;
    for (int i = 0; i < count && bytes.size() < take; i++) {
      bytes.append(static_cast<const char*>(vectors[i].iov_base), std::min(vectors[i].iov_len, take - bytes.size()));
    }
    if (!bytes.empty()) out_.push(std::move(bytes), false, {});
    if (take < wanted) {
      out_.sender_waits = true;
      // A partial write without a full wire: there is room at once.
      if (take < room) out_.sender_loop.arm(out_.room, out_.sender_loop.now());
    }
    return take;
  }

  void close() override {
    events_ = nullptr;
    if (out_.sender == this) {
      out_.sender = nullptr;
      if (!std::exchange(out_.ended, true)) out_.push({}, true, "the other end closed the connection");
    }
    if (in_.receiver == this) in_.receiver = nullptr;
  }

  Events* events() { return events_; }
  /// Delivers; false when the end was destroyed or closed inside.
  bool deliver(std::string_view bytes) {
    if (events_ == nullptr) return false;
    bool gone = false;
    gone_ = &gone;
    events_->on_bytes(bytes);
    if (gone) return false;
    gone_ = nullptr;
    return events_ != nullptr;
  }
  void tell_closed(std::string why) {
    auto* events = std::exchange(events_, nullptr);
    if (events != nullptr) events->on_closed(Status(Code::unavailable, std::move(why)));
  }
  void tell_writable() {
    if (events_ != nullptr) events_->on_writable();
  }

 private:
  Direction& out_;
  Direction& in_;
  Events* events_ = nullptr;
  bool* gone_ = nullptr;
};

void SimWire::Direction::Room::fire() {
  if (std::exchange(direction.sender_waits, false) && direction.sender != nullptr) direction.sender->tell_writable();
}

void SimWire::Direction::fire() {
  while (!stalled && !packets.empty() && packets.front().at <= loop.now()) {
    Packet packet = std::move(packets.front());
    packets.pop_front();
    in_flight -= packet.bytes.size();
    if (sender_waits && !room.is_armed()) sender_loop.arm(room, sender_loop.now());
    if (receiver == nullptr) continue;
    if (packet.end) {
      receiver->tell_closed(std::move(packet.why));
      continue;
    }
    std::string_view left = packet.bytes;
    while (!left.empty()) {
      std::size_t size = left.size();
      if (options.chunk_bytes_max != SIZE_MAX) {
        size = std::min<std::size_t>(size, 1 + random.below(options.chunk_bytes_max));
      }
      if (receiver == nullptr || !receiver->deliver(left.substr(0, size))) break;
      left.remove_prefix(size);
    }
  }
  arm();
}

SimWire::SimWire(loop::Loop& first, loop::Loop& second, SimWireOptions options) {
  directions_[0] = make_own<Direction>(second, first, options, options.seed * 2 + 1);
  directions_[1] = make_own<Direction>(first, second, options, options.seed * 2 + 2);
}

SimWire::~SimWire() {
  for (auto& direction : directions_) {
    SHUNT_ASSERT(direction->sender == nullptr && direction->receiver == nullptr);
  }
}

Own<Carrier> SimWire::first() { return make_own<End>(*directions_[0], *directions_[1]); }
Own<Carrier> SimWire::second() { return make_own<End>(*directions_[1], *directions_[0]); }

void SimWire::cut() {
  for (auto& direction : directions_) {
    direction->packets.clear();
    direction->in_flight = 0;
    direction->disarm();
    direction->ended = true;
    direction->push({}, true, "the wire was cut");
  }
}

void SimWire::stall(bool stalled) {
  for (auto& direction : directions_) {
    direction->stalled = stalled;
    if (stalled) {
      direction->disarm();
    } else {
      direction->arm();
    }
  }
}

std::size_t SimWire::in_flight() const { return directions_[0]->in_flight + directions_[1]->in_flight; }

}  // namespace shunt::link
