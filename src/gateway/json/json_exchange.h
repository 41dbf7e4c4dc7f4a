#pragma once
// A request of plain HTTP: JSON, lines of JSON or bytes go in; JSON, lines, server-sent events or bytes come out. Connect's
// unary form is this too. And our own pages. Only for gateway/'s own files.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "call/ends.h"
#include "gateway/admission.h"
#include "gateway/carrier.h"
#include "gateway/shared.h"
#include "loop/loop.h"

namespace shunt::gateway {

/// Threads: the loop's.
class JsonExchange final : public Exchange, private call::CallerEvents, private loop::Timer {
 public:
  explicit JsonExchange(Carrier& carrier) : Exchange(carrier) {}

  void begin(const Request& request) override;
  void body(std::string_view piece, bool last) override;
  void complete() override;
  void fail(int http_status, Status status) override;
  void drained() override;
  void abandon() override;
  void shut_down() override;

 private:
  enum class Form : std::uint8_t { unary, ndjson, events, raw };
  enum class Content : std::uint8_t { none, json, ndjson, bytes, other };
  enum class Page : std::uint8_t { none, root, livez, readyz, metrics };

  Check check(const Request& request);
  Check check_page_method() const;
  Check check_method() const;
  Check check_content() const;
  Check check_connect();
  std::string allowed_methods() const;

  void answer_page();
  void answer_options();
  void prepare_call(const Request& request);
  Check make_message(std::string& text) const;
  void start_call();
  void pump_lines();
  void send_line(std::string_view line, call::Last last);

  void on_metadata(call::Metadata metadata) override;
  void on_message(call::Message message) override;
  void on_credit() override;
  void on_end(Status status, call::Metadata trailers) override;
  void fire() override;  // gives back credit, in a turn of its own

  void stream_message(call::Message& message);
  void begin_stream();
  void end_stream(const Status& status);
  void refuse(const Refusal& refusal);
  void answer_status(int http_status, const Status& status, const call::Metadata* trailers, const Refusal* refusal);
  /// `fields` may hold some already.
  void answer(int http_status, std::string_view content_type, std::string_view body, Fields& fields,
              const call::Metadata* trailers = nullptr);
  void finish(int http_status);
  void give_credit();
  void release_collected();

  Facts facts_;  // Its views hold during begin() only.
  Content content_ = Content::none;
  Page page_ = Page::none;
  Form form_ = Form::unary;
  bool head_only_ = false;
  bool wants_events_ = false;
  bool streams_answer_ = false;
  bool starting_ = false;  // inside Router::start: there is no handle yet
  bool body_ended_ = false;
  bool head_written_ = false;
  bool has_message_ = false;
  bool has_too_many_ = false;  // messages for a unary answer
  bool is_shutting_down_ = false;
  bool giving_credit_ = false;
  bool pumping_ = false;
  std::size_t lines_scanned_ = 0;  // of body_
  std::size_t owed_ = 0;           // credit not given back yet
  std::size_t collected_ = 0;      // what body_ counts in Shared::collected_bytes
  TargetPtr target_;
  std::string body_;
  Bytes whole_body_;
  call::Message message_;
  call::Metadata request_metadata_;
  call::Metadata metadata_;  // of the answer
  call::Principal principal_;
  Deadline deadline_ = Deadline::never();
  std::string log_method_;  // only with an access log
  std::string log_target_;
  Instant began_;
  call::OutgoingHandle call_;
};

}  // namespace shunt::gateway
