// A module written against the bare ABI, with bad manners: it throws out of on_event.
#include <shunt/shunt.h>

#include <stdexcept>

namespace {

const shunt_api* house = nullptr;

void on_event(void*, shunt_context*, const shunt_event* event) {
  if (event->kind != SHUNT_EVENT_CALL) return;
  if (event->open->command == 1) house->release(event->call);
  throw std::runtime_error("thrown out of on_event");
}

const shunt_command commands[] = {{sizeof(shunt_command), {"keeps", 5}, nullptr, nullptr},
                                  {sizeof(shunt_command), {"releases", 8}, nullptr, nullptr}};
const shunt_module module = {.size = sizeof(shunt_module),
                             .abi_major = SHUNT_ABI_MAJOR,
                             .abi_minor = SHUNT_ABI_MINOR,
                             .definition = {"{\"commands\":{}}", 15},
                             .commands = commands,
                             .command_count = 2,
                             .self = nullptr,
                             .attach = nullptr,
                             .detach = nullptr,
                             .on_event = &on_event};

}  // namespace

extern "C" {
SHUNT_EXPORT extern const uint32_t shunt_module_abi;
SHUNT_EXPORT const uint32_t shunt_module_abi = SHUNT_ABI_MAJOR << 16 | SHUNT_ABI_MINOR;
SHUNT_EXPORT const shunt_module* shunt_module_main(const shunt_api* api) {
  house = api;
  return &module;
}
}
