#pragma once
// One gRPC or gRPC-Web call: frames of a request become messages of a call, its messages, metadata and status an answer.
// What is told by which status: docs/reference/grpc.md. Only for gateway/'s own files.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "gateway/admission.h"
#include "gateway/call_exchange.h"
#include "gateway/grpc/grpc_web.h"
#include "net/coding/coding.h"
#include "net/grpc/envelope.h"
#include "net/grpc/text.h"

namespace shunt::gateway {

/// Threads: the loop's. Lifetime: its carrier's; used again for the next request of an HTTP/1.1 connection.
class GrpcExchange final : public CallExchange {
 public:
  GrpcExchange(Carrier& carrier, net::GrpcContentType type);

  void begin(const Request& request) override;
  void body(std::string_view piece, bool last) override;
  void complete() override;
  void fail(int http_status, Status status) override;
  void shut_down() override;
  void drain() override;

 private:
  // The request.
  Check check(const Request& request);
  Check read_encodings(const Facts& facts);
  Check read_timeout(const Facts& facts);
  void begin_call(call::Opening opening);
  void read(std::string_view bytes);
  /// False when the call has ended.
  bool take(net::Envelope& envelope);
  void end_request();

  // CallerEvents
  void on_metadata(call::Metadata metadata) override;
  void on_message(call::Message message) override;
  void on_credit() override;
  void on_end(Status status, call::Metadata trailers) override;
  [[nodiscard]] bool wants_answer() const override { return !streams_answer_; }
  void on_answer(call::Message message) override;

  // The answer.
  void begin_answer();
  void write_message(const Bytes& message);
  void write_body(std::string_view first, std::string_view second = {});
  void end_answer(const Status& status, const call::Metadata& trailers);
  /// Ends a call that broke a rule.
  void end_call(Status status);
  void add_trailers(Fields& fields, const Status& status, const call::Metadata& trailers) const;
  void finish(Code code);
  /// What has come and was not given to the call.
  [[nodiscard]] std::size_t held_bytes() const { return reader_.part_bytes() + pending_.size() + first_.size(); }

  const net::GrpcContentType type_;
  bool streams_request_ = false;
  bool streams_answer_ = false;
  bool is_builtin_ = false;  // health, reflection
  bool body_ended_ = false;
  bool head_written_ = false;
  bool has_first_ = false;    // of a request with one message
  bool has_message_ = false;  // of an answer with one message
  bool reading_ = false;
  net::Coding request_coding_ = net::Coding::identity;
  net::Coding answer_coding_ = net::Coding::identity;
  net::EnvelopeReader reader_;
  WebTextDecoder web_text_;
  std::string pending_;  // received while held
  Bytes first_;
  Bytes message_;
  std::string path_;  // of a builtin
};

}  // namespace shunt::gateway
