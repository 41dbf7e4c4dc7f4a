#include "net/http2/send_queue.h"

#include <algorithm>

namespace shunt::net {

namespace {

// What an emptied queue may keep for the next stream that uses it.
constexpr std::size_t kept_bytes_max = 2u << 10;
constexpr std::size_t kept_pieces_max = 16;
// Sent bytes before the unsent ones are moved to the front.
constexpr std::size_t sent_bytes_max = 64u << 10;

}  // namespace

void SendQueue::push_copy(std::string_view piece) {
  if (piece.empty()) return;
  copies_.append(piece);
  size_ += piece.size();
  if (first_ < pieces_.size() && pieces_.back().bytes.empty()) {
    pieces_.back().size += piece.size();
    return;
  }
  pieces_.push_back({{}, piece.size()});
}

void SendQueue::push(Bytes piece) {
  if (piece.empty()) return;
  const std::size_t size = piece.size();
  size_ += size;
  pieces_.push_back({std::move(piece), size});
}

void SendQueue::pop_into(std::string& out, std::size_t bytes) {
  size_ -= bytes;
  while (bytes > 0) {
    Piece& piece = pieces_[first_];
    const std::size_t part = std::min(bytes, piece.size);
    if (piece.bytes.empty()) {
      out.append(copies_, copies_sent_, part);
      copies_sent_ += part;
    } else {
      out.append(piece.bytes.view().substr(piece.bytes.size() - piece.size, part));
    }
    bytes -= part;
    piece.size -= part;
    if (piece.size > 0) break;
    piece.bytes = {};
    ++first_;
  }
  tidy();
}

void SendQueue::tidy() {
  if (size_ == 0) {
    clear();
    return;
  }
  if (copies_sent_ > sent_bytes_max && copies_sent_ > copies_.size() / 2) {
    copies_.erase(0, copies_sent_);
    copies_sent_ = 0;
  }
  if (first_ > kept_pieces_max && first_ > pieces_.size() / 2) {
    pieces_.erase(pieces_.begin(), pieces_.begin() + static_cast<std::ptrdiff_t>(first_));
    first_ = 0;
  }
}

void SendQueue::clear() {
  pieces_.clear();
  copies_.clear();
  if (pieces_.capacity() > kept_pieces_max) pieces_ = {};
  if (copies_.capacity() > kept_bytes_max) copies_ = {};
  first_ = copies_sent_ = size_ = 0;
}

}  // namespace shunt::net
