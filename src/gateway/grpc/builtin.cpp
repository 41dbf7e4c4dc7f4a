#include "gateway/grpc/builtin.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include "call/router.h"
#include "gateway/grpc/descriptors.h"
#include "loop/loop.h"
#include "net/grpc/proto_fields.h"

namespace shunt::gateway {

namespace {

using call::Message;
using net::ProtoReader;
using net::ProtoWriter;

Message to_message(std::string&& text) { return Message(Bytes::adopt(std::move(text))); }

bool shows(const ListenerPolicy& policy, const call::ServiceDefinition& service) {
  return policy.dev || policy.operator_socket || service.exposed;
}

/// The services that a listener shows, by full name.
std::vector<const call::Route*> shown_routes(const Shared& shared, const ListenerPolicy& policy) {
  std::vector<const call::Route*> shown;
  for (const auto& [name, route] : shared.router.routing()->routes) {
    if (shows(policy, *route->definition)) shown.push_back(route.get());
  }
  std::ranges::sort(shown, {},
                    [](const call::Route* route) -> const std::string& { return route->definition->full_name; });
  return shown;
}

// A call that goes on after it was begun. Freed when its handle is released; nothing of it is touched after it has told
// its end.
class BuiltinCall : public call::Outgoing {
 public:
  virtual ~BuiltinCall() = default;
  /// The node drains.
  virtual void drain() = 0;

  call::Sent send(Message message, call::Last last) override {
    (void)message, (void)last;
    return call::Sent::ended;
  }
  void half_close() override {}
  void consumed(std::size_t cost) override { owed_ -= std::min(owed_, cost); }
  void cancel(call::Cancel reason) override { end(call::cancel_status(reason)); }
  void release() override { delete this; }

 protected:
  explicit BuiltinCall(call::CallerEvents& events) : events_(&events) {}
  /// Bounded: who does not read gets no more.
  [[nodiscard]] bool has_credit() const { return owed_ < credit; }
  void tell(Message message) {
    owed_ += message.cost();
    events_->on_message(std::move(message));
  }
  void give_credit() { events_->on_credit(); }
  void end(Status status) {
    if (events_ != nullptr) std::exchange(events_, nullptr)->on_end(std::move(status), {});
  }
  [[nodiscard]] bool has_ended() const { return events_ == nullptr; }

 private:
  static constexpr std::size_t credit = 256u << 10;
  call::CallerEvents* events_;
  std::size_t owed_ = 0;
};

Status draining() { return Status(Code::unavailable, "S1015", "the node drains").with_retry(Retry::elsewhere); }

// --- Health ---

enum class Serving : std::uint8_t { unknown = 0, serving = 1, not_serving = 2, service_unknown = 3 };

constexpr std::string_view health_path = "/grpc.health.v1.Health/";

Serving serving_of(const Shared& shared, const call::Route& route) {
  const bool is_absent = route.instances.empty() && !route.why_absent.empty();
  return is_absent || shared.draining ? Serving::not_serving : Serving::serving;
}

Serving serving_of_node(const Shared& shared) {
  const bool is_unready = shared.draining || (shared.hooks.unready && shared.hooks.unready());
  return is_unready ? Serving::not_serving : Serving::serving;
}

Serving serving_of(const Shared& shared, const ListenerPolicy& policy, std::string_view service) {
  if (service.empty()) return serving_of_node(shared);
  for (const BuiltinFile& file : builtin_files()) {
    if (file.service == service) return serving_of_node(shared);
  }
  const call::Routing& routing = *shared.router.routing();
  const call::Route* found = nullptr;
  if (auto route = routing.resolve(service, "")) {
    found = *route;
  } else {
    for (const auto& [name, each] : routing.routes) {
      const auto& contract = each->definition->contract;
      if (contract && contract->service_name() == service) found = each.get();
    }
  }
  if (found == nullptr || !shows(policy, *found->definition)) return Serving::service_unknown;
  return serving_of(shared, *found);
}

std::string health_response(Serving serving) {
  std::string out;
  if (serving != Serving::unknown) ProtoWriter(out).integer(1, static_cast<std::uint64_t>(serving));
  return out;
}

void add_status(std::string& list, std::string_view name, Serving serving) {
  std::string entry;
  ProtoWriter(entry).bytes(1, name);
  ProtoWriter(entry).bytes(2, health_response(serving));
  ProtoWriter(list).bytes(1, entry);
}

std::string health_list(const Shared& shared, const ListenerPolicy& policy) {
  std::string out;
  add_status(out, "", serving_of_node(shared));
  for (const call::Route* route : shown_routes(shared, policy)) {
    const call::ServiceDefinition& service = *route->definition;
    add_status(out, service.full_name, serving_of(shared, *route));
    if (service.contract && service.contract->service_name() != service.full_name) {
      add_status(out, service.contract->service_name(), serving_of(shared, *route));
    }
  }
  return out;
}

/// HealthCheckRequest {service = 1}. Errors: invalid_argument.
Result<std::string> health_request(const Bytes& message) {
  std::string service;
  ProtoReader reader(message.view());
  while (reader.next()) {
    if (reader.field() == 1) service = reader.bytes();
  }
  if (!reader.is_whole()) return fail(Code::invalid_argument, "S1030", "the request is no HealthCheckRequest");
  return service;
}

// Tells the state of a service, and again whenever it changes.
class HealthWatch final : public BuiltinCall, private call::RoutingEvents, private loop::Runnable {
 public:
  HealthWatch(Shared& shared, const ListenerPolicy& policy, call::CallerEvents& events, std::string service)
      : BuiltinCall(events), shared_(shared), policy_(policy), service_(std::move(service)) {
    shared_.router.watch(*this);
    shared_.loop.ready(*this);
  }
  ~HealthWatch() override { shared_.router.unwatch(*this); }

