#include "gateway/connect/connect_exchange.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "gateway/shared.h"
#include "gateway/text.h"
#include "net/http1/http1.h"

namespace shunt::gateway {

namespace {

using Kind = ConnectForm::Kind;

/// A larger message is handed to the carrier as it is; a smaller one is copied behind its prefix.
constexpr std::size_t copied_bytes_max = 4u << 10;
/// Below it compression does not pay.
constexpr std::size_t compressed_bytes_min = 256;
constexpr std::string_view codings_taken = "gzip, zstd, deflate";
constexpr net::Coding codings_offered[] = {net::Coding::zstd, net::Coding::gzip, net::Coding::deflate};

// Connect's clients list what they take, best first and without qualities; HTTP's own lists are read alike.
net::Coding coding_of_answer(std::string_view accepted) {
  if (accepted.empty()) return net::Coding::identity;
  return net::choose_coding(accepted, codings_offered).value_or(net::Coding::identity);
}

}  // namespace

ConnectExchange::ConnectExchange(Carrier& carrier, ConnectForm form)
    : CallExchange(carrier), form_(form), reader_(carrier.shared().limits.body_bytes_max) {
  takes_stream_ = is_stream();
}

// --- The request ---

void ConnectExchange::begin(const Request& request) {
  open(request);
  if (Check refusal = check(request)) {
    if (!request.whole) carrier_.close_after();
    refuse(*refusal);
    return;
  }
  if (streams_request_) begin_call(call::Opening::empty());
}

Check ConnectExchange::check(const Request& request) {
  Shared& shared = carrier_.shared();
  const ListenerPolicy& policy = carrier_.policy();
  const Facts facts = read_facts(request);
  if (Check refusal = check_web(facts, request, policy, false)) return refusal;
  if (!form_.is_known) {
    return Refusal{415, Status(Code::unimplemented, "S4008",
                               fmt::format("Content-Type '{}' is not understood; application/connect+json and "
                                           "application/connect+proto are",
                                           facts.content_type))};
  }
  auto target = find_target(shared, policy, facts.path);
  if (!target) return std::move(target).error();
  target_ = std::move(*target);
  if (Check refusal = check_shape(facts)) return refusal;
  if (Check refusal = check_token(shared, policy, *target_, facts.authorization, principal_)) return refusal;
  if (!facts.connect_version.empty() && facts.connect_version != "1") {
    return Refusal{
        400, Status(Code::invalid_argument, "S4012",
                    fmt::format("Connect-Protocol-Version '{}' is not spoken here; 1 is", facts.connect_version))};
  }
  if (Check refusal = read_timeout(facts)) return refusal;
  if (Check refusal = read_codings(request, facts)) return refusal;
  if (form_.kind == Kind::get) {
    if (Check refusal = read_query(facts)) return refusal;
  }
  if (!facts.has_metadata) return std::nullopt;
  return make_metadata(request, shared.limits.metadata_bytes_max, request_metadata_);
}

Check ConnectExchange::check_shape(const Facts& facts) {
  const call::CommandDefinition* command = target_->command;
  if (command == nullptr) return std::nullopt;  // The router tells what the service has.
  streams_request_ = streams_requests(command->stream);
  streams_answer_ = streams_answers(command->stream);
  if (!is_stream() && (streams_request_ || streams_answer_)) {
    streams_request_ = streams_answer_ = false;
    return Refusal{415, Status(Code::unimplemented, "S4062",
                               fmt::format("{} streams: send application/connect+json or application/connect+proto, or "
                                           "leave out Connect-Protocol-Version for lines of JSON",
                                           facts.path))};
  }
  if (form_.encoding == call::Encoding::proto && command->transcoder == nullptr &&
      command->encoding != call::Encoding::proto) {
    return Refusal{415, Status(Code::unimplemented, "S4008",
                               fmt::format("{} has no protobuf types: send application/json", facts.path))};
  }
  if (form_.kind == Kind::get && command->effect != call::Effect::none) {
    return Refusal{405,
                   Status(Code::unimplemented, "S4009",
                          fmt::format("{} may change something when it is called, so it needs POST; GET is for "
                                      "commands whose effect is \"none\"",
                                      facts.path)),
                   "POST, OPTIONS"};
  }
  return std::nullopt;
}

Check ConnectExchange::read_timeout(const Facts& facts) {
  const std::string_view text = facts.connect_timeout;
  if (text.empty()) return std::nullopt;
  if (text.size() > 10 || !std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; })) {
    return Refusal{400, Status(Code::invalid_argument, "S4012",
                               fmt::format("Connect-Timeout-Ms '{}' must be a whole number of milliseconds with at "
                                           "most 10 digits",
                                           text))};
  }
  std::int64_t milliseconds = 0;
  for (const char c : text) milliseconds = milliseconds * 10 + (c - '0');
  deadline_ = Deadline::after(began_, std::chrono::milliseconds(milliseconds));
  return std::nullopt;
}

