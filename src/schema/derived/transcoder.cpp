#include "schema/derived/transcoder.h"

#include <limits>

#include "schema/text_forms.h"

namespace shunt::schema::derived {

Result<Bytes> DerivedTranscoder::convert(call::Side side, call::Encoding from, call::Encoding to,
                                         const Bytes& message) const {
  using call::Encoding;
  const BodyType& type = body(side);
  if (from == to) return message;
  if (from == Encoding::proto_json && to == Encoding::json) {
    auto own = to_own_json(type, message.view());
    return own ? Bytes::adopt(*std::move(own)) : message;
  }
  if (from == Encoding::json && to == Encoding::proto_json) {
    auto theirs = to_proto_json(type, message.view());
    return theirs ? Bytes::adopt(*std::move(theirs)) : message;
  }
  if (from == Encoding::proto && to == Encoding::proto_json) {
    SHUNT_TRY(const std::string own, decode(type, message.view()));
    return Bytes::adopt(to_proto_json(type, own).value_or(own));
  }
  if (from == Encoding::proto_json) {
    SHUNT_TRY(std::string out, encode(type, to_own_json(type, message.view()).value_or(std::string(message.view()))));
    return Bytes::adopt(std::move(out));
  }
  SHUNT_TRY(std::string out, from == Encoding::json ? encode(type, message.view()) : decode(type, message.view()));
  return Bytes::adopt(std::move(out));
}

std::optional<std::uint64_t> read_integer(std::string_view text, Kind kind) {
  if (kind == Kind::unsigned_integer) return parse_unsigned(text, std::numeric_limits<std::uint64_t>::max());
  using Limits = std::numeric_limits<std::int64_t>;
  const auto value = parse_signed(text, Limits::min(), Limits::max());
  return value ? std::optional(static_cast<std::uint64_t>(*value)) : std::nullopt;
}

std::string integer_text(std::uint64_t bits, Kind kind) {
  return kind == Kind::unsigned_integer ? std::to_string(bits) : std::to_string(static_cast<std::int64_t>(bits));
}

}  // namespace shunt::schema::derived
