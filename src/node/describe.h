#pragma once
// What a service says of itself, asked in a throwaway process with a time limit: a library whose constructor crashes or a
// Python file that does not import harms nothing. Answers are kept by the content of the code, so that a node that starts
// again does not ask again.

#include <expected>
#include <string>

#include "base/result.h"
#include "call/spawner.h"
#include "loop/epoll_loop.h"
#include "loop/task.h"
#include "manifest/manifest.h"

namespace shunt::node {

/// How each language is started, in one place: describe and the pool use it.
struct LanguageCommand {
  std::vector<std::string> argv;
  std::vector<std::string> env;  ///< Over the node's own.
};
LanguageCommand describe_command(const manifest::ServiceManifest& service);
LanguageCommand worker_command(const manifest::ServiceManifest& service);

/// A hash of the code and of what else decides what a worker is: two that are equal are interchangeable.
std::string content_hash(const manifest::ServiceManifest& service);

/// Threads: the control loop's. `cache` is a folder, made when missing; empty: nothing is kept.
/// Errors: a diagnostic at the manifest's `args` (S2060 to S2065), or what the supervisor could not do.
loop::Task<std::expected<std::string, manifest::Diagnostic>> describe(loop::EpollLoop& loop, call::Spawner& spawner,
                                                                      const manifest::ServiceManifest& service,
                                                                      std::string cache);

}  // namespace shunt::node
