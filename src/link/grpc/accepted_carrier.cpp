#include "link/grpc/accepted_carrier.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/names.h"

namespace shunt::link {

AcceptedCarrier::AcceptedCarrier(loop::Loop& loop, AcceptedStream& stream, AcceptOptions options, AcceptEvents& events)
    : loop_(loop), stream_(&stream), options_(std::move(options)), waiting_(&events) {
  if (options_.key.empty()) {
    loop_.ready(*this);
  } else {
    loop_.arm(*this, loop_.now() + options_.timeout);
  }
}

AcceptedCarrier::~AcceptedCarrier() {
  if (gone_ != nullptr) *gone_ = true;
  AcceptedCarrier::close();
}

void AcceptedCarrier::on_data(std::string_view piece) {
  if (stream_ == nullptr) return;
  if (inbox_.empty()) inbox_.reserve(piece.size());
  if (auto good = reader_.read(piece, inbox_); !good) {
    break_off(std::move(good).error());
    return;
  }
  if (waiting_ != nullptr && !options_.key.empty()) {
    if (reader_.proof().empty()) {
      if (!inbox_.empty()) {
        break_off({Code::unauthenticated, "S5060",
                   "the first message must prove that this node's key is known; give the same file with --peer-key"});
      }
      return;
    }
    if (!equal_in_constant_time(reader_.proof(),
                                make_proof(options_.key, HandshakeSide::dialler, options_.theirs, options_.self))) {
      break_off({Code::unauthenticated, "S5060",
                 fmt::format("node {} has another key than this one; give both the same file with --peer-key",
                             options_.self.node.name)});
      return;
    }
    Timer::disarm();
    stream_->write(proof_message(make_proof(options_.key, HandshakeSide::acceptor, options_.theirs, options_.self)));
    std::exchange(waiting_, nullptr)->on_ready();
    return;  // start() sees to what came with it.
  }
  if (events_ != nullptr && !Runnable::is_queued()) deliver();
}

void AcceptedCarrier::deliver() {
  if (inbox_.empty() || events_ == nullptr) return;
  lent_.clear();
  std::swap(lent_, inbox_);
  events_->on_bytes(lent_);
}

void AcceptedCarrier::on_drained() {
  if (events_ != nullptr && std::exchange(wants_to_write_, false)) events_->on_writable();
}

void AcceptedCarrier::on_closed(Status why) {
  stream_ = nullptr;
  why_ = std::move(why);
  Timer::disarm();
  if (waiting_ != nullptr) {
    Runnable::unlink();
    std::exchange(waiting_, nullptr)->on_failed(why_);
  } else if (events_ != nullptr) {
    run();
  }
}

void AcceptedCarrier::break_off(Status why) {
  Timer::disarm();
  if (stream_ != nullptr) std::exchange(stream_, nullptr)->end(why);
  on_closed(std::move(why));
}

void AcceptedCarrier::fire() {
  break_off({Code::unauthenticated, "S5060",
             fmt::format("no proof of the key came within {}", format_duration(options_.timeout))});
}

void AcceptedCarrier::run() {
  if (waiting_ != nullptr) {
    std::exchange(waiting_, nullptr)->on_ready();
    return;
  }
  bool gone = false;
  gone_ = &gone;
  deliver();
  if (gone) return;
  gone_ = nullptr;
  if (!why_.is_ok() && events_ != nullptr) std::exchange(events_, nullptr)->on_closed(why_);
}

void AcceptedCarrier::start(Events& events) {
  events_ = &events;
  if (!inbox_.empty() || !why_.is_ok()) loop_.ready(*this);
}

std::size_t AcceptedCarrier::write(const iovec* vectors, int count) {
  std::size_t size = 0;
  for (int i = 0; i < count; ++i) size += vectors[i].iov_len;
  if (stream_ == nullptr) return 0;  // The end is about to be told; what is not taken was never sent.
  if (stream_->is_full()) {
    wants_to_write_ = true;
    return 0;
  }
  const auto part = [&](int i) {
    return i < count ? std::string_view(static_cast<const char*>(vectors[i].iov_base), vectors[i].iov_len)
                     : std::string_view();
  };
  if (size <= link_message_bytes_max) {
    stream_->write(LinkMessageHead(size).view(), part(0), part(1));
    for (int i = 2; i < count; i += 3) stream_->write(part(i), part(i + 1), part(i + 2));
    return size;
  }
  for (int i = 0; i < count; ++i) {
    for (std::string_view left = part(i); !left.empty();) {
      const std::string_view piece = left.substr(0, link_message_bytes_max);
      stream_->write(LinkMessageHead(piece.size()).view(), piece);
      left.remove_prefix(piece.size());
    }
  }
  return size;
}

void AcceptedCarrier::close() {
  events_ = nullptr;
  waiting_ = nullptr;
  Timer::disarm();
  Runnable::unlink();
  if (stream_ != nullptr) std::exchange(stream_, nullptr)->end({});
}

}  // namespace shunt::link
