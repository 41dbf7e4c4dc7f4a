// Client against server, in memory.
#include <gtest/gtest.h>
#include <openssl/ssl.h>

#include <ctime>
#include <string>
#include <utility>

#include "net/tls/certificate.h"
#include "net/tls/tls_context.h"
#include "net/tls/tls_session.h"

namespace shunt::net {
namespace {

std::int64_t now_s() { return static_cast<std::int64_t>(::time(nullptr)); }

// Keys are made once: they are what takes time.
const Certificate& authority() {
  static const Certificate made = make_authority("Test CA", now_s(), 30).value();
  return made;
}

Certificate leaf(std::vector<std::string> names, bool for_client = false, std::int64_t from_s = now_s(),
                 int days = 30) {
  return make_leaf(authority(),
                   {.subject = names.front(), .names = names, .now_s = from_s, .days = days, .for_client = for_client})
      .value();
}

const Certificate& server_certificate() {
  static const Certificate made = leaf({"localhost", "127.0.0.1", "::1"});
  return made;
}

TlsServerOptions server_options() {
  TlsServerOptions options;
  options.certificates = server_certificate().certificate;
  options.key = server_certificate().key;
  return options;
}

TlsClientOptions client_options() {
  TlsClientOptions options;
  options.authorities = authority().certificate;
  return options;
}

// Two sessions and the bytes between them.
struct Pair {
  explicit Pair(TlsServerOptions of_server = server_options(), TlsClientOptions of_client = client_options(),
                TlsConnectOptions to = {.host = "localhost", .ticket = ""})
      : server_context(TlsContext::create(of_server).value()),
        client_context(TlsContext::create(of_client).value()),
        server(TlsSession::accept(*server_context).value()),
        client(TlsSession::connect(*client_context, to).value()) {}

  /// Carries bytes until nobody has anything to say. In pieces of `piece`.
  void settle(std::size_t piece = 1u << 20) {
    // The client speaks first.
    if (!client->is_established() && !began) note(client_result, client->receive("", at_client, to_server));
    began = true;
    while (!to_server.empty() || !to_client.empty()) {
      const std::string first = take(to_server, piece);
      if (!first.empty() && server_result) note(server_result, server->receive(first, at_server, to_client));
      const std::string second = take(to_client, piece);
      if (!second.empty() && client_result) note(client_result, client->receive(second, at_client, to_server));
    }
  }
  static std::string take(std::string& from, std::size_t most) {
    std::string piece = from.substr(0, most);
    from.erase(0, piece.size());
    return piece;
  }
  static void note(Result<void>& to, Result<void> what) {
    if (to) to = std::move(what);
  }
  bool is_open() const {
    return client->is_established() && server->is_established() && client_result && server_result;
  }

