// The mux against two kinds of peers. The first byte chooses:
//   odd: a hostile one. The rest is what it sends (after an honest HELLO, if the second bit is set), in pieces; the mux may
//        end the link, and must keep its limits until then.
//   even: an honest one. The rest says what both sides do; neither may ever find fault with the other.

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "wire/mux.h"

namespace shunt::wire {
namespace {

constexpr MuxLimits limits{.message_bytes_max = 40'000,
                           .calls_max = 8,
                           .metadata_bytes_max = 2000,
                           .stream_credit = 3000,
                           .link_bytes_max = 60'000};

/// Takes decisions from the input, and 0 when that is used up.
struct Script {
  std::string_view left;
  std::uint8_t next() {
    if (left.empty()) return 0;
    auto byte = static_cast<std::uint8_t>(left.front());
    left.remove_prefix(1);
    return byte;
  }
};

void check(bool condition) {
  if (!condition) std::abort();
}

/// Knows which calls are open, checks that events come for those only, and acts inside some of them.
struct Side_ final : MuxEvents {
  Mux mux;
  Script* script = nullptr;
  struct Known {
    CallId id;
    bool outgoing;
    bool cancelled = false;
    bool half_closed = false;
    std::size_t cost = 0;
  };
  std::vector<Known> calls;

  explicit Side_(Side side, std::uint16_t minor = version_minor) : mux(side, limits, {.version_minor = minor}, *this) {}

  Known* find(CallId id) {
    auto found = std::ranges::find_if(calls, [id](const Known& call) { return call.id == id; });
    return found == calls.end() ? nullptr : &*found;
  }
  void forget(CallId id) {
    std::erase_if(calls, [id](const Known& call) { return call.id == id; });
  }
  void open() {
    std::uint8_t what = script->next();
    static constexpr std::string_view commands[] = {"c", "d", "another-command"};
    OpenFrame opening{.service = "s", .command = commands[what % 3], .grant = what > 200 ? 1u : 0u};
    if ((what & 8) != 0) opening.metadata = {{"k", "v"}};
    CallId id = 0;
    if ((what & 16) != 0) {
      static constexpr std::size_t sizes[] = {0, 10, 4096, 4097, 20'000, 40'000};
      Bytes first = Bytes::adopt(std::string(sizes[(what >> 5) % 6], 'x'));
      id = mux.open(opening, &first, what % 4 == 0, this).id;
    } else {
      id = mux.open(opening, what % 4 == 0, this);
    }
    if (id != 0) calls.push_back({id, true});
  }
  void act(CallId id) {
    Known* call = find(id);
    if (call == nullptr) return;
    std::uint8_t what = script->next();
    switch (what % 8) {
      case 0:
      case 1: {
        static constexpr std::size_t sizes[] = {0, 10, 500, 4096, 5000, 16'385, 39'000, 40'000};
        mux.send(id, Bytes::adopt(std::string(sizes[(what >> 3) % 8], 'x')), what > 200);
        if (what > 200 && !call->outgoing) finish(id);
        break;
      }
      case 2:
        if (call->outgoing) mux.half_close(id);
        break;
      case 3:
        mux.consumed(id, call->cost);
        call->cost = 0;
        break;
      case 4:
        if (!call->outgoing) mux.metadata(id, {{"k", "v"}});
        break;
      case 5:
        if (what < 64) break;
        if (call->outgoing) {
          mux.cancel(id, 1);
          forget(id);
        } else {
          finish(id);
        }
        break;
      case 6:
        if (!call->outgoing && what > 128) {
          mux.refuse(id, {.code = Code::unavailable});
          forget(id);
        }
        break;
      case 7:
        break;
    }
  }
  void finish(CallId id) {
    if (std::uint8_t what = script->next(); what % 2 == 0) {
      mux.finish(id, {});
    } else {
      mux.answer(id, Bytes::adopt(std::string(what > 128 ? 17'000 : what, 'x')));
    }
    forget(id);
  }
  void add(CallId id, const Bytes& message) {
    Known* call = find(id);
    check(call != nullptr && !call->cancelled && !call->half_closed);
    check(message.size() <= limits.message_bytes_max);
    call->cost += message.size() + message_overhead;
  }

  void on_hello(const Hello&) override {}
  void on_open(CallId id, const OpenFrame&, Bytes* first, bool last) override {
    check(find(id) == nullptr);
    mux.set_user(id, this);
    calls.push_back({id, false});
    if (first != nullptr) add(id, *first);
    find(id)->half_closed = last;
    act(id);
  }
  void on_metadata(CallId id, void* user, const MetadataView&) override {
    check(user == this && find(id) != nullptr && find(id)->outgoing);
    act(id);
  }
  void on_message(CallId id, void* user, Bytes message) override {
    check(user == this);
    add(id, message);
    act(id);
  }
  void on_answer(CallId id, void* user, Bytes message) override {
    on_message(id, user, std::move(message));
    // It may have been given up inside.
    if (find(id) != nullptr) on_status(id, user, {});
  }
  void on_half_close(CallId id, void* user) override {
    check(user == this && find(id) != nullptr && !find(id)->half_closed);
    find(id)->half_closed = true;
    act(id);
  }
  void on_status(CallId id, void* user, const StatusFrame&) override {
    check(user == this && find(id) != nullptr && find(id)->outgoing);
    forget(id);
    if (script->next() % 4 == 0) open();
  }
  void on_refused(CallId id, void* user, const StatusFrame& status) override { on_status(id, user, status); }
  void on_cancel(CallId id, void* user, std::uint8_t) override {
    check(user == this && find(id) != nullptr && !find(id)->cancelled);
    find(id)->cancelled = true;
    act(id);
  }
  void on_credit(CallId id, void* user) override {
    check(user == this && find(id) != nullptr && !find(id)->cancelled);
    act(id);
  }
  void on_pong(std::uint64_t) override {}
  void on_goaway(std::string_view) override {}
  void on_wait(std::uint64_t ticket, const WaitFrame&) override { mux.grant(ticket, {.grant = 1}); }
  void on_grant(std::uint64_t, const GrantFrame&) override {}
  void on_load(const LoadFrame&) override {}

  std::string take(std::size_t most) {
    std::string out;
    iovec vectors[8];
    int count = mux.output(vectors, 8);
    for (int i = 0; i < count && out.size() < most; i++) {
      out.append(static_cast<char*>(vectors[i].iov_base), std::min(vectors[i].iov_len, most - out.size()));
    }
    mux.written(out.size());
    return out;
  }
  void check_limits() const {
    // All calls together keep the link's limit; the message that broke it ended its call.
    check(mux.bytes_held() <= limits.link_bytes_max);
  }
};

void hostile(std::string_view input) {
  Side_ side(Side::acceptor);
  Script script{input};
  side.script = &script;
  if ((script.next() & 2) != 0) {
    std::string hello;
    append_frame(hello, FrameType::hello, 0, encode_hello({}));
    check(side.mux.receive(hello).has_value());
    side.open();
  }
  std::string_view bytes = input.substr(std::min<std::size_t>(input.size(), 2));
  std::size_t piece = input.size() > 1 ? 1 + static_cast<std::uint8_t>(input[1]) * 4 : 1;
  while (!bytes.empty()) {
    auto chunk = bytes.substr(0, piece);
    bytes.remove_prefix(chunk.size());
    bool alive = side.mux.receive(chunk).has_value();
    side.check_limits();
    if (!alive) return;
    while (side.mux.has_output()) side.take(SIZE_MAX);
  }
}

void honest(std::string_view input) {
  Script script{input};
  std::uint8_t minors = script.next();
  Side_ a(Side::dialler, (minors & 2) != 0 ? 1 : version_minor);
  Side_ b(Side::acceptor, (minors & 4) != 0 ? 1 : version_minor);
  a.script = b.script = &script;
  auto move = [](Side_& from, Side_& to, std::size_t most, std::size_t piece) {
    auto bytes = from.take(most);
    for (std::size_t at = 0; at < bytes.size(); at += piece) {
      auto received = to.mux.receive(std::string_view(bytes).substr(at, piece));
      if (!received) std::fprintf(stderr, "%s\n", received.error().to_string().c_str());
      check(received.has_value());
      to.check_limits();
    }
  };
  while (!script.left.empty()) {
    std::uint8_t what = script.next();
    Side_& side = (what & 1) != 0 ? a : b;
    Side_& other = (what & 1) != 0 ? b : a;
    switch ((what >> 1) % 8) {
      case 0:
      case 1:
        side.open();
        break;
      case 2:
        move(side, other, 1 + std::size_t{script.next()} * 64, 1 + std::size_t{script.next()} * 16);
        break;
      case 3:
        move(side, other, SIZE_MAX, SIZE_MAX >> 1);
        break;
      case 4:
        if (what > 250) side.mux.goaway("enough");
        break;
      default:
        if (!side.calls.empty()) side.act(side.calls[script.next() % side.calls.size()].id);
        break;
    }
  }
  // Everything ends: then nothing is left on either side.
  for (int round = 0; round < 4; round++) {
    for (Side_* side : {&a, &b}) {
      while (!side->calls.empty()) {
        auto call = side->calls.back();
        if (call.outgoing) {
          side->mux.cancel(call.id, 1);
          side->forget(call.id);
        } else {
          side->finish(call.id);
        }
      }
    }
    while (a.mux.has_output() || b.mux.has_output()) {
      move(a, b, SIZE_MAX, SIZE_MAX >> 1);
      move(b, a, SIZE_MAX, SIZE_MAX >> 1);
    }
  }
  check(a.mux.calls_open() == 0 && b.mux.calls_open() == 0);
  check(a.mux.bytes_held() == 0 && b.mux.bytes_held() == 0);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  std::string_view input(reinterpret_cast<const char*>(data), size);
  (data[0] & 1) != 0 ? hostile(input) : honest(input);
  return 0;
}

}  // namespace shunt::wire