Check ConnectExchange::read_codings(const Request& request, const Facts& facts) {
  const std::string_view sent = is_stream() ? request.find("connect-content-encoding") : facts.content_encoding;
  const auto coding = net::coding_from_name(sent);
  if (!coding) {
    return Refusal{415, Status(Code::unimplemented, "S4061",
                               fmt::format("compression '{}' is not understood; these are: {}", sent, codings_taken))};
  }
  request_coding_ = *coding;
  answer_coding_ = coding_of_answer(is_stream() ? request.find("connect-accept-encoding") : facts.accept_encoding);
  return std::nullopt;
}

Check ConnectExchange::read_query(const Facts& facts) {
  auto query = read_connect_query(facts.query);
  if (!query) {
    const int status = query.error().id() == "S4008" ? 415 : http_status(query.error().code());
    return Refusal{status, std::move(query).error()};
  }
  const auto coding = net::coding_from_name(query->compression);
  if (!coding) {
    return Refusal{415, Status(Code::unimplemented, "S4061",
                               fmt::format("compression '{}' is not understood; these are: {}", query->compression,
                                           codings_taken))};
  }
  request_coding_ = *coding;
  first_ = Bytes::adopt(std::move(query->message));
  return std::nullopt;
}

void ConnectExchange::body(std::string_view piece, bool last) {
  if (over_) return;
  if (!is_stream()) {
    collect(piece, last);
  } else if (held_ || !pending_.empty()) {
    pending_ += piece;
  } else {
    read(piece);
  }
  if (!over_ && is_stream()) count_collected(held_bytes());
}

void ConnectExchange::collect(std::string_view piece, bool last) {
  if (form_.kind == Kind::get) return;
  if (last && pending_.empty()) {
    first_ = Bytes::copy_of(piece);
    return;
  }
  if (count_collected(pending_.size() + piece.size())) pending_.append(piece);
}

void ConnectExchange::begin_call(call::Opening opening) {
  start_call(form_.encoding == call::Encoding::json ? call::Encoding::proto_json : form_.encoding, std::move(opening));
}

void ConnectExchange::read(std::string_view bytes) {
  reading_ = true;
  reader_.feed(bytes);
  net::Envelope envelope;
  while (!over_ && !held_) {
    const net::EnvelopeReader::Event event = reader_.next(envelope);
    if (event == net::EnvelopeReader::Event::need_more) break;
    if (event == net::EnvelopeReader::Event::too_large) {
      end_call(Status(
          Code::resource_exhausted, "S1007",
          fmt::format("a message of {} bytes is larger than the limit of {}; send it as a stream of smaller ones",
                      reader_.size(), carrier_.shared().limits.body_bytes_max)));
      break;
    }
    if (!take(envelope)) break;
  }
  if (!over_ && held_) pending_.assign(reader_.unread());
  reading_ = false;
}

bool ConnectExchange::take(net::Envelope& envelope) {
  if ((envelope.flags & ~net::envelope_flag::compressed) != 0) {
    end_call(Status(Code::invalid_argument, "S4060",
                    fmt::format("a message has the flags {:#04x}; only 0x00 and 0x01 (compressed) mean something",
                                envelope.flags)));
    return false;
  }
  if (envelope.flags != 0) {
    if (request_coding_ == net::Coding::identity) {
      end_call(Status(Code::invalid_argument, "S4060",
                      "a message is flagged as compressed, but there is no Connect-Content-Encoding"));
      return false;
    }
    if (!decompress(envelope.message)) return false;
  }
  if (!streams_request_) {
    if (!std::exchange(has_first_, true)) {
      first_ = std::move(envelope.message);
      return true;
    }
    end_call(Status(Code::unimplemented, "S4062", "the command takes one message, and more than one came"));
    return false;
  }
  if (!call_) return false;
  const call::Sent sent = call_->send(call::Message(std::move(envelope.message)), call::Last::no);
  if (over_) return false;
  held_ = sent == call::Sent::held;
  return sent != call::Sent::ended;
}

