#include "node/certificates.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <ctime>
#include <filesystem>

#include "os/file.h"

namespace shunt::node {
namespace {

constexpr std::int64_t day_s = 86400;

class CertificatesTest : public testing::Test {
 protected:
  CertificatesTest() {
    std::string name = (std::filesystem::temp_directory_path() / "shunt-certificates-XXXXXX").string();
    folder_ = ::mkdtemp(name.data());
  }
  ~CertificatesTest() override { std::filesystem::remove_all(folder_); }

  CertificateOptions development(std::vector<std::string> hosts = {}) {
    CertificateOptions options;
    options.folder = folder_ + "/tls";
    options.hosts = std::move(hosts);
    return options;
  }
  CertificateOptions files() {
    CertificateOptions options;
    options.certificates = folder_ + "/chain.pem";
    options.key = folder_ + "/key.pem";
    return options;
  }
  void put(const std::string& name, const std::string& text) {
    ASSERT_TRUE(os::write_file(folder_ + "/" + name, text));
  }
  net::Certificate leaf(const std::string& name, int days = 90) {
    if (authority_.key.empty()) authority_ = net::make_authority("Test CA", now_, 800).value();
    return net::make_leaf(authority_, {.subject = name, .names = {name}, .now_s = now_, .days = days}).value();
  }
  void put(const net::Certificate& certificate) {
    put("chain.pem", certificate.certificate);
    put("key.pem", certificate.key);
  }
  std::string authority() { return os::read_file(folder_ + "/tls/ca.pem").value_or(""); }

