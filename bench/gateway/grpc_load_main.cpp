// grpc_load: unary gRPC calls, as many as a server takes, and what each took. One thread, N connections, M calls in flight on
// each. Requests are encoded once; of answers only the frames are read, and that each call got one message of the length
// that was asked for (and, of an echo, its bytes). So the client is no limit: it costs a fraction of any server's work.
//
//   grpc_load --address 127.0.0.1:8080 --path /shop.prices/echo --connections 1 --in-flight 64 --seconds 2
//
// Prints one line of JSON. Exit code 1 when a call failed.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace {

struct Options {
  std::string host = "127.0.0.1";
  std::uint16_t port = 8080;
  std::string path = "/echo/echo";
  std::string content_type = "application/grpc";
  int connections = 1;
  int in_flight = 64;  // on each connection
  double seconds = 2;
  double warm_up = 0.2;
  std::size_t payload_bytes = 64;
  bool wrapped = true;  // the payload is field 1 of a protobuf message
  bool checks_echo = true;
  std::string json;  // sent in its place
};

[[noreturn]] void die(const std::string& text) {
  std::fprintf(stderr, "grpc_load: %s\n", text.c_str());
  std::exit(1);
}

std::int64_t now_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

double cpu_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

// Latencies by powers of two in 64 steps each: at most 1.6 % wrong.
class Histogram {
 public:
  void add(std::int64_t ns) {
    const auto value = static_cast<std::uint64_t>(std::max<std::int64_t>(ns, 0));
    ++counts_[index(value)];
    ++total_;
    max_ = std::max(max_, value);
  }
  double percentile_us(double percent) const {
    std::uint64_t left = static_cast<std::uint64_t>(percent / 100 * static_cast<double>(total_));
    for (std::size_t i = 0; i < counts_.size(); ++i) {
      if (counts_[i] > left) return static_cast<double>(value_of(i)) / 1000;
      left -= counts_[i];
    }
    return max_us();
  }
  double max_us() const { return static_cast<double>(max_) / 1000; }
  void clear() { *this = {}; }

 private:
  static std::size_t index(std::uint64_t value) {
    if (value < 64) return value;
    const int top = 63 - __builtin_clzll(value);
    return static_cast<std::size_t>(top - 5) * 64 + ((value >> (top - 6)) & 63);
  }
  static std::uint64_t value_of(std::size_t at) {
    if (at < 64) return at;
    const auto top = at / 64 + 5;
    return (64 + at % 64) << (top - 6);
  }
  std::array<std::uint64_t, 64 * 60> counts_{};
  std::uint64_t total_ = 0;
  std::uint64_t max_ = 0;
};

struct Totals {
  std::uint64_t calls = 0;
  std::uint64_t errors = 0;
  std::string first_error;
  Histogram latency;
  bool stopping = false;
};

enum Frame : std::uint8_t {
  frame_data = 0,
  frame_headers = 1,
  frame_reset = 3,
  frame_settings = 4,
  frame_ping = 6,
  frame_goaway = 7,
  frame_window = 8,
};
constexpr std::uint8_t flag_end_stream = 1;
constexpr std::uint8_t flag_ack = 1;
constexpr std::uint8_t flag_end_headers = 4;
constexpr std::uint8_t flag_padded = 8;
constexpr std::size_t frame_bytes = 9;
constexpr std::int64_t window_given = (1LL << 31) - 1;

void append_frame(std::string& out, std::uint8_t type, std::uint8_t flags, std::uint32_t stream,
                  std::string_view payload) {
  const auto size = static_cast<std::uint32_t>(payload.size());
  const char head[frame_bytes] = {
      static_cast<char>(size >> 16),   static_cast<char>(size >> 8),   static_cast<char>(size),
      static_cast<char>(type),         static_cast<char>(flags),       static_cast<char>(stream >> 24),
      static_cast<char>(stream >> 16), static_cast<char>(stream >> 8), static_cast<char>(stream)};
  out.append(head, sizeof head).append(payload);
}

