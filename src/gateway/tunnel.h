#pragma once
// Tunnel: a gRPC stream from outside that becomes no call: the gateway hands its bytes, as they are, to whoever waits behind a
// path. The interconnect between nodes comes in so. The gateway knows neither what the bytes are nor who may come in.

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/own.h"
#include "base/result.h"

namespace shunt::gateway {

struct ListenerPolicy;

/// Who asks. Borrowed: holds during Tunnel::accept() only.
struct TunnelRequest {
  std::string_view path;
  /// The first header of that name (lower case); an empty view when there is none.
  std::function<std::string_view(std::string_view lower)> header;
  const ListenerPolicy& policy;
};

/// The stream, as whoever took it sees it. What is written leaves at the end of the loop's turn.
class TunnelStream {
 public:
  /// In up to three parts. Copied.
  virtual void write(std::string_view first, std::string_view second = {}, std::string_view third = {}) = 0;
  /// More is written than the peer has taken: wait for on_drained().
  [[nodiscard]] virtual bool is_full() const = 0;
  /// Ends it, after what is written. Nothing is told any more; must not be used again.
  virtual void end(const Status& status) = 0;

 protected:
  ~TunnelStream() = default;
};

/// What the stream tells whoever took it, which may end it inside any of these, and be destroyed.
class TunnelEnd {
 public:
  virtual ~TunnelEnd() = default;
  virtual void on_data(std::string_view piece) = 0;
  virtual void on_drained() = 0;
  /// The gateway drains: end soon.
  virtual void on_drain() = 0;
  /// The peer has ended it or is gone. The stream must not be used any more.
  virtual void on_closed(Status why) = 0;
};

/// What a tunnel is answered with.
struct TunnelAnswer {
  std::vector<std::pair<std::string, std::string>> headers;
  TunnelEnd* end = nullptr;  ///< Lives until it was told on_closed(), or has called end().
};

/// Threads: the gateway's loop. Lifetime: outlives the gateway.
class Tunnel {
 public:
  virtual ~Tunnel() = default;
  /// Whether that path is its.
  [[nodiscard]] virtual bool is_behind(std::string_view path) const = 0;
  /// Takes the stream; nothing is written in it before this has returned. Errors: told to the client as the stream's status.
  virtual Result<TunnelAnswer> accept(const TunnelRequest& request, TunnelStream& stream) = 0;
};

}  // namespace shunt::gateway
