// The echo of ./dev bench links. One library, hosted at every distance.
#include <unistd.h>

#include "measure.h"
#include "message.h"

shunt::Task<shunt::Result<shunt::Bytes>> echo(shunt::Call&, shunt::Bytes block) { co_return block; }
shunt::Task<shunt::Result<Words>> words(shunt::Call&, Words words) { co_return words; }
shunt::Task<shunt::Result<Text>> text(shunt::Call&, Text text) { co_return text; }

shunt::Task<shunt::Result<Cpu>> cpu(shunt::Call&) {
  co_return Cpu{bench::cpu_seconds(CLOCK_THREAD_CPUTIME_ID), bench::cpu_seconds(CLOCK_PROCESS_CPUTIME_ID), getpid()};
}

SHUNT_SERVICE(service) {
  service.command("echo", echo, {.description = "The same bytes again.", .effect = shunt::Effect::none});
  service.command("words", words, {.description = "The same eight numbers again.", .effect = shunt::Effect::none});
  service.command("text", text, {.description = "The same text again.", .effect = shunt::Effect::none});
  service.command("cpu", cpu,
                  {.description = "How much CPU time the service has used.", .effect = shunt::Effect::none});
}
