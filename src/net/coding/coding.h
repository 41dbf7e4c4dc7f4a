#pragma once
// Content codings: gzip, deflate and zstd, piece by piece, behind one small interface; and which of them a client wants.
// zlib and zstd are known in coding.cpp only. WebSocket's permessage-deflate takes its bare deflate from here too.
//
// What is decoded is bounded, always: a few kilobytes can stand for gigabytes. Knows nothing of messages or requests.

#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/own.h"
#include "base/result.h"

namespace shunt::net {

enum class Coding : std::uint8_t { identity, gzip, deflate, zstd };
inline constexpr int coding_count = 4;

/// As HTTP spells it: "gzip".
std::string_view coding_name(Coding coding);
/// In any case; "x-gzip" is gzip, and nothing at all is identity. Nothing for a name that is not known here.
std::optional<Coding> coding_from_name(std::string_view name);

/// How much of what was written must be readable at the other end.
enum class Flush : std::uint8_t {
  none,  ///< May be held back.
  sync,  ///< Everything so far.
  end,   ///< Everything, and no more comes: then reset() before the next write.
};

/// Threads: one at a time. Used again after reset(), which keeps its memory.
class Compressor {
 public:
  virtual ~Compressor() = default;
  /// Appends to `out`.
  virtual void write(std::string_view in, Flush flush, std::string& out) = 0;
  virtual void reset() = 0;
};

/// Threads: one at a time. Used again after reset(), which keeps its memory.
class Decompressor {
 public:
  virtual ~Decompressor() = default;
  /// Decodes all of `in` and appends to `out`. `out_max` bounds what the stream gives in all, since reset().
  /// Errors: invalid_argument  what came is not of this coding
  ///         resource_exhausted  it gives more than `out_max` bytes; `out` holds no more than them
  virtual Result<void> write(std::string_view in, std::uint64_t out_max, std::string& out) = 0;
  /// No more comes. Errors: invalid_argument when something is missing.
  virtual Result<void> finish() = 0;
  virtual void reset() = 0;
};

/// `coding` is not identity. gzip and deflate at level 5, zstd at 3: what servers of answers on the fly use.
Own<Compressor> make_compressor(Coding coding);
/// `coding` is not identity. Several gzip members or zstd frames after each other are one stream. "deflate" is zlib's
/// format, or the bare one that some clients send in its place. A zstd window beyond 8 MiB is refused (RFC 9659).
Own<Decompressor> make_decompressor(Coding coding);

/// Bare deflate (RFC 1951). `window_bits` 9 to 15. It takes about 2^(window_bits + 3) bytes of memory.
Own<Compressor> make_raw_deflater(int window_bits);
/// Goes on after a final block, as permessage-deflate has it: the window stays.
Own<Decompressor> make_raw_inflater(int window_bits);

/// Whole texts, with contexts that are kept: one for each loop. Threads: one.
class Codecs {
 public:
  /// Appends the whole of `text`, coded.
  void compress(Coding coding, std::string_view text, std::string& out);
  /// Appends what `coded` stands for. Errors: as Decompressor's.
  Result<void> decompress(Coding coding, std::string_view coded, std::uint64_t out_max, std::string& out);

 private:
  Own<Compressor> compressors_[coding_count];
  Own<Decompressor> decompressors_[coding_count];
};

/// The coding of an answer by the request's Accept-Encoding (RFC 9110, section 12.5.3): of `offers`, best first, the one
/// with the highest quality; identity when none of them is wanted, or no header came. `identity` must not be offered.
/// Nothing when the client takes neither one of them nor identity.
std::optional<Coding> choose_coding(std::string_view accept_encoding, std::span<const Coding> offers);

}  // namespace shunt::net
