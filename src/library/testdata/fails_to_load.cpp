// A module whose description is wrong.
#include <shunt/service.h>

SHUNT_SERVICE(service) {
  service.command("twice", [](shunt::Call&) -> shunt::Result<void> { return {}; });
  service.command("twice", [](shunt::Call&) -> shunt::Result<void> { return {}; });
}
