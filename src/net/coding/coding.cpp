#include "net/coding/coding.h"

#include <fmt/format.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <array>

#include "base/check.h"
#include "net/forms/quality.h"
#include "net/header.h"

namespace shunt::net {

namespace {

constexpr std::size_t step_bytes = 16u << 10;

// zlib's window_bits say the format too.
constexpr int gzip_format = 16;
constexpr int any_zlib_format = 15;

std::unexpected<Status> broken(std::string_view coding, std::string_view why) {
  return fail(Code::invalid_argument, fmt::format("the {} data is broken: {}", coding, why));
}

std::unexpected<Status> too_large(std::uint64_t out_max) {
  return fail(Code::resource_exhausted, fmt::format("decoded it is larger than {} bytes", out_max));
}

// zlib counts input in 32 bits.
std::size_t at_most_uint(std::size_t size) { return std::min<std::size_t>(size, UINT32_MAX); }

void give_input(z_stream& stream, std::string_view in) {
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(in.data()));  // zlib only reads it
  stream.avail_in = static_cast<uInt>(in.size());
}

// Room at the end of `out` for the next step; what is not used is taken off again by `used`.
class Room {
 public:
  Room(std::string& out, std::size_t size) : out_(out), before_(out.size()) { out_.resize(before_ + size); }
  [[nodiscard]] char* data() const { return out_.data() + before_; }
  [[nodiscard]] std::size_t size() const { return out_.size() - before_; }
  void used(std::size_t size) { out_.resize(before_ + size); }

 private:
  std::string& out_;
  const std::size_t before_;
};

class ZlibCompressor final : public Compressor {
 public:
  ZlibCompressor(int level, int window_bits, int memory_level) {
    SHUNT_ASSERT(deflateInit2(&stream_, level, Z_DEFLATED, window_bits, memory_level, Z_DEFAULT_STRATEGY) == Z_OK);
  }
  ~ZlibCompressor() override { deflateEnd(&stream_); }
  ZlibCompressor(const ZlibCompressor&) = delete;
  ZlibCompressor& operator=(const ZlibCompressor&) = delete;

  void write(std::string_view in, Flush flush, std::string& out) override {
    do {
      const std::string_view piece = in.substr(0, at_most_uint(in.size()));
      in.remove_prefix(piece.size());
      const bool is_last = in.empty();
      step(piece,
           !is_last               ? Z_NO_FLUSH
           : flush == Flush::end  ? Z_FINISH
           : flush == Flush::sync ? Z_SYNC_FLUSH
                                  : Z_NO_FLUSH,
           out);
    } while (!in.empty());
  }
  void reset() override { deflateReset(&stream_); }

 private:
  void step(std::string_view in, int flush, std::string& out) {
    give_input(stream_, in);
    for (;;) {
      Room room(out, std::min(step_bytes, in.size() + 64));
      stream_.next_out = reinterpret_cast<Bytef*>(room.data());
      stream_.avail_out = static_cast<uInt>(room.size());
      deflate(&stream_, flush);
      const bool is_full = stream_.avail_out == 0;
      room.used(room.size() - stream_.avail_out);
      if (!is_full) return;
    }
  }

  z_stream stream_{};
};

class ZlibDecompressor final : public Decompressor {
 public:
  enum class Format : std::uint8_t { gzip, zlib_or_raw, raw_stream };

  ZlibDecompressor(Format format, int window_bits) : format_(format) {
    const int bits = format == Format::gzip         ? any_zlib_format + gzip_format
                     : format == Format::raw_stream ? -window_bits
                                                    : any_zlib_format;
    SHUNT_ASSERT(inflateInit2(&stream_, bits) == Z_OK);
  }
  ~ZlibDecompressor() override { inflateEnd(&stream_); }
  ZlibDecompressor(const ZlibDecompressor&) = delete;
  ZlibDecompressor& operator=(const ZlibDecompressor&) = delete;

  Result<void> write(std::string_view in, std::uint64_t out_max, std::string& out) override {
    if (in.empty()) return {};
    if (format_ == Format::zlib_or_raw && !is_begun_) choose_format(in.front());
    is_begun_ = true;
    while (!in.empty()) {
      const std::string_view piece = in.substr(0, at_most_uint(in.size()));
      in.remove_prefix(piece.size());
      SHUNT_CHECK(step(piece, out_max, out));
    }
    return {};
  }

  Result<void> finish() override {
    if (format_ == Format::raw_stream || (is_begun_ && has_ended_)) return {};
    return broken(name(), "its end is missing");
  }

  void reset() override {
    total_ = 0;
    is_begun_ = has_ended_ = false;
    if (format_ == Format::zlib_or_raw) {
      inflateReset2(&stream_, any_zlib_format);
    } else {
      inflateReset(&stream_);
    }
  }

 private:
  // The first byte of zlib's format says "deflate" in its low half and a window in the other; a bare stream that began
  // so would hold a block of an unknown kind or a stored one with odd padding.
  void choose_format(char first) {
    const auto byte = static_cast<unsigned char>(first);
    if ((byte & 0x0f) != Z_DEFLATED || byte >> 4 > 7) inflateReset2(&stream_, -any_zlib_format);
  }

