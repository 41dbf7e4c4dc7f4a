// The echo of ./dev bench gateway: its protobuf messages go through as they are.
#include <shunt/service.h>

shunt::Task<shunt::Result<shunt::Bytes>> say(shunt::Call&, shunt::Bytes message) { co_return message; }

SHUNT_SERVICE(service) { service.command("say", say); }
