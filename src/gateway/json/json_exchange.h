#pragma once
// A request of plain HTTP: JSON, lines of JSON, forms or bytes go in; JSON, lines, server-sent events or bytes come out.
// Connect's unary form is this too. And our own pages. Only for gateway/'s own files.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "gateway/admission.h"
#include "gateway/call_exchange.h"
#include "gateway/json/answer_terms.h"
#include "gateway/json/request_body.h"
#include "gateway/shared.h"
#include "loop/loop.h"

namespace shunt::gateway {

/// Threads: the loop's.
class JsonExchange final : public CallExchange {
 public:
  explicit JsonExchange(Carrier& carrier) : CallExchange(carrier), events_timer_(*this) {}

  void begin(const Request& request) override;
  void body(std::string_view piece, bool last) override;
  void complete() override;
  void fail(int http_status, Status status) override;
  void abandon() override;

 private:
  enum class Form : std::uint8_t { unary, ndjson, events, raw };
  /// Says on an idle stream of events that we are still there.
  struct EventsTimer final : loop::Timer {
    explicit EventsTimer(JsonExchange& of) : exchange(of) {}
    void fire() override { exchange.comment(); }
    JsonExchange& exchange;
  };
  enum class Page : std::uint8_t { none, root, livez, readyz, metrics };

  Check check(const Request& request);
  Check check_page_method() const;
  Check check_method() const;
  Check check_content();
  Check check_accept();
  Check check_preflight() const;
  Check check_connect();
  std::string allowed_methods() const;

  void answer_page();
  void answer_options(const Request& request);
  Check prepare_call(const Request& request);
  const ParameterTypes& parameters() const;
  Check make_message(std::string& text) const;
  void collect(std::string_view piece, bool last);
  void begin_call();
  void pump();

  void on_metadata(call::Metadata metadata) override;
  void on_message(call::Message message) override;
  void on_credit() override;
  void on_end(Status status, call::Metadata trailers) override;

  void stream_message(call::Message& message);
  void begin_stream();
  void write_stream(std::string_view first, std::string_view second = {}, std::string_view third = {});
  void write_event(std::string_view text);
  void comment();
  void answer_message(const call::Metadata& trailers);
  void answer_read(std::string_view type, std::string_view body, Fields& fields, const call::Metadata& trailers);
  void answer_coded(int http_status, std::string_view type, std::string_view body, Fields& fields,
                    const call::Metadata& trailers);
  void end_stream(const Status& status);
  void refuse(const Refusal& refusal);
  void answer_status(int http_status, const Status& status, const call::Metadata* trailers, const Refusal* refusal);
  /// `fields` may hold some already.
  void answer(int http_status, std::string_view content_type, std::string_view body, Fields& fields,
              const call::Metadata* trailers = nullptr);
  void finish(int http_status);

  Facts facts_;  // Its views hold during begin() only.
  BodyKind content_ = BodyKind::none;
  net::Coding coding_ = net::Coding::identity;  // of the request
  Page page_ = Page::none;
  Form form_ = Form::unary;
  bool head_only_ = false;
  bool wants_events_ = false;
  bool streams_answer_ = false;
  bool is_read_ = false;  // GET of a command without effect
  bool head_written_ = false;
  bool has_message_ = false;
  bool pumping_ = false;
  bool half_closed_ = false;
  std::uint64_t next_event_ = 1;
  Own<AnswerTerms> terms_;
  RequestBody body_;
  Bytes whole_body_;
  Own<net::Compressor> compressor_;  // of a streamed answer
  std::string scratch_;
  call::Message message_;
  EventsTimer events_timer_;
};

/// Of a 406: what there is.
Status not_acceptable(std::string_view types);

}  // namespace shunt::gateway
