#pragma once
// Entity tags, conditional requests and ranges (RFC 9110, sections 8.8.3, 13 and 14).

#include <cstdint>
#include <string>
#include <string_view>

namespace shunt::net {

/// A strong entity tag of a body: quotes included. The same bytes always give the same.
std::string make_etag(std::string_view body);

enum class Match : std::uint8_t { weak, strong };
/// Whether a list of If-Match or If-None-Match names `etag` ("*" names every one). If-None-Match compares weakly,
/// If-Match and If-Range strongly. What is not a list of tags names none.
bool names_etag(std::string_view list, std::string_view etag, Match match);

/// Which part of `size` bytes a Range header asks for.
struct ByteRange {
  enum class Kind : std::uint8_t {
    whole,  ///< No range, a unit that is not "bytes", nonsense, or several: answered whole, as RFC 9110 lets us.
    part,   ///< 206
    unsatisfiable,  ///< 416
  };
  Kind kind = Kind::whole;
  std::uint64_t first = 0;
  std::uint64_t size = 0;  ///< Of the part; at least 1.
};
ByteRange parse_range(std::string_view range, std::uint64_t size);

}  // namespace shunt::net
