#pragma once
// What a client asks of the form of its answer: types, codings, conditions, a range; and what comes of it for one answer.
// Only for gateway/'s own files.

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>

#include "base/own.h"
#include "gateway/carrier.h"
#include "net/coding/coding.h"

namespace shunt::gateway {

/// The headers, kept for as long as the answer takes. Most requests ask nothing and have none.
struct AnswerTerms {
  std::string accept;  ///< Empty for "*/*" too.
  std::string accept_encoding;
  std::string if_match;
  std::string if_none_match;
  std::string if_range;
  std::string range;

  /// nullptr when the request asks nothing.
  static Own<AnswerTerms> read(const Request& request);
};

/// Whether the client takes an answer of this type. `terms` may be nullptr here and below.
bool takes_type(const AnswerTerms* terms, std::string_view type);
/// The one of `types` (best first) that the client wants most; nullopt: none of them.
std::optional<std::string_view> choose_type(const AnswerTerms* terms, std::initializer_list<std::string_view> types);

/// The coding for an answer of that type and size: identity for what is small, or does not become smaller.
net::Coding choose_answer_coding(const AnswerTerms* terms, std::string_view type, std::size_t size);
/// Whether another client could get such an answer compressed: then it says Vary.
bool may_be_coded(std::string_view type, std::size_t size);
/// Whether an answer of that type is worth compressing.
bool is_compressible(std::string_view type);

/// What becomes of an answer to GET whose command has no effect: RFC 9110, section 13.2.2.
struct ReadPlan {
  enum class Kind : std::uint8_t {
    whole,          ///< 200
    not_modified,   ///< 304
    failed,         ///< 412
    part,           ///< 206
    unsatisfiable,  ///< 416
  };
  Kind kind = Kind::whole;
  std::uint64_t first = 0;  ///< Of a part.
  std::uint64_t size = 0;   ///< The same.
};
ReadPlan plan_read(const AnswerTerms* terms, std::string_view etag, std::uint64_t size, bool has_ranges);

/// The tag of the same answer, compressed: other bytes, another tag.
std::string coded_etag(std::string_view etag, net::Coding coding);

}  // namespace shunt::gateway
