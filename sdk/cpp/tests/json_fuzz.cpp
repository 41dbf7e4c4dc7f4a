// Any text is refused or read; what was read is written as a text that reads as the same value.
#include <shunt/fields.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>

namespace {

struct Leaf {
  std::string name;
  std::optional<std::int32_t> number;
  shunt::Bytes bytes;
};
SHUNT_FIELDS(Leaf, name, number, bytes)

struct Tree {
  std::vector<Tree> children;
  std::map<std::string, Leaf> leaves;
  shunt::Json any;
  double weight = 0;
};
SHUNT_FIELDS(Tree, children, leaves, any, weight)

template <typename T>
void check(std::string_view text) {
  auto value = shunt::from_json<T>(text);
  if (!value) {
    if (value.error().message().empty()) std::abort();
    return;
  }
  std::string written = shunt::to_json(*value);
  auto again = shunt::from_json<T>(written);
  if (!again || shunt::to_json(*again) != written) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  check<shunt::Json>(text);
  check<Tree>(text);
  return 0;
}