  Own<TlsContext> server_context, client_context;
  Own<TlsSession> server, client;
  std::string to_server, to_client, at_server, at_client;
  Result<void> server_result, client_result;
  bool began = false;
};

std::string id(const Result<void>& result) { return result ? "" : std::string(result.error().id()); }
std::string message(const Result<void>& result) { return result ? "" : result.error().to_string(); }

TEST(Tls, a_client_and_a_server_understand_each_other) {
  Pair pair;
  pair.settle();
  ASSERT_TRUE(pair.is_open()) << message(pair.client_result) << message(pair.server_result);
  EXPECT_EQ(pair.server->version(), "TLSv1.3");
  ASSERT_TRUE(pair.client->send("question", pair.to_server));
  ASSERT_TRUE(pair.server->send("answer", pair.to_client));
  EXPECT_FALSE(pair.to_server.contains("question"));
  pair.settle();
  EXPECT_EQ(pair.at_server, "question");
  EXPECT_EQ(pair.at_client, "answer");
}

TEST(Tls, bytes_may_come_one_by_one) {
  Pair pair;
  pair.settle(1);
  ASSERT_TRUE(pair.is_open());
  ASSERT_TRUE(pair.client->send("question", pair.to_server));
  pair.settle(1);
  EXPECT_EQ(pair.at_server, "question");
}

TEST(Tls, much_goes_through_whole_in_both_directions) {
  Pair pair;
  pair.settle();
  std::string much(3'000'000, 'x');
  for (std::size_t i = 0; i < much.size(); i += 997) much[i] = static_cast<char>('a' + i % 26);
  ASSERT_TRUE(pair.client->send(much, pair.to_server));
  ASSERT_TRUE(pair.server->send(much, pair.to_client));
  pair.settle(65'536);
  EXPECT_TRUE(pair.at_server == much);
  EXPECT_TRUE(pair.at_client == much);
}

TEST(Tls, alpn_chooses_what_the_server_likes_best_of_what_the_client_offers) {
  auto chosen = [](std::vector<std::string> offered) {
    auto client = client_options();
    client.protocols = std::move(offered);
    Pair pair(server_options(), client);
    pair.settle();
    EXPECT_EQ(pair.client->protocol(), pair.server->protocol());
    return pair.is_open() ? std::string(pair.server->protocol()) : id(pair.server_result);
  };
  EXPECT_EQ(chosen({"http/1.1", "h2"}), "h2");
  EXPECT_EQ(chosen({"h2"}), "h2");
  EXPECT_EQ(chosen({"http/1.1"}), "http/1.1");
  EXPECT_EQ(chosen({}), "");
  EXPECT_EQ(chosen({"spdy/3"}), "S4040");
}

TEST(Tls, one_point_two_is_spoken_and_one_point_one_is_not) {
  // OpenSSL's own client, which can be made to offer what ours does not.
  auto shake = [](int version) {
    Pair pair;
    SSL_CTX* context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_security_level(context, 0);
    SSL_CTX_set_min_proto_version(context, version);
    SSL_CTX_set_max_proto_version(context, version);
    SSL_CTX_set_cipher_list(context, "ALL:@SECLEVEL=0");
    SSL* client = SSL_new(context);
    BIO* in = BIO_new(BIO_s_mem());
    BIO* out = BIO_new(BIO_s_mem());
    SSL_set_bio(client, in, out);
    SSL_set_connect_state(client);
    Result<void> result;
    for (int round = 0; round < 5 && result; ++round) {
      SSL_do_handshake(client);
      char* data = nullptr;
      const long size = BIO_get_mem_data(out, &data);
      const std::string bytes(data, static_cast<std::size_t>(size));
      BIO_reset(out);
      if (bytes.empty()) break;
      result = pair.server->receive(bytes, pair.at_server, pair.to_client);
      BIO_write(in, pair.to_client.data(), static_cast<int>(pair.to_client.size()));
      pair.to_client.clear();
    }
    SSL_free(client);
    SSL_CTX_free(context);
    return std::pair(result ? std::string(pair.server->version()) : result.error().to_string(),
                     pair.server->is_established());
  };
  EXPECT_EQ(shake(TLS1_2_VERSION), std::pair(std::string("TLSv1.2"), true));
  const auto [why, established] = shake(TLS1_1_VERSION);
  EXPECT_TRUE(why.starts_with("S4040")) << why;
  EXPECT_TRUE(why.contains("TLS 1.2 or later")) << why;
  EXPECT_FALSE(established);
}

TEST(Tls, a_client_that_asks_for_a_new_handshake_is_refused_and_not_served_one) {
  Pair pair;
  SSL_CTX* context = SSL_CTX_new(TLS_client_method());
  SSL_CTX_set_max_proto_version(context, TLS1_2_VERSION);
  SSL* client = SSL_new(context);
  BIO* in = BIO_new(BIO_s_mem());
  BIO* out = BIO_new(BIO_s_mem());
  SSL_set_bio(client, in, out);
  SSL_set_connect_state(client);
  auto carry = [&] {
    char* data = nullptr;
    const long size = BIO_get_mem_data(out, &data);
    const std::string bytes(data, static_cast<std::size_t>(size));
    BIO_reset(out);
    auto result = pair.server->receive(bytes, pair.at_server, pair.to_client);
    BIO_write(in, pair.to_client.data(), static_cast<int>(pair.to_client.size()));
    pair.to_client.clear();
    return result;
  };
  for (int round = 0; round < 4; ++round) {
    SSL_do_handshake(client);
    ASSERT_TRUE(carry());
  }
  ASSERT_TRUE(pair.server->is_established());
  ASSERT_EQ(SSL_renegotiate(client), 1);
  SSL_do_handshake(client);
  // A warning tells the client; what it wanted to say still goes through.
  EXPECT_TRUE(carry());
  EXPECT_NE(SSL_do_handshake(client), 1);
  SSL_free(client);
  SSL_CTX_free(context);
}

TEST(Tls, a_client_trusts_only_whom_its_authorities_signed) {
  auto options = client_options();
  options.authorities = make_authority("Another CA", now_s(), 30).value().certificate;
  Pair pair(server_options(), options);
  pair.settle();
  EXPECT_EQ(id(pair.client_result), "S5032") << message(pair.client_result);
  EXPECT_TRUE(message(pair.client_result).contains("--cacert")) << message(pair.client_result);
  // And the server hears of it.
  EXPECT_EQ(id(pair.server_result), pair.server->is_established() ? "S4043" : "S4040") << message(pair.server_result);

  options.verify = false;
  Pair trusting(server_options(), options);
  trusting.settle();
  EXPECT_TRUE(trusting.is_open());
}

TEST(Tls, a_certificate_is_good_for_its_names_only) {
  auto shake = [](const std::string& host) {
    Pair pair(server_options(), client_options(), {.host = host, .ticket = ""});
    pair.settle();
    return message(pair.client_result);
  };
  EXPECT_EQ(shake("localhost"), "");
  EXPECT_EQ(shake("127.0.0.1"), "");
  EXPECT_EQ(shake("::1"), "");
  EXPECT_TRUE(shake("shop.example").starts_with("S5033")) << shake("shop.example");
  EXPECT_TRUE(shake("shop.example").contains("DNS:localhost, IP:127.0.0.1, IP:::1")) << shake("shop.example");
  EXPECT_TRUE(shake("127.0.0.2").starts_with("S5033"));
}

TEST(Tls, a_certificate_is_not_good_before_its_time_nor_after_it) {
  for (const std::int64_t from : {now_s() - 100 * 86400, now_s() + 50 * 86400}) {
    const Certificate bad = leaf({"localhost"}, false, from, 30);
    auto options = server_options();
    options.certificates = bad.certificate;
    options.key = bad.key;
    Pair pair(options);
    pair.settle();
    EXPECT_EQ(id(pair.client_result), "S5032") << message(pair.client_result);
  }
}

TEST(Tls, a_server_may_ask_clients_who_they_are) {
  auto shake = [](ClientCertificate asked, const Certificate* own, Pair** kept = nullptr) {
    auto server = server_options();
    server.client = asked;
    server.client_authorities = authority().certificate;
    auto client = client_options();
    if (own != nullptr) {
      client.certificates = own->certificate;
      client.key = own->key;
    }
    auto pair = make_own<Pair>(server, client);
    pair->settle();
    const std::string why = message(pair->server_result);
    if (kept != nullptr) *kept = pair.release();
    return why;
  };
  const Certificate ann = leaf({"ann.example"}, true);
  Pair* kept = nullptr;
  EXPECT_EQ(shake(ClientCertificate::required, &ann, &kept), "");
  const Own<Pair> owner(kept);
  const auto peer = owner->server->peer();
  ASSERT_TRUE(peer);
  EXPECT_EQ(peer->subject, "CN=ann.example,O=Shunt development");
  EXPECT_EQ(peer->names, std::vector<std::string>{"DNS:ann.example"});
  EXPECT_EQ(peer->fingerprint, read_certificate(ann.certificate)->fingerprint);

  EXPECT_EQ(shake(ClientCertificate::optional, nullptr), "");
  EXPECT_TRUE(shake(ClientCertificate::required, nullptr).starts_with("S4044"));
  const Certificate other_authority = make_authority("Another CA", now_s(), 30).value();
  const Certificate stranger =
      make_leaf(other_authority, {.subject = "eve", .names = {"eve.example"}, .now_s = now_s(), .for_client = true})
          .value();
  for (const auto asked : {ClientCertificate::optional, ClientCertificate::required}) {
    const std::string why = shake(asked, &stranger);
    EXPECT_TRUE(why.starts_with("S4044")) << why;
    EXPECT_TRUE(why.contains("CN=eve")) << why;
  }
  // A server's certificate is no client's.
  EXPECT_TRUE(shake(ClientCertificate::required, &server_certificate()).starts_with("S4044"));
}

TEST(Tls, a_ticket_resumes_a_session_of_the_same_context_and_of_no_other) {
  Pair first;
  first.settle();
  const std::string ticket = first.client->ticket();
  ASSERT_FALSE(ticket.empty());
  auto again = [&](const TlsContext& server_context) {
    auto server = TlsSession::accept(server_context).value();
    auto client = TlsSession::connect(*first.client_context, {.host = "localhost", .ticket = ticket}).value();
    std::string to_server, to_client, ignored;
    EXPECT_TRUE(client->receive("", ignored, to_server));
    for (int round = 0; round < 3; ++round) {
      EXPECT_TRUE(server->receive(std::exchange(to_server, {}), ignored, to_client));
      EXPECT_TRUE(client->receive(std::exchange(to_client, {}), ignored, to_server));
    }
    EXPECT_TRUE(client->is_established());
    return client->is_resumed();
  };
  EXPECT_TRUE(again(*first.server_context));
  EXPECT_FALSE(again(*TlsContext::create(server_options()).value()));
}

TEST(Tls, a_session_outlives_its_context) {
  Pair pair;
  pair.server_context.reset();
  pair.client_context.reset();
  pair.settle();
  EXPECT_TRUE(pair.is_open());
  EXPECT_EQ(pair.server->protocol(), "http/1.1");
}

TEST(Tls, http_in_clear_is_told_apart_on_both_sides) {
  Pair pair;
  auto served = pair.server->receive("GET / HTTP/1.1\r\n", pair.at_server, pair.to_client);
  EXPECT_EQ(id(served), "S4041");
  EXPECT_TRUE(pair.to_client.empty());  // The answer is in clear, and the owner's.
  ASSERT_TRUE(pair.client->receive("", pair.at_client, pair.to_server));
  EXPECT_TRUE(looks_like_tls(pair.to_server));
  EXPECT_FALSE(looks_like_tls("GET / HTTP/1.1"));
  EXPECT_FALSE(looks_like_tls(""));
  auto called = pair.client->receive("HTTP/1.1 400 Bad Request\r\n", pair.at_client, pair.to_server);
  EXPECT_EQ(id(called), "S5035") << message(called);
}

TEST(Tls, bytes_that_are_no_tls_end_the_session_with_an_error) {
  for (const std::string_view bytes : {"\x16\x03\x01\xff\xff garbage", "\0\0\0\0\0\0\0\0\0\0\0\0", "ssh-2.0\r\n",
                                       "\x15\x03\x03\x00\x02\x02\x28", "\x17\x03\x03\x00\x01x"}) {
    Pair pair;
    auto result = pair.server->receive(std::string(bytes) + std::string(64, 'x'), pair.at_server, pair.to_client);
    EXPECT_EQ(id(result), "S4040") << bytes;
    EXPECT_EQ(id(pair.server->receive("more", pair.at_server, pair.to_client)), "S4043");
    EXPECT_EQ(id(pair.server->send("more", pair.to_client)), "S4043");
  }
}

TEST(Tls, a_handshake_that_never_ends_has_a_limit) {
  Pair pair;
  ASSERT_TRUE(pair.client->receive("", pair.at_client, pair.to_server));
  // A hello in parts, each in a record of its own, that says it is far longer than it may be.
  std::string hello("\x01\x01\x00\x00", 4);
  hello += std::string(16'000, 'h');
  Result<void> result;
  std::size_t sent = 0;
  while (result && sent < 1u << 20) {
    std::string record("\x16\x03\x01", 3);
    record += static_cast<char>(hello.size() >> 8);
    record += static_cast<char>(hello.size() & 0xff);
    record += hello;
    result = pair.server->receive(record, pair.at_server, pair.to_client);
    sent += record.size();
  }
  EXPECT_EQ(id(result), "S4040") << message(result);
  EXPECT_LE(sent, TlsSession::handshake_bytes_max + 32'000);
}

TEST(Tls, a_record_that_was_cut_waits_and_one_that_was_changed_ends_the_session) {
  Pair pair;
  pair.settle();
  std::string record;
  ASSERT_TRUE(pair.client->send("question", record));
  ASSERT_TRUE(pair.server->receive(record.substr(0, record.size() - 1), pair.at_server, pair.to_client));
  EXPECT_EQ(pair.at_server, "");
  ASSERT_TRUE(pair.server->receive(record.substr(record.size() - 1), pair.at_server, pair.to_client));
  EXPECT_EQ(pair.at_server, "question");
  record.clear();
  ASSERT_TRUE(pair.client->send("question", record));
  record.back() = static_cast<char>(record.back() ^ 1);
  EXPECT_EQ(id(pair.server->receive(record, pair.at_server, pair.to_client)), "S4043");
  EXPECT_FALSE(pair.to_client.empty());  // The alert.
}

TEST(Tls, a_side_that_closes_says_so_and_still_hears_the_other) {
  Pair pair;
  pair.settle();
  ASSERT_TRUE(pair.client->send("last", pair.to_server));
  pair.client->close(pair.to_server);
  pair.client->close(pair.to_server);
  pair.settle();
  EXPECT_EQ(pair.at_server, "last");
  EXPECT_TRUE(pair.server->is_closed_by_peer());
  EXPECT_FALSE(pair.client->is_closed_by_peer());
  ASSERT_TRUE(pair.server->send("answer", pair.to_client));
  pair.server->close(pair.to_client);
  pair.settle();
  EXPECT_EQ(pair.at_client, "answer");
  EXPECT_TRUE(pair.client->is_closed_by_peer());
  EXPECT_EQ(id(pair.client->send("more", pair.to_server)), "S4043");
}

TEST(Tls, certificates_and_keys_that_cannot_be_used_are_told_with_what_is_wrong) {
  auto why = [](const std::string& certificates, const std::string& key) {
    auto options = server_options();
    options.certificates = certificates;
    options.certificates_name = "chain.pem";
    options.key = key;
    options.key_name = "key.pem";
    auto made = TlsContext::create(options);
    return made ? "" : made.error().to_string();
  };
  const Certificate& good = server_certificate();
  const Certificate other = leaf({"other"});
  EXPECT_EQ(why(good.certificate, good.key), "");
  EXPECT_EQ(why(good.certificate + authority().certificate, good.key), "");
  EXPECT_TRUE(why("", good.key).contains("chain.pem: holds no certificate in PEM form")) << why("", good.key);
  EXPECT_TRUE(why(good.key, good.key).contains("but a private key")) << why(good.key, good.key);
  EXPECT_TRUE(
      why(good.certificate, good.certificate).contains("key.pem: holds no private key in PEM form, but a certif"));
  EXPECT_TRUE(why(good.certificate, other.key).starts_with("S5031")) << why(good.certificate, other.key);
  EXPECT_TRUE(why(authority().certificate + good.certificate, good.key).contains("must stand first"));
  const std::string torn = good.certificate.substr(0, 200) + "\n-----END CERTIFICATE-----\n";
  EXPECT_TRUE(why(torn, good.key).contains("certificate 1 of it can't be read")) << why(torn, good.key);
  EXPECT_TRUE(why(good.certificate + torn, good.key).contains("certificate 2 of it can't be read"));
  EXPECT_TRUE(
      why(good.certificate, "-----BEGIN ENCRYPTED PRIVATE KEY-----\nabcd\n-----END ENCRYPTED PRIVATE KEY-----\n")
          .contains("encrypted"));
  auto options = server_options();
  options.client = ClientCertificate::required;
  options.client_authorities_name = "clients.pem";
  auto made = TlsContext::create(options);
  ASSERT_FALSE(made);
  EXPECT_TRUE(made.error().message().starts_with("clients.pem: holds no certificate"));
}

TEST(Certificate, what_is_made_says_whom_it_is_for_and_until_when) {
  const std::int64_t now = now_s();
  const Certificate made = leaf({"localhost", "127.0.0.1", "::1", "shop.example"}, false, now, 90);
  const auto info = read_certificate(made.certificate);
  ASSERT_TRUE(info);
  EXPECT_EQ(info->subject, "CN=localhost,O=Shunt development");
  EXPECT_EQ(info->names, (std::vector<std::string>{"DNS:localhost", "IP:127.0.0.1", "IP:::1", "DNS:shop.example"}));
  EXPECT_EQ(info->not_before_s, now - 86400);
  EXPECT_EQ(info->not_after_s, now + 89 * 86400);
  EXPECT_EQ(info->fingerprint.size(), 64u);
  const auto longest = read_certificate(make_authority("CA", now, 10'000)->certificate);
  EXPECT_EQ(longest->not_after_s - longest->not_before_s, 825 * 86400);
  for (const char* bad : {"", "a,URI:b", "a b", "a\nb"}) {
    EXPECT_FALSE(make_leaf(authority(), {.subject = "x", .names = {bad}, .now_s = now}));
  }
}

}  // namespace
}  // namespace shunt::net
