#include "schema/derived/transcoder.h"

#include <limits>

#include "schema/text_forms.h"

namespace shunt::schema::derived {

Result<Bytes> DerivedTranscoder::convert(call::Side side, call::Encoding from, call::Encoding to,
                                         const Bytes& message) const {
  const BodyType& type = body(side);
  if (from == call::Encoding::json && to == call::Encoding::json) {
    auto changed =
        side == call::Side::request ? to_own_json(type, message.view()) : to_proto_json(type, message.view());
    return changed ? Bytes::adopt(*std::move(changed)) : message;
  }
  if (from == to) return message;
  SHUNT_TRY(std::string out,
            from == call::Encoding::json ? encode(type, message.view()) : decode(type, message.view()));
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
