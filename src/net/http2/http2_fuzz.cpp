// Whatever a peer says, and however it is torn, while our side does all that an owner may do: no crash, one on_close for
// each stream and nothing after it, and a session that is over says nothing more. The first byte chooses the side, whether
// the rest is bytes or a list of frames, and the pieces.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <list>
#include <string>
#include <vector>

#include "net/http2/session.h"

namespace {

using namespace shunt;
using namespace shunt::net;

void check(bool holds) {
  if (!holds) std::abort();
}

struct Owner;

struct Ear final : Http2StreamEvents {
  Ear(Owner& owner, unsigned plan) : owner(owner), plan(plan) {}
  void on_head(const Http2Head& head, bool end) override {
    hear();
    look(head.headers);
    check(head.status >= 200 && head.status <= 999);
    ended = end;
    act();
  }
  void on_data(std::string_view piece, bool end) override {
    hear();
    check(!ended);
    ended = end;
    held += piece.size();
    check(held <= (256u << 10) + (16u << 10));
    if (plan % 2 == 0) stream->consumed(std::exchange(held, 0));
    act();
  }
  void on_trailers(std::span<const Header> trailers) override {
    hear();
    check(!ended);
    ended = true;
    look(trailers);
    act();
  }
  void on_drained() override {
    hear();
    if (plan % 5 == 0) reset(Http2Error::cancel);
    if (plan % 5 == 1) stream->send(std::string(70'000, 'd'), false);
  }
  void on_close(Http2Error error) override;
  void act();
  void hear() const { check(!closed && !was_reset); }
  static void look(std::span<const Header> headers) {
    for (const Header& header : headers) {
      check(!header.name.empty() && header.name[0] != ':');
      for (const char c : header.name) check(c < 'A' || c > 'Z');
      check(header.value.find_first_of(std::string_view("\r\n\0", 3)) == std::string_view::npos);
    }
  }
  void reset(Http2Error error) {
    was_reset = true;
    stream->reset(error);
  }

  Owner& owner;
  unsigned plan;
  Http2Stream* stream = nullptr;
  std::size_t held = 0;
  int acts = 0;
  bool server = false;
  bool ended = false;
  bool was_reset = false;
  bool closed = false;
};

struct Owner final : Http2Events {
  explicit Owner(bool server) {
    const Http2Limits limits{.streams_max = 20,
                             .header_bytes_max = 2000,
                             .headers_max = 20,
                             .stream_window = 256u << 10,
                             .connection_window = 1u << 20,
                             .resets_burst = 20,
                             .resets_per_second = 10,
                             .control_burst = 100,
                             .control_per_second = 10};
    session = server ? make_http2_server(*this, limits) : make_http2_client(*this, limits);
  }
  Http2StreamEvents* on_request(Http2Stream& stream, const Http2Head& head, bool end) override {
    check(!head.method.empty());
    Ear::look(head.headers);
    const unsigned plan = head.path.size() > 1 ? static_cast<unsigned char>(head.path[1]) : stream.id();
    if (plan % 13 == 12) return nullptr;
    Ear& ear = ears.emplace_back(*this, plan);
    ear.server = true;
    ear.stream = &stream;
    ear.ended = end;
    ++open;
    ear.act();
    return &ear;
  }
  void on_output() override { ++outputs; }
  void on_goaway(std::uint32_t, Http2Error) override {}

  std::list<Ear> ears;
  std::size_t open = 0;
  int outputs = 0;
  Own<Http2Session> session;
};

void Ear::on_close(Http2Error /*error*/) {
  check(!closed);
  closed = true;
  --owner.open;
}

// What an owner may do, by plan: each time that it hears something, another thing.
void Ear::act() {
  if (was_reset) return;
  static const std::vector<Header> some{{"content-type", "text/plain"}, {"x-some", "value"}};
  const unsigned what = (plan + static_cast<unsigned>(acts++) * 7) % 12;
  if (server && acts == 1) stream->send_head(what == 0 ? 103 : 200, some, what == 1);
  if (what == 2) stream->send("a piece", false);
  if (what == 3) stream->send(std::string(40'000, 'x'), ended);
  if (what == 4) stream->send(Bytes::copy_of(std::string(300'000, 'y')), false);
  if (what == 5) stream->send_trailers(some);
  if (what == 6) reset(Http2Error::cancel);
  if (what == 7) stream->close_when_sent();
  if (what == 8) stream->send(std::string_view(), true);
  if (what == 9 && acts > 3) owner.session->shut_down();
  if (what == 10 && acts > 5) owner.session->terminate(Http2Error::no_error, "enough");
  if (what == 11) owner.session->ping();
}

// A list of frames, so that what changes in the input is what is said and not its form.
std::string frames(std::string_view text) {
  std::string out;
  while (text.size() >= 5) {
    const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
    const std::size_t size = std::min<std::size_t>(byte(3) | (byte(4) & 0x3f) << 8, text.size() - 5);
    out += {static_cast<char>(0),
            static_cast<char>(size >> 8),
            static_cast<char>(size),
            static_cast<char>(byte(0) % 11),
            static_cast<char>(byte(1)),
            0,
            0,
            0,
            static_cast<char>(byte(2) % 64)};
    out += text.substr(5, size);
    text.remove_prefix(5 + size);
  }
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  const bool server = data[0] % 2 == 0;
  const bool listed = data[0] / 2 % 2 == 0;
  const std::size_t piece_max = data[0] < 128 ? std::size_t{1} << 20 : 1 + data[0] / 4 % 32;

  Owner owner(server);
  std::string input;
  if (!server) {
    for (unsigned plan = 0; plan < 6; ++plan) {
      Ear& ear = owner.ears.emplace_back(owner, plan);
      auto stream = owner.session->request({"POST", "http", "here", "/", {}, 0, {}}, plan % 2 == 0, ear);
      check(stream.has_value());
      ear.stream = *stream;
      ++owner.open;
      if (plan % 2 == 1) ear.stream->send("request", plan % 3 == 0);
    }
    input = std::string("\0\0\0\4\0\0\0\0\0", 9);
  } else if (listed) {
    input = std::string("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0", 33);
  }
  input += listed ? frames(text) : std::string(text);

  std::string out;
  std::string_view rest = input;
  std::int64_t now_ns = 0;
  bool whole = true;
  while (whole && !rest.empty()) {
    const std::string piece(rest.substr(0, piece_max));
    rest.remove_prefix(piece.size());
    whole = owner.session->receive(piece, now_ns += 1'000'000).has_value();
    check(owner.outputs <= 1);  // Only what was asked from outside is told.
    out.clear();
    (void)owner.session->collect(out, 30'000);
    check(out.size() <= 30'000 + (16u << 10) + 9 || !whole);
    check(owner.session->streams() >= owner.open);
  }
  for (int rounds = 0; owner.session->collect(out, out.size() + 50'000); ++rounds) check(rounds < 10'000);
  if (!whole) check(owner.session->is_done() && owner.open == 0);
  if (owner.session->is_done()) {
    out.clear();
    check(!owner.session->collect(out, 1000) && out.empty());
  }
  owner.session.reset();
  check(owner.open == 0);
  return 0;
}
