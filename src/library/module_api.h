#pragma once
// The functions that every module in this process gets. One table for all: each function finds its way by the call or
// context it is given. Not for other rooms.

#include <string>

#include "shunt/shunt.h"

namespace shunt::library {

const shunt_api& module_api();

/// While it lives, what is logged without a context on this thread is gathered here: a module's words in
/// shunt_module_main().
class LoadLog {
 public:
  LoadLog();
  ~LoadLog();
  LoadLog(const LoadLog&) = delete;
  LoadLog& operator=(const LoadLog&) = delete;
  std::string text;

 private:
  LoadLog* outer_;
};

}  // namespace shunt::library
