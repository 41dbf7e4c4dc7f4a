#include "link/remote_like/as_if_remote.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <utility>
#include <vector>

#include "base/random.h"
#include "link/mux_link.h"
#include "link/sim/sim_wire.h"

namespace shunt::link {

namespace {

constexpr Duration latency_max = std::chrono::minutes(1);
constexpr std::string_view example = "latency=2ms,jitter=1ms,fault=0.01,seed=7";

std::unexpected<Status> wrong(std::string_view part, std::string_view why) {
  return fail(Code::invalid_argument, "S5016",
              fmt::format("--as-if-remote: '{}' {}. Write such as {}, or some of it.", part, why, example));
}

Result<Duration> span(std::string_view part, std::string_view text) {
  const auto read = parse_duration(text);
  if (!read || *read < Duration(0) || *read > latency_max) return wrong(part, "is no time from 0s to 1m");
  return *read;
}

template <typename Number>
bool read_number(std::string_view text, Number& to) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), to);
  return error == std::errc() && end == text.data() + text.size();
}

Result<void> read_part(std::string_view part, AsIfRemote& out) {
  const std::size_t equals = part.find('=');
  const std::string_view key = part.substr(0, equals);
  const std::string_view value = equals == std::string_view::npos ? std::string_view() : part.substr(equals + 1);
  if (key == "latency") {
    SHUNT_TRY(out.latency, span(part, value));
  } else if (key == "jitter") {
    SHUNT_TRY(out.jitter, span(part, value));
  } else if (key == "fault") {
    if (!read_number(value, out.fault) || !(out.fault >= 0 && out.fault <= 1)) {
      return wrong(part, "is no share from 0 to 1");
    }
  } else if (key == "seed") {
    if (!read_number(value, out.seed)) return wrong(part, "is no whole number");
  } else {
    return wrong(part, "is none of latency, jitter, fault and seed");
  }
  return {};
}

}  // namespace

Result<AsIfRemote> parse_as_if_remote(std::string_view text) {
  AsIfRemote out;
  while (!text.empty()) {
    const std::size_t comma = text.find(',');
    SHUNT_CHECK(read_part(text.substr(0, comma), out));
    text = comma == std::string_view::npos ? std::string_view() : text.substr(comma + 1);
  }
  return out;
}

std::string describe(const AsIfRemote& like) {
  std::string text = fmt::format("{} each way", format_duration(like.latency));
  if (like.jitter.count() > 0) text += fmt::format(", up to {} more", format_duration(like.jitter));
  if (like.fault > 0) text += fmt::format(", {:g}% of calls lose their link", like.fault * 100);
  return text;
}

namespace {

class AsIfRemoteLink final : public call::Link, private loop::Timer {
 public:
  AsIfRemoteLink(loop::Loop& loop, call::Service& service, std::string name, AsIfRemote like,
                 const call::LinkLimits& limits)
      : loop_(loop), service_(service), name_(std::move(name)), like_(like), limits_(limits), random_(like.seed) {}

  call::OutgoingHandle open(const call::Open& open, call::CallerEvents& events, call::Opening opening) override {
    if (draining_) {
      return call::end_unopened(
          events,
          Status(Code::unavailable, "S1015", fmt::format("{} is draining", name_)).with_retry(Retry::elsewhere));
    }
    if (pair_ == nullptr || pair_->is_over()) renew();
    auto call = pair_->near->open(open, events, std::move(opening));
    if (like_.fault > 0 && static_cast<double>(random_.below(1'000'000)) < like_.fault * 1'000'000) lose_soon();
    return call;
  }

  loop::Task<void> drain(Deadline deadline) override {
    draining_ = true;
    if (pair_ != nullptr) co_await pair_->near->drain(deadline);
  }

  [[nodiscard]] call::LinkStats stats() const override {
    return pair_ == nullptr ? call::LinkStats() : pair_->near->stats();
  }

