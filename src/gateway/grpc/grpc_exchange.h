#pragma once
// One gRPC or gRPC-Web call: frames of a request become messages of a call, its messages, metadata and status an answer.
// What is told by which status: docs/reference/grpc.md. Only for gateway/'s own files.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "call/ends.h"
#include "gateway/admission.h"
#include "gateway/carrier.h"
#include "gateway/grpc/grpc_web.h"
#include "loop/loop.h"
#include "net/coding/coding.h"
#include "net/grpc/envelope.h"
#include "net/grpc/text.h"

namespace shunt::gateway {

/// Threads: the loop's. Lifetime: its carrier's; used again for the next request of an HTTP/1.1 connection.
class GrpcExchange final : public Exchange, private call::CallerEvents, private loop::Timer {
 public:
  GrpcExchange(Carrier& carrier, net::GrpcContentType type);

  void begin(const Request& request) override;
  void body(std::string_view piece, bool last) override;
  void complete() override;
  void fail(int http_status, Status status) override;
  void drained() override;
  void abandon() override;
  void shut_down() override;
  void drain() override;

 private:
  // The request.
  Check check(const Request& request);
  Check read_encodings(const Facts& facts);
  Check read_timeout(const Facts& facts);
  void start_call(call::Opening opening);
  void read(std::string_view bytes);
  /// False when the call has ended.
  bool take(net::Envelope& envelope);
  void take_first(call::Message message);
  void end_request();

  // CallerEvents
  void on_metadata(call::Metadata metadata) override;
  void on_message(call::Message message) override;
  void on_credit() override;
  void on_end(Status status, call::Metadata trailers) override;
  [[nodiscard]] bool wants_answer() const override { return !streams_answer_; }
  void on_answer(call::Message message) override;
  void fire() override;  // gives back credit, in a turn of its own

  // The answer.
  void begin_answer();
  void write_message(const Bytes& message);
  void write_body(std::string_view first, std::string_view second = {});
  void end_answer(const Status& status, const call::Metadata& trailers);
  /// Ends a call that broke a rule.
  void end_call(Status status);
  void add_trailers(Fields& fields, const Status& status, const call::Metadata& trailers) const;
  void finish(Code code);
  void give_credit();
  [[nodiscard]] Deadline deadline() const;

  const net::GrpcContentType type_;
  bool streams_request_ = false;
  bool streams_answer_ = false;
  bool is_builtin_ = false;  // health, reflection
  bool starting_ = false;    // inside start(): there is no handle yet
  bool started_ = false;
  bool body_ended_ = false;
  bool head_written_ = false;
  bool has_first_ = false;    // of a request with one message
  bool has_message_ = false;  // of an answer with one message
  bool has_too_many_ = false;
  bool is_shutting_down_ = false;
  bool giving_credit_ = false;
  bool reading_ = false;
  net::Coding request_coding_ = net::Coding::identity;
  net::Coding answer_coding_ = net::Coding::identity;
  std::size_t owed_ = 0;  // credit not given back yet
  std::optional<Duration> timeout_;
  TargetPtr target_;
  net::EnvelopeReader reader_;
  WebTextDecoder web_text_;
  std::string pending_;  // received while held
  Bytes first_;
  Bytes message_;
  call::Metadata request_metadata_;
  call::Metadata metadata_;  // of the answer
  call::Principal principal_;
  std::string path_;  // of a builtin, or for the access log
  std::string log_method_;
  Instant began_;
  call::OutgoingHandle call_;
};

}  // namespace shunt::gateway
