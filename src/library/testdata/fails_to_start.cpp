// A module that can't start.
#include <shunt/service.h>

#include <stdexcept>

SHUNT_SERVICE(service) {
  service.on_start([] { throw std::runtime_error("the database is not there"); });
}