  void drain() override {
    tell_state();
    end(draining());
  }
  void consumed(std::size_t cost) override {
    BuiltinCall::consumed(cost);
    shared_.loop.ready(*this);
  }

 private:
  void on_routing() override { shared_.loop.ready(*this); }
  void run() override { tell_state(); }
  void tell_state() {
    if (has_ended() || !has_credit()) return;
    const Serving now = serving_of(shared_, policy_, service_);
    const bool is_news = !std::exchange(has_told_, true) || told_ != now;
    told_ = now;
    if (is_news) tell(to_message(health_response(now)));
  }

  Shared& shared_;
  const ListenerPolicy& policy_;
  const std::string service_;
  Serving told_ = Serving::unknown;
  bool has_told_ = false;
};

call::OutgoingHandle start_health(Shared& shared, const ListenerPolicy& policy, std::string_view method,
                                  call::CallerEvents& events, call::Opening opening) {
  auto service = health_request(opening.message.bytes());
  if (!service) return call::end_unopened(events, std::move(service).error());
  if (method == "Watch") {
    return call::OutgoingHandle(new HealthWatch(shared, policy, events, std::move(*service)));
  }
  std::string answer;
  if (method == "List") {
    answer = health_list(shared, policy);
  } else {
    const Serving serving = serving_of(shared, policy, *service);
    if (serving == Serving::service_unknown) {
      return call::end_unopened(
          events, Status(Code::not_found, "S1002", fmt::format("no service '{}' is exposed here", *service)));
    }
    answer = health_response(serving);
  }
  events.on_message(to_message(std::move(answer)));
  return call::end_unopened(events, Status());
}

// --- Reflection ---

constexpr std::string_view reflection_v1_path = "/grpc.reflection.v1.ServerReflection/";
constexpr std::string_view reflection_v1alpha_path = "/grpc.reflection.v1alpha.ServerReflection/";

// ServerReflectionResponse's alternatives.
constexpr std::uint32_t files_field = 4;
constexpr std::uint32_t extensions_field = 5;
constexpr std::uint32_t services_field = 6;
constexpr std::uint32_t error_field = 7;

class Reflection final : public BuiltinCall {
 public:
  Reflection(Shared& shared, const ListenerPolicy& policy, call::CallerEvents& events)
      : BuiltinCall(events), shared_(shared), policy_(policy) {}

  call::Sent send(Message message, call::Last last) override {
    if (has_ended()) return call::Sent::ended;
    std::string answer;
    if (!answer_to(message.bytes().view(), answer)) {
      end(Status(Code::invalid_argument, "S1030", "the request is no ServerReflectionRequest"));
      return call::Sent::ended;
    }
    // Answers wait in the connection for who does not read them; a request more is not taken meanwhile.
    tell(to_message(std::move(answer)));
    if (has_ended()) return call::Sent::ended;
    if (last == call::Last::yes) {
      half_close();
      return call::Sent::ended;
    }
    if (has_credit()) return call::Sent::more;
    is_held_ = true;
    return call::Sent::held;
  }
  void half_close() override { end(Status()); }
  void consumed(std::size_t cost) override {
    BuiltinCall::consumed(cost);
    if (is_held_ && has_credit() && !has_ended()) {
      is_held_ = false;
      give_credit();
    }
  }
  void drain() override { end(draining()); }

 private:
  bool answer_to(std::string_view request, std::string& out);
  void add_services(std::string& out) const;
  bool add_file_by_name(std::string_view name, std::string& out) const;
  bool add_file_by_symbol(std::string_view symbol, std::string& out) const;

