#pragma once
// The manager: the service by which a node is looked at and stopped. The command line calls it over the admin socket like
// any other service. It knows the node only as a Report and a few actions; node/ fills them in.
//
//   manager.ps       what runs, with state and counts
//   manager.explain  which way a call takes, why, and what was measured
//   manager.logs     the last lines of a service, or all that come (a stream)
//   manager.proto    the protobuf types of a service: its .proto files and descriptors
//   manager.reload   takes up what manifests and code say now
//   manager.stop     drains the node and ends it
//   manager.version  what this node is

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/own.h"
#include "call/definition.h"
#include "call/explain.h"
#include "call/server_call.h"
#include "module/log_book.h"

namespace shunt::module {

struct InstanceReport {
  std::string name;
  std::int64_t pid = 0;  ///< 0: none of its own.
  std::string state;     ///< starting, ready, draining, backing-off, failed.
  std::uint64_t in_flight = 0;
  std::uint64_t served = 0;
  std::uint64_t restarts = 0;
  std::string last_error;
  std::string retry_in;  ///< While backing off: "2s".
  std::string link;      ///< How the node reaches it: "shm", "unix", …; empty: not by a link.
  std::string link_why;  ///< Why so.
};

/// A link between two workers, beside the node.
struct DirectReport {
  std::string caller;  ///< An instance: "cart#1".
  std::string callee;
  std::string link;  ///< "shm" or "unix".
};

struct ServiceReport {
  std::string name;
  std::string type;
  std::string backend;
  std::string state;
  std::string version;
  std::uint64_t calls = 0;
  std::uint64_t errors = 0;
  std::uint64_t in_flight = 0;
  std::uint64_t queued = 0;
  std::uint64_t restarts = 0;
  std::string last_error;
  std::vector<std::string> commands;
  std::vector<std::string> crash_log;  ///< Last lines of the worker that crashed last.
  std::vector<InstanceReport> instances;
};

/// Another node, dialled by this one (address) or dialling it.
struct PeerReport {
  std::string address;  ///< As --peer gave it; empty for one that came by itself.
  std::string name;
  std::string node;   ///< Its id.
  std::string state;  ///< connecting, ready, draining, lost, itself.
  std::string software;
  std::size_t links = 0;  ///< Loops with a link to it.
  double round_trip_us = 0;
  std::uint64_t in_flight = 0;
  std::uint64_t served = 0;
  std::string last_error;
  std::vector<std::string> services;
};

struct NodeReport {
  std::int64_t pid = 0;
  std::string version;
  double uptime_s = 0;
  std::uint64_t restarts = 0;
  std::string last_crash;
  std::string state;
  std::vector<std::string> listen;
  std::string data;
  struct App {
    std::string name;
    std::string manifest;  ///< Absolute path.
  };
  std::vector<App> apps;
  std::vector<ServiceReport> services;
  std::vector<PeerReport> peers;
  std::vector<DirectReport> direct;
};

/// The protobuf types of a service.
struct ProtoReport {
  struct File {
    std::string name;
    std::string text;
  };
  std::string service;         ///< Full name of the protobuf service.
  bool derived = false;        ///< They follow from schemas; nobody wrote them.
  std::string file;            ///< Name of the file that declares the service.
  std::vector<File> files;     ///< All that protoc does not bring itself, each after those it imports.
  std::string descriptor_set;  ///< A serialized google.protobuf.FileDescriptorSet.
};

/// What a reload did, or why it did nothing.
struct ReloadReport {
  struct Service {
    std::string name;
    std::string change;             ///< added, removed, replaced, updated (routing only), same, failed.
    std::vector<std::string> what;  ///< The manifest's keys, and "code".
    std::string from;               ///< The backend before, and …
    std::string to;                 ///< … now.
  };
  bool applied = false;
  std::string refused;  ///< Why not: one line.
  std::uint64_t revision = 0;
  std::vector<Service> services;
  std::vector<std::string> diagnostics;  ///< A JSON object each, as `shunt check --json` prints them.
};

struct ManagerActions {
  std::function<NodeReport()> report;
  std::function<void()> stop;
  /// By full name, which is known to exist.
  std::function<Result<ProtoReport>(const std::string& service)> proto;
  std::function<loop::Task<ReloadReport>()> reload;
  std::function<loop::Task<Result<call::Explanation>>(call::ExplainQuestion question)> explain;
};

/// Threads: the control loop's.
class Manager {
 public:
  Manager(loop::Loop& loop, LogBook& log, ManagerActions actions);
  call::Service& service() { return service_; }
  /// Its commands, as routing and the page at / need them.
  static call::ServiceDefinition definition();

 private:
  loop::Task<Status> ps(call::ServerCall& call);
  loop::Task<Status> logs(call::ServerCall& call);
  loop::Task<Status> proto(call::ServerCall& call);
  loop::Task<Status> reload(call::ServerCall& call);
  loop::Task<Status> explain(call::ServerCall& call);
  loop::Task<Status> stop(call::ServerCall& call);
  loop::Task<Status> version(call::ServerCall& call);
  [[nodiscard]] Result<std::string> full_name(const std::string& name) const;

  loop::Loop& loop_;
  LogBook& log_;
  ManagerActions actions_;
  call::TaskService service_;
};

}  // namespace shunt::module
