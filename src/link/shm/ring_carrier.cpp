#include "link/shm/ring_carrier.h"

#include <algorithm>
#include <string>
#include <utility>

#include "os/doorbell.h"

namespace shunt::link {

namespace {

/// What one link reads in a turn: about this many frames, so that the peer has something to do while we are at the rest, and
/// the other links of the loop have their turn.
constexpr std::size_t turn_frames = 16;
constexpr std::size_t turn_bytes_min = 2 << 10;
constexpr std::size_t turn_bytes_max = loop::EpollLoop::scratch_bytes;
/// How long a sleeping peer may be left asleep while there is more to do for it.
constexpr Duration bell_delay_max = std::chrono::microseconds(50);
/// After so many sleeps the doorbell's pipe is emptied: at least 4096 rings fit, and each sleep is rung once at most.
constexpr int calls_for_bell_max = 1024;

constexpr const char* peer_gone = "the process has ended or closed the connection";

class RingCarrier final : public Carrier, private loop::Watch, private loop::Poller {
 public:
  RingCarrier(loop::EpollLoop& loop, RingEnds ends, RingMemory memory, RingSide side)
      : loop_(loop),
        wakes_(std::move(ends.wakes)),
        woken_(std::move(ends.woken)),
        memory_(std::move(memory)),
        writer_(memory_.writer(side)),
        reader_(memory_.reader(side)) {}
  ~RingCarrier() override {
    if (gone_ != nullptr) *gone_ = true;
  }

  void start(Events& events) override {
    events_ = &events;
    if (auto watched = loop_.watch(*this, woken_.get(), loop::Interest::reading); !watched) {
      break_later(std::string(watched.error().message()));
      return;
    }
    // The peer may have begun before us.
    loop_.poll_more(*this);
  }

  std::size_t write(const iovec* vectors, int count) override {
    std::size_t wanted = 0;
    for (int i = 0; i < count; i++) wanted += vectors[i].iov_len;
    // A broken writer swallows: what the peer said before it went is still to be read, then the end is told.
    if (!failure_.empty() || events_ == nullptr) return wanted;
    std::size_t taken = writer_.write(vectors, count);
    if (writer_.is_broken()) {
      break_later("shared memory: the peer has read what was never written");
      return wanted;
    }
    if (taken > 0) {
      writer_.publish();
      wake_reader();
    }
    // Where there is room again already, the next turn finds it; else the bell tells.
    if (taken < wanted) wait_for_room();
    // An answer is likely: it is worth looking for.
    stay_awake();
    return taken;
  }

  void close() override {
    unwatch();
    stop_polling();
    events_ = nullptr;
    // The peer hears of it by the hang-up.
    wakes_.close();
    woken_.close();
  }

 private:
  // --- What wakes it ---

  void on_ready(bool, bool) override {
    stay_awake();
    if (is_hung_up()) {
      if (failure_.empty()) failure_ = peer_gone;
    } else if (calls_for_bell_ >= calls_for_bell_max) {
      calls_for_bell_ = 0;
      os::silence_doorbell(woken_.get());
    }
  }

  void stay_awake() {
    if (is_polled()) return;
    reader_.end_sleep();
    loop_.poll_more(*this);
  }

  // --- What it does then, once a turn ---

  [[nodiscard]] bool peek() const override {
    return reader_.peek() || bell_owed_ || (waits_for_room_ && writer_.peek_room()) || !failure_.empty();
  }

  bool poll() override {
    bool gone = false;
    gone_ = &gone;
    bool did = work(gone);
    if (!gone) gone_ = nullptr;
    return did;
  }

  bool work(const bool& gone) {
    bool did = false;
    if (waits_for_room_ && writer_.has_room()) {
      waits_for_room_ = false;
      did = true;
      events_->on_writable();
      if (gone || events_ == nullptr) return true;
    }
    std::size_t there = reader_.look();
    if (there == 0) {
      if (bell_owed_) wake_reader();
      if (reader_.is_broken()) {
        end("shared memory: the peer wrote an index that can't be");
        return true;
      }
      // All that the peer said has been heard.
      if (!failure_.empty()) {
        end(failure_);
        return true;
      }
      if (reader_.must_ring_writer()) ring();
      return did;
    }
    read(std::min(there, turn_bytes_));
    return true;
  }

