#pragma once
// What the driver and the echo of ./dev bench links say to each other.

#include <shunt/service.h>

#include <string>

/// 64 bytes that need no memory beyond themselves: eight numbers.
struct Words {
  std::int64_t a = 1, b = 2, c = 3, d = 4, e = 5, f = 6, g = 7, h = 8;
};
SHUNT_FIELDS(Words, a, b, c, d, e, f, g, h)

/// A message with a type, of any size.
struct Text {
  std::string text;
};
SHUNT_FIELDS(Text, text)

/// CPU seconds used so far: by the thread that serves, and by its process.
struct Cpu {
  double thread = 0;
  double process = 0;
  std::int64_t pid = 0;
};
SHUNT_FIELDS(Cpu, thread, process, pid)