  Result<void> step(std::string_view in, std::uint64_t out_max, std::string& out) {
    give_input(stream_, in);
    for (;;) {
      if (has_ended_) {
        if (stream_.avail_in == 0) return {};
        if (format_ == Format::zlib_or_raw) return broken(name(), "something follows its end");
        if (!go_on()) return broken(name(), "something follows its end");
      }
      // One byte more than may be: so that a stream that is too large is told from one that just fits.
      const std::uint64_t left = out_max - total_;
      Room room(out, static_cast<std::size_t>(std::min<std::uint64_t>(step_bytes, left + 1)));
      stream_.next_out = reinterpret_cast<Bytef*>(room.data());
      stream_.avail_out = static_cast<uInt>(room.size());
      const int result = inflate(&stream_, Z_SYNC_FLUSH);
      const bool is_full = stream_.avail_out == 0;
      const std::size_t made = room.size() - stream_.avail_out;
      room.used(static_cast<std::size_t>(std::min<std::uint64_t>(made, left)));
      if (made > left) return too_large(out_max);
      total_ += made;
      if (result == Z_STREAM_END) {
        has_ended_ = true;
      } else if (result == Z_BUF_ERROR || (result == Z_OK && stream_.avail_in == 0 && !is_full)) {
        return {};  // It needs more input.
      } else if (result != Z_OK) {
        return broken(name(), stream_.msg != nullptr ? stream_.msg : "it makes no sense");
      }
    }
  }

  // The next gzip member, or what follows a final block of bare deflate.
  bool go_on() {
    has_ended_ = false;
    if (format_ != Format::raw_stream) return inflateReset(&stream_) == Z_OK;
    std::array<Bytef, 32u << 10> window;
    uInt size = 0;
    inflateGetDictionary(&stream_, window.data(), &size);
    if (inflateReset(&stream_) != Z_OK) return false;
    return size == 0 || inflateSetDictionary(&stream_, window.data(), size) == Z_OK;
  }

  [[nodiscard]] std::string_view name() const { return format_ == Format::gzip ? "gzip" : "deflate"; }

  const Format format_;
  z_stream stream_{};
  std::uint64_t total_ = 0;
  bool is_begun_ = false;
  bool has_ended_ = false;
};

class ZstdCompressor final : public Compressor {
 public:
  explicit ZstdCompressor(int level) : context_(ZSTD_createCCtx()) {
    SHUNT_ASSERT(context_ != nullptr);
    ZSTD_CCtx_setParameter(context_, ZSTD_c_compressionLevel, level);
    ZSTD_CCtx_setParameter(context_, ZSTD_c_windowLog, window_log);
  }
  ~ZstdCompressor() override { ZSTD_freeCCtx(context_); }
  ZstdCompressor(const ZstdCompressor&) = delete;
  ZstdCompressor& operator=(const ZstdCompressor&) = delete;

  void write(std::string_view in, Flush flush, std::string& out) override {
    const ZSTD_EndDirective mode = flush == Flush::end    ? ZSTD_e_end
                                   : flush == Flush::sync ? ZSTD_e_flush
                                                          : ZSTD_e_continue;
    ZSTD_inBuffer from{in.data(), in.size(), 0};
    for (;;) {
      Room room(out, std::min(step_bytes, in.size() - from.pos + 64));
      ZSTD_outBuffer to{room.data(), room.size(), 0};
      const std::size_t left = ZSTD_compressStream2(context_, &to, &from, mode);
      room.used(to.pos);
      SHUNT_ASSERT(ZSTD_isError(left) == 0);
      if (mode == ZSTD_e_continue ? from.pos == from.size : left == 0) return;
    }
  }
  void reset() override { ZSTD_CCtx_reset(context_, ZSTD_reset_session_only); }

 private:
  static constexpr int window_log = 19;  // Half a megabyte: an answer on the fly gains little by more.
  ZSTD_CCtx* const context_;
};

class ZstdDecompressor final : public Decompressor {
 public:
  ZstdDecompressor() : context_(ZSTD_createDCtx()) {
    SHUNT_ASSERT(context_ != nullptr);
    ZSTD_DCtx_setParameter(context_, ZSTD_d_windowLogMax, window_log_max);
  }
  ~ZstdDecompressor() override { ZSTD_freeDCtx(context_); }
  ZstdDecompressor(const ZstdDecompressor&) = delete;
  ZstdDecompressor& operator=(const ZstdDecompressor&) = delete;