void append_number(std::string& out, std::uint32_t number) {
  for (int shift = 24; shift >= 0; shift -= 8) out += static_cast<char>(number >> shift);
}

std::uint32_t read_number(const char* at) {
  std::uint32_t number = 0;
  for (int i = 0; i < 4; ++i) number = number << 8 | static_cast<unsigned char>(at[i]);
  return number;
}

// What all connections send.
struct Script {
  explicit Script(const Options& options) {
    std::string content = options.json;
    if (content.empty()) {
      const std::string bytes(options.payload_bytes, 'x');
      if (options.wrapped) {
        content += '\x0a';
        std::size_t size = bytes.size();
        for (; size >= 0x80; size >>= 7) content += static_cast<char>(size | 0x80);
        content += static_cast<char>(size);
      }
      content += bytes;
    }
    message += '\0';
    append_number(message, static_cast<std::uint32_t>(content.size()));
    message += content;
    // HPACK: the first request adds what it says to the table, the others point there.
    const std::string authority = options.host + ":" + std::to_string(options.port);
    const std::pair<std::string, std::string> fields[] = {
        {":path", options.path}, {":authority", authority}, {"content-type", options.content_type}, {"te", "trailers"}};
    constexpr char method_post = '\x83';
    constexpr char scheme_http = '\x86';
    first_head = {method_post, scheme_http};
    next_head = first_head;
    std::size_t index = 62 + std::size(fields) - 1;
    for (const auto& [name, value] : fields) {
      first_head += '\x40';
      add_text(first_head, name);
      add_text(first_head, value);
      next_head += static_cast<char>(0x80 | index--);
    }
  }
  static void add_text(std::string& out, std::string_view text) {
    if (text.size() > 126) die("the path is too long");
    out += static_cast<char>(text.size());
    out += text;
  }
  std::string message;  // with its prefix
  std::string first_head;
  std::string next_head;
};

class Connection {
 public:
  Connection(const Options& options, const Script& script, Totals& totals)
      : options_(options), script_(script), totals_(totals), calls_(ring_size(options)) {
    fd_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(options.port);
    if (::inet_pton(AF_INET, options.host.c_str(), &address.sin_addr) != 1) die("--address wants IPv4 and a port");
    if (::connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
      die("connect: " + std::string(std::strerror(errno)));
    }
    const int yes = 1;
    ::setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    out_ = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    std::string settings;
    settings += std::string("\0\2\0\0\0\0", 6);  // no push
    settings += std::string("\0\4", 2);          // a window for each stream
    append_number(settings, static_cast<std::uint32_t>(window_given));
    append_frame(out_, frame_settings, 0, 0, settings);
    std::string window;
    append_number(window, static_cast<std::uint32_t>(window_given - 65535));
    append_frame(out_, frame_window, 0, 0, window);
    buffer_.resize(256u << 10);
  }
  ~Connection() { ::close(fd_); }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  int fd() const { return fd_; }
  bool is_open() const { return open_; }
  int running() const { return running_; }

  void begin() {
    start_calls(now_ns());
    flush();
  }
  void on_ready() {
    for (;;) {
      const ssize_t count = ::recv(fd_, buffer_.data() + held_, buffer_.size() - held_, MSG_DONTWAIT);
      if (count <= 0) {
        if (count < 0 && (errno == EAGAIN || errno == EINTR)) break;
        broken("the server closed the connection");
        return;
      }
      const std::size_t size = held_ + static_cast<std::size_t>(count);
      const std::int64_t now = now_ns();
      const std::size_t used = read_frames({buffer_.data(), size}, now);
      held_ = size - used;
      std::memmove(buffer_.data(), buffer_.data() + used, held_);
      start_calls(now);
      if (size < buffer_.size()) break;
    }
    flush();
  }

 private:
  struct Call {
    std::uint32_t id = 0;
    std::int64_t began = 0;
    std::size_t received = 0;
    std::size_t unsent = 0;  // of the message
    std::int64_t window = 0;
  };
  // Streams end out of order; one that is later than all others by this many is told as an error.
  static std::size_t ring_size(const Options& options) {
    return std::bit_ceil(std::max<std::size_t>(1024, static_cast<std::size_t>(options.in_flight) * 64));
  }

