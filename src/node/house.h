#pragma once
// House: a running node. It loads manifests, asks services what they are, hosts them, publishes the routing, opens the
// gateways, and at the end takes all of it down in order. Wiring only: what the rooms do is theirs.
//
// Life: start() → ready → (shutdown) drain() → the control loop stops. A service that can't be hosted is told and shown by
// `shunt ps`; the others run.

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/own.h"
#include "gateway/gateway.h"
#include "loop/epoll_loop.h"
#include "loop/scope.h"
#include "manifest/manifest.h"
#include "module/log_book.h"
#include "module/manager.h"
#include "node/broker.h"
#include "node/certificates.h"
#include "node/hosted.h"
#include "node/hosted_instance.h"
#include "node/hosting.h"
#include "node/loops.h"
#include "node/manifests.h"
#include "node/peers/peers.h"
#include "node/reload.h"
#include "node/run.h"
#include "supervisor/client.h"

namespace shunt::node {

class House final : public supervisor::ClientEvents, private ReloadHouse {
 public:
  House(loop::EpollLoop& control, RunOptions options);
  ~House();

  /// Begins; the control loop must run. `ended` is called once with the exit status when all is down.
  void start(std::function<void(int status)> ended);

  // --- supervisor::ClientEvents ---
  void on_shutdown(bool fast) override;
  void on_reload() override;
  void on_supervisor_lost() override;

 private:
  struct Listener {
    std::string asked;
    std::string url;
    bool loopback = false;
    bool tls = false;
    std::vector<os::Fd> sockets;
  };

  loop::Task<void> run();
  loop::Task<bool> prepare();
  bool load_manifests();
  loop::Task<bool> open_listeners();
  bool load_certificates();
  bool load_peers();
  loop::Task<void> open_gateways();
  loop::Task<void> watch_certificates();
  loop::Task<void> host_service(Hosted& hosted);
  loop::Task<void> drain();
  bool load_token_files();
  std::shared_ptr<gateway::TokenTable> read_tokens(const std::vector<manifest::AppManifest>& apps,
                                                   std::vector<manifest::Diagnostic>& out) const;

  Manifests read_again() override;
  void commit(std::vector<manifest::AppManifest> apps, std::vector<Own<Hosted>> services) override;
  std::vector<Own<Hosted>>& hosted() override { return services_; }
  [[nodiscard]] bool is_stopping() const override { return stopping_; }
  void say(std::string_view level, std::string text) override;
  [[nodiscard]] std::shared_ptr<const gateway::CorsTable> cors_table() const;

  void publish();
  void told_reload(const module::ReloadReport& report);
  void check_ready();
  void print_ready();
  void tell_absent();
  void tell(const manifest::Diagnostic& diagnostic);
  void finish(int status);
  [[nodiscard]] module::NodeReport report();
  [[nodiscard]] Result<module::ProtoReport> proto_report(const std::string& service) const;
  [[nodiscard]] gateway::GatewayLimits gateway_limits() const;
  [[nodiscard]] std::optional<std::string> unready() const;

  loop::EpollLoop& control_;
  RunOptions options_;
  std::function<void(int)> ended_;
  Instant began_;

  module::LogBook log_;
  Own<supervisor::SupervisorClient> supervisor_;
  supervisor::SupervisorInfo before_;
  std::vector<manifest::AppManifest> apps_;  ///< As the files say; services_ knows more of each.
  bool loopback_ = true;                     ///< Nobody listens elsewhere.
  bool listens_as_told_ = false;             ///< By flags, not by manifests.
  std::vector<Own<Hosted>> services_;
  std::vector<Listener> listeners_;
  std::vector<call::SpawnedWorker> adoptable_;
  std::shared_ptr<gateway::TokenTable> tokens_ = std::make_shared<gateway::TokenTable>();  // Owners: this and gateways.
  bool dev_ = false;
  bool stopping_ = false;
  bool fast_ = false;
  bool told_ready_ = false;
  bool told_absent_ = false;
  std::atomic<bool> ready_{false};
  std::uint64_t revision_ = 0;

  Own<Certificates> certificates_;  ///< None: no listener speaks TLS.
  Own<gateway::GatewayStats> gateway_stats_;
  Own<Loops> loops_;
  Own<Peers> peers_;
  Own<UserTokens> user_tokens_;
  Own<Broker> broker_;  ///< Direct links between workers.
  Own<Hosting> hosting_;
  Own<Reload> reload_;
  Own<module::Manager> manager_;
  std::shared_ptr<HostedInstance> manager_instance_;
  std::shared_ptr<call::ServiceStats> manager_stats_ = std::make_shared<call::ServiceStats>();
  std::shared_ptr<const call::ServiceDefinition> manager_definition_;
  std::shared_ptr<call::PathStats> paths_;  // Owners: this and routing.
  std::vector<Own<gateway::Gateway>>
      gateways_;  ///< By loop index; the last is the admin socket's, on the control loop.
  std::shared_ptr<gateway::TokenTable> tokens_read_;  ///< By read_again(), until commit().
  loop::Event drain_asked_;
  loop::Event reload_asked_;
  loop::Scope scope_;
};

}  // namespace shunt::node