  void read(std::size_t size) {
    // Copied before anybody looks at it: the peer may still write there. The carrier may go inside the event.
    bool* gone = gone_;
    loop::EpollLoop& loop = loop_;
    std::string scratch = loop.take_scratch();
    reader_.read(scratch.data(), size);
    reader_.release();
    if (reader_.must_ring_writer()) ring();
    std::uint64_t frames = events_->frames_received();
    events_->on_bytes({scratch.data(), size});
    loop.give_scratch(std::move(scratch));
    if (*gone || events_ == nullptr) return;
    choose_turn_bytes(size, events_->frames_received() - frames);
  }

  /// Goes by the size of the frames that came last. Fragments of large messages come several at a time.
  void choose_turn_bytes(std::size_t size, std::uint64_t frames) {
    frame_bytes_ = (3 * frame_bytes_ + (frames > 1 ? size / frames : size)) / 4;
    turn_bytes_ = std::clamp(turn_frames * frame_bytes_, turn_bytes_min, turn_bytes_max);
  }

  // --- Sleep ---

  void arm() override { reader_.begin_sleep(); }
  bool rest() override {
    if (waits_for_room_) wait_for_room();
    if ((waits_for_room_ && writer_.peek_room()) || !failure_.empty() || !reader_.may_sleep()) {
      reader_.end_sleep();
      return false;
    }
    if (bell_owed_) {
      bell_owed_ = false;
      if (writer_.must_ring()) ring();
    }
    if (reader_.must_ring_writer()) ring();
    calls_for_bell_++;
    return true;
  }
  void wait_for_room() {
    waits_for_room_ = true;
    writer_.wait_for_room();
    calls_for_bell_++;
  }

  /// After publishing. On a shared core a peer that is woken takes the core from us: it is left asleep while there is more
  /// to do for it.
  void wake_reader() {
    if (!writer_.reader_sleeps()) {
      bell_owed_ = false;
      return;
    }
    if (reader_.peek() && loop_.shares_core()) {
      if (!std::exchange(bell_owed_, true)) bell_owed_since_ = loop_.now();
      if (loop_.now() - bell_owed_since_ < bell_delay_max) return;
    }
    bell_owed_ = false;
    if (writer_.must_ring()) ring();
  }

  void ring() {
    if (os::ring_doorbell(wakes_.get()) == os::Rung::gone) break_later(peer_gone);
  }

  // --- The end ---

  /// Nothing goes out any more; what has come is still read, then the end is told, in a turn of its own.
  void break_later(std::string why) {
    if (failure_.empty()) failure_ = std::move(why);
    stay_awake();
  }

  void end(std::string why) {
    unwatch();
    stop_polling();
    auto* events = std::exchange(events_, nullptr);
    events->on_closed(Status(Code::unavailable, std::move(why)));
  }

  loop::EpollLoop& loop_;
  os::Fd wakes_;
  os::Fd woken_;
  RingMemory memory_;
  RingWriter<> writer_;
  RingReader<> reader_;
  Events* events_ = nullptr;
  bool* gone_ = nullptr;  // Set when it is destroyed inside an event.
  bool waits_for_room_ = false;
  bool bell_owed_ = false;  // To a reader that sleeps.
  Instant bell_owed_since_;
  std::size_t frame_bytes_ = 128;
  std::size_t turn_bytes_ = turn_bytes_min;
  int calls_for_bell_ = 0;  // Since the doorbell was emptied.
  std::string failure_;
};

}  // namespace

Result<Own<Carrier>> make_ring_carrier(loop::EpollLoop& loop, RingEnds ends, RingSide side) {
  SHUNT_TRY(auto memory, RingMemory::map(ends.memory));
  SHUNT_CHECK(os::check_doorbell(ends.wakes.get(), ends.woken.get()));
  ends.memory.close();
  return make_own<RingCarrier>(loop, std::move(ends), std::move(memory), side);
}

}  // namespace shunt::link
