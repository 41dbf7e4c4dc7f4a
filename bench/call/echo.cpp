// The echo of ./dev bench call, in C++. One library: hosted near (thread backend) and far (process backend).
#include "echo.h"

shunt::Task<shunt::Result<Text>> echo(shunt::Call&, Text text) { co_return text; }

SHUNT_SERVICE(service) {
  service.command("echo", echo, {.description = "Says it again.", .effect = shunt::Effect::none});
}
