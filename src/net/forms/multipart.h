#pragma once
// multipart/form-data as it comes, piece by piece: fields and files without holding a file in memory (RFC 7578, with the
// boundary rules of RFC 2046). Strict where two readers could disagree: line ends are CR LF, and a line that begins with
// the boundary is one.
//
// It knows nothing of what the parts mean, and trusts no name in them.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace shunt::net {

struct MultipartLimits {
  std::size_t parts_max = 256;
  std::size_t header_bytes_max = 8u << 10;    ///< Of one part.
  std::size_t preamble_bytes_max = 4u << 10;  ///< What may stand before the first boundary, and is passed over.
};

/// Of multipart/form-data, or another multipart type. Errors: invalid_argument when it is missing, or not as RFC 2046
/// has it (1 to 70 characters of a small set).
Result<std::string> multipart_boundary(std::string_view content_type);

struct MultipartPart {
  std::string name;
  std::optional<std::string> filename;  ///< A file. Without directories; filename* (RFC 8187) counts before filename.
  std::string content_type;             ///< "text/plain" when it is not said.
};

/// Threads: one at a time.
class MultipartParser {
 public:
  enum class Event : std::uint8_t {
    need_more,
    part,      ///< part() is the next one.
    data,      ///< data() is a piece of it; it holds until the next next().
    part_end,  ///< It is whole.
    end,       ///< All of it has come. What follows is passed over.
    error,     ///< error() says why: invalid_argument or resource_exhausted. For good.
  };

  explicit MultipartParser(std::string_view boundary, const MultipartLimits& limits = {});

  /// Copies what is not used at once.
  void feed(std::string_view piece);
  /// No more comes.
  void feed_end() { has_ended_ = true; }
  Event next();

  [[nodiscard]] const MultipartPart& part() const { return part_; }
  [[nodiscard]] std::string_view data() const { return data_; }
  [[nodiscard]] const Status& error() const { return error_; }
  /// Fed, not told yet.
  [[nodiscard]] std::size_t buffered() const { return buffer_.size() - at_; }

 private:
  enum class State : std::uint8_t { preamble, after_boundary, headers, content, done, failed };

  Event pass_preamble();
  Event after_boundary();
  Event read_headers();
  Event read_content();
  Event wait();
  Event fail_with(Code code, std::string text);
  bool read_header(std::string_view line);
  bool read_disposition(std::string_view value);
  [[nodiscard]] std::string_view rest() const { return std::string_view(buffer_).substr(at_); }

  const MultipartLimits limits_;
  const std::string delimiter_;  // CR LF "--" boundary
  State state_ = State::preamble;
  bool has_ended_ = false;
  bool part_is_open_ = false;
  std::string buffer_ = "\r\n";  // The first boundary has no line before it.
  std::size_t at_ = 0;
  std::size_t scanned_ = 0;  // of the head, or the preamble, from at_
  std::size_t parts_ = 0;
  std::size_t preamble_bytes_ = 0;
  bool has_disposition_ = false;
  MultipartPart part_;
  std::string_view data_;
  Status error_;
};

}  // namespace shunt::net
