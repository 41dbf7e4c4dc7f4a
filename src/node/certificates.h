#pragma once
// Certificates: what a node's TLS listeners show, from files or made here for development, and whether it has changed.
//
// It reads and watches files and hands out TlsContexts; it knows no socket and no loop. New files that are no good change
// nothing: the context that there is stays, and whoever looks is told why. docs/operating/tls.md.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/own.h"
#include "base/result.h"
#include "net/tls/certificate.h"
#include "net/tls/tls_context.h"

namespace shunt::node {

struct CertificateOptions {
  std::string certificates;  ///< File; empty: a development certificate is made and kept in `folder`.
  std::string key;           ///< File.
  std::string client_ca;     ///< File; empty: clients are not asked.
  bool client_required = true;
  std::string folder;                   ///< For what is made: DATA/tls.
  std::vector<std::string> hosts = {};  ///< What it is made for, besides localhost and its addresses.
  std::vector<std::string> protocols = {"h2", "http/1.1"};  ///< ALPN.
};

/// Threads: one; the contexts may be used on any.
class Certificates {
 public:
  using Context = std::shared_ptr<const net::TlsContext>;  // Owners: this, the gateways.

  /// Development certificates are renewed when they have less than this to live, at a start or twice a day.
  static constexpr std::int64_t renew_before_s = 30 * 86400;
  /// After this the context is made anew, so that no key of tickets lives for long.
  static constexpr std::int64_t context_life_s = 12 * 3600;

  /// Loads, or makes. Errors: S5030, S5031; S5034 for a file that can't be read or written.
  static Result<Own<Certificates>> create(CertificateOptions options, std::int64_t now_s);

  [[nodiscard]] const Context& context() const { return context_; }
  [[nodiscard]] const net::CertificateInfo& info() const { return info_; }
  [[nodiscard]] bool is_development() const { return options_.certificates.empty(); }
  /// The development authority, which clients are to trust. Empty for files.
  [[nodiscard]] std::string authority_path() const;

  struct Change {
    bool is_new = false;              ///< context() is another one.
    std::optional<std::string> said;  ///< For the log; nothing when it is not worth a line.
    bool is_error = false;            ///< Of `said`.
  };
  /// Looks once: call it every second or so. A file that changed is read when it has not changed further since the last
  /// look, so that a certificate and its key are not read half replaced.
  Change look(std::int64_t now_s);
  /// Reads now, changed or not: somebody asked.
  Change reload(std::int64_t now_s);

 private:
  explicit Certificates(CertificateOptions options) : options_(std::move(options)) {}
  Result<void> load(std::int64_t now_s);
  Result<void> renew_development(std::int64_t now_s);
  Change apply(std::int64_t now_s, bool tell);
  [[nodiscard]] std::string signature() const;
  [[nodiscard]] std::string certificate_path() const;
  [[nodiscard]] std::string key_path() const;
  [[nodiscard]] std::string expiry_warning(std::int64_t now_s) const;

  CertificateOptions options_;
  Context context_;
  net::CertificateInfo info_;
  std::string loaded_;  // The signature of what was tried last.
  std::string seen_;    // Of the last look.
  std::int64_t made_s_ = 0;
  std::int64_t warned_s_ = 0;
};

}  // namespace shunt::node
