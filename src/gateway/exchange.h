#pragma once
// One request and its answer: reads the head, checks whether it may, starts the call, writes what comes of it in the form
// that was asked for. Only for gateway/'s own files.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "call/ends.h"
#include "gateway/shared.h"
#include "loop/loop.h"
#include "net/http1/http1.h"

namespace shunt::gateway {

class Connection;

/// Used again for each request of its connection. Threads: the loop's.
class Exchange final : private call::CallerEvents, private loop::Timer {
 public:
  explicit Exchange(Connection& connection) : connection_(connection) {}

  /// A request's head has come. `whole`: all of its body is here too. May answer at once.
  void begin(const net::RequestHead& head, bool whole);
  /// The next piece of its body; `last` when nothing follows.
  void body(std::string_view piece, bool last);
  /// The request is complete.
  void complete(const net::RequestHead& head);
  /// Views into the head have moved.
  void head_moved() { facts_are_stale_ = true; }
  /// Answers an error that was found outside: a broken or slow request. The connection closes after it.
  void answer_error(int http_status, Status status);
  /// What was written has left: the callee may go on.
  void drained();
  /// The client is gone, or we are going: lets go of the call.
  void abandon();
  /// Ends the call for the drain's sake and tells the client.
  void shut_down();

  [[nodiscard]] bool is_over() const { return phase_ == Phase::over; }
  [[nodiscard]] bool is_calling() const { return phase_ == Phase::calling; }
  /// The callee can't take more of the body now.
  [[nodiscard]] bool is_held() const { return held_; }
  /// The body is a stream of messages, each with its own limit.
  [[nodiscard]] bool takes_lines() const { return takes_lines_; }
  [[nodiscard]] bool keeps_connection() const;

 private:
  enum class Phase : std::uint8_t {
    over,        // answered, or not begun
    collecting,  // the body comes
    calling,
  };
  enum class Form : std::uint8_t { unary, ndjson, events, raw };
  enum class Content : std::uint8_t { none, json, ndjson, bytes, other };
  enum class Page : std::uint8_t { none, root, livez, readyz, metrics };

  // What the head says, as far as it matters here. Views into the head.
  struct Facts {
    std::string_view method;
    std::string_view host;
    std::string_view path;
    std::string_view query;
    std::string_view content_type;
    std::string_view content_encoding;
    std::string_view accept;
    std::string_view origin;
    std::string_view fetch_site;
    std::string_view fetch_mode;
    std::string_view fetch_dest;
    std::string_view authorization;
    std::string_view connect_timeout;
    std::string_view connect_version;
    bool has_metadata = false;
    bool is_get = false;  // HEAD too
    bool is_post = false;
    bool is_options = false;
    Content content = Content::none;
    Page page = Page::none;
    Target* target = nullptr;
  };
  // Why a request is not let through.
  struct Refusal {
    int http_status = 0;
    Status status;
    std::string allow = {};  // of a 405
    bool challenge = false;  // of a 401
  };
  using Check = std::optional<Refusal>;

  void read_head(const net::RequestHead& head);
  Check check(const net::RequestHead& head);
  Check check_web(const net::RequestHead& head) const;
  Check check_page_method() const;
  Check find_target();
  Check check_method() const;
  Check check_token();
  Check check_content() const;
  Check check_connect() const;
  std::string allowed_methods() const;
  std::string reachable_services() const;

  void answer_page();
  void answer_options();
  void start_call(const net::RequestHead& head);
  Check make_message(std::string& text) const;
  Check make_metadata(const net::RequestHead& head, call::Metadata& metadata) const;
  Deadline deadline() const;
  void pump_lines();
  void send_line(std::string_view line, call::Last last);

  void on_metadata(call::Metadata metadata) override;
  void on_message(call::Message message) override;
  void on_credit() override;
  void on_end(Status status, call::Metadata trailers) override;
  void fire() override;  // gives back credit, in a turn of its own

  void stream_message(call::Message& message);
  void begin_stream();
  void append_stream(std::string_view first, std::string_view second = {}, std::string_view third = {});
  void end_stream(const Status& status);
  void refuse(const Refusal& refusal);
  void answer_status(int http_status, const Status& status, const call::Metadata* trailers, const Refusal* refusal);
  void answer(int http_status, std::string_view content_type, std::string_view body, const call::Metadata* trailers,
              const Refusal* refusal = nullptr, std::string_view error_id = {}, std::string_view extra = {});
  void write_metadata(net::ResponseWriter& writer, const call::Metadata& metadata, std::string_view prefix) const;
  void write_connection(net::ResponseWriter& writer);
  void finish(int http_status);
  void give_credit();
  void release_collected();

  Connection& connection_;
  Facts facts_;
  Phase phase_ = Phase::over;
  Form form_ = Form::unary;
  bool facts_are_stale_ = false;
  bool head_only_ = false;
  bool http10_ = false;
  bool keep_alive_ = true;
  bool wants_events_ = false;
  bool streams_answer_ = false;
  bool takes_lines_ = false;
  bool starting_ = false;  // inside Router::start: there is no handle yet
  bool held_ = false;
  bool body_ended_ = false;
  bool head_written_ = false;
  bool has_message_ = false;
  bool has_too_many_ = false;  // messages for a unary answer
  bool is_shutting_down_ = false;
  bool giving_credit_ = false;
  bool pumping_ = false;
  std::size_t lines_scanned_ = 0;  // of body_
  std::uint64_t answer_bytes_ = 0;
  std::size_t owed_ = 0;       // credit not given back yet
  std::size_t collected_ = 0;  // what body_ counts in Shared::collected_bytes
  std::string body_;
  Bytes whole_body_;
  call::Message message_;
  call::Metadata metadata_;  // of the answer
  call::Principal principal_;
  std::string log_method_;  // only with an access log
  std::string log_target_;
  Instant began_;
  call::OutgoingHandle call_;
};

}  // namespace shunt::gateway