  Call& call(std::uint32_t id) { return calls_[(id >> 1) & (calls_.size() - 1)]; }

  void start_calls(std::int64_t now) {
    while (open_ && !totals_.stopping && running_ < std::min<std::int64_t>(options_.in_flight, calls_max_) &&
           blocked_.empty() && window_ > 0) {
      const std::uint32_t id = next_id_;
      next_id_ += 2;
      Call& one = call(id);
      if (one.id != 0) {
        broken("a call has waited for thousands of others");
        return;
      }
      one = {id, now, 0, script_.message.size(), stream_window_};
      ++running_;
      append_frame(out_, frame_headers, flag_end_headers, id, id == 1 ? script_.first_head : script_.next_head);
      send_body(one);
      if (one.unsent > 0) blocked_.push_back(id);
    }
  }
  void send_body(Call& one) {
    while (one.unsent > 0) {
      const auto size = static_cast<std::size_t>(
          std::min<std::int64_t>({static_cast<std::int64_t>(one.unsent), one.window, window_, frame_bytes_max_}));
      if (static_cast<std::int64_t>(size) <= 0) return;
      const std::size_t from = script_.message.size() - one.unsent;
      one.unsent -= size;
      one.window -= static_cast<std::int64_t>(size);
      window_ -= static_cast<std::int64_t>(size);
      append_frame(out_, frame_data, one.unsent == 0 ? flag_end_stream : 0, one.id,
                   std::string_view(script_.message).substr(from, size));
    }
  }
  void send_blocked() {
    std::erase_if(blocked_, [&](std::uint32_t id) {
      Call& one = call(id);
      if (one.id != id) return true;
      send_body(one);
      return one.unsent == 0;
    });
  }

  std::size_t read_frames(std::string_view bytes, std::int64_t now) {
    std::size_t used = 0;
    while (open_ && bytes.size() - used >= frame_bytes) {
      const char* head = bytes.data() + used;
      const std::size_t size = read_number(head) >> 8;
      if (bytes.size() - used - frame_bytes < size) break;
      read_frame(static_cast<std::uint8_t>(head[3]), static_cast<std::uint8_t>(head[4]), read_number(head + 5),
                 bytes.substr(used + frame_bytes, size), now);
      used += frame_bytes + size;
    }
    return used;
  }

  void read_frame(std::uint8_t type, std::uint8_t flags, std::uint32_t id, std::string_view payload, std::int64_t now) {
    switch (type) {
      case frame_data:
        read_data(flags, id, payload);
        if ((flags & flag_end_stream) != 0) finish(id, now, "an answer without trailers");
        return;
      case frame_headers:
        if ((flags & flag_end_stream) != 0) finish(id, now, nullptr);
        return;
      case frame_reset:
        finish(id, now, "a stream was reset");
        return;
      case frame_settings:
        if ((flags & flag_ack) == 0) read_settings(payload);
        return;
      case frame_ping:
        if ((flags & flag_ack) == 0) append_frame(out_, frame_ping, flag_ack, 0, payload);
        return;
      case frame_goaway:
        broken("the server said GOAWAY");
        return;
      case frame_window:
        read_window(id, payload);
        return;
      default:
        return;
    }
  }
  void read_data(std::uint8_t flags, std::uint32_t id, std::string_view payload) {
    received_ += static_cast<std::int64_t>(payload.size());
    if (received_ > window_given / 2) {
      std::string window;
      append_number(window, static_cast<std::uint32_t>(std::exchange(received_, 0)));
      append_frame(out_, frame_window, 0, 0, window);
    }
    if ((flags & flag_padded) != 0 && !payload.empty()) {
      const auto padding = static_cast<unsigned char>(payload[0]);
      payload = payload.substr(1, payload.size() - std::min<std::size_t>(payload.size(), 1u + padding));
    }
    Call& one = call(id);
    if (one.id != id) return;
    const bool is_whole = one.received == 0 && payload.size() == script_.message.size();
    if (options_.checks_echo && is_whole && payload != script_.message) {
      error("an answer has other bytes than its request");
    }
    one.received += payload.size();
  }
  void read_settings(std::string_view payload) {
    for (; payload.size() >= 6; payload.remove_prefix(6)) {
      const std::uint32_t name = read_number(payload.begin()) >> 16;  // grpc++ has a setting 0xfe03 of its own.
      const std::uint32_t value = read_number(payload.begin() + 2);
      if (name == 3) calls_max_ = value;
      if (name == 5) frame_bytes_max_ = value;
      if (name != 4) continue;
      const std::int64_t by = static_cast<std::int64_t>(value) - stream_window_;
      stream_window_ = value;
      for (const std::uint32_t id : blocked_) call(id).window += by;
    }
    append_frame(out_, frame_settings, flag_ack, 0, {});
    send_blocked();
  }
  void read_window(std::uint32_t id, std::string_view payload) {
    if (payload.size() < 4) return;
    const std::int64_t by = read_number(payload.begin());
    if (id == 0) {
      window_ += by;
    } else if (call(id).id == id) {
      call(id).window += by;
    }
    if (!blocked_.empty()) send_blocked();
  }

