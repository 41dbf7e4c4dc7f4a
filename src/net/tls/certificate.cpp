#include "net/tls/certificate.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <openssl/asn1.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <array>
#include <ctime>
#include <memory>

#include "net/tls/openssl.h"

namespace shunt::net {

namespace openssl {

using BioPointer = std::unique_ptr<BIO, Free<BIO_free_all>>;
using NamesPointer = std::unique_ptr<GENERAL_NAMES, Free<GENERAL_NAMES_free>>;

namespace {

// Its texts are made for a terminal: "no start line", "bad decrypt".
std::string_view text_of(const ASN1_STRING* string) {
  return {reinterpret_cast<const char*>(ASN1_STRING_get0_data(string)),
          static_cast<std::size_t>(ASN1_STRING_length(string))};
}

std::string address_of(const ASN1_OCTET_STRING* octets) {
  const std::string_view bytes = text_of(octets);
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (bytes.size() == 4) return ::inet_ntop(AF_INET, bytes.data(), text.data(), text.size());
  if (bytes.size() == 16) return ::inet_ntop(AF_INET6, bytes.data(), text.data(), text.size());
  return "?";
}

int no_password(char*, int, int, void*) { return 0; }

}  // namespace

std::string reason(unsigned long error) {
  const char* text = ERR_reason_error_string(error);
  return text != nullptr ? text : "unknown reason";
}

std::string last_reason() {
  std::string text = reason(ERR_peek_last_error());
  ERR_clear_error();
  return text;
}

Result<std::vector<X509*>> read_certificates(std::string_view pem, std::string_view name) {
  ERR_clear_error();
  BioPointer bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  std::vector<X509*> all;
  while (X509* one = PEM_read_bio_X509(bio.get(), nullptr, &no_password, nullptr)) all.push_back(one);
  const unsigned long error = ERR_peek_last_error();
  const bool at_end = ERR_GET_LIB(error) == ERR_LIB_PEM && ERR_GET_REASON(error) == PEM_R_NO_START_LINE;
  if (at_end && !all.empty()) {
    ERR_clear_error();
    return all;
  }
  for (X509* one : all) X509_free(one);
  std::string why = last_reason();
  if (at_end) {
    return fail(
        Code::failed_precondition, "S5030",
        fmt::format("{}: holds no certificate in PEM form{}. It begins with -----BEGIN CERTIFICATE-----; a DER file "
                    "is made into one with: openssl x509 -inform DER -in FILE",
                    name, pem.contains("PRIVATE KEY-----") ? ", but a private key" : ""));
  }
  return fail(Code::failed_precondition, "S5030",
              fmt::format("{}: certificate {} of it can't be read: {}.", name, all.size() + 1, why));
}

Result<EVP_PKEY*> read_key(std::string_view pem, std::string_view name) {
  ERR_clear_error();
  BioPointer bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  if (EVP_PKEY* key = PEM_read_bio_PrivateKey(bio.get(), nullptr, &no_password, nullptr)) return key;
  const std::string why = last_reason();
  if (pem.contains("ENCRYPTED")) {
    return fail(
        Code::failed_precondition, "S5030",
        fmt::format("{}: the key is encrypted, and nobody is there to type its password. Decrypt it, into a file "
                    "that only its user may read: openssl pkey -in FILE -out PLAIN",
                    name));
  }
  if (!pem.contains("PRIVATE KEY-----")) {
    return fail(Code::failed_precondition, "S5030",
                fmt::format("{}: holds no private key in PEM form{}. It begins with -----BEGIN PRIVATE KEY-----.", name,
                            pem.contains("BEGIN CERTIFICATE") ? ", but a certificate" : ""));
  }
  return fail(Code::failed_precondition, "S5030", fmt::format("{}: the private key can't be read: {}.", name, why));
}

std::string subject_of(const X509* certificate) {
  BioPointer bio(BIO_new(BIO_s_mem()));
  X509_NAME_print_ex(bio.get(), X509_get_subject_name(certificate), 0, XN_FLAG_RFC2253 & ~ASN1_STRFLGS_ESC_MSB);
  char* text = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &text);
  return {text, static_cast<std::size_t>(std::max(size, 0L))};
}

std::vector<std::string> names_of(const X509* certificate) {
  std::vector<std::string> all;
  NamesPointer names(
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)));
  for (int i = 0; i < sk_GENERAL_NAME_num(names.get()); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), i);
    if (name->type == GEN_DNS) all.push_back(fmt::format("DNS:{}", text_of(name->d.dNSName)));
    if (name->type == GEN_URI) all.push_back(fmt::format("URI:{}", text_of(name->d.uniformResourceIdentifier)));
    if (name->type == GEN_EMAIL) all.push_back(fmt::format("email:{}", text_of(name->d.rfc822Name)));
    if (name->type == GEN_IPADD) all.push_back(fmt::format("IP:{}", address_of(name->d.iPAddress)));
  }
  return all;
}

