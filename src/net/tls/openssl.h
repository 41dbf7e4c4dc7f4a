#pragma once
// What the files of this folder share: OpenSSL's last words, PEM texts. Only for net/tls's own files.

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

struct x509_st;
struct evp_pkey_st;
struct x509_store_ctx_st;

namespace shunt::net::openssl {

/// Ends an object of OpenSSL's, for Own-like pointers: std::unique_ptr<X509, Free<X509_free>>.
template <auto function>
struct Free {
  template <typename T>
  void operator()(T* object) const {
    function(object);
  }
};

/// What an error of its queue means; "unknown reason" when it does not know.
std::string reason(unsigned long error);
/// The last error that this thread's queue holds, and empties it.
std::string last_reason();

/// All certificates of a PEM text; `name` is what an error calls it. The caller frees them.
/// Errors: S5030 when there is none, or one can't be read.
Result<std::vector<x509_st*>> read_certificates(std::string_view pem, std::string_view name);
/// Errors: S5030, saying why: another kind of text, encrypted, broken.
Result<evp_pkey_st*> read_key(std::string_view pem, std::string_view name);

std::string subject_of(const x509_st* certificate);
std::vector<std::string> names_of(const x509_st* certificate);
std::string fingerprint_of(const x509_st* certificate);

/// Given to OpenSSL for verification: changes nothing, and has the session remember whose certificate was refused.
int note_refused(int good, x509_store_ctx_st* verification);

}  // namespace shunt::net::openssl
