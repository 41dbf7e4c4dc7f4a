#pragma once
// MemoryWire: two carriers over memory on one thread, for benchmarks: nothing but what links and muxes cost by themselves.

#include <string>
#include <utility>

#include "base/own.h"
#include "link/carrier.h"

namespace shunt::link {

/// Both ends of a wire of memory; what was written is read when move() says so. It must outlive its ends.
struct MemoryWire {
  struct End final : Carrier {
    MemoryWire& wire;
    std::string written;
    Events* events = nullptr;
    explicit End(MemoryWire& of) : wire(of) {}
    void start(Events& told) override { events = &told; }
    std::size_t write(const iovec* vectors, int count) override {
      std::size_t size = 0;
      for (int i = 0; i < count; i++) {
        written.append(static_cast<const char*>(vectors[i].iov_base), vectors[i].iov_len);
        size += vectors[i].iov_len;
      }
      return size;
    }
    void close() override { events = nullptr; }
  };
  End* ends[2] = {};
  std::string reading;

  Own<Carrier> end(int which) {
    auto made = make_own<End>(*this);
    ends[which] = made.get();
    return made;
  }
  bool move() {
    bool moved = false;
    for (int i = 0; i < 2; i++) {
      if (ends[i]->written.empty()) continue;
      moved = true;
      reading.clear();
      std::swap(reading, ends[i]->written);
      if (ends[1 - i]->events != nullptr) ends[1 - i]->events->on_bytes(reading);
    }
    return moved;
  }
};

}  // namespace shunt::link