std::string fingerprint_of(const X509* certificate) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned int size = 0;
  if (X509_digest(certificate, EVP_sha256(), digest.data(), &size) != 1) return {};
  std::string text;
  for (unsigned int i = 0; i < size; ++i) text += fmt::format("{:02x}", digest[i]);
  return text;
}

}  // namespace openssl

namespace {

using openssl::BioPointer;
using openssl::Free;
using KeyPointer = std::unique_ptr<EVP_PKEY, Free<EVP_PKEY_free>>;
using CertificatePointer = std::unique_ptr<X509, Free<X509_free>>;
using ExtensionPointer = std::unique_ptr<X509_EXTENSION, Free<X509_EXTENSION_free>>;
using NumberPointer = std::unique_ptr<BIGNUM, Free<BN_free>>;

constexpr std::int64_t day_s = 86400;
constexpr int serial_bits = 127;

std::unexpected<Status> not_made() {
  return fail(Code::internal, "S5030", fmt::format("a certificate could not be made: {}.", openssl::last_reason()));
}

std::int64_t seconds_of(const ASN1_TIME* time) {
  tm parts{};
  return ASN1_TIME_to_tm(time, &parts) == 1 ? static_cast<std::int64_t>(::timegm(&parts)) : 0;
}

bool is_address(const std::string& name) {
  std::array<unsigned char, 16> bytes{};
  return ::inet_pton(AF_INET, name.c_str(), bytes.data()) == 1 ||
         ::inet_pton(AF_INET6, name.c_str(), bytes.data()) == 1;
}

// What goes into OpenSSL's small language for extensions.
bool is_plain_name(std::string_view name) {
  return !name.empty() && name.size() <= 253 && std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == ':' ||
           c == '*' || c == '_' || c == '-';
  });
}

bool add_extension(X509* to, X509* issuer, int kind, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, issuer, to, nullptr, nullptr, 0);
  ExtensionPointer extension(X509V3_EXT_conf_nid(nullptr, &context, kind, value.c_str()));
  return extension != nullptr && X509_add_ext(to, extension.get(), -1) == 1;
}

// Everything but the extensions and the signature.
CertificatePointer begin_certificate(EVP_PKEY* key, std::string_view common_name, std::int64_t from_s, int days) {
  CertificatePointer made(X509_new());
  NumberPointer serial(BN_new());
  if (made == nullptr || serial == nullptr ||
      BN_rand(serial.get(), serial_bits, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) != 1)
    return nullptr;
  X509_NAME* subject = X509_get_subject_name(made.get());
  const bool good =
      X509_set_version(made.get(), X509_VERSION_3) == 1 &&
      BN_to_ASN1_INTEGER(serial.get(), X509_get_serialNumber(made.get())) != nullptr &&
      ASN1_TIME_set(X509_getm_notBefore(made.get()), from_s) != nullptr &&
      ASN1_TIME_set(X509_getm_notAfter(made.get()), from_s + days * day_s) != nullptr &&
      X509_set_pubkey(made.get(), key) == 1 &&
      X509_NAME_add_entry_by_txt(subject, "O", MBSTRING_UTF8,
                                 reinterpret_cast<const unsigned char*>("Shunt development"), -1, -1, 0) == 1 &&
      X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8,
                                 reinterpret_cast<const unsigned char*>(common_name.data()),
                                 static_cast<int>(std::min<std::size_t>(common_name.size(), 64)), -1, 0) == 1;
  return good ? std::move(made) : nullptr;
}

