// Whatever claims to be compressed: no crash, never more than the limit, and the same result whole and in pieces. The
// first byte chooses the coding and the pieces.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "net/coding/coding.h"

namespace {

using namespace shunt::net;

constexpr std::uint64_t out_max = 100'000;

struct Seen {
  bool is_whole = false;
  std::string text;
};

Seen read(Decompressor& decompressor, std::string_view text, std::size_t size) {
  Seen seen;
  for (; !text.empty(); text.remove_prefix(std::min(size, text.size()))) {
    const bool is_good = decompressor.write(text.substr(0, size), out_max, seen.text).has_value();
    if (seen.text.size() > out_max) std::abort();
    if (!is_good) return seen;
  }
  seen.is_whole = decompressor.finish().has_value();
  return seen;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  const auto make = [&] {
    return data[0] % 4 == 0 ? make_raw_inflater(12) : make_decompressor(static_cast<Coding>(data[0] % 4));
  };
  const auto decompressor = make();
  const Seen whole = read(*decompressor, text, text.size() + 1);
  decompressor->reset();
  const Seen torn = read(*decompressor, text, 1 + data[0] / 4 % 16);
  if (whole.is_whole != torn.is_whole || (whole.is_whole && whole.text != torn.text)) std::abort();

  // And what we compress comes back.
  if (data[0] % 4 == 0) return 0;
  const auto coding = static_cast<Coding>(data[0] % 4);
  Codecs codecs;
  std::string coded;
  codecs.compress(coding, text, coded);
  std::string back;
  if (!codecs.decompress(coding, coded, text.size(), back) || back != text) std::abort();
  const std::string_view header = text.substr(0, 200);
  constexpr Coding offers[] = {Coding::zstd, Coding::gzip};
  (void)choose_coding(header, offers);
  return 0;
}
