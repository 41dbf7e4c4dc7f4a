#pragma once
// AcceptedCarrier: a link's bytes over one gRPC stream of another node: the acceptor's side. Who has the stream (the gateway)
// tells what comes; this shakes hands, takes the messages apart, and is a Carrier.

#include <string>
#include <string_view>

#include "base/own.h"
#include "base/time.h"
#include "link/carrier.h"
#include "link/grpc/handshake.h"
#include "link/grpc/link_message.h"
#include "loop/loop.h"

namespace shunt::link {

/// The way out, as AcceptedCarrier needs it.
class AcceptedStream {
 public:
  virtual void write(std::string_view first, std::string_view second = {}, std::string_view third = {}) = 0;
  /// Wait for AcceptedCarrier::on_drained().
  [[nodiscard]] virtual bool is_full() const = 0;
  /// Ends it, after what is written. It is not used after.
  virtual void end(const Status& status) = 0;

 protected:
  ~AcceptedStream() = default;
};

struct AcceptOptions {
  Introduction
      self;  ///< With a fresh challenge; keyed when there is a key. Sent in the answer's headers by the caller.
  Introduction theirs;  ///< From the request's headers; keyed as self is.
  std::string key;
  Duration timeout = std::chrono::seconds(10);  ///< For the proof.
};

/// The carrier may be destroyed inside each of them.
class AcceptEvents {
 public:
  /// Hands are shaken: start() may be called.
  virtual void on_ready() = 0;
  /// Instead: unauthenticated, or the stream is gone. It has been ended.
  virtual void on_failed(Status why) = 0;

 protected:
  ~AcceptEvents() = default;
};

/// Threads: its loop's. Lifetime: loop and events outlive it; the stream until end(), or until on_closed() was told.
class AcceptedCarrier final : public Carrier, private loop::Timer, private loop::Runnable {
 public:
  /// Its first event comes after this has returned.
  AcceptedCarrier(loop::Loop& loop, AcceptedStream& stream, AcceptOptions options, AcceptEvents& events);
  ~AcceptedCarrier() override;

  // What the stream's owner tells. It may be destroyed inside.
  void on_data(std::string_view piece);
  void on_drained();
  void on_closed(Status why);

  // Carrier
  void start(Events& events) override;
  std::size_t write(const iovec* vectors, int count) override;
  void close() override;

 private:
  void fire() override;  // the proof has not come in time
  void run() override;   // tells what came before start()
  void break_off(Status why);
  void deliver();

  loop::Loop& loop_;
  AcceptedStream* stream_;  // nullptr: ended
  const AcceptOptions options_;
  AcceptEvents* waiting_;  // nullptr once it was told
  Events* events_ = nullptr;
  bool* gone_ = nullptr;  // Set when it is destroyed inside an event.
  LinkMessageReader reader_;
  std::string inbox_;  // frames that have come and are not told
  std::string lent_;   // those that are being told
  Status why_;
  bool wants_to_write_ = false;
};

}  // namespace shunt::link