Result<Certificate> to_text(X509* certificate, EVP_PKEY* key) {
  BioPointer text(BIO_new(BIO_s_mem()));
  BioPointer secret(BIO_new(BIO_s_secmem()));
  if (PEM_write_bio_X509(text.get(), certificate) != 1 ||
      PEM_write_bio_PrivateKey(secret.get(), key, nullptr, nullptr, 0, nullptr, nullptr) != 1)
    return not_made();
  Certificate made;
  char* data = nullptr;
  long size = BIO_get_mem_data(text.get(), &data);
  made.certificate.assign(data, static_cast<std::size_t>(size));
  size = BIO_get_mem_data(secret.get(), &data);
  made.key.assign(data, static_cast<std::size_t>(size));
  return made;
}

}  // namespace

Result<CertificateInfo> read_certificate(std::string_view pem) {
  SHUNT_TRY(const std::vector<X509*> all, openssl::read_certificates(pem, "the certificate"));
  CertificateInfo info;
  const X509* first = all.front();
  info.subject = openssl::subject_of(first);
  info.names = openssl::names_of(first);
  info.not_before_s = seconds_of(X509_get0_notBefore(first));
  info.not_after_s = seconds_of(X509_get0_notAfter(first));
  info.fingerprint = openssl::fingerprint_of(first);
  // Both are read, and kept, inside the certificate.
  if (const auto* id = X509_get0_subject_key_id(all.front())) info.own_key = openssl::text_of(id);
  if (const auto* id = X509_get0_authority_key_id(all.front())) info.issuer_key = openssl::text_of(id);
  for (X509* one : all) X509_free(one);
  return info;
}

Result<Certificate> make_authority(std::string_view name, std::int64_t now_s, int days) {
  ERR_clear_error();
  KeyPointer key(EVP_EC_gen("P-256"));
  if (key == nullptr) return not_made();
  CertificatePointer made = begin_certificate(key.get(), name, now_s - day_s, std::min(days, certificate_days_max));
  if (made == nullptr || X509_set_issuer_name(made.get(), X509_get_subject_name(made.get())) != 1 ||
      !add_extension(made.get(), made.get(), NID_basic_constraints, "critical,CA:TRUE,pathlen:0") ||
      !add_extension(made.get(), made.get(), NID_key_usage, "critical,keyCertSign,cRLSign") ||
      !add_extension(made.get(), made.get(), NID_subject_key_identifier, "hash") ||
      X509_sign(made.get(), key.get(), EVP_sha256()) == 0)
    return not_made();
  return to_text(made.get(), key.get());
}

Result<Certificate> make_leaf(const Certificate& authority, const LeafOptions& options) {
  SHUNT_TRY(const std::vector<X509*> issuers, openssl::read_certificates(authority.certificate, "the authority"));
  const CertificatePointer issuer(issuers.front());
  for (std::size_t i = 1; i < issuers.size(); ++i) X509_free(issuers[i]);
  SHUNT_TRY(EVP_PKEY* const read_key, openssl::read_key(authority.key, "the authority's key"));
  const KeyPointer issuer_key(read_key);
  std::string names;
  for (const std::string& name : options.names) {
    if (!is_plain_name(name))
      return fail(Code::invalid_argument, "S5030",
                  fmt::format("'{}' is not a name that a certificate may have.", name));
    names += fmt::format("{}{}:{}", names.empty() ? "" : ",", is_address(name) ? "IP" : "DNS", name);
  }
  KeyPointer key(EVP_EC_gen("P-256"));
  if (key == nullptr || names.empty()) return not_made();
  CertificatePointer made = begin_certificate(key.get(), options.subject, options.now_s - day_s,
                                              std::min(options.days, certificate_days_max));
  if (made == nullptr || X509_set_issuer_name(made.get(), X509_get_subject_name(issuer.get())) != 1 ||
      !add_extension(made.get(), issuer.get(), NID_basic_constraints, "critical,CA:FALSE") ||
      !add_extension(made.get(), issuer.get(), NID_key_usage, "critical,digitalSignature") ||
      !add_extension(made.get(), issuer.get(), NID_ext_key_usage, options.for_client ? "clientAuth" : "serverAuth") ||
      !add_extension(made.get(), issuer.get(), NID_subject_key_identifier, "hash") ||
      !add_extension(made.get(), issuer.get(), NID_authority_key_identifier, "keyid:always") ||
      !add_extension(made.get(), issuer.get(), NID_subject_alt_name, names) ||
      X509_sign(made.get(), issuer_key.get(), EVP_sha256()) == 0)
    return not_made();
  return to_text(made.get(), key.get());
}

}  // namespace shunt::net