  void finish(std::uint32_t id, std::int64_t now, const char* why) {
    Call& one = call(id);
    if (one.id != id) return;
    const bool is_right =
        why == nullptr && one.received > 0 && (!options_.checks_echo || one.received == script_.message.size());
    if (is_right) {
      ++totals_.calls;
      totals_.latency.add(now - one.began);
    } else {
      error(why != nullptr ? why : "a call was answered without its message (grpc-status is not 0?)");
    }
    one.id = 0;
    --running_;
  }
  void error(std::string text) {
    ++totals_.errors;
    if (totals_.first_error.empty()) totals_.first_error = std::move(text);
  }
  void broken(std::string why) {
    if (totals_.stopping && running_ == 0) return;
    error(std::move(why));
    open_ = false;
  }
  void flush() {
    while (!out_.empty()) {
      const ssize_t count = ::send(fd_, out_.data(), out_.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      if (count < 0) {
        if (errno == EINTR) continue;
        if (errno != EAGAIN) broken("send: " + std::string(std::strerror(errno)));
        return;  // Edge-triggered: it is told when it can go on.
      }
      if (static_cast<std::size_t>(count) == out_.size()) {
        out_.clear();
      } else {
        out_.erase(0, static_cast<std::size_t>(count));
      }
    }
  }

  const Options& options_;
  const Script& script_;
  Totals& totals_;
  int fd_ = -1;
  bool open_ = true;
  int running_ = 0;
  std::uint32_t next_id_ = 1;
  std::int64_t window_ = 65535;
  std::int64_t stream_window_ = 65535;
  std::int64_t frame_bytes_max_ = 16384;
  std::int64_t calls_max_ = 100;  // until the server says otherwise
  std::int64_t received_ = 0;     // of the window that was given
  std::vector<Call> calls_;
  std::vector<std::uint32_t> blocked_;  // their message waits for window
  std::string out_;
  std::string buffer_;
  std::size_t held_ = 0;
};

Options read_options(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string_view name = argv[i];
    if (name == "--raw") {
      options.wrapped = false;
      continue;
    }
    if (name == "--any-answer") {
      options.checks_echo = false;
      continue;
    }
    if (i + 1 >= argc) die("unknown option, or one without its value: " + std::string(name));
    const std::string value = argv[++i];
    if (name == "--address") {
      const std::size_t colon = value.rfind(':');
      if (colon == std::string::npos) die("--address wants HOST:PORT");
      options.host = value.substr(0, colon);
      options.port = static_cast<std::uint16_t>(std::stoi(value.substr(colon + 1)));
    } else if (name == "--path") {
      options.path = value;
    } else if (name == "--content-type") {
      options.content_type = value;
    } else if (name == "--connections") {
      options.connections = std::stoi(value);
    } else if (name == "--in-flight") {
      options.in_flight = std::stoi(value);
    } else if (name == "--seconds") {
      options.seconds = std::stod(value);
    } else if (name == "--warm-up") {
      options.warm_up = std::stod(value);
    } else if (name == "--payload-bytes") {
      options.payload_bytes = std::stoul(value);
    } else if (name == "--json") {
      options.json = value;
      options.content_type = "application/grpc+json";
    } else {
      die("unknown option " + std::string(name));
    }
  }
  return options;
}