bool ConnectExchange::decompress(Bytes& message) {
  std::string plain;
  Shared& shared = carrier_.shared();
  const std::size_t bytes_max = shared.limits.body_bytes_max;
  auto done = shared.codecs.decompress(request_coding_, message.view(), bytes_max, plain);
  if (done) {
    message = Bytes::adopt(std::move(plain));
    return true;
  }
  const bool is_large = done.error().code() == Code::resource_exhausted;
  end_call(Status(is_large ? Code::resource_exhausted : Code::invalid_argument, is_large ? "S1007" : "S4060",
                  fmt::format("a compressed message: {}", done.error().message())));
  return false;
}

void ConnectExchange::complete() {
  if (over_ || std::exchange(body_ended_, true)) return;
  if (is_stream()) {
    if (!held_ && pending_.empty()) end_request();
    return;
  }
  release_collected();
  if (!pending_.empty()) first_ = Bytes::adopt(std::exchange(pending_, {}));
  if (request_coding_ != net::Coding::identity && !first_.empty() && !decompress(first_)) return;
  has_first_ = true;
  end_request();
}

void ConnectExchange::end_request() {
  if (reader_.is_inside()) {
    end_call(Status(Code::invalid_argument, "S4060", "the request ends inside a message"));
  } else if (streams_request_) {
    if (call_) call_->half_close();
  } else if (!has_first_) {
    end_call(Status(Code::unimplemented, "S4062", "the command takes one message, and none came"));
  } else {
    if (form_.encoding == call::Encoding::json && first_.empty()) first_ = Bytes::forever("{}");
    begin_call(call::Opening::unary(call::Message(std::move(first_))));
  }
}

void ConnectExchange::on_credit() {
  held_ = false;
  if (starting_ || reading_ || over_) return;
  if (!pending_.empty()) read(std::exchange(pending_, {}));
  if (over_ || !count_collected(held_bytes()) || held_) return;
  if (body_ended_) end_request();
  if (!over_) carrier_.go_on();
}

// --- The answer ---

void ConnectExchange::on_metadata(call::Metadata metadata) {
  if (over_) return;
  metadata_ = std::move(metadata);
  // Whoever streams may wait for it before it sends on.
  if (streams_answer_ && !head_written_) begin_stream();
}

void ConnectExchange::on_answer(call::Message message) {
  if (over_) return;
  message_ = message.bytes();
  has_message_ = true;
  on_end(Status(), {});
}

void ConnectExchange::on_message(call::Message message) {
  if (over_) return;
  if (streams_answer_) {
    if (!head_written_) begin_stream();
    owed_ += message.cost();
    write_message(message.bytes());
    give_credit();
  } else if (!std::exchange(has_message_, true)) {
    message_ = message.bytes();
  } else if (!std::exchange(has_too_many_, true)) {
    if (!starting_) call_->cancel(call::Cancel::protocol);
  }
}

void ConnectExchange::on_end(Status status, call::Metadata trailers) {
  if (over_) return;
  status = judge(std::move(status), !streams_answer_ && !has_message_);
  if (!starting_) call_.reset();
  if (is_stream()) {
    if (status.is_ok() && !streams_answer_) {
      begin_stream();
      write_message(message_);
    }
    end_stream(status, trailers);
  } else if (status.is_ok()) {
    answer_message(trailers);
  } else {
    answer_error(http_status(status.code()), status, trailers, nullptr);
  }
}

void ConnectExchange::begin_stream() {
  head_written_ = true;
  Fields fields;
  fields.add("content-type", form_.content_type());
  if (answer_coding_ != net::Coding::identity) {
    fields.add("connect-content-encoding", net::coding_name(answer_coding_));
  }
  // Proxies that collect an answer before they pass it on would hold a stream back.
  fields.add("cache-control", "no-store");
  fields.add("x-accel-buffering", "no");
  add_metadata(fields, metadata_);
  carrier_.begin(200, fields);
}

