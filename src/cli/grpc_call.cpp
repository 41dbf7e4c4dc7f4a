#include "cli/grpc_call.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/base64.h"
#include "base/names.h"
#include "call/client_call.h"
#include "cli/terminal.h"
#include "loop/epoll_loop.h"
#include "loop/scope.h"
#include "net/grpc/proto_fields.h"
#include "os/random.h"
#include "remote/grpc_client.h"
#include "schema/typed.h"

namespace shunt::cli {

namespace {

using call::ClientCall;
using call::Message;
using loop::Task;
using net::ProtoReader;

constexpr std::size_t files_max = 1000;  // of a server's reflection

// What the server's files say of the service.
struct Description {
  std::map<std::string, std::string> files;  ///< Serialized FileDescriptorProtos by name.
  std::vector<std::string> missing;          ///< Imported, and not there yet.
};

struct FileFacts {
  std::string name;
  std::vector<std::string> imports;
  std::vector<std::string> methods;  ///< Of the service that was looked for.
};

// FileDescriptorProto {name = 1, package = 2, dependency = 3, service = 6}; ServiceDescriptorProto {name = 1, method = 2}.
FileFacts read_file(std::string_view descriptor, std::string_view service) {
  FileFacts facts;
  std::string package;
  std::vector<std::string_view> services;
  ProtoReader reader(descriptor);
  while (reader.next()) {
    if (reader.field() == 1) facts.name = reader.bytes();
    if (reader.field() == 2) package = reader.bytes();
    if (reader.field() == 3) facts.imports.emplace_back(reader.bytes());
    if (reader.field() == 6) services.push_back(reader.bytes());
  }
  for (const std::string_view bytes : services) {
    std::string name;
    std::vector<std::string> methods;
    ProtoReader one(bytes);
    while (one.next()) {
      if (one.field() == 1) name = one.bytes();
      if (one.field() != 2) continue;
      ProtoReader method(one.bytes());
      while (method.next()) {
        if (method.field() == 1) methods.emplace_back(method.bytes());
      }
    }
    if ((package.empty() ? name : std::string(package).append(".").append(name)) == service)
      facts.methods = std::move(methods);
  }
  return facts;
}

/// False when the answer has no files.
bool take_files(std::string_view response, Description& description) {
  bool found = false;
  ProtoReader reader(response);
  while (reader.next()) {
    if (reader.field() != 4) continue;
    ProtoReader files(reader.bytes());
    while (files.next()) {
      if (files.field() != 1 || description.files.size() >= files_max) continue;
      found = true;
      description.files.emplace(read_file(files.bytes(), "").name, files.bytes());
    }
  }
  description.missing.clear();
  for (const auto& [name, descriptor] : description.files) {
    for (const std::string& import : read_file(descriptor, "").imports) {
      const bool is_known = description.files.contains(import) || import.starts_with("google/protobuf/");
      if (!is_known && std::ranges::find(description.missing, import) == description.missing.end()) {
        description.missing.push_back(import);
      }
    }
  }
  return found;
}

Message ask(std::uint32_t field, std::string_view value) {
  std::string request;
  net::ProtoWriter(request).bytes(field, value);
  return Message(Bytes::adopt(std::move(request)));
}

/// Each file after those that it imports.
void put_in_order(const Description& description, const std::string& name, std::vector<std::string>& done,
                  std::vector<std::string>& files, int depth = 0) {
  const auto found = description.files.find(name);
  if (found == description.files.end() || depth > 100 || std::ranges::find(done, name) != done.end()) return;
  done.push_back(name);
  for (const std::string& import : read_file(found->second, "").imports) {
    put_in_order(description, import, done, files, depth + 1);
  }
  files.push_back(found->second);
}

Result<schema::Typed> make_types(const Description& description, const std::string& service) {
  schema::TypedParts parts;
  parts.service = service;
  parts.form.numbers = true;  // For people, and as Shunt's own services answer over HTTP.
  std::vector<std::string> done;
  for (const auto& [name, descriptor] : description.files) {
    put_in_order(description, name, done, parts.files);
    for (std::string& method : read_file(descriptor, service).methods) parts.commands.emplace(method, method);
  }
  return schema::make_typed(std::move(parts));
}

/// What the server tells of the service by reflection; nothing when it tells nothing. Errors: nobody is there.
Task<Result<std::optional<Description>>> describe(loop::Loop* loop, call::Link* link, std::string service,
                                                  Deadline deadline) {
  for (const std::string_view version : {"v1", "v1alpha"}) {
    const std::string reflection = fmt::format("grpc.reflection.{}.ServerReflection", version);
    call::Open open;
    open.service = reflection;
    open.command = "ServerReflectionInfo";
    open.deadline = deadline;
    ClientCall call(*loop, *link, open, call::Opening::first(ask(4, service)));
    Description description;
    auto answer = co_await call.receive();
    if (!answer) {
      Status status = co_await call.finish();
      if (status.code() == Code::unavailable) co_return std::unexpected(std::move(status));
      if (status.code() == Code::unimplemented) continue;
      co_return std::nullopt;
    }
    if (!take_files(answer->bytes().view(), description)) co_return std::nullopt;
    while (!description.missing.empty() && description.files.size() < files_max) {
      const std::size_t before = description.files.size();
      if (!co_await call.send(ask(3, description.missing.front()))) co_return std::nullopt;
      answer = co_await call.receive();
      if (!answer || !take_files(answer->bytes().view(), description)) co_return std::nullopt;
      if (description.files.size() == before) co_return std::nullopt;
    }
    call.half_close();
    co_return description;
  }
  co_return std::nullopt;
}

struct Job {
  const CallCommand& command;
  std::vector<std::string> messages;
  call::Metadata metadata;
  std::string service;
  std::string method;
  Deadline deadline;
  const call::Transcoder* transcoder = nullptr;
  bool is_raw = false;
  Status status;
};

Task<void> send_rest(ClientCall* call, std::vector<Bytes> messages) {
  for (std::size_t i = 1; i < messages.size(); ++i) {
    if (!co_await call->send(Message(std::move(messages[i])))) co_return;
  }
  call->half_close();
}

void print(const Job& job, std::string_view text) {
  write_out(text);
  if (!job.is_raw && !text.ends_with('\n')) write_out("\n");
}

struct Ended {
  loop::Scope& scope;
  ~Ended() { scope.cancel(); }
};

Task<Status> exchange(loop::Loop* loop, loop::Scope* scope, call::Link* link, Job* job) {
  std::vector<Bytes> messages;
  for (const std::string& text : job->messages) {
    Bytes message = Bytes::copy_of(text);
    if (job->transcoder != nullptr) {
      auto converted =
          job->transcoder->convert(call::Side::request, call::Encoding::json, call::Encoding::proto, message);
      if (!converted) co_return std::move(converted).error();
      message = std::move(*converted);
    }
    messages.push_back(std::move(message));
  }
  call::Open open;
  open.service = job->service;
  open.command = job->method;
  open.metadata = &job->metadata;
  open.deadline = job->deadline;
  auto opening =
      messages.size() == 1 ? call::Opening::unary(Message(messages[0])) : call::Opening::first(Message(messages[0]));
  ClientCall call(*loop, *link, open, std::move(opening));
  const Ended ended{*scope};  // Before the call goes that they send on.
  if (messages.size() > 1) scope->spawn(send_rest(&call, messages));
  while (auto answer = co_await call.receive()) {
    Bytes text = answer->bytes();
    if (job->transcoder != nullptr) {
      auto converted =
          job->transcoder->convert(call::Side::response, call::Encoding::proto, call::Encoding::json, text);
      if (!converted) co_return std::move(converted).error();
      text = std::move(*converted);
    }
    print(*job, text.view());
  }
  co_return co_await call.finish();
}

template <typename T>
Task<void> keep(Task<T> task, std::optional<T>* result, loop::Loop* loop) {
  result->emplace(co_await std::move(task));
  loop->stop();
}

template <typename T>
T run(loop::EpollLoop& loop, Task<T> task) {
  std::optional<T> result;
  loop::Scope scope(loop);
  scope.spawn(keep(std::move(task), &result, &loop));
  while (!result) loop.run();
  return std::move(*result);
}

Result<call::Metadata> read_metadata(const CallCommand& command) {
  call::Metadata metadata;
  for (const auto& [key, value] : command.metadata) {
    // As in HTTP: what a "-bin" key holds is written in base64.
    const auto bytes = key.ends_with("-bin") ? decode_base64(value) : std::optional<std::string>(value);
    if (!bytes) return fail(Code::invalid_argument, "S1024", fmt::format("metadata '{}' must be base64", key));
    SHUNT_CHECK(metadata.add(key, *bytes));
  }
  return metadata;
}

std::vector<std::string> split_messages(const RequestBody& request) {
  if (request.content_type != "application/x-ndjson") return {request.bytes};
  std::vector<std::string> messages;
  std::size_t from = 0;
  while (from < request.bytes.size()) {
    const std::size_t end = std::min(request.bytes.find('\n', from), request.bytes.size());
    if (end > from) messages.push_back(request.bytes.substr(from, end - from));
    from = end + 1;
  }
  return messages;
}

Result<int> call_it(const CallCommand& command, const Endpoint& endpoint, const RequestBody& request) {
  SHUNT_TRY(auto loop, loop::EpollLoop::create({.name = "call", .slow_turn = Duration(0)}));
  os::SystemRandom random;
  SHUNT_TRY(auto address, os::parse_tcp_address(endpoint.authority()));
  remote::GrpcClientOptions options;
  options.address = address;
  Own<net::TlsContext> tls;
  if (endpoint.tls) {
    SHUNT_TRY(tls, net::TlsContext::create(*endpoint.tls));
    options.tls = tls.get();
  }
  Job job{.command = command};
  SHUNT_TRY(job.metadata, read_metadata(command));
  job.messages = split_messages(request);
  const auto target = split_target(command.target);
  job.service = target->first;
  job.method = target->second;
  job.is_raw = !command.content_type.empty();
  if (command.timeout) job.deadline = Deadline::after(loop->refresh_now(), *command.timeout);

  auto link = remote::GrpcClient::create(*loop, random, options);
  schema::Typed types;
  if (!job.is_raw) {
    const Deadline patience = earlier(job.deadline, Deadline::after(loop->refresh_now(), std::chrono::seconds(10)));
    SHUNT_TRY(const auto description, run(*loop, describe(loop.get(), link.get(), job.service, patience)));
    if (description) {
      SHUNT_TRY(types, make_types(*description, job.service));
      const auto found = types.transcoders.find(job.method);
      if (found == types.transcoders.end()) {
        std::string known;
        for (const auto& [name, transcoder] : types.transcoders) known += (known.empty() ? "" : ", ") + name;
        return fail(Code::unimplemented, "S1005",
                    fmt::format("service {} has no method '{}'; it has: {}", job.service, job.method, known));
      }
      job.transcoder = found->second.get();
    } else {
      options.encoding = call::Encoding::json;
      link = remote::GrpcClient::create(*loop, random, options);
    }
  }
  loop::Scope scope(*loop);
  const Status status = run(*loop, exchange(loop.get(), &scope, link.get(), &job));
  if (status.is_ok()) return 0;
  report(status);
  return static_cast<int>(status.code());
}

}  // namespace

int call_grpc(const CallCommand& command, const Endpoint& endpoint, RequestBody request) {
  const auto code = call_it(command, endpoint, request);
  if (code) return *code;
  report(code.error());
  return static_cast<int>(code.error().code());
}

}  // namespace shunt::cli