  Result<void> write(std::string_view in, std::uint64_t out_max, std::string& out) override {
    ZSTD_inBuffer from{in.data(), in.size(), 0};
    for (;;) {
      const std::uint64_t left = out_max - total_;
      Room room(out, static_cast<std::size_t>(std::min<std::uint64_t>(step_bytes, left + 1)));
      ZSTD_outBuffer to{room.data(), room.size(), 0};
      const std::size_t wanted = in.empty() ? wanted_ : ZSTD_decompressStream(context_, &to, &from);
      const bool is_full = to.pos == to.size;
      room.used(static_cast<std::size_t>(std::min<std::uint64_t>(to.pos, left)));
      if (ZSTD_isError(wanted) != 0) return broken("zstd", ZSTD_getErrorName(wanted));
      if (to.pos > left) return too_large(out_max);
      total_ += to.pos;
      wanted_ = wanted;
      if (from.pos == from.size && !is_full) return {};
    }
  }
  Result<void> finish() override {
    if (wanted_ == 0) return {};
    return broken("zstd", "its end is missing");
  }
  void reset() override {
    total_ = 0;
    wanted_ = 1;
    ZSTD_DCtx_reset(context_, ZSTD_reset_session_only);
  }

 private:
  static constexpr int window_log_max = 23;
  ZSTD_DCtx* const context_;
  std::uint64_t total_ = 0;
  std::size_t wanted_ = 1;  // 0: at the end of a frame
};

}  // namespace

std::string_view coding_name(Coding coding) {
  switch (coding) {
    case Coding::identity:
      return "identity";
    case Coding::gzip:
      return "gzip";
    case Coding::deflate:
      return "deflate";
    case Coding::zstd:
      return "zstd";
  }
  return "identity";
}

std::optional<Coding> coding_from_name(std::string_view name) {
  if (name.empty()) return Coding::identity;
  if (iequals(name, "x-gzip")) return Coding::gzip;
  for (int i = 0; i < coding_count; ++i) {
    const auto coding = static_cast<Coding>(i);
    if (iequals(name, coding_name(coding))) return coding;
  }
  return std::nullopt;
}

Own<Compressor> make_compressor(Coding coding) {
  SHUNT_ASSERT(coding != Coding::identity);
  if (coding == Coding::zstd) return make_own<ZstdCompressor>(3);
  return make_own<ZlibCompressor>(5, coding == Coding::gzip ? any_zlib_format + gzip_format : any_zlib_format, 8);
}

Own<Decompressor> make_decompressor(Coding coding) {
  SHUNT_ASSERT(coding != Coding::identity);
  if (coding == Coding::zstd) return make_own<ZstdDecompressor>();
  return make_own<ZlibDecompressor>(
      coding == Coding::gzip ? ZlibDecompressor::Format::gzip : ZlibDecompressor::Format::zlib_or_raw, 15);
}

Own<Compressor> make_raw_deflater(int window_bits) {
  SHUNT_ASSERT(window_bits >= 9 && window_bits <= 15);
  // The hash is as large as the window: together they are 2^(window_bits + 3) bytes.
  return make_own<ZlibCompressor>(5, -window_bits, std::clamp(window_bits - 7, 1, 8));
}

Own<Decompressor> make_raw_inflater(int window_bits) {
  SHUNT_ASSERT(window_bits >= 8 && window_bits <= 15);
  return make_own<ZlibDecompressor>(ZlibDecompressor::Format::raw_stream, window_bits);
}

void Codecs::compress(Coding coding, std::string_view text, std::string& out) {
  if (coding == Coding::identity) {
    out.append(text);
    return;
  }
  Own<Compressor>& compressor = compressors_[static_cast<int>(coding)];
  if (compressor) {
    compressor->reset();
  } else {
    compressor = make_compressor(coding);
  }
  compressor->write(text, Flush::end, out);
}

Result<void> Codecs::decompress(Coding coding, std::string_view coded, std::uint64_t out_max, std::string& out) {
  if (coding == Coding::identity) {
    if (coded.size() > out_max) return too_large(out_max);
    out.append(coded);
    return {};
  }
  Own<Decompressor>& decompressor = decompressors_[static_cast<int>(coding)];
  if (decompressor) {
    decompressor->reset();
  } else {
    decompressor = make_decompressor(coding);
  }
  SHUNT_CHECK(decompressor->write(coded, out_max, out));
  return decompressor->finish();
}

std::optional<Coding> choose_coding(std::string_view accept_encoding, std::span<const Coding> offers) {
  if (accept_encoding.empty()) return Coding::identity;
  std::array<int, coding_count> quality;
  quality.fill(-1);
  int others = -1;
  for_each_choice(accept_encoding, [&](std::string_view name, int q) {
    if (name == "*") {
      others = q;
    } else if (const auto coding = coding_from_name(name)) {
      quality[static_cast<std::size_t>(*coding)] = q;
    }
  });
  const auto of = [&](Coding coding) {
    const int named = quality[static_cast<std::size_t>(coding)];
    return named >= 0 ? named : others;
  };
  std::optional<Coding> best;
  int best_quality = 0;
  for (const Coding offer : offers) {
    if (of(offer) > best_quality) {
      best = offer;
      best_quality = of(offer);
    }
  }
  // Identity is taken unless it is refused, and preferred where it is wanted more.
  const int plain = of(Coding::identity);
  if (best && quality[static_cast<std::size_t>(Coding::identity)] <= best_quality) return best;
  if (plain != 0) return Coding::identity;
  return best;
}

}  // namespace shunt::net
