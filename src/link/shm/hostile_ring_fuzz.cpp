// A link over shared memory against a hostile process on the other side, which does what the input says: writes bytes into
// its ring, any value into any word of both rings, over bytes that were sent already, rings and does not ring, and goes. The
// link may end; nothing else may happen, and while it lives its calls get their answers or their end.

#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "link/mux_link.h"
#include "link/shm/ring_carrier.h"
#include "loop/epoll_loop.h"
#include "os/doorbell.h"
#include "wire/frame.h"

namespace shunt::link {
namespace {

void check(bool condition) {
  if (!condition) std::abort();
}

/// Takes decisions from the input, and 0 when that is used up.
struct Script {
  std::string_view left;
  std::uint8_t next() {
    if (left.empty()) return 0;
    const auto byte = static_cast<std::uint8_t>(left.front());
    left.remove_prefix(1);
    return byte;
  }
  std::uint64_t number(int bytes) {
    std::uint64_t value = 0;
    for (int i = 0; i < bytes; i++) value = value << 8 | next();
    return value;
  }
  std::string_view bytes(std::size_t most) {
    const std::string_view taken = left.substr(0, most);
    left.remove_prefix(taken.size());
    return taken;
  }
};

/// Answers every call at once with what came with it.
struct Echo final : call::Service {
  void begin(call::IncomingHandle call, const call::Open&, call::Opening opening) override {
    call->finish_with(opening.has_message ? std::move(opening.message) : call::Message(Bytes()));
  }
};

struct Owner final : LinkOwner {
  void on_closed(const Status& why) override {
    check(!why.message().empty());
    closed++;
  }
  int closed = 0;
};

struct Caller final : call::CallerEvents {
  void on_message(call::Message message) override {
    check(!ended);
    if (handle != nullptr) handle->consumed(message.cost());
  }
  void on_end(Status, call::Metadata) override {
    check(!ended);
    ended = true;
  }
  call::OutgoingHandle handle;
  bool ended = false;
};

std::string hello() {
  std::string out;
  wire::append_frame(out, wire::FrameType::hello, 0, wire::encode_hello({.role = "worker", .name = "hostile"}));
  return out;
}

}  // namespace
}  // namespace shunt::link

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace shunt;
  using namespace shunt::link;
  static auto loop = loop::EpollLoop::create({.name = "fuzz", .slow_turn = Duration{0}});
  check(loop.has_value());
  Script script{{reinterpret_cast<const char*>(data), size}};

  auto ends = make_ring_pair({.ring_bytes = ring_bytes_min});
  check(ends.has_value());
  auto hostile = std::move((*ends)[1]);
  auto memory = RingMemory::map(hostile.memory);
  check(memory.has_value());
  auto writer = memory->writer(RingSide::second);
  auto reader = memory->reader(RingSide::second);

  Echo echo;
  Owner owner;
  std::vector<Own<Caller>> callers;
  auto carrier = make_ring_carrier(**loop, std::move((*ends)[0]), RingSide::first);
  check(carrier.has_value());
  auto link = MuxLink::create(**loop, std::move(*carrier), echo, owner, {});
  const auto turn = [&] { (*loop)->turn(Duration{0}); };
  const auto write = [&](std::string_view bytes) {
    const iovec vector{const_cast<char*>(bytes.data()), bytes.size()};
    writer.write(&vector, 1);
    writer.publish();
    os::ring_doorbell(hostile.wakes.get());
  };
  // Many of them begin well.
  if (script.next() % 4 != 0) write(hello());

  while (!script.left.empty()) {
    const std::uint8_t what = script.next();
    auto& words = memory->words((what & 0x80) != 0 ? RingSide::first : RingSide::second);
    switch (what % 10) {
      case 0:
        write(script.bytes(script.next()));
        break;
      case 1: {  // A well-formed frame, with what it likes inside.
        std::string frame;
        const auto type = static_cast<wire::FrameType>(script.next() % 20);
        const std::uint64_t call = script.next();
        const std::uint8_t flags = script.next();
        wire::append_frame(frame, type, call, script.bytes(script.next()), flags);
        write(frame);
        break;
      }
      case 2:
        words.head.store(script.number(8));
        break;
      case 3:
        words.tail.store(script.number(8));
        break;
      case 4:
        words.head.fetch_add(script.number(2));
        break;
      case 5:
        words.reader_sleeps.store(script.next());
        words.writer_waits.store(script.next());
        break;
      case 6: {
        char* at = memory->data((what & 0x80) != 0 ? RingSide::first : RingSide::second);
        const std::size_t from = script.number(2) % ring_bytes_min;
        const std::string_view bytes = script.bytes(script.next());
        std::memcpy(at + from, bytes.data(), std::min(bytes.size(), ring_bytes_min - from));
        break;
      }
      case 7: {  // Reads as an honest side does.
        std::string into(reader.look(), '\0');
        reader.read(into.data(), into.size());
        reader.release();
        os::ring_doorbell(hostile.wakes.get());
        break;
      }
      case 8:
        if (callers.size() < 20) {
          auto& caller = *callers.emplace_back(make_own<Caller>());
          const std::size_t bytes = script.number(2);
          caller.handle = link->open({.service = "s", .command = "c"}, caller,
                                     call::Opening::unary(call::Message(Bytes::adopt(std::string(bytes, 'x')))));
        }
        break;
      default:
        if ((what & 0x40) != 0) hostile.wakes.close();
        if ((what & 0x20) != 0) hostile.woken.close();
        os::ring_doorbell(hostile.wakes.get());
        break;
    }
    turn();
  }
  for (int i = 0; i < 3; i++) turn();
  check(owner.closed <= 1);
  check(owner.closed == (link->is_closed() ? 1 : 0));
  if (link->is_closed()) {
    for (auto& caller : callers) check(caller->ended);
  }
  callers.clear();
  link = nullptr;
  turn();
  return 0;
}
