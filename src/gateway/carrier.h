#pragma once
// What carries one request and its answer, HTTP/1.1 or a stream of HTTP/2, and what answers it: JSON, gRPC, Connect, a
// WebSocket. The two sides of that know each other by these classes only. Only for gateway/'s own files.

#include <array>
#include <cstddef>
#include <cstdint>
#include <list>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/own.h"
#include "base/status.h"
#include "base/time.h"
#include "gateway/cors.h"
#include "loop/task.h"
#include "net/header.h"

namespace shunt::gateway {

struct ListenerPolicy;
struct Shared;

/// A request's head, of whatever HTTP. Views that hold during Exchange::begin() only.
struct Request {
  std::string_view method;
  std::string_view target;         ///< Path and query; HTTP/1.1 may have sent the absolute form.
  std::string_view host;           ///< Host, or :authority.
  std::string_view protocol = {};  ///< Of an extended CONNECT of HTTP/2 (RFC 8441): "websocket".
  std::span<const net::Header> headers;
  int version = 11;         ///< 10, 11 or 20.
  bool has_body = false;    ///< One may come.
  bool whole = false;       ///< All of it is here already.
  bool is_granted = false;  ///< Its Origin is one that the service lets in (cors.h).

  /// The first header of that name (lower case); an empty view when there is none.
  [[nodiscard]] std::string_view find(std::string_view lower) const;
};

/// Header fields of an answer, or trailers, gathered before they are written. Names in lower case.
class Fields {
 public:
  /// Borrows both until the fields were written.
  void add(std::string_view name, std::string_view value) {
    if (count_ < few_.size()) {
      few_[count_] = {name, value};
    } else {
      spill(name, value);
    }
    ++count_;
  }
  /// Keeps the texts.
  void add_copy(std::string name, std::string value);
  [[nodiscard]] std::span<const net::Header> all() const {
    return count_ <= few_.size() ? std::span(few_.data(), count_) : std::span(many_);
  }

 private:
  void spill(std::string_view name, std::string_view value);

  std::array<net::Header, 12> few_;
  std::size_t count_ = 0;
  std::vector<net::Header> many_;  // all of them, once they are more than few_ holds
  std::list<std::string> kept_;
};

/// Where an answer goes. Either answer(); or begin(), write() as often as needed, and end() or cut(); or tunnel(), write(),
/// and end(). What is written leaves at the end of the loop's turn. The carrier adds to the fields what is its own to say
/// (Date, Content-Length, Connection). Threads: the loop's.
class Carrier {
 public:
  /// The whole answer. The body is left out for HEAD, its length is not; a 204 or 304 has neither.
  virtual void answer(int status, Fields& fields, std::string_view body) = 0;
  /// The head of a streamed answer.
  virtual void begin(int status, Fields& fields) = 0;
  /// A piece of it, in up to three parts. Copied.
  virtual void write(std::string_view first, std::string_view second = {}, std::string_view third = {}) = 0;
  /// The same in one part, without a copy where the carrier can.
  virtual void write(Bytes piece) { write(piece.view()); }
  virtual void end(const Fields* trailers = nullptr) = 0;
  /// It can't be finished, and the client must see that: a reset, or a close without the last chunk.
  virtual void cut() = 0;
  /// HTTP/1.1 answers 101 with `fields`, HTTP/2 (after an extended CONNECT) 200. From here on body() of the exchange gets
  /// bytes as they come, and write() sends bytes as they are.
  virtual void tunnel(Fields& fields) = 0;
  /// No further request on an HTTP/1.1 connection: the rest of this one is not read. Nothing to HTTP/2.
  virtual void close_after() = 0;
  /// The request's body may be so far ahead of what was taken of it. Nothing to HTTP/1.1.
  virtual void widen(std::uint32_t window) { (void)window; }
  /// The exchange is over, or is not held any more.
  virtual void go_on() = 0;

  /// Written and not yet taken by the client.
  [[nodiscard]] virtual std::size_t unsent() const = 0;
  /// Bytes of this answer so far, its head included.
  [[nodiscard]] virtual std::uint64_t written() const = 0;
  /// What a page of another origin may; the carrier says it in every answer.
  [[nodiscard]] virtual const CorsGrant& cors() const = 0;
  [[nodiscard]] virtual Shared& shared() = 0;
  [[nodiscard]] virtual const ListenerPolicy& policy() const = 0;

 protected:
  ~Carrier() = default;
};

/// Answers one request. A carrier calls begin() once, body() for each piece, complete() at the end of the body; and any of
/// fail(), drained(), abandon() and shut_down(). Threads: the loop's. Lifetime: its carrier owns it.
class Exchange {
 public:
  explicit Exchange(Carrier& carrier) : carrier_(carrier) {}
  virtual ~Exchange() = default;
  Exchange(const Exchange&) = delete;
  Exchange& operator=(const Exchange&) = delete;
  static void* operator new(std::size_t size) { return loop::allocate_frame(size); }
  static void operator delete(void* memory, std::size_t size) { loop::free_frame(memory, size); }

  /// The head has come. May answer at once.
  virtual void begin(const Request& request) = 0;
  /// The next piece of its body; `last` when nothing follows. A piece that comes while is_held() must be kept.
  virtual void body(std::string_view piece, bool last) = 0;
  /// The request is complete. A tunnel: the client sends no more.
  virtual void complete() = 0;
  /// Answers an error that the carrier found: a broken, slow or too large request.
  virtual void fail(int http_status, Status status) = 0;
  /// What was written has left, or most of it: the callee may go on.
  virtual void drained() = 0;
  /// The client is gone, or we are going: lets go of the call. The carrier must not be used again.
  virtual void abandon() = 0;
  /// Ends the call for the drain's sake and tells the client.
  virtual void shut_down() = 0;
  /// The node drains: this call may end as it likes; a stream without an end may say goodbye.
  virtual void drain() {}

  /// Answered, or not begun.
  [[nodiscard]] bool is_over() const { return over_; }
  /// A call runs.
  [[nodiscard]] bool is_calling() const { return calling_; }
  /// The callee can't take more of the body now.
  [[nodiscard]] bool is_held() const { return held_; }
  /// The body is a stream of messages, each with its own limit.
  [[nodiscard]] bool takes_stream() const { return takes_stream_; }

 protected:
  Carrier& carrier_;
  bool over_ = true;
  bool calling_ = false;
  bool held_ = false;
  bool takes_stream_ = false;
};

/// Which exchange a request wants: by its content type, or that it asks for a tunnel.
Own<Exchange> make_exchange(Carrier& carrier, const Request& request);

}  // namespace shunt::gateway
