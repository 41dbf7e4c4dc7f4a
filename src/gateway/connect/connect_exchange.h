#pragma once
// One call by the Connect protocol: unary by POST and GET, and streams of envelopes, in JSON or protobuf, compressed or
// not. What is told by which status: docs/reference/http.md. Only for gateway/'s own files.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "gateway/admission.h"
#include "gateway/call_exchange.h"
#include "gateway/connect/connect_text.h"
#include "net/coding/coding.h"
#include "net/grpc/envelope.h"

namespace shunt::gateway {

/// Threads: the loop's. Lifetime: its carrier's, for one request.
class ConnectExchange final : public CallExchange {
 public:
  ConnectExchange(Carrier& carrier, ConnectForm form);

  void begin(const Request& request) override;
  void body(std::string_view piece, bool last) override;
  void complete() override;
  void fail(int http_status, Status status) override;

 private:
  // The request.
  Check check(const Request& request);
  Check check_shape(const Facts& facts);
  Check read_timeout(const Facts& facts);
  Check read_codings(const Request& request, const Facts& facts);
  Check read_query(const Facts& facts);
  void collect(std::string_view piece, bool last);
  void begin_call(call::Opening opening);
  void read(std::string_view bytes);
  /// False when the call has ended.
  bool take(net::Envelope& envelope);
  /// Decodes what was compressed. False: it could not be, and the call has ended.
  bool decompress(Bytes& message);
  void end_request();

  // CallerEvents
  void on_metadata(call::Metadata metadata) override;
  void on_message(call::Message message) override;
  void on_credit() override;
  void on_end(Status status, call::Metadata trailers) override;
  [[nodiscard]] bool wants_answer() const override { return !streams_answer_; }
  void on_answer(call::Message message) override;

  // The answer.
  void begin_stream();
  void write_message(const Bytes& message);
  void end_stream(const Status& status, const call::Metadata& trailers);
  void answer_message(const call::Metadata& trailers);
  void answer_error(int http_status, const Status& status, const call::Metadata& trailers, const Refusal* refusal);
  void refuse(const Refusal& refusal);
  /// Ends a call that broke a rule.
  void end_call(Status status);
  /// Of a stream: what has come and was not given to the call.
  [[nodiscard]] std::size_t held_bytes() const { return reader_.part_bytes() + pending_.size() + first_.size(); }
  [[nodiscard]] bool is_stream() const { return form_.kind == ConnectForm::Kind::stream; }

  ConnectForm form_;
  bool streams_request_ = false;
  bool streams_answer_ = false;
  bool body_ended_ = false;
  bool head_written_ = false;
  bool has_first_ = false;    // of a request with one message
  bool has_message_ = false;  // of an answer with one message
  bool reading_ = false;
  net::Coding request_coding_ = net::Coding::identity;
  net::Coding answer_coding_ = net::Coding::identity;
  net::EnvelopeReader reader_;
  std::string pending_;  // a bare message that is not whole; of a stream: received while held
  Bytes first_;
  Bytes message_;
};

}  // namespace shunt::gateway
