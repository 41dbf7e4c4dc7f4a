// TLS between a client's socket and what the gateway answers.
#include <ctime>
#include <memory>

#include "gateway/gateway_rig_test.h"
#include "net/tls/certificate.h"
#include "net/tls/tls_session.h"

namespace shunt::gateway {
namespace {

struct Files {
  net::Certificate authority;
  net::Certificate leaf;
};

// Made once: keys take time.
const Files& files() {
  static const Files made = [] {
    Files all;
    const std::int64_t now = ::time(nullptr);
    all.authority = net::make_authority("Test CA", now, 30).value();
    all.leaf = net::make_leaf(all.authority, {.subject = "localhost", .names = {"localhost"}, .now_s = now}).value();
    return all;
  }();
  return made;
}

std::shared_ptr<const net::TlsContext> server_context(const net::Certificate& shown = files().leaf) {
  net::TlsServerOptions options;
  options.certificates = shown.certificate;
  options.key = shown.key;
  return net::TlsContext::create(options).value();
}

class Tls : public GatewayTest {
 protected:
  // A client's side of one connection.
  struct Client {
    int fd = -1;
    Own<net::TlsSession> session;
    std::string plaintext;
    std::string to_server;
    bool closed = false;
    Result<void> result;
  };

  void start_secure(GatewayLimits limits = {}) {
    start({.dev = true, .loopback = true, .tls = true}, limits,
          {.tls_failed = [this](const Status& why) { failures_.push_back(why.to_string()); }});
    gateway_->set_tls(server_context());
  }

  Client client(std::vector<std::string> protocols = {"http/1.1"}) {
    net::TlsClientOptions options;
    options.authorities = files().authority.certificate;
    options.protocols = std::move(protocols);
    const auto context = net::TlsContext::create(options).value();
    Client made;
    made.fd = connect();
    made.session = net::TlsSession::connect(*context, {.host = "localhost", .ticket = ""}).value();
    EXPECT_TRUE(made.session->receive("", made.plaintext, made.to_server));
    return made;
  }

