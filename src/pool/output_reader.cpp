#include "pool/output_reader.h"

#include <memory>
#include <utility>

namespace shunt::pool {

namespace {

class Reader final : public Output, private loop::Watch, private loop::Runnable {
 public:
  Reader(loop::EpollLoop& loop, os::Fd pipe, Outputs::Line line)
      : loop_(loop), pipe_(std::move(pipe)), line_(std::move(line)) {
    if (!loop_.watch(*this, pipe_.get())) pipe_.close();
    // What was there before we watched: an edge that has passed is not told.
    loop_.ready(*this);
  }

  void finish() override {
    read_up_to(finish_bytes_max);
    if (!partial_.empty()) line_(std::exchange(partial_, {}));
    end();
  }

 private:
  // A pipe holds 64 KiB unless its writer asked for more: this bounds what a descendant that still writes can cost.
  static constexpr std::size_t finish_bytes_max = 1 << 20;

  void on_ready(bool, bool) override { run(); }
  void run() override {
    // There may be more: in the next turn, after the others.
    if (read_up_to(EpollOutputs::turn_bytes_max))
      loop_.post([token = std::weak_ptr(alive_), this] {
        if (!token.expired()) run();
      });
  }

  /// True when it stopped at the limit.
  bool read_up_to(std::size_t limit) {
    char chunk[16 << 10];
    for (std::size_t total = 0; pipe_.is_open() && total < limit;) {
      auto got = os::read_some(pipe_.get(), chunk);
      if (got && !*got) return false;
      if (!got || **got == 0) {
        if (!partial_.empty()) line_(std::exchange(partial_, {}));
        end();
        return false;
      }
      total += **got;
      take({chunk, **got});
    }
    return pipe_.is_open();
  }

  void take(std::string_view bytes) {
    while (!bytes.empty()) {
      auto end = bytes.find('\n');
      std::size_t room = EpollOutputs::line_bytes_max - partial_.size();
      bool whole = end != std::string_view::npos && end <= room;
      std::string_view part = bytes.substr(0, whole ? end : std::min(room, bytes.size()));
      bytes.remove_prefix(part.size() + (whole ? 1 : 0));
      if (whole && partial_.empty()) {
        line_(part);
        continue;
      }
      partial_ += part;
      if (whole || partial_.size() >= EpollOutputs::line_bytes_max) line_(std::exchange(partial_, {}));
    }
  }

  void end() {
    unwatch();
    pipe_.close();
  }

  loop::EpollLoop& loop_;
  os::Fd pipe_;
  Outputs::Line line_;
  std::string partial_;
  // Owners: this, and for a moment whoever asks whether this lives.
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

}  // namespace

Own<Output> EpollOutputs::read(os::Fd pipe, Line line) {
  return make_own<Reader>(loop_, std::move(pipe), std::move(line));
}

}  // namespace shunt::pool
