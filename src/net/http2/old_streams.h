#pragma once
// What a server remembers of streams that are over, to tell a peer that speaks of them on purpose from one whose frames
// were on their way when we reset a stream (those must be ignored, RFC 9113, section 5.1). It remembers a few; of what it has
// forgotten nothing is said.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace shunt::net {

class OldStreams {
 public:
  /// The peer opens that stream. Those between the last one and it were never used, and can't be any more.
  void opened(std::uint32_t id) {
    if (id > next_) skipped_[skips_++ % skipped_.size()] = {next_, id};
    next_ = std::max(next_, id + 2);
  }
  /// It is over, and the peer itself had ended its side, or reset it.
  void ended(std::uint32_t id) { ended_[ends_++ % ended_.size()] = id; }

  [[nodiscard]] bool has_ended(std::uint32_t id) const {
    return id != 0 && std::ranges::find(ended_, id) != ended_.end();
  }
  [[nodiscard]] bool was_skipped(std::uint32_t id) const {
    return std::ranges::any_of(skipped_, [id](const Range& range) { return id >= range.first && id < range.end; });
  }
  /// As seen on the wire, before the frames ahead of it are dealt with. For what comes behind it in the same bytes.
  void reset_on_wire(std::uint32_t id) { resets_[wire_resets_++ % resets_.size()] = id; }
  [[nodiscard]] bool was_reset_on_wire(std::uint32_t id) const {
    return id != 0 && std::ranges::find(resets_, id) != resets_.end();
  }
  /// Never opened so far.
  [[nodiscard]] bool is_new(std::uint32_t id) const { return id >= next_; }

 private:
  struct Range {
    std::uint32_t first = 0;
    std::uint32_t end = 0;
  };
  std::uint32_t next_ = 1;
  std::size_t ends_ = 0;
  std::size_t skips_ = 0;
  std::size_t wire_resets_ = 0;
  std::array<std::uint32_t, 32> ended_{};
  std::array<std::uint32_t, 8> resets_{};
  std::array<Range, 4> skipped_{};
};

/// Finds the heads of frames in bytes that come in any pieces.
class FrameWalk {
 public:
  struct Head {
    std::uint32_t size;
    std::uint8_t type;
    std::uint32_t stream;
  };

  /// `skip`: bytes before the first frame.
  explicit FrameWalk(std::size_t skip) : skip_(skip) {}

  /// Calls `accepts(head)` for each that is whole; where it says false, the walk ends: how many bytes came before that frame
  /// (or before the rest of its head). Else all.
  template <typename Accepts>
  std::size_t walk(std::string_view bytes, Accepts accepts) {
    std::size_t at = 0;
    while (at < bytes.size()) {
      const std::size_t skipped = std::min(skip_, bytes.size() - at);
      skip_ -= skipped;
      at += skipped;
      const std::size_t start = at;
      if (held_ == 0 && bytes.size() - at >= head_size) {
        std::copy_n(bytes.data() + at, head_size, head_.data());
        at += head_size;
      } else {
        const std::size_t part = std::min(head_size - held_, bytes.size() - at);
        std::copy_n(bytes.data() + at, part, head_.data() + held_);
        held_ += part;
        at += part;
        if (held_ < head_size) break;
        held_ = 0;
      }
      const Head head{byte(0) << 16 | byte(1) << 8 | byte(2), static_cast<std::uint8_t>(head_[3]),
                      (byte(5) & 0x7f) << 24 | byte(6) << 16 | byte(7) << 8 | byte(8)};
      skip_ = head.size;
      if (!accepts(head)) return start;
    }
    return bytes.size();
  }

 private:
  static constexpr std::size_t head_size = 9;
  [[nodiscard]] std::uint32_t byte(std::size_t index) const { return static_cast<std::uint8_t>(head_[index]); }

  std::size_t skip_;
  std::size_t held_ = 0;
  std::array<char, head_size> head_{};
};

}  // namespace shunt::net
