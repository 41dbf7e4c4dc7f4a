#pragma once
// The commands: each does what it was asked, prints, and returns the exit code.

#include <string>
#include <string_view>

#include "cli/options.h"

namespace shunt::cli {

int call(const CallCommand& command);
int ps(const PsCommand& command);
int logs(const LogsCommand& command);
int proto(const ProtoCommand& command);
int app(const AppCommand& command);
int reload(const ReloadCommand& command);
int explain(const ExplainCommand& command);
int stop(const StopCommand& command);
int check(const CheckCommand& command);
int create(const NewCommand& command);
int version(const VersionCommand& command);
int help(const HelpCommand& command);
int completions(const CompletionsCommand& command);

}  // namespace shunt::cli