 private:
  // Who takes calls at the near end: nobody, for the far end makes none.
  struct Nobody final : call::Service {
    void begin(call::IncomingHandle call, const call::Open&, call::Opening) override {
      call->finish(Status(Code::unimplemented, "S1005", "there is nobody at this end"), {});
    }
  };
  // One connection: a wire, and a link at each end. Lost as a whole.
  struct Pair final : private LinkOwner {
    Pair(loop::Loop& loop, call::Service& service, const std::string& name, const AsIfRemote& like,
         const call::LinkLimits& limits, std::uint64_t seed)
        : wire(loop, loop, {.seed = seed, .delay = like.latency, .jitter = like.jitter}) {
      MuxLinkOptions options;
      options.limits = limits;
      options.hello.role = "node";
      options.hello.name = "node";
      options.hello.pid = static_cast<std::uint64_t>(getpid());
      options.trust_principal = true;  // Both ends are the node.
      options.peer.service = name;
      far = MuxLink::create(loop, wire.second(), service, *this, with_side(options, wire::Side::acceptor));
      near = MuxLink::create(loop, wire.first(), nobody, *this, with_side(options, wire::Side::dialler));
    }
    ~Pair() {
      near = nullptr;
      far = nullptr;
    }
    [[nodiscard]] bool is_over() const { return near->is_closed() || far->is_closed(); }
    /// Handlers may hold calls of a lost link for a while.
    [[nodiscard]] bool is_quiet() const {
      return near->is_closed() && far->is_closed() && far->stats().calls_open == 0 && near->stats().calls_open == 0;
    }
    static MuxLinkOptions with_side(MuxLinkOptions options, wire::Side side) {
      options.side = side;
      return options;
    }
    SimWire wire;
    Nobody nobody;
    Own<MuxLink> far;
    Own<MuxLink> near;
  };

  void renew() {
    if (pair_ != nullptr) lost_.push_back(std::move(pair_));
    // What was lost may be on the stack right now: it goes in a turn of its own.
    if (!lost_.empty() && !sweep_.is_armed()) loop_.arm(sweep_, loop_.refresh_now() + sweep_pause);
    pair_ = make_own<Pair>(loop_, service_, name_, like_, limits_, random_.next());
  }
  // Somewhere between the call's first byte and, with luck, its answer.
  void lose_soon() {
    if (is_armed()) return;
    const auto most = static_cast<std::uint64_t>((like_.latency + like_.jitter).count()) * 3 + 1;
    loop_.arm(*this, loop_.refresh_now() + Duration(static_cast<std::int64_t>(random_.below(most))));
  }
  void fire() override {
    if (pair_ != nullptr && !pair_->is_over()) pair_->wire.cut();
  }

  struct Sweep final : loop::Timer {
    explicit Sweep(AsIfRemoteLink& owner) : link(owner) {}
    void fire() override {
      std::erase_if(link.lost_, [](const Own<Pair>& one) { return one->is_quiet(); });
      if (!link.lost_.empty()) link.loop_.arm(*this, link.loop_.now() + sweep_pause);
    }
    AsIfRemoteLink& link;
  };
  static constexpr Duration sweep_pause = std::chrono::milliseconds(100);

  loop::Loop& loop_;
  call::Service& service_;
  const std::string name_;
  const AsIfRemote like_;
  const call::LinkLimits limits_;
  SeededRandom random_;
  bool draining_ = false;
  std::vector<Own<Pair>> lost_;  // Until nobody holds a call of them.
  Own<Pair> pair_;
  Sweep sweep_{*this};
};

}  // namespace

Own<call::Link> make_as_if_remote(loop::Loop& loop, call::Service& service, std::string name, AsIfRemote like,
                                  const call::LinkLimits& limits) {
  return make_own<AsIfRemoteLink>(loop, service, std::move(name), like, limits);
}

}  // namespace shunt::link
