#pragma once
// Certificates as texts: what one says, and making those of development: an authority and a server's certificate below it.
// ECDSA P-256, signed with SHA-256. No files: who keeps them, where and with what rights is the caller's.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace shunt::net {

/// Apple's limit for what a user trusts by hand; others follow.
inline constexpr int certificate_days_max = 825;

/// Both PEM.
struct Certificate {
  std::string certificate;
  std::string key;
};

struct CertificateInfo {
  std::string subject;             ///< RFC 2253: "CN=localhost".
  std::vector<std::string> names;  ///< "DNS:localhost", "IP:127.0.0.1", "URI:…", "email:…".
  std::int64_t not_before_s = 0;   ///< Seconds since 1970.
  std::int64_t not_after_s = 0;
  std::string fingerprint;  ///< SHA-256, lower-case hex.
  std::string own_key;      ///< Identifiers of its key, and of the key that signed it. Empty where it tells none.
  std::string issuer_key;
};

/// Reads the first certificate of a PEM text. Errors: S5030.
Result<CertificateInfo> read_certificate(std::string_view pem);

/// Makes a self-signed authority that may sign servers' and clients' certificates and nothing below them.
Result<Certificate> make_authority(std::string_view name, std::int64_t now_s, int days);

struct LeafOptions {
  std::string subject;  ///< The common name.
  std::vector<std::string>
      names;               ///< Host names and addresses, at least one; others than [A-Za-z0-9.:*_-] are refused.
  std::int64_t now_s = 0;  ///< Valid from a day before: clocks differ.
  int days = certificate_days_max;
  bool for_client = false;  ///< Shown by clients, not by servers.
};
/// Errors: S5030 for an authority that can't sign, or a name that is none.
Result<Certificate> make_leaf(const Certificate& authority, const LeafOptions& options);

}  // namespace shunt::net
