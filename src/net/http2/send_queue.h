#pragma once
// What a stream has yet to say: copied pieces side by side in one buffer, and Bytes that are only held. It knows nothing
// of frames or windows.

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"

namespace shunt::net {

class SendQueue {
 public:
  void push_copy(std::string_view piece);
  void push(Bytes piece);
  /// Appends the first `bytes` to `out` and forgets them. There must be as many.
  void pop_into(std::string& out, std::size_t bytes);
  void clear();
  [[nodiscard]] std::size_t size() const { return size_; }

 private:
  struct Piece {
    Bytes bytes;       // Empty: the next `size` bytes of copies_.
    std::size_t size;  // What is left of it.
  };
  void tidy();

  std::vector<Piece> pieces_;
  std::size_t first_ = 0;  // Of pieces_, the first that is not sent.
  std::string copies_;
  std::size_t copies_sent_ = 0;
  std::size_t size_ = 0;
};

}  // namespace shunt::net
