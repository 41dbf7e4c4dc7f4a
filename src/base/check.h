#pragma once
// SHUNT_ASSERT: for our own bugs, in every build. What a peer, a file or a client sends never asserts.

namespace shunt {

[[noreturn]] void assert_failed(const char* expression, const char* file, int line);

}  // namespace shunt

#define SHUNT_ASSERT(expression) \
  (static_cast<bool>(expression) ? void(0) : ::shunt::assert_failed(#expression, __FILE__, __LINE__))