  // Carries what there is to carry, once.
  void pump(Client& client) {
    while (!client.to_server.empty()) {
      const ssize_t count =
          ::send(client.fd, client.to_server.data(), client.to_server.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      if (count < 0) break;
      client.to_server.erase(0, static_cast<std::size_t>(count));
    }
    turn();
    std::string bytes;
    if (!read(client.fd, bytes)) client.closed = true;
    if (!bytes.empty() && client.result)
      client.result = client.session->receive(bytes, client.plaintext, client.to_server);
  }

  void shake_hands(Client& client) {
    while (!client.session->is_established() && !client.closed) pump(client);
    ASSERT_TRUE(client.session->is_established());
  }

  // What comes until `mark` is there.
  std::string ask(Client& client, std::string_view request, std::string_view mark) {
    EXPECT_TRUE(client.session->send(request, client.to_server));
    while (!client.plaintext.contains(mark) && !client.closed) pump(client);
    return std::exchange(client.plaintext, {});
  }

  GatewayStats::Shard& shard() { return stats_.shard(0); }

  std::vector<std::string> failures_;
};

TEST_F(Tls, a_request_is_answered_over_it_again_and_again) {
  start_secure();
  Client ann = client();
  shake_hands(ann);
  EXPECT_EQ(ann.session->protocol(), "http/1.1");
  for (int i = 0; i < 3; ++i)
    EXPECT_TRUE(ask(ann, post("/shop.prices/echo", R"({"n":1})"), R"({"n":1})").contains("200 OK"));
  EXPECT_EQ(shard().tls_handshakes.load(), 1u);
  // Nothing is cut off: the end is announced.
  EXPECT_TRUE(ask(ann, get("/livez", "Connection: close\r\n"), "ok").contains("200 OK"));
  while (!ann.closed) pump(ann);
  EXPECT_TRUE(ann.session->is_closed_by_peer());
}

TEST_F(Tls, alpn_makes_it_http2) {
  start_secure();
  Client ann = client({"h2", "http/1.1"});
  shake_hands(ann);
  EXPECT_EQ(ann.session->protocol(), "h2");
  // Its settings come before we have said a word; ours are answered.
  const std::string hello("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0", 33);
  EXPECT_FALSE(ask(ann, hello, std::string("\0\0\0\4\1\0\0\0\0", 9)).empty());
}

TEST_F(Tls, without_alpn_the_first_bytes_tell) {
  start_secure();
  Client ann = client({});
  shake_hands(ann);
  EXPECT_TRUE(ask(ann, get("/livez"), "ok").contains("HTTP/1.1 200 OK"));
  Client bob = client({});
  shake_hands(bob);
  const std::string hello("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0", 33);
  EXPECT_FALSE(ask(bob, hello, std::string("\0\0\0\4\1\0\0\0\0", 9)).empty());
}

TEST_F(Tls, http_in_clear_is_told_to_use_https_and_tls_on_a_clear_port_to_use_http) {
  start_secure();
  const Answer clear = GatewayTest::ask(get("/livez"));
  EXPECT_EQ(clear.status, 400);
  EXPECT_TRUE(clear.body.contains("S4041")) << clear.body;
  ASSERT_EQ(failures_.size(), 1u);
  listen({.dev = true, .loopback = true});
  Client ann = client();
  while (!ann.closed && ann.result) pump(ann);
  ASSERT_FALSE(ann.result);
  EXPECT_EQ(ann.result.error().id(), "S5035");
  EXPECT_TRUE(GatewayTest::ask(get("/livez")).status == 200);
}

TEST_F(Tls, a_handshake_that_is_not_over_in_time_ends_the_connection) {
  start_secure({.header_timeout = std::chrono::milliseconds(30)});
  const int silent = connect();
  Client slow = client();
  slow.to_server.resize(slow.to_server.size() / 2);
  while (!slow.closed) pump(slow);
  EXPECT_TRUE(is_closed(silent));
  ASSERT_EQ(failures_.size(), 1u);
  EXPECT_TRUE(failures_[0].contains("not over in time")) << failures_[0];
  EXPECT_EQ(shard().tls_handshakes_failed.load(), 1u);
}

TEST_F(Tls, handshakes_that_are_broken_off_harm_nobody) {
  start_secure();
  Client gone = client();
  gone.to_server.resize(gone.to_server.size() / 2);
  pump(gone);
  close(gone.fd);
  write(connect(), std::string("\x16\x03\x01\x00\x05hello", 10));
  const int garbage = connect();
  write(garbage, std::string(300, '\0'));
  turn_until([&] { return failures_.size() == 3; });
  turn_until([&] { return gateway_->connections() == 0 || is_closed(garbage); });
  Client ann = client();
  shake_hands(ann);
  EXPECT_TRUE(ask(ann, get("/livez"), "ok").contains("200 OK"));
}

TEST_F(Tls, a_client_that_reads_slowly_holds_its_stream_back) {
  start_secure();
  Client ann = client();
  shake_hands(ann);
  ASSERT_TRUE(ann.session->send(post("/shop.prices/flood", "{}"), ann.to_server));
  // It does not read: the service is not asked for more than there is room for.
  ::send(ann.fd, ann.to_server.data(), ann.to_server.size(), MSG_NOSIGNAL);
  ann.to_server.clear();
  std::size_t before = 1;
  for (int same = 0; same < 20;) {
    turn();
    same = seen_.sent == before && seen_.sent > 0 ? same + 1 : 0;
    before = seen_.sent;
  }
  // Then it does, and more comes, whole.
  while (seen_.sent < before + 50 && !ann.closed) {
    pump(ann);
    ASSERT_TRUE(ann.result);
  }
  EXPECT_GT(ann.plaintext.size(), 10'000u);
}

TEST_F(Tls, a_large_body_comes_whole_both_ways) {
  start_secure();
  Client ann = client();
  shake_hands(ann);
  const std::string body = "\"" + std::string(3'000'000, 'b') + "\"";
  EXPECT_TRUE(ann.session->send(post("/shop.prices/change", body), ann.to_server));
  while (ann.plaintext.size() < body.size() && !ann.closed) pump(ann);
  EXPECT_TRUE(ann.plaintext.ends_with(body));
}

TEST_F(Tls, a_client_that_says_goodbye_ends_its_connection) {
  start_secure();
  Client ann = client();
  shake_hands(ann);
  EXPECT_TRUE(ask(ann, get("/livez"), "ok").contains("200 OK"));
  ann.session->close(ann.to_server);
  while (!ann.closed) pump(ann);
  EXPECT_TRUE(ann.session->is_closed_by_peer());
  EXPECT_EQ(gateway_->connections(), 0u);
}

TEST_F(Tls, a_record_that_was_changed_ends_the_connection_and_its_call) {
  start_secure();
  Client ann = client();
  shake_hands(ann);
  ASSERT_TRUE(ann.session->send(post("/shop.prices/hang", "{}"), ann.to_server));
  pump(ann);
  turn_until([&] { return seen_.running == 1; });
  ASSERT_TRUE(ann.session->send("more", ann.to_server));
  ann.to_server.back() = static_cast<char>(ann.to_server.back() ^ 1);
  while (!ann.closed) pump(ann);
  turn_until([&] { return seen_.running == 0; });
  EXPECT_EQ(shard().clients_gone.load(), 1u);
}

TEST_F(Tls, one_connection_too_many_is_told_so) {
  start_secure({.connections_max = 1});
  Client ann = client();
  shake_hands(ann);
  Client bob = client();
  while (!bob.closed) pump(bob);
  EXPECT_TRUE(bob.plaintext.contains("503")) << bob.plaintext;
  EXPECT_TRUE(bob.plaintext.contains("S4005")) << bob.plaintext;
}

TEST_F(Tls, a_new_certificate_is_for_new_connections) {
  start_secure();
  Client before = client();
  shake_hands(before);
  const net::Certificate renewed =
      net::make_leaf(files().authority, {.subject = "renewed", .names = {"localhost"}, .now_s = ::time(nullptr)})
          .value();
  gateway_->set_tls(server_context(renewed));
  Client after = client();
  shake_hands(after);
  EXPECT_TRUE(before.session->peer()->subject.starts_with("CN=localhost"));
  EXPECT_TRUE(after.session->peer()->subject.starts_with("CN=renewed"));
  for (Client* each : {&before, &after}) EXPECT_TRUE(ask(*each, get("/livez"), "ok").contains("200 OK"));
}

TEST_F(Tls, a_drain_answers_what_is_under_way_and_ends_handshakes) {
  start_secure({.drain_idle = std::chrono::milliseconds(1)});
  Client ann = client();
  shake_hands(ann);
  Client half = client();
  half.to_server.resize(half.to_server.size() / 2);
  pump(half);
  ASSERT_TRUE(ann.session->send(post("/shop.prices/echo", "{}"), ann.to_server));
  bool over = false;
  scope_.spawn([](GatewayTest*, Gateway* gateway, loop::Loop* loop, bool* done) -> Task<void> {
    co_await gateway->drain(Deadline::after(loop->refresh_now(), std::chrono::seconds(60)));
    *done = true;
  }(this, &*gateway_, loop_.get(), &over));
  while (!over) {
    if (ann.fd >= 0) pump(ann);
    if (half.fd >= 0) pump(half);
    for (Client* each : {&ann, &half}) {
      if (each->closed && each->fd >= 0) close(std::exchange(each->fd, -1));
    }
  }
  EXPECT_TRUE(ann.plaintext.contains("200 OK")) << ann.plaintext;
  EXPECT_TRUE(half.closed);
}

TEST_F(Tls, a_page_that_the_node_serves_itself_is_of_https) {
  start_secure();
  Client ann = client();
  shake_hands(ann);
  const std::string own = "Origin: https://localhost\r\nSec-Fetch-Site: same-origin\r\n";
  EXPECT_TRUE(ask(ann, post("/shop.prices/echo", "{}", own), "{}").contains("200 OK"));
  const std::string clear = "Origin: http://localhost\r\n";
  EXPECT_TRUE(ask(ann, post("/shop.prices/echo", "{}", clear), "S4007").contains("403"));
}

}  // namespace
}  // namespace shunt::gateway
