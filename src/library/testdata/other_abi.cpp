// A module of another major version: nothing of it may be called.
#include <cstdint>
#include <cstdlib>

extern "C" {
__attribute__((visibility("default"))) extern const std::uint32_t shunt_module_abi;
__attribute__((visibility("default"))) const std::uint32_t shunt_module_abi = 7u << 16 | 3;
__attribute__((visibility("default"))) const void* shunt_module_main(const void*) { std::abort(); }
}
