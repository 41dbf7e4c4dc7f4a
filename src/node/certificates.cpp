#include "node/certificates.h"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <ctime>
#include <utility>

#include "os/file.h"
#include "os/socket.h"

namespace shunt::node {

namespace {

constexpr std::size_t file_bytes_max = 1u << 20;
constexpr std::int64_t day_s = 86400;
constexpr std::int64_t warn_before_s = 14 * day_s;
constexpr int leaf_days = 90;  // Renewed by itself; the authority, which somebody trusts by hand, lives longer.

Result<std::string> read(const std::string& path, std::string_view flag) {
  auto text = os::read_file(path, file_bytes_max);
  if (text) return text;
  return fail(Code::failed_precondition, "S5034", fmt::format("{}: {}", flag, text.error().message()));
}

Result<void> write(const std::string& path, const std::string& text, mode_t mode) {
  auto written = os::write_file(path, text, mode);
  if (written) return {};
  return fail(Code::failed_precondition, "S5034",
              fmt::format("the development certificate can't be kept: {}", written.error().message()));
}

std::string date(std::int64_t seconds) {
  return fmt::format("{:%Y-%m-%d}", fmt::gmtime(static_cast<std::time_t>(seconds)));
}

bool has_name(const net::CertificateInfo& info, const std::string& name) {
  return std::ranges::any_of(info.names,
                             [&](const std::string& each) { return each == "DNS:" + name || each == "IP:" + name; });
}

}  // namespace

std::string Certificates::certificate_path() const {
  return is_development() ? options_.folder + "/localhost.pem" : options_.certificates;
}
std::string Certificates::key_path() const {
  return is_development() ? options_.folder + "/localhost.key" : options_.key;
}
std::string Certificates::authority_path() const { return is_development() ? options_.folder + "/ca.pem" : ""; }

Result<Own<Certificates>> Certificates::create(CertificateOptions options, std::int64_t now_s) {
  auto made = Own<Certificates>(new Certificates(std::move(options)));
  SHUNT_CHECK(made->load(now_s));
  made->seen_ = made->loaded_;
  return made;
}

Result<void> Certificates::load(std::int64_t now_s) {
  if (is_development()) SHUNT_CHECK(renew_development(now_s));
  // Before the files are read: what changes meanwhile is seen at the next look.
  loaded_ = signature();
  net::TlsServerOptions tls;
  tls.certificates_name = certificate_path();
  tls.key_name = key_path();
  tls.protocols = options_.protocols;
  SHUNT_TRY(tls.certificates, read(certificate_path(), "--tls-cert"));
  SHUNT_TRY(tls.key, read(key_path(), "--tls-key"));
  if (!options_.client_ca.empty()) {
    SHUNT_TRY(tls.client_authorities, read(options_.client_ca, "--tls-client-ca"));
    tls.client_authorities_name = options_.client_ca;
    tls.client = options_.client_required ? net::ClientCertificate::required : net::ClientCertificate::optional;
  }
  SHUNT_TRY(Own<net::TlsContext> context, net::TlsContext::create(tls));
  SHUNT_TRY(net::CertificateInfo info, net::read_certificate(tls.certificates));
  info_ = std::move(info);
  context_ = std::move(context);
  made_s_ = now_s;
  return {};
}

// Keeps what there is as long as it is good: whoever trusts the authority need not do so again.
Result<void> Certificates::renew_development(std::int64_t now_s) {
  if (auto made = os::make_folders(options_.folder, 0700); !made)
    return fail(Code::failed_precondition, "S5034", fmt::format("{}: {}", options_.folder, made.error().message()));
  const std::string authority_key_path = options_.folder + "/ca.key";
  net::Certificate authority;
  std::optional<net::CertificateInfo> authority_info;
  if (auto text = os::read_file(authority_path(), file_bytes_max),
      key = os::read_file(authority_key_path, file_bytes_max);
      text && key) {
    authority = {std::move(*text), std::move(*key)};
    if (auto info = net::read_certificate(authority.certificate); info) authority_info = std::move(*info);
  }
  if (!authority_info || authority_info->not_after_s - now_s < renew_before_s) {
    SHUNT_TRY(authority, net::make_authority(fmt::format("Shunt development CA of {}", os::host_name()), now_s,
                                             net::certificate_days_max));
    SHUNT_CHECK(write(authority_key_path, authority.key, 0600));
    SHUNT_CHECK(write(authority_path(), authority.certificate, 0644));
    SHUNT_TRY(authority_info, net::read_certificate(authority.certificate));
  }

  std::vector<std::string> names = {"localhost", "127.0.0.1", "::1"};
  for (const std::string& host : options_.hosts)
    if (std::ranges::find(names, host) == names.end()) names.push_back(host);
  if (auto text = os::read_file(certificate_path(), file_bytes_max); text && os::is_file(key_path())) {
    auto info = net::read_certificate(*text);
    if (info && info->not_after_s - now_s >= renew_before_s && info->issuer_key == authority_info->own_key &&
        std::ranges::all_of(names, [&](const std::string& name) { return has_name(*info, name); }))
      return {};
  }
  SHUNT_TRY(const net::Certificate leaf,
            net::make_leaf(authority, {.subject = "localhost", .names = names, .now_s = now_s, .days = leaf_days}));
  SHUNT_CHECK(write(key_path(), leaf.key, 0600));
  return write(certificate_path(), leaf.certificate, 0644);
}

Certificates::Change Certificates::look(std::int64_t now_s) {
  std::string now = signature();
  const bool is_stable = now == seen_;
  seen_ = std::move(now);
  if (seen_ != loaded_ && is_stable) return apply(now_s, true);
  if (now_s - made_s_ >= context_life_s) return apply(now_s, false);
  if (now_s - warned_s_ >= day_s) {
    warned_s_ = now_s;
    if (std::string warning = expiry_warning(now_s); !warning.empty())
      return {.is_new = false, .said = std::move(warning), .is_error = true};
  }
  return {};
}

Certificates::Change Certificates::reload(std::int64_t now_s) { return apply(now_s, true); }

Certificates::Change Certificates::apply(std::int64_t now_s, bool tell) {
  const std::string before = info_.fingerprint;
  auto loaded = load(now_s);
  if (!loaded) {
    made_s_ = now_s;  // The same failure is not told again until a file changes, or the next half day.
    return {.is_new = false,
            .said = fmt::format("{}; the certificate that was there before stays in use", loaded.error().to_string()),
            .is_error = true};
  }
  Change change{.is_new = true, .said = std::nullopt, .is_error = false};
  if (!tell && info_.fingerprint == before) return change;
  warned_s_ = now_s;
  const std::string warning = expiry_warning(now_s);
  change.is_error = !warning.empty();
  change.said = change.is_error ? warning
                                : fmt::format("new connections get the certificate of {} (good until {}) from now on",
                                              info_.subject, date(info_.not_after_s));
  return change;
}

std::string Certificates::expiry_warning(std::int64_t now_s) const {
  const std::int64_t left = info_.not_after_s - now_s;
  if (left >= warn_before_s) return {};
  return fmt::format("the certificate {} ({}) {} on {}", certificate_path(), info_.subject,
                     left < 0 ? "expired" : "expires", date(info_.not_after_s));
}

// What tells whether a file is another one, without reading it.
std::string Certificates::signature() const {
  std::string all;
  for (const std::string& path : {certificate_path(), key_path(), options_.client_ca}) {
    struct stat found{};
    if (path.empty() || ::stat(path.c_str(), &found) != 0) {
      all += "-;";
      continue;
    }
    all += fmt::format("{}.{}.{}.{}.{}.{}.{};", found.st_dev, found.st_ino, found.st_size, found.st_mtim.tv_sec,
                       found.st_mtim.tv_nsec, found.st_ctim.tv_sec, found.st_ctim.tv_nsec);
  }
  return all;
}

}  // namespace shunt::node