  std::string folder_;
  const std::int64_t now_ = ::time(nullptr);
  net::Certificate authority_;
};

TEST_F(CertificatesTest, a_development_certificate_is_made_once_and_its_keys_are_nobody_elses) {
  const auto first = Certificates::create(development({"shop.example", "10.0.0.1"}), now_);
  ASSERT_TRUE(first) << first.error().to_string();
  EXPECT_EQ((*first)->info().names,
            (std::vector<std::string>{"DNS:localhost", "IP:127.0.0.1", "IP:::1", "DNS:shop.example", "IP:10.0.0.1"}));
  EXPECT_EQ((*first)->authority_path(), folder_ + "/tls/ca.pem");
  for (const char* key : {"ca.key", "localhost.key"}) {
    struct stat found{};
    ASSERT_EQ(::stat((folder_ + "/tls/" + key).c_str(), &found), 0);
    EXPECT_EQ(found.st_mode & 0777, 0600u);
  }
  const auto again = Certificates::create(development({"shop.example"}), now_ + 30 * day_s);
  EXPECT_EQ((*again)->info().fingerprint, (*first)->info().fingerprint);
}

TEST_F(CertificatesTest, a_development_certificate_is_renewed_below_the_authority_that_is_trusted_already) {
  const auto first = Certificates::create(development(), now_);
  const std::string trusted = authority();
  const auto other_host = Certificates::create(development({"shop.example"}), now_);
  EXPECT_NE((*other_host)->info().fingerprint, (*first)->info().fingerprint);
  const auto later = Certificates::create(development({"shop.example"}), now_ + 70 * day_s);
  EXPECT_NE((*later)->info().fingerprint, (*other_host)->info().fingerprint);
  EXPECT_GT((*later)->info().not_after_s, now_ + 150 * day_s);
  EXPECT_EQ(authority(), trusted);
  // While it runs, too.
  auto running = std::move(*Certificates::create(development({"shop.example"}), now_ + 70 * day_s));
  const auto change = running->look(now_ + 140 * day_s);
  EXPECT_TRUE(change.is_new && change.said && !change.is_error);
  EXPECT_EQ(authority(), trusted);
  // The authority does not live for ever either.
  const auto last = Certificates::create(development(), now_ + 800 * day_s);
  EXPECT_NE(authority(), trusted);
  EXPECT_EQ((*last)->info().issuer_key, net::read_certificate(authority())->own_key);
}

TEST_F(CertificatesTest, what_lies_broken_in_the_folder_is_made_anew) {
  ASSERT_TRUE(Certificates::create(development(), now_));
  put("tls/ca.pem", "nonsense");
  const auto made = Certificates::create(development(), now_);
  ASSERT_TRUE(made) << made.error().to_string();
  EXPECT_EQ((*made)->info().issuer_key, net::read_certificate(authority())->own_key);
}

TEST_F(CertificatesTest, files_that_change_are_read_when_they_have_come_to_rest) {
  put(leaf("one"));
  auto made = std::move(*Certificates::create(files(), now_));
  const auto before = made->context();
  EXPECT_FALSE(made->look(now_).is_new);
  const net::Certificate two = leaf("two");
  put("chain.pem", two.certificate);
  EXPECT_FALSE(made->look(now_).said);  // Half of it: the key is the old one's.
  put("key.pem", two.key);
  EXPECT_FALSE(made->look(now_).is_new);
  const auto change = made->look(now_);
  EXPECT_TRUE(change.is_new);
  EXPECT_FALSE(change.is_error);
  EXPECT_TRUE(change.said->contains("CN=two")) << *change.said;
  EXPECT_NE(made->context(), before);
  EXPECT_FALSE(made->look(now_).said);
}

TEST_F(CertificatesTest, files_that_are_no_good_change_nothing_and_are_told_once) {
  put(leaf("one"));
  auto made = std::move(*Certificates::create(files(), now_));
  const auto before = made->context();
  put("key.pem", leaf("two").key);
  EXPECT_FALSE(made->look(now_).said);
  const auto change = made->look(now_);
  EXPECT_FALSE(change.is_new);
  EXPECT_TRUE(change.is_error);
  EXPECT_TRUE(change.said->starts_with("S5031")) << *change.said;
  EXPECT_TRUE(change.said->contains("stays in use")) << *change.said;
  EXPECT_EQ(made->context(), before);
  EXPECT_FALSE(made->look(now_).said);
  ASSERT_EQ(::unlink((folder_ + "/chain.pem").c_str()), 0);
  EXPECT_FALSE(made->look(now_).said);
  EXPECT_TRUE(made->look(now_).said->starts_with("S5034"));
  EXPECT_EQ(made->context(), before);
  put("chain.pem", "nonsense");
  EXPECT_TRUE(made->reload(now_).said->contains(folder_ + "/chain.pem: holds no certificate"));
  // Somebody who asks is always told.
  EXPECT_TRUE(made->reload(now_).is_error);
  put(leaf("three"));
  EXPECT_TRUE(made->reload(now_).is_new);
}

TEST_F(CertificatesTest, a_certificate_that_is_about_to_expire_is_told_daily) {
  put(leaf("short", 10));
  auto made = std::move(*Certificates::create(files(), now_));
  const auto change = made->look(now_);
  EXPECT_TRUE(change.is_error);
  EXPECT_TRUE(change.said->contains("expires on")) << *change.said;
  EXPECT_FALSE(made->look(now_ + 100).said);
  bool told = false;
  for (std::int64_t at = now_; at < now_ + 2 * day_s; at += 3600) {
    if (const auto later = made->look(at); later.said) told = true;
  }
  EXPECT_TRUE(told);
}

TEST_F(CertificatesTest, files_that_are_not_there_are_told_with_their_flag) {
  auto missing = Certificates::create(files(), now_);
  ASSERT_FALSE(missing);
  EXPECT_TRUE(missing.error().to_string().starts_with("S5034 failed_precondition: --tls-cert: "))
      << missing.error().to_string();
  put(leaf("one"));
  auto options = files();
  options.client_ca = folder_ + "/no.pem";
  EXPECT_TRUE(Certificates::create(options, now_).error().message().starts_with("--tls-client-ca: "));
}

}  // namespace
}  // namespace shunt::node