int run(const Options& options) {
  const Script script(options);
  Totals totals;
  const int epoll = ::epoll_create1(EPOLL_CLOEXEC);
  std::vector<std::unique_ptr<Connection>> connections;
  for (int i = 0; i < options.connections; ++i) {
    auto& one = connections.emplace_back(std::make_unique<Connection>(options, script, totals));
    epoll_event event{};
    event.events = EPOLLIN | EPOLLOUT | EPOLLET;
    event.data.ptr = one.get();
    ::epoll_ctl(epoll, EPOLL_CTL_ADD, one->fd(), &event);
    one->begin();
  }
  std::int64_t began = now_ns();
  double cpu_began = cpu_seconds();
  const auto ns = [](double seconds) { return static_cast<std::int64_t>(seconds * 1e9); };
  std::int64_t warm_until = began + ns(options.warm_up);
  std::int64_t until = warm_until + ns(options.seconds);
  bool warm = false;
  std::int64_t ended = 0;
  double cpu_ended = 0;
  std::uint64_t calls = 0;
  std::array<epoll_event, 256> events;
  for (;;) {
    const int count = ::epoll_wait(epoll, events.data(), static_cast<int>(events.size()), 100);
    for (int i = 0; i < count; ++i) {
      auto* connection = static_cast<Connection*>(events[static_cast<std::size_t>(i)].data.ptr);
      if (connection->is_open()) connection->on_ready();
    }
    const std::int64_t now = now_ns();
    if (!warm && now >= warm_until) {
      warm = true;
      totals.calls = 0;
      totals.latency.clear();
      began = now;
      until = now + ns(options.seconds);
      cpu_began = cpu_seconds();
    }
    if (warm && !totals.stopping && now >= until) {
      totals.stopping = true;
      ended = now;
      calls = totals.calls;
      cpu_ended = cpu_seconds();
    }
    const bool all_broken = std::ranges::none_of(connections, [](const auto& one) { return one->is_open(); });
    const bool idle =
        std::ranges::all_of(connections, [](const auto& one) { return !one->is_open() || one->running() == 0; });
    if (all_broken || (totals.stopping && (idle || now > ended + ns(5)))) break;
  }
  if (ended == 0) {
    ended = now_ns();
    cpu_ended = cpu_seconds();
    calls = totals.calls;
  }
  const double seconds = static_cast<double>(ended - began) / 1e9;
  std::printf(
      "{\"calls\": %llu, \"errors\": %llu, \"seconds\": %.3f, \"calls_per_s\": %.0f, \"p50_us\": %.1f, \"p90_us\": "
      "%.1f, "
      "\"p99_us\": %.1f, \"p999_us\": %.1f, \"max_us\": %.1f, \"client_cpu_us_per_call\": %.3f%s%s%s}\n",
      static_cast<unsigned long long>(calls), static_cast<unsigned long long>(totals.errors), seconds,
      static_cast<double>(calls) / seconds, totals.latency.percentile_us(50), totals.latency.percentile_us(90),
      totals.latency.percentile_us(99), totals.latency.percentile_us(99.9), totals.latency.max_us(),
      calls == 0 ? 0.0 : (cpu_ended - cpu_began) * 1e6 / static_cast<double>(calls),
      totals.first_error.empty() ? "" : ", \"first_error\": \"", totals.first_error.c_str(),
      totals.first_error.empty() ? "" : "\"");
  return totals.errors == 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) { return run(read_options(argc, argv)); }