void ConnectExchange::write_message(const Bytes& message) {
  if (answer_coding_ != net::Coding::identity && message.size() >= compressed_bytes_min) {
    std::string coded;
    carrier_.shared().codecs.compress(answer_coding_, message.view(), coded);
    if (coded.size() < message.size()) {
      const auto prefix = net::envelope_prefix(net::envelope_flag::compressed, coded.size());
      carrier_.write({prefix.data(), prefix.size()}, coded);
      return;
    }
  }
  const auto prefix = net::envelope_prefix(0, message.size());
  if (message.size() <= copied_bytes_max) {
    carrier_.write({prefix.data(), prefix.size()}, message.view());
    return;
  }
  carrier_.write({prefix.data(), prefix.size()});
  carrier_.write(message);
}

void ConnectExchange::end_stream(const Status& status, const call::Metadata& trailers) {
  if (!head_written_) begin_stream();
  const std::string end = connect_end_of_stream(status, trailers);
  const auto prefix = net::envelope_prefix(net::envelope_flag::connect_end, end.size());
  carrier_.write({prefix.data(), prefix.size()}, end);
  carrier_.end();
  close(200);
}

void ConnectExchange::answer_message(const call::Metadata& trailers) {
  Fields fields;
  const auto type = metadata_.find("content-type");
  // What a handler calls by a type of its own is its own bytes; a client that knows the types gets these.
  const auto& contract = target_->route->definition->contract;
  const bool is_typed = contract && contract->is_derived();
  const bool has_own = form_.encoding == call::Encoding::json && !is_typed && type && net::is_header_value(*type);
  fields.add("content-type", has_own ? *type : form_.content_type());
  fields.add("vary", "accept-encoding");
  add_metadata(fields, metadata_);
  add_metadata(fields, trailers, "trailer-");
  std::string coded;
  if (answer_coding_ != net::Coding::identity && message_.size() >= compressed_bytes_min) {
    carrier_.shared().codecs.compress(answer_coding_, message_.view(), coded);
    if (coded.size() >= message_.size()) coded.clear();
  }
  if (!coded.empty()) fields.add("content-encoding", net::coding_name(answer_coding_));
  carrier_.answer(200, fields, coded.empty() ? message_.view() : std::string_view(coded));
  close(200);
}

void ConnectExchange::answer_error(int http_status, const Status& status, const call::Metadata& trailers,
                                   const Refusal* refusal) {
  Fields fields;
  fields.add("content-type", "application/json");
  if (!status.id().empty()) fields.add("shunt-error", status.id());
  if (status.id() == "S4061") fields.add("accept-encoding", codings_taken);
  if (refusal != nullptr && !refusal->allow.empty()) fields.add("allow", refusal->allow);
  if (refusal != nullptr && refusal->challenge) fields.add("www-authenticate", "Bearer realm=\"shunt\"");
  if (status.retry() == Retry::later && (http_status == 503 || http_status == 429)) fields.add("retry-after", "1");
  add_metadata(fields, metadata_);
  add_metadata(fields, trailers, "trailer-");
  carrier_.answer(http_status, fields, connect_error(status));
  close(http_status);
}

// A stream's errors stand in its last envelope, except those that are about HTTP, or the web: a client that does not
// speak Connect made them.
void ConnectExchange::refuse(const Refusal& refusal) {
  const bool is_https = refusal.http_status == 403 || refusal.http_status == 405 || refusal.http_status == 421 ||
                        (refusal.http_status == 415 && refusal.status.id() == "S4008");
  if (is_stream() && !is_https) {
    end_stream(refusal.status, {});
  } else {
    answer_error(refusal.http_status, refusal.status, {}, &refusal);
  }
}

void ConnectExchange::end_call(Status status) {
  call_.reset();
  if (is_stream()) {
    end_stream(status, {});
  } else {
    answer_error(http_status(status.code()), status, {}, nullptr);
  }
}

void ConnectExchange::fail(int http_status, Status status) {
  if (over_) return;
  call_.reset();
  carrier_.close_after();
  if (is_stream()) {
    end_stream(status, {});
  } else {
    answer_error(http_status, status, {}, nullptr);
  }
}

}  // namespace shunt::gateway
