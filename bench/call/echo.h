#pragma once
// What the echo and its driver say to each other.

#include <shunt/service.h>

#include <string>

struct Text {
  std::string text;
};
SHUNT_FIELDS(Text, text)
