#pragma once
// PeerLinks: the links of this node to one other node, from all loops, and PeerInstance: a service there as routing sees it.
// A loop with a link of its own uses that; from another, and from the control loop, calls cross over to one that has.

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/own.h"
#include "call/instance.h"
#include "link/grpc/handshake.h"
#include "link/local/cross_loop_link.h"
#include "link/mux_link.h"

namespace shunt::node {

class Loops;

/// Who dialled: a link that we keep up ourselves goes before one that the other node may end.
enum class Dialled : std::uint8_t { by_us, by_them };

/// Owners: the book, routing snapshots (by way of instances), and whoever keeps links of it.
/// Threads: each method says.
class PeerLinks : public std::enable_shared_from_this<PeerLinks> {
 public:
  explicit PeerLinks(Loops& loops);

  /// On that loop: `link` takes calls from now on.
  void opened(std::size_t loop_index, link::MuxLink& link, Dialled dialled);
  /// On that loop: it takes none any more. Nothing when it was not open.
  void closed(std::size_t loop_index, link::MuxLink& link);
  /// On that loop: the way there now; nullptr when there is none.
  call::Link* link(std::size_t loop_index);
  /// Any thread.
  [[nodiscard]] bool is_open() const { return open_.load(std::memory_order_acquire) != 0; }
  [[nodiscard]] std::size_t open_loops() const;

 private:
  static constexpr std::size_t crossed_loops_max = 64;  // Calls cross over to the first so many only.
  struct Slot {
    std::vector<link::MuxLink*> links;  // The best first.
    std::vector<Own<link::CrossLoopLink>> crossings;
  };

  /// The best that has not just broken: its calls hear of that before closed() does.
  static call::Link* best(const Slot& slot);

  Loops& loops_;
  std::vector<Slot> slots_;  // By loop; each is its loop's alone.
  std::atomic<std::uint64_t> open_{0};
};

/// The peers that any loop has met. Threads: any.
class PeerBook {
 public:
  explicit PeerBook(Loops& loops) : loops_(loops) {}
  std::shared_ptr<PeerLinks> of(const std::string& node);

 private:
  Loops& loops_;
  std::mutex mutex_;  // Taken when a link opens, never for a call.
  std::map<std::string, std::shared_ptr<PeerLinks>, std::less<>> peers_;
};

class PeerInstance final : public call::Instance {
 public:
  PeerInstance(std::shared_ptr<PeerLinks> links, std::string name) : links_(std::move(links)), name_(std::move(name)) {}

  call::Link* link(std::size_t loop_index) override { return links_->link(loop_index); }
  [[nodiscard]] call::Distance distance() const override { return call::Distance::grpc; }
  [[nodiscard]] std::string name() const override { return name_; }

 private:
  const std::shared_ptr<PeerLinks> links_;  // Owners: see there.
  const std::string name_;                  // "prices@host-b"
};

}  // namespace shunt::node
