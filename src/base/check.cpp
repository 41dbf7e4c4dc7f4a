#include "base/check.h"

#include <cstdio>
#include <cstdlib>

namespace shunt {

void assert_failed(const char* expression, const char* file, int line) {
  std::fprintf(stderr, "shunt: a bug of ours: %s:%d: %s does not hold\n", file, line, expression);
  std::abort();
}

}  // namespace shunt
