#include "gateway/grpc/grpc_exchange.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "base/base64.h"
#include "gateway/grpc/builtin.h"
#include "gateway/shared.h"
#include "net/grpc/status.h"

namespace shunt::gateway {

namespace {

/// A larger message is handed to the carrier as it is; a smaller one is copied behind its prefix.
constexpr std::size_t copied_bytes_max = 4u << 10;
/// Below it compression does not pay.
constexpr std::size_t compressed_bytes_min = 256;
constexpr std::string_view codings_taken = "identity,gzip,deflate,zstd";

std::string_view number_of(Code code) {
  static constexpr std::array<std::string_view, code_count> numbers = {
      "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15", "16"};
  return numbers[static_cast<std::size_t>(code)];
}

// Clients take 8 KiB of trailers by default, all together; beyond it they would tell that and not what went wrong.
constexpr std::size_t message_bytes_max = 2u << 10;
constexpr std::size_t details_bytes_max = 4u << 10;

std::string_view shortened(std::string_view text) {
  if (text.size() <= message_bytes_max) return text;
  std::size_t end = message_bytes_max;
  while (end > 0 && (text[end] & 0xc0) == 0x80) --end;  // Not inside a character.
  return text.substr(0, end);
}

std::string details_of(const Status& status) {
  std::string details = net::encode_rpc_status(status);
  if (details.size() <= details_bytes_max) return details;
  return net::encode_rpc_status(
      Status(status.code(), status.id(), std::string(shortened(status.message()))).with_retry(status.retry()));
}

// What HTTP says of a path, gRPC says of a method.
Status as_grpc(Refusal refusal) {
  if (refusal.http_status != 404) return std::move(refusal.status);
  return {Code::unimplemented, refusal.status.id(), std::string(refusal.status.message())};
}

}  // namespace

GrpcExchange::GrpcExchange(Carrier& carrier, net::GrpcContentType type)
    : CallExchange(carrier), type_(type), reader_(carrier.shared().limits.body_bytes_max) {
  takes_stream_ = true;
}

// --- The request ---

void GrpcExchange::begin(const Request& request) {
  open(request);
  if (request.method != "POST" || type_.codec == net::GrpcCodec::other) {
    const bool is_post = request.method == "POST";
    Fields fields;
    fields.add("content-type", net::grpc_content_type(type_.flavour, net::GrpcCodec::proto));
    if (!is_post) fields.add("allow", "POST");
    add_trailers(fields,
                 Status(Code::unimplemented, is_post ? "S4008" : "S4009",
                        is_post ? "this content type is not understood; application/grpc, +proto and +json are"
                                : "gRPC needs POST"),
                 {});
    if (!request.whole) carrier_.close_after();
    carrier_.answer(is_post ? 415 : 405, fields, "");
    finish(Code::unimplemented);
    return;
  }
  if (Check refusal = check(request)) {
    if (!request.whole) carrier_.close_after();
    end_call(as_grpc(std::move(*refusal)));
    return;
  }
  if (streams_request_) begin_call(call::Opening::empty());
}

Check GrpcExchange::check(const Request& request) {
  Shared& shared = carrier_.shared();
  const ListenerPolicy& policy = carrier_.policy();
  const Facts facts = read_facts(request);
  if (Check refusal = check_web(facts, request, policy, false)) return refusal;
  call::StreamShape shape = call::StreamShape::unary;
  if (const auto builtin = find_builtin(facts.path)) {
    is_builtin_ = true;
    path_ = facts.path;
    shape = *builtin;
    if (type_.codec == net::GrpcCodec::json) {
      return Refusal{415, Status(Code::unimplemented, "S4008", "health and reflection speak protobuf, not JSON")};
    }
  } else {
    auto target = find_target(shared, policy, facts.path);
    if (!target) return std::move(target).error();
    target_ = std::move(*target);
    if (Check refusal = check_token(shared, policy, *target_, facts.authorization, principal_)) return refusal;
    // What a service without such a command says of it, the router knows.
    if (target_->command != nullptr) shape = target_->command->stream;
  }
  streams_request_ = streams_requests(shape);
  streams_answer_ = streams_answers(shape);
  if (Check refusal = read_timeout(facts)) return refusal;
  if (Check refusal = read_encodings(facts)) return refusal;
  if (!facts.has_metadata) return std::nullopt;
  return make_metadata(request, shared.limits.metadata_bytes_max, request_metadata_);
}

Check GrpcExchange::read_timeout(const Facts& facts) {
  if (facts.grpc_timeout.empty()) return std::nullopt;
  if (const auto timeout = net::parse_grpc_timeout(facts.grpc_timeout)) {
    deadline_ = Deadline::after(began_, *timeout);
    return std::nullopt;
  }
  return Refusal{400, Status(Code::invalid_argument, "S4012",
                             fmt::format("grpc-timeout '{}' must be at most 8 digits and one of H, M, S, m, u and n",
                                         facts.grpc_timeout))};
}

Check GrpcExchange::read_encodings(const Facts& facts) {
  if (facts.grpc_encoding.empty()) return std::nullopt;
  const auto coding = net::coding_from_name(facts.grpc_encoding);
  if (!coding) {
    return Refusal{415, Status(Code::unimplemented, "S4051",
                               fmt::format("grpc-encoding '{}' is not understood; these are: {}", facts.grpc_encoding,
                                           codings_taken))};
  }
  request_coding_ = *coding;
  // An answer is compressed as its request was: who has something to say to a slow network says it so.
  if (net::grpc_list_names(facts.grpc_accept_encoding, net::coding_name(*coding))) answer_coding_ = *coding;
  return std::nullopt;
}

void GrpcExchange::begin_call(call::Opening opening) {
  if (is_builtin_) {
    start_call_by([&](call::CallerEvents& events) {
      return start_builtin(carrier_.shared(), carrier_.policy(), path_, events, std::move(opening));
    });
  } else {
    start_call(type_.codec == net::GrpcCodec::json ? call::Encoding::proto_json : call::Encoding::proto,
               std::move(opening));
  }
}

void GrpcExchange::body(std::string_view piece, bool last) {
  (void)last;  // complete() says it.
  if (over_) return;
  std::string decoded;
  if (type_.flavour == net::GrpcFlavour::web_text) {
    if (!web_text_.decode(piece, decoded)) {
      end_call(Status(Code::internal, "S4050", "the body of application/grpc-web-text must be base64"));
      return;
    }
    piece = decoded;
  }
  if (held_ || !pending_.empty()) {
    pending_ += piece;
  } else {
    read(piece);
  }
  if (!over_) count_collected(held_bytes());
}

void GrpcExchange::read(std::string_view bytes) {
  reading_ = true;
  reader_.feed(bytes);
  net::Envelope envelope;
  while (!over_ && !held_) {
    const net::EnvelopeReader::Event event = reader_.next(envelope);
    if (event == net::EnvelopeReader::Event::need_more) break;
    if (event == net::EnvelopeReader::Event::too_large) {
      end_call(
          Status(Code::resource_exhausted, "S1007",
                 fmt::format("a message of {} bytes is larger than the limit of {}; send it as a stream of smaller "
                             "ones",
                             reader_.size(), carrier_.shared().limits.body_bytes_max)));
      break;
    }
    if (!take(envelope)) break;
  }
  if (!over_ && held_) pending_.assign(reader_.unread());
  reading_ = false;
}

bool GrpcExchange::take(net::Envelope& envelope) {
  if ((envelope.flags & ~net::envelope_flag::compressed) != 0) {
    end_call(Status(Code::internal, "S4050",
                    fmt::format("a message has the flags {:#04x}; only 0x00 and 0x01 (compressed) mean something",
                                envelope.flags)));
    return false;
  }
  if (envelope.flags != 0) {
    if (request_coding_ == net::Coding::identity) {
      end_call(Status(Code::internal, "S4050", "a message is flagged as compressed, but there is no grpc-encoding"));
      return false;
    }
    std::string plain;
    net::Codecs& codecs = carrier_.shared().codecs;
    const std::size_t bytes_max = carrier_.shared().limits.body_bytes_max;
    if (auto done = codecs.decompress(request_coding_, envelope.message.view(), bytes_max, plain); !done) {
      const bool is_large = done.error().code() == Code::resource_exhausted;
      end_call(Status(is_large ? Code::resource_exhausted : Code::internal, is_large ? "S1007" : "S4050",
                      fmt::format("a compressed message: {}", done.error().message())));
      return false;
    }
    envelope.message = Bytes::adopt(std::move(plain));
  }
  if (!streams_request_) {
    if (!std::exchange(has_first_, true)) {
      first_ = std::move(envelope.message);
      return true;
    }
    end_call(Status(Code::unimplemented, "S4052", "the command takes one message, and more than one came"));
    return false;
  }
  const call::Sent sent = call_->send(call::Message(std::move(envelope.message)), call::Last::no);
  if (over_) return false;
  held_ = sent == call::Sent::held;
  return sent != call::Sent::ended;
}

void GrpcExchange::complete() {
  if (over_ || std::exchange(body_ended_, true)) return;
  if (!held_ && pending_.empty()) end_request();
}

void GrpcExchange::end_request() {
  if (reader_.is_inside() || web_text_.is_inside()) {
    end_call(Status(Code::internal, "S4050", "the request ends inside a message"));
  } else if (streams_request_) {
    if (call_) call_->half_close();
  } else if (!has_first_) {
    end_call(Status(Code::unimplemented, "S4052", "the command takes one message, and none came"));
  } else {
    if (type_.codec == net::GrpcCodec::json && first_.empty()) first_ = Bytes::forever("{}");
    begin_call(call::Opening::unary(call::Message(std::move(first_))));
  }
}

void GrpcExchange::on_credit() {
  held_ = false;
  if (starting_ || reading_ || over_) return;
  if (!pending_.empty()) read(std::exchange(pending_, {}));
  if (over_ || !count_collected(held_bytes()) || held_) return;
  if (body_ended_) end_request();
  carrier_.go_on();
}

// --- The answer ---

void GrpcExchange::on_metadata(call::Metadata metadata) {
  if (over_) return;
  metadata_ = std::move(metadata);
  // Whoever streams may wait for it before it sends on.
  if (streams_answer_ && !head_written_) begin_answer();
}

void GrpcExchange::on_answer(call::Message message) {
  if (over_) return;
  if (!head_written_) begin_answer();
  write_message(message.bytes());
  if (!starting_) call_.reset();
  end_answer(Status(), {});
}

void GrpcExchange::on_message(call::Message message) {
  if (over_) return;
  if (streams_answer_) {
    if (!head_written_) begin_answer();
    owed_ += message.cost();
    write_message(message.bytes());
    give_credit();
  } else if (!has_message_) {
    has_message_ = true;
    message_ = message.bytes();
  } else if (!std::exchange(has_too_many_, true)) {
    if (!starting_) call_->cancel(call::Cancel::protocol);
  }
}

void GrpcExchange::on_end(Status status, call::Metadata trailers) {
  if (over_) return;
  status = judge(std::move(status), !streams_answer_ && !has_message_);
  if (!starting_) call_.reset();
  if (status.is_ok() && has_message_) {
    if (!head_written_) begin_answer();
    write_message(message_);
  }
  end_answer(status, trailers);
}

void GrpcExchange::begin_answer() {
  head_written_ = true;
  Fields fields;
  fields.add("content-type", net::grpc_content_type(type_.flavour, type_.codec));
  if (answer_coding_ != net::Coding::identity) fields.add("grpc-encoding", net::coding_name(answer_coding_));
  for (const auto& [key, value] : metadata_) {
    if (!net::is_grpc_metadata(key, value)) continue;
    if (key.ends_with("-bin")) {
      fields.add_copy(key, encode_base64(value));
    } else {
      fields.add(key, value);
    }
  }
  carrier_.begin(200, fields);
}

void GrpcExchange::write_message(const Bytes& message) {
  if (answer_coding_ != net::Coding::identity && message.size() >= compressed_bytes_min) {
    std::string coded;
    carrier_.shared().codecs.compress(answer_coding_, message.view(), coded);
    if (coded.size() < message.size()) {
      const auto prefix = net::envelope_prefix(net::envelope_flag::compressed, coded.size());
      write_body({prefix.data(), prefix.size()}, coded);
      return;
    }
  }
  const auto prefix = net::envelope_prefix(0, message.size());
  if (message.size() <= copied_bytes_max || type_.flavour == net::GrpcFlavour::web_text) {
    write_body({prefix.data(), prefix.size()}, message.view());
    return;
  }
  carrier_.write({prefix.data(), prefix.size()});
  carrier_.write(message);
}

void GrpcExchange::write_body(std::string_view first, std::string_view second) {
  if (type_.flavour != net::GrpcFlavour::web_text) {
    carrier_.write(first, second);
    return;
  }
  // Each piece is padded, so that it can be read when it comes.
  carrier_.write(encode_base64(std::string(first).append(second), Padding::yes));
}

void GrpcExchange::add_trailers(Fields& fields, const Status& status, const call::Metadata& trailers) const {
  fields.add("grpc-status", number_of(status.code()));
  if (!status.is_ok()) {
    if (!status.message().empty()) {
      fields.add_copy("grpc-message", net::encode_grpc_message(shortened(status.message())));
    }
    const std::string details = details_of(status);
    if (!details.empty()) fields.add_copy("grpc-status-details-bin", encode_base64(details));
    if (status.id() == "S4051") fields.add("grpc-accept-encoding", codings_taken);
  }
  for (const auto& [key, value] : trailers) {
    if (!net::is_grpc_metadata(key, value)) continue;
    fields.add_copy(key, net::grpc_header_value(key, value));
  }
}

void GrpcExchange::end_answer(const Status& status, const call::Metadata& trailers) {
  const bool is_web = type_.flavour != net::GrpcFlavour::grpc;
  Fields fields;
  if (!is_web && !head_written_ && metadata_.empty()) {
    fields.add("content-type", net::grpc_content_type(type_.flavour, type_.codec));
    add_trailers(fields, status, trailers);
    carrier_.answer(200, fields, "");
    finish(status.code());
    return;
  }
  if (!head_written_) begin_answer();
  add_trailers(fields, status, trailers);
  if (is_web) {
    write_body(web_trailers(fields));
    carrier_.end();
  } else {
    carrier_.end(&fields);
  }
  finish(status.code());
}

void GrpcExchange::end_call(Status status) {
  call_.reset();
  end_answer(status, {});
}

void GrpcExchange::fail(int http_status, Status status) {
  (void)http_status;
  if (over_) return;
  end_call(std::move(status));
}

void GrpcExchange::finish(Code code) {
  GatewayStats::add(carrier_.shared().shard.grpc_answers[static_cast<std::size_t>(code)]);
  close(200, false, code);
}

void GrpcExchange::shut_down() {
  if (over_) return;
  is_shutting_down_ = true;
  if (call_) {
    call_->cancel(call::Cancel::shutdown);
  } else {
    end_call(Status(Code::unavailable, "S1015", "the node shuts down").with_retry(Retry::later));
  }
}

void GrpcExchange::drain() {
  if (is_builtin_ && call_) drain_builtin(*call_);
}

}  // namespace shunt::gateway