  Shared& shared_;
  const ListenerPolicy& policy_;
  bool is_held_ = false;
};

void add_error(std::string& out, Code code, std::string_view message) {
  std::string error;
  ProtoWriter(error).integer(1, static_cast<std::uint64_t>(code));
  ProtoWriter(error).bytes(2, message);
  ProtoWriter(out).bytes(error_field, error);
}

bool Reflection::answer_to(std::string_view request, std::string& out) {
  std::string_view host;
  std::string_view value;
  std::uint32_t asked = 0;
  ProtoReader reader(request);
  while (reader.next()) {
    if (reader.field() == 1) host = reader.bytes();
    if (reader.field() < 3 || reader.field() > 7) continue;
    asked = reader.field();
    value = reader.bytes();
  }
  if (!reader.is_whole()) return false;
  if (!host.empty()) ProtoWriter(out).bytes(1, host);
  ProtoWriter(out).bytes(2, request);
  const auto not_found = [&](std::string_view what) {
    add_error(out, Code::not_found, fmt::format("{} '{}' is not known here", what, value));
  };
  switch (asked) {
    case 3:
      if (!add_file_by_name(value, out)) not_found("file");
      return true;
    case 4:
      if (!add_file_by_symbol(value, out)) not_found("symbol");
      return true;
    case 5:
      add_error(out, Code::not_found, "there are no extensions here");
      return true;
    case 6: {
      std::string files;
      if (!add_file_by_symbol(value, files)) {
        not_found("type");
        return true;
      }
      std::string numbers;  // None.
      ProtoWriter(numbers).bytes(1, value);
      ProtoWriter(out).bytes(extensions_field, numbers);
      return true;
    }
    case 7:
      add_services(out);
      return true;
    default:
      add_error(out, Code::invalid_argument, "the request asks for nothing");
      return true;
  }
}

void Reflection::add_services(std::string& out) const {
  std::vector<std::string_view> names;
  for (const call::Route* route : shown_routes(shared_, policy_)) {
    if (route->definition->contract) names.push_back(route->definition->contract->service_name());
  }
  for (const BuiltinFile& file : builtin_files()) names.push_back(file.service);
  std::ranges::sort(names);
  names.erase(std::ranges::unique(names).begin(), names.end());
  std::string list;
  for (const std::string_view name : names) {
    std::string service;
    ProtoWriter(service).bytes(1, name);
    ProtoWriter(list).bytes(1, service);
  }
  ProtoWriter(out).bytes(services_field, list);
}

// A file and all that it imports, each once, so that nobody has to ask again. Two services may have files of one name; what
// goes together is of one contract.
void add_files(const call::Contract& contract, const call::Contract::File& file, std::string& out) {
  std::string response;
  std::unordered_set<std::string_view> known;
  std::vector<const call::Contract::File*> todo = {&file};
  known.insert(file.name);
  for (std::size_t i = 0; i < todo.size(); ++i) {
    ProtoWriter(response).bytes(1, todo[i]->descriptor);
    for (const std::string& import : todo[i]->imports) {
      if (!known.insert(import).second) continue;
      const auto found = std::ranges::find(contract.files(), import, &call::Contract::File::name);
      if (found != contract.files().end()) todo.push_back(&*found);
    }
  }
  ProtoWriter(out).bytes(files_field, response);
}

bool Reflection::add_file_by_name(std::string_view name, std::string& out) const {
  for (const call::Route* route : shown_routes(shared_, policy_)) {
    const auto& contract = route->definition->contract;
    if (!contract) continue;
    const auto found = std::ranges::find(contract->files(), name, &call::Contract::File::name);
    if (found == contract->files().end()) continue;
    add_files(*contract, *found, out);
    return true;
  }
  for (const BuiltinFile& file : builtin_files()) {
    if (file.name != name) continue;
    std::string response;
    ProtoWriter(response).bytes(1, file.descriptor);
    ProtoWriter(out).bytes(files_field, response);
    return true;
  }
  return false;
}

bool Reflection::add_file_by_symbol(std::string_view symbol, std::string& out) const {
  if (symbol.starts_with('.')) symbol.remove_prefix(1);
  for (const call::Route* route : shown_routes(shared_, policy_)) {
    const auto& contract = route->definition->contract;
    if (!contract) continue;
    for (const call::Contract::File& file : contract->files()) {
      if (std::ranges::find(file.symbols, symbol) == file.symbols.end()) continue;
      add_files(*contract, file, out);
      return true;
    }
  }
  for (const BuiltinFile& file : builtin_files()) {
    if (std::ranges::find(file.symbols, symbol) == file.symbols.end()) continue;
    std::string response;
    ProtoWriter(response).bytes(1, file.descriptor);
    ProtoWriter(out).bytes(files_field, response);
    return true;
  }
  return false;
}

}  // namespace

std::optional<call::StreamShape> find_builtin(std::string_view path) {
  if (!path.starts_with("/grpc.")) return std::nullopt;
  if (path.starts_with(health_path)) {
    const std::string_view method = path.substr(health_path.size());
    if (method == "Check" || method == "List") return call::StreamShape::unary;
    if (method == "Watch") return call::StreamShape::server;
    return std::nullopt;
  }
  for (const std::string_view prefix : {reflection_v1_path, reflection_v1alpha_path}) {
    if (path.starts_with(prefix) && path.substr(prefix.size()) == "ServerReflectionInfo")
      return call::StreamShape::both;
  }
  return std::nullopt;
}

call::OutgoingHandle start_builtin(Shared& shared, const ListenerPolicy& policy, std::string_view path,
                                   call::CallerEvents& events, call::Opening opening) {
  if (path.starts_with(health_path)) {
    return start_health(shared, policy, path.substr(health_path.size()), events, std::move(opening));
  }
  return call::OutgoingHandle(new Reflection(shared, policy, events));
}

void drain_builtin(call::Outgoing& call) { static_cast<BuiltinCall&>(call).drain(); }

}  // namespace shunt::gateway
