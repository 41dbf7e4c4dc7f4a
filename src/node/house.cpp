#include "node/house.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <utility>

#include "base/json_text.h"
#include "base/names.h"
#include "base/version.h"
#include "node/explain.h"
#include "node/metrics.h"
#include "node/tokens.h"
#include "os/cpu.h"
#include "os/socket.h"
#include "schema/derive.h"
#include "schema/proto_text.h"

namespace shunt::node {

namespace {

constexpr Duration drain_timeout_default = std::chrono::seconds(25);
constexpr Duration fast_drain = std::chrono::seconds(1);
// A status from 64 on tells the supervisor that starting again would end the same way (sysexits.h).
constexpr int status_config = 78;
constexpr Duration tls_failure_pause = std::chrono::seconds(1);
constexpr Duration certificate_watch = std::chrono::seconds(1);
constexpr int status_unavailable = 69;

manifest::Colour colour() {
  return isatty(STDERR_FILENO) != 0 && getenv("NO_COLOR") == nullptr ? manifest::Colour::yes : manifest::Colour::no;
}

bool is_loopback(const std::string& place) {
  auto parsed = os::parse_tcp_address(split_listen(place).address);
  return parsed.has_value() && parsed->is_loopback();
}

}  // namespace

House::House(loop::EpollLoop& control, RunOptions options)
    : control_(control),
      options_(std::move(options)),
      log_(module::LogBook::Options{}),
      drain_asked_(control),
      reload_asked_(control),
      scope_(control) {}

House::~House() {
  if (loops_ == nullptr) return;
  // The threads end first; then, on this one, whatever has links to loops, and the loops last.
  loops_->stop();
  gateways_.clear();
  if (broker_ != nullptr) broker_->stop();
  loops_->forget_routing();
  peers_ = nullptr;
  if (reload_ != nullptr) reload_->forget();
  for (auto& hosted : services_) hosted->host = nullptr;
  manager_instance_ = nullptr;
  manager_ = nullptr;
}

void House::start(std::function<void(int)> ended) {
  ended_ = std::move(ended);
  began_ = control_.refresh_now();
  scope_.spawn(run());
}

void House::on_shutdown(bool fast) {
  stopping_ = true;
  drain_asked_.set();
  if (!fast || std::exchange(fast_, true) || loops_ == nullptr) return;
  Deadline deadline = Deadline::after(control_.refresh_now(), fast_drain);
  for (std::size_t i = 0; i < gateways_.size(); i++) {
    if (gateways_[i] == nullptr) continue;
    loops_->at(i).loop.post([gateway = gateways_[i].get(), deadline] { gateway->hurry(deadline); });
  }
  for (auto& hosted : services_) {
    if (hosted->host != nullptr) hosted->host->hurry(deadline);
  }
  reload_->hurry(deadline);
}

void House::on_reload() {
  reload_asked_.set();
  if (reload_ == nullptr || stopping_) return;
  reload_->ask([this](const module::ReloadReport& report) { told_reload(report); });
}

void House::on_supervisor_lost() {
  std::fputs("shunt: the supervisor is gone; so must we be\n", stderr);
  _exit(1);
}

loop::Task<void> House::run() {
  if (!co_await prepare()) co_return;
  for (auto& hosted : services_) scope_.spawn(host_service(*hosted));
  check_ready();
  while (!stopping_) co_await drain_asked_.wait();
  co_await drain();
  finish(0);
}

void House::finish(int status) {
  if (auto ended = std::exchange(ended_, nullptr)) ended(status);
}

// Everything up to the point where services can be hosted. False: it said why, and the node ends.
loop::Task<bool> House::prepare() {
  auto client = supervisor::SupervisorClient::create(control_, *this);
  if (!client) {
    std::fprintf(stderr, "%s\n", client.error().to_string().c_str());
    finish(status_unavailable);
    co_return false;
  }
  supervisor_ = std::move(*client);
  if (auto* activity = supervisor_->activity()) supervisor::install_crash_witness(*activity);
  if (auto info = co_await supervisor_->info()) before_ = *info;
  if (!before_.last_end.empty()) {
    say("error", fmt::format("the node before this one {}{}{}", before_.last_end,
                             before_.last_words.empty() ? "" : " while it ran ", before_.last_words));
  }
  if (!load_manifests() || !load_token_files() || !co_await open_listeners() || !load_certificates()) {
    finish(status_config);
    co_return false;
  }
  if (auto workers = co_await supervisor_->workers()) adoptable_ = std::move(*workers);

  auto loops = Loops::create(control_, options_.loops.value_or(static_cast<unsigned>(os::usable_cores())),
                             supervisor_->activity());
  if (!loops) {
    std::fprintf(stderr, "%s\n", loops.error().to_string().c_str());
    finish(status_unavailable);
    co_return false;
  }
  loops_ = std::move(*loops);
  auto user_tokens = UserTokens::load(options_.data);
  if (!user_tokens) {
    std::fprintf(stderr, "%s\n", user_tokens.error().to_string().c_str());
    finish(status_config);
    co_return false;
  }
  user_tokens_ = make_own<UserTokens>(std::move(*user_tokens));
  broker_ = make_own<Broker>(*loops_, *user_tokens_, BrokerOptions{});
  paths_ = std::make_shared<call::PathStats>(loops_->all());
  if (options_.as_if_remote) {
    auto like = link::parse_as_if_remote(*options_.as_if_remote);
    if (!like) {
      std::fprintf(stderr, "%s\n", like.error().to_string().c_str());
      finish(status_config);
      co_return false;
    }
    loops_->set_as_if_remote(*like);
    say("info", "calls within this process go as if remote: " + link::describe(*like));
  }
  if (!load_peers()) {
    finish(status_config);
    co_return false;
  }

  forget_copies(options_.data);
  hosting_ = make_own<Hosting>(HostingOptions{.control = control_,
                                              .loops = *loops_,
                                              .broker = *broker_,
                                              .supervisor = *supervisor_,
                                              .log = log_,
                                              .data = options_.data,
                                              .changed = [this] {
                                                publish();
                                                check_ready();
                                              }});
  reload_ = make_own<Reload>(control_, *loops_, *hosting_, static_cast<ReloadHouse&>(*this),
                             options_.drain_timeout.value_or(drain_timeout_default));
  manager_ = make_own<module::Manager>(
      control_, log_,
      module::ManagerActions{.report = [this] { return report(); },
                             .stop = [] { kill(getppid(), SIGTERM); },
                             .proto = [this](const std::string& service) { return proto_report(service); },
                             .reload = [this] { return reload_->run(); },
                             .explain =
                                 [this](call::ExplainQuestion question) {
                                   return explain(*loops_, std::move(question), report().direct);
                                 }});
  std::vector<call::Service*> at_home(loops_->all(), nullptr);
  at_home[loops_->serving()] = &manager_->service();
  manager_instance_ = HostedInstance::on_loops(*loops_, "manager", std::move(at_home));
  auto definition = std::make_shared<call::ServiceDefinition>(module::Manager::definition());
  for (const auto& [name, command] : definition->commands) {
    manager_stats_->commands[name] = std::make_unique<call::CommandStats>(loops_->all());
  }
  // Nothing of ours collides.
  if (auto derived = schema::derive_into(*definition); !derived) say("error", derived.error().to_string());
  manager_definition_ = std::move(definition);
  publish();
  co_await open_gateways();
  peers_->start();
  co_return true;
}

bool House::load_peers() {
  PeersOptions options;
  options.urls = options_.peers;
  options.key_file = options_.peer_key;
  options.ca_file = options_.peer_ca;
  options.certificate_file = options_.tls_cert;
  options.certificate_key_file = options_.tls_key;
  options.node_name = options_.node_name;
  options.data = options_.data;
  auto peers = Peers::create(
      *loops_, *user_tokens_, std::move(options),
      [this](std::string_view level, std::string text) { say(level, std::move(text)); }, [this] { publish(); });
  if (!peers) {
    std::fprintf(stderr, "%s\n", peers.error().to_string().c_str());
    return false;
  }
  peers_ = std::move(*peers);
  return true;
}

bool House::load_manifests() {
  auto read = read_manifests(options_.paths);
  listens_as_told_ = !options_.listen.empty();
  if (options_.listen.empty()) {
    for (const auto& app : read.apps) {
      options_.listen.insert(options_.listen.end(), app.listen.begin(), app.listen.end());
    }
  }
  if (options_.listen.empty()) options_.listen.push_back("127.0.0.1:8080");
  loopback_ = std::ranges::all_of(options_.listen, is_loopback);
  dev_ = options_.dev.value_or(loopback_);
  check_reach(read, {.loopback = loopback_, .expose_all = dev_});
  for (const auto& diagnostic : read.diagnostics) tell(diagnostic);
  apps_ = std::move(read.apps);
  if (apps_.empty()) {
    std::fputs("shunt: there is no app left to run\n", stderr);
    return false;
  }
  for (const auto& app : apps_) {
    for (const auto& service : app.services) {
      services_.push_back(make_own<Hosted>());
      services_.back()->manifest = service;
    }
  }
  return true;
}

bool House::load_token_files() {
  std::vector<manifest::Diagnostic> wrong;
  tokens_ = read_tokens(apps_, wrong);
  for (const auto& diagnostic : wrong) tell(diagnostic);
  return wrong.empty();
}

std::shared_ptr<gateway::TokenTable> House::read_tokens(const std::vector<manifest::AppManifest>& apps,
                                                        std::vector<manifest::Diagnostic>& out) const {
  auto table = std::make_shared<gateway::TokenTable>();
  for (const auto& app : apps) {
    for (const auto& service : app.services) {
      if (service.tokens.empty()) continue;
      auto tokens = load_tokens(service.tokens.string());
      if (tokens) {
        table->by_service[service.definition.full_name] = std::move(*tokens);
      } else {
        const auto& why = tokens.error();
        out.push_back(manifest::diagnostic_at(service, "tokens", why.id(), std::string(why.message())));
      }
    }
  }
  if (options_.tokens.empty()) return table;
  auto tokens = load_tokens(options_.tokens);
  if (tokens) {
    table->everywhere = std::move(*tokens);
  } else {
    const auto& why = tokens.error();
    out.push_back({.id = std::string(why.id()), .file = options_.tokens, .message = std::string(why.message())});
  }
  return table;
}

std::shared_ptr<const gateway::CorsTable> House::cors_table() const {
  auto table = std::make_shared<gateway::CorsTable>();
  for (const auto& hosted : services_) {
    const auto& cors = hosted->manifest.cors;
    if (!cors) continue;
    table->by_service[hosted->manifest.definition.full_name] = {
        .origins = cors->origins, .headers = cors->headers, .credentials = cors->credentials, .max_age = cors->max_age};
  }
  return table;
}

loop::Task<bool> House::open_listeners() {
  std::size_t sockets = options_.loops.value_or(static_cast<unsigned>(os::usable_cores()));
  const bool has_certificate = options_.tls_self || !options_.tls_cert.empty();
  for (const auto& place : options_.listen) {
    const auto [asked_tls, address] = split_listen(place);
    const bool tls = asked_tls.value_or(has_certificate);
    if (tls && !has_certificate) {
      std::fprintf(
          stderr, "%s\n",
          Status(Code::failed_precondition, "S5036",
                 fmt::format("{} speaks TLS, and there is no certificate for it. Give one with --tls-cert FILE "
                             "--tls-key FILE, or let one be made for development: --tls self",
                             place))
              .to_string()
              .c_str());
      co_return false;
    }
    auto bound = co_await supervisor_->listen(std::string(address), sockets);
    if (!bound) {
      std::fprintf(stderr, "%s\n", bound.error().to_string().c_str());
      co_return false;
    }
    listeners_.push_back({.asked = place,
                          .url = (tls ? "https://" : "http://") + bound->bound,
                          .loopback = is_loopback(bound->bound),
                          .tls = tls,
                          .sockets = std::move(bound->sockets)});
  }
  co_return true;
}

bool House::load_certificates() {
  if (std::ranges::none_of(listeners_, &Listener::tls)) return true;
  CertificateOptions options;
  if (!options_.tls_self) {
    options.certificates = options_.tls_cert;
    options.key = options_.tls_key;
  }
  options.client_ca = options_.tls_client_ca;
  options.client_required = options_.tls_client_required;
  options.folder = options_.data + "/tls";
  for (const auto& listener : listeners_) {
    // Of an address that means every one, the machine's name is what others call it by.
    auto address = os::parse_tcp_address(split_listen(listener.asked).address);
    if (!listener.tls || !address || address->host.contains('%')) continue;
    options.hosts.push_back(address->is_any() ? os::host_name() : address->host);
  }
  auto loaded = Certificates::create(std::move(options), ::time(nullptr));
  if (!loaded) {
    std::fprintf(stderr, "%s\n", loaded.error().to_string().c_str());
    return false;
  }
  certificates_ = std::move(*loaded);
  return true;
}

gateway::GatewayLimits House::gateway_limits() const {
  gateway::GatewayLimits limits;
  for (const auto& app : apps_) {
    if (app.http.header_limit) limits.header_bytes_max = *app.http.header_limit;
    if (app.http.body_limit) limits.body_bytes_max = *app.http.body_limit;
    if (app.http.connection_limit) limits.connections_max = *app.http.connection_limit;
    if (app.http.header_timeout) limits.header_timeout = *app.http.header_timeout;
    if (app.http.body_timeout) limits.body_timeout = *app.http.body_timeout;
    if (app.http.write_timeout) limits.write_timeout = *app.http.write_timeout;
    if (app.http.body_timeout) limits.body_timeout = *app.http.body_timeout;
    if (app.http.idle_timeout) limits.idle_timeout = *app.http.idle_timeout;
    if (app.http.write_timeout) limits.write_timeout = *app.http.write_timeout;
  }
  if (options_.header_bytes_max) limits.header_bytes_max = *options_.header_bytes_max;
  if (options_.body_bytes_max) limits.body_bytes_max = *options_.body_bytes_max;
  if (options_.connections_max) limits.connections_max = *options_.connections_max;
  if (options_.header_timeout) limits.header_timeout = *options_.header_timeout;
  if (options_.idle_timeout) limits.idle_timeout = *options_.idle_timeout;
  return limits;
}

std::optional<std::string> House::unready() const {
  if (ready_.load(std::memory_order_acquire)) return std::nullopt;
  return "not every service answers yet; shunt ps tells which";
}

loop::Task<void> House::open_gateways() {
  auto limits = gateway_limits();
  gateway_stats_ = make_own<gateway::GatewayStats>(loops_->all());
  gateways_.resize(loops_->all());
  for (std::size_t i = 0; i < loops_->all(); i++) {
    auto& routing = loops_->at(i);
    co_await loops_->run_on(i, [this, i, &routing, limits] {
      gateway::GatewayHooks hooks;
      hooks.metrics = [&routing] { return metrics_text(*routing.router.routing()); };
      hooks.unready = [this] { return unready(); };
      hooks.mint = [mint = TokenMint(*user_tokens_)](const std::string& user) mutable {
        return mint.of(user, ::time(nullptr));
      };
      hooks.tls_failed = [this, &loop = routing.loop, told = Instant{INT64_MIN}](const Status& why) mutable {
        // Whoever scans ports can make as many as they like.
        if (told.ns != INT64_MIN && loop.now() - told < tls_failure_pause) return;
        told = loop.now();
        log_.add({.service = "node", .level = "info", .text = "no TLS with a client: " + why.to_string()});
      };
      if (i < loops_->serving()) hooks.tunnel = &peers_->tunnel(i);
      auto& gateway = gateways_[i];
      gateway = make_own<gateway::Gateway>(routing.loop, routing.router, *gateway_stats_, i, limits, std::move(hooks));
      gateway->set_tokens(tokens_);
      if (certificates_ != nullptr) gateway->set_tls(certificates_->context());
      gateway->set_cors(cors_table());
      if (i == loops_->serving()) return;
      for (auto& listener : listeners_) {
        gateway::ListenerPolicy policy;
        policy.loopback = listener.loopback;
        policy.dev = dev_ && listener.loopback;
        policy.tls = listener.tls;
        if (auto listening = gateway->listen(listener.sockets[i].release(), policy); !listening) {
          log_.add({.service = "node", .level = "error", .text = listening.error().to_string()});
        }
      }
    });
  }
  if (certificates_ != nullptr) scope_.spawn(watch_certificates());
  auto socket = co_await supervisor_->listen("unix:" + options_.data + "/admin.sock", 1);
  if (!socket) {
    say("error", socket.error().to_string());
    co_return;
  }
  gateway::ListenerPolicy policy;
  policy.operator_socket = true;
  if (auto listening = gateways_.back()->listen(socket->sockets[0].release(), policy); !listening) {
    say("error", listening.error().to_string());
  }
}

// What is open stays as it is; who comes from now on gets the new one.
loop::Task<void> House::watch_certificates() {
  while (!stopping_) {
    const bool asked = co_await reload_asked_.wait(Deadline::after(control_.refresh_now(), certificate_watch));
    const auto change = asked ? certificates_->reload(::time(nullptr)) : certificates_->look(::time(nullptr));
    if (change.said) say(change.is_error ? "error" : "info", *change.said);
    if (!change.is_new) continue;
    for (std::size_t i = 0; i < loops_->serving(); i++) {
      loops_->at(i).loop.post([gateway = gateways_[i].get(), context = certificates_->context()]() mutable {
        gateway->set_tls(std::move(context));
      });
    }
  }
}

loop::Task<void> House::host_service(Hosted& hosted) {
  auto wrong = co_await hosting_->learn(hosted);
  for (const auto& diagnostic : wrong) tell(diagnostic);
  const auto first = std::ranges::find(wrong, manifest::Severity::error, &manifest::Diagnostic::severity);
  std::optional<manifest::Diagnostic> failed;
  if (first != wrong.end()) {
    failed = *first;
  } else {
    failed = co_await hosting_->start(hosted, adoptable_);
    if (failed) tell(*failed);
  }
  if (failed) hosted.failure = fmt::format("{} {}", failed->id, failed->message);
  hosted.settled = true;
  publish();
  check_ready();
}

// --- Reload ---------------------------------------------------------------------------------------------------------

Manifests House::read_again() {
  auto read = read_manifests(options_.paths);
  check_reach(read, {.loopback = loopback_, .expose_all = dev_});
  warn_of_fixed(apps_, read, !listens_as_told_);
  std::vector<manifest::Diagnostic> wrong;
  tokens_read_ = read_tokens(read.apps, wrong);
  read.diagnostics.insert(read.diagnostics.end(), wrong.begin(), wrong.end());
  return read;
}

void House::commit(std::vector<manifest::AppManifest> apps, std::vector<Own<Hosted>> services) {
  apps_ = std::move(apps);
  services_ = std::move(services);
  tokens_ = std::move(tokens_read_);
  publish();
  for (std::size_t i = 0; i < gateways_.size(); i++) {
    loops_->at(i).loop.post([gateway = gateways_[i].get(), tokens = tokens_, cors = cors_table()]() mutable {
      gateway->set_tokens(std::move(tokens));
      gateway->set_cors(std::move(cors));
    });
  }
  check_ready();
}

// Nobody waits for an answer: to the log, and what is wrong with a manifest to whoever reads the node's output.
void House::told_reload(const module::ReloadReport& report) {
  if (!report.applied) {
    const Status why(Code::failed_precondition, "S5080", "not reloaded, what ran goes on: " + report.refused);
    say("error", why.to_string());
    std::fprintf(stderr, "%s\n", why.to_string().c_str());
    return;
  }
  std::string text;
  for (const auto& service : report.services) {
    if (service.change != "same")
      text += fmt::format("{}{} {}", text.empty() ? "" : ", ", service.name, service.change);
  }
  say("info", "reloaded: " + (text.empty() ? "nothing has changed" : text));
}

// What every loop reads, made anew from what is hosted now.
void House::publish() {
  if (loops_ == nullptr) return;
  auto routing = std::make_shared<call::Routing>();
  routing->revision = ++revision_;
  routing->expose_all = dev_;
  routing->paths = paths_;
  auto add = [&](std::shared_ptr<const call::ServiceDefinition> definition, std::shared_ptr<call::ServiceStats> stats) {
    auto route = std::make_shared<call::Route>();
    route->definition = std::move(definition);
    route->stats = std::move(stats);
    routing->routes[route->definition->full_name] = route;
    return route;
  };
  add(manager_definition_, manager_stats_)->instances.push_back(manager_instance_);
  for (const auto& hosted : services_) routing->routes[hosted->name()] = route_of(*hosted);
  peers_->offer(*routing);
  peers_->merge(*routing);
  loops_->install(std::move(routing));
}

void House::check_ready() {
  bool all = std::ranges::all_of(
      services_, [](const auto& hosted) { return hosted->host != nullptr && hosted->host->is_ready(); });
  ready_.store(all && !stopping_, std::memory_order_release);
  if (reload_ != nullptr) reload_->on_change();
  if (!all && std::ranges::all_of(services_, [](const auto& hosted) { return hosted->settled; })) {
    // Workers of services that are not here any more, or not as they were, have nothing left to do.
    for (auto& worker : std::exchange(adoptable_, {})) supervisor_->kill(worker.pid, SIGTERM);
    tell_absent();
  }
  if (!all || told_ready_ || stopping_) return;
  for (auto& worker : std::exchange(adoptable_, {})) supervisor_->kill(worker.pid, SIGTERM);
  told_ready_ = true;
  print_ready();
}

void House::print_ready() {
  const std::string authority = certificates_ != nullptr ? certificates_->authority_path() : "";
  if (options_.json) {
    std::string urls;
    for (const auto& listener : listeners_) urls += (urls.empty() ? "" : ",") + quote_json(listener.url);
    fmt::print("{{\"event\":\"ready\",\"urls\":[{}],\"data\":{}{}}}\n", urls, quote_json(options_.data),
               authority.empty() ? "" : ",\"cacert\":" + quote_json(authority));
  } else {
    std::string urls;
    for (const auto& listener : listeners_) urls += " " + listener.url;
    fmt::print("ready{}\n", urls);
    if (dev_) {
      fmt::print("dev: every command can be called by every user of this machine (--no-dev: only what is exposed)\n");
    }
    if (!authority.empty()) {
      const auto secure = std::ranges::find_if(listeners_, &Listener::tls);
      fmt::print("tls: a certificate for development, signed by {}\n", authority);
      fmt::print("     curl --cacert {} {}/\n", authority, secure->url);
      fmt::print("     shunt ps --at {} --cacert {}\n", secure->url, authority);
    }
  }
  std::fflush(stdout);
}

// There will be no `ready`: whoever waits for it should know why, and that the rest runs.
void House::tell_absent() {
  std::string absent;
  for (const auto& hosted : services_) {
    if (hosted->host == nullptr) absent += (absent.empty() ? "" : ", ") + hosted->manifest.definition.full_name;
  }
  if (absent.empty() || told_absent_ || stopping_) return;
  told_absent_ = true;
  say("warning", fmt::format("runs without {}; mend what is told above, then stop it and run it again", absent));
}

loop::Task<void> House::drain() {
  ready_.store(false, std::memory_order_release);
  Duration limit = fast_ ? fast_drain : options_.drain_timeout.value_or(drain_timeout_default);
  Deadline deadline = Deadline::after(control_.refresh_now(), limit);
  say("info", fmt::format("draining, for at most {}", format_duration(limit)));
  // Whoever calls from another node goes elsewhere from now on.
  co_await peers_->say_draining(fast_ ? std::chrono::milliseconds(100) : std::chrono::seconds(1));
  // Gateways first: what they accepted is answered while everything still runs. Then the workers, then the modules.
  {
    loop::Scope gateways(control_);
    for (std::size_t i = 0; i < loops_->serving(); i++) {
      auto* gateway = gateways_[i].get();
      gateways.spawn(loops_->run_task_on(i, [gateway, deadline] { return gateway->drain(deadline); }));
    }
    co_await gateways.join();
  }
  co_await peers_->stop(Deadline::after(control_.refresh_now(), std::chrono::seconds(fast_ ? 1 : 5)));
  {
    Deadline workers = Deadline::after(control_.refresh_now(), std::chrono::seconds(fast_ ? 1 : 10));
    reload_->hurry(workers);
    loop::Scope hosts(control_);
    hosts.spawn(reload_->finish());
    for (auto& hosted : services_) {
      if (hosted->host != nullptr) hosts.spawn(hosted->host->stop(workers));
    }
    co_await hosts.join();
  }
  co_await gateways_.back()->drain(Deadline::after(control_.refresh_now(), std::chrono::milliseconds(500)));
  loops_->stop();
}

Result<module::ProtoReport> House::proto_report(const std::string& service) const {
  std::shared_ptr<const call::Contract> contract;
  if (service == "manager") contract = manager_definition_->contract;
  for (const auto& hosted : services_) {
    if (hosted->manifest.definition.full_name == service) contract = hosted->manifest.definition.contract;
  }
  if (contract == nullptr) {
    return fail(Code::failed_precondition, "S5022",
                fmt::format("the types of '{}' are not known: it has not started. `shunt ps` says why.", service));
  }
  module::ProtoReport out{.service = std::string(contract->service_name()), .derived = contract->is_derived()};
  SHUNT_TRY(auto files, schema::proto_text(*contract));
  for (auto& file : files) out.files.push_back({std::move(file.name), std::move(file.text)});
  for (const auto& file : contract->files()) {
    if (std::ranges::find(file.symbols, contract->service_name()) != file.symbols.end()) out.file = file.name;
  }
  out.descriptor_set = schema::descriptor_set(*contract);
  return out;
}

module::NodeReport House::report() {
  module::NodeReport report;
  report.pid = getpid();
  report.version = version;
  report.uptime_s = static_cast<double>((control_.refresh_now() - began_).count()) * 1e-9;
  report.restarts = before_.restarts;
  if (!before_.last_end.empty()) {
    report.last_crash = before_.last_words.empty()
                            ? fmt::format("the node {}", before_.last_end)
                            : fmt::format("the node {} while it ran {}", before_.last_end, before_.last_words);
  }
  report.state = stopping_ ? "draining" : ready_.load() ? "ready" : "starting";
  for (const auto& listener : listeners_) report.listen.push_back(listener.url);
  report.data = options_.data;
  if (broker_ != nullptr) {
    for (const auto& link : broker_->report()) {
      report.direct.push_back({.caller = link.caller_instance, .callee = link.callee_instance, .link = link.over});
    }
  }
  for (const auto& app : apps_) report.apps.push_back({app.name, app.path.string()});
  for (const auto& hosted : services_) {
    auto service = report_of(*hosted);
    reload_->report_retiring(service);
    // A module that took the node with it: the supervisor read its name off the node's last words.
    if (service.backend == "thread" && hosted->host != nullptr && before_.last_words.starts_with(service.name)) {
      service.restarts = before_.restarts;
      if (hosted->refused.empty()) service.last_error = report.last_crash;
    }
    report.services.push_back(std::move(service));
  }
  if (peers_ != nullptr) report.peers = peers_->report();
  return report;
}

void House::tell(const manifest::Diagnostic& diagnostic) {
  auto text = options_.json ? manifest::to_json(diagnostic) + "\n" : manifest::render(diagnostic, colour());
  std::fputs(text.c_str(), stderr);
}

void House::say(std::string_view level, std::string text) {
  log_.add({.service = "node", .level = std::string(level), .text = std::move(text)});
}

}  // namespace shunt::node
