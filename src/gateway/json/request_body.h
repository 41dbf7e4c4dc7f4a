#pragma once
// A request's body on its way to the call: decompressed, and taken apart by its content type. Either one message, which is
// known at the end; or a stream of messages, each as soon as it is there. Only for gateway/'s own files.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/own.h"
#include "base/result.h"
#include "gateway/query.h"
#include "net/coding/coding.h"
#include "net/forms/multipart.h"

namespace shunt::gateway {

enum class BodyKind : std::uint8_t {
  none,
  json,       ///< One message.
  bytes,      ///< One message, as it is; pieces of it where the command takes a stream.
  lines,      ///< NDJSON: a message on each line.
  form,       ///< application/x-www-form-urlencoded: one message.
  multipart,  ///< One message; a stream of parts where the command takes one (docs/reference/http.md).
  other,
};
/// Of a Content-Type.
BodyKind body_kind(std::string_view content_type);

/// Threads: the loop's.
class RequestBody {
 public:
  enum class Next : std::uint8_t { need_more, message, end, error };

  /// Once, before anything is fed. `bytes_max` bounds a message, or a body that is one; nothing bounds a stream.
  /// Errors: S4017 for a multipart body without a boundary.
  Result<void> begin(BodyKind kind, bool is_stream, net::Coding coding, std::string_view content_type,
                     std::uint64_t bytes_max);

  /// `last`: nothing follows. Errors: S4003 too large, S4017 not what it says it is.
  Result<void> feed(std::string_view piece, bool last);
  /// No more comes, where feed() could not say so.
  void feed_end() { ended_ = true; }

  /// Of a stream: what comes next. After `end` or `error` nothing more.
  Next next();
  [[nodiscard]] Bytes take_message() { return std::move(message_); }
  [[nodiscard]] const Status& error() const { return error_; }

  /// Of a body that is one message, after its end. `types` gives a form's fields their types.
  /// Errors: S4013 a field that does not fit, S4008 JSON that says it is a form, S4017.
  Result<Bytes> take_whole(const ParameterTypes* types);

  /// What it holds in memory.
  [[nodiscard]] std::size_t held_bytes() const { return text_.size() + coded_.size() + value_.size(); }

 private:
  Next next_line();
  Next next_piece();
  Next next_part();
  Next found(Bytes message);
  Next fail_with(Status status);
  bool decode_some();
  Result<void> finish_decoding();
  Result<std::string> form_json(const ParameterTypes& types) const;
  Result<std::string> multipart_json(const ParameterTypes& types);
  std::string part_json() const;

  BodyKind kind_ = BodyKind::none;
  bool is_stream_ = false;
  bool ended_ = false;
  bool in_file_ = false;
  bool over_ = false;
  std::uint64_t bytes_max_ = 0;
  Own<net::Decompressor> decompressor_;
  Own<net::MultipartParser> parser_;
  std::string coded_;  // of a stream: not decompressed yet
  std::size_t coded_at_ = 0;
  std::string text_;         // decoded, not told yet
  std::size_t text_at_ = 0;  // the beginning of what was not told
  std::size_t scanned_ = 0;  // of text_, for a line's end
  std::string value_;        // of a field
  Bytes whole_;
  Bytes message_;
  Status error_;
};

}  // namespace shunt::gateway
