#include "worker/environment.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <unistd.h>

#include <cstdlib>

#include "os/socket.h"

namespace shunt::worker {
namespace {

struct Variables {
  ~Variables() {
    for (auto name : {"SHUNT_LINKS", "SHUNT_CONTROL", "SHUNT_SERVICE"}) unsetenv(name);
  }
  void set(const char* name, const std::string& value) { setenv(name, value.c_str(), 1); }
};

TEST(Environment, links_are_taken_made_private_and_removed) {
  Variables variables;
  auto links = *os::make_socket_pair(os::SocketKind::stream, os::Blocking::yes, os::Blocking::yes);
  auto control = *os::make_socket_pair(os::SocketKind::seqpacket, os::Blocking::yes, os::Blocking::yes);
  int first = links.first.release();
  int line = control.first.release();
  fcntl(first, F_SETFD, 0);
  variables.set("SHUNT_LINKS", fmt::format("{}", first));
  variables.set("SHUNT_CONTROL", fmt::format("{}", line));
  variables.set("SHUNT_SERVICE", "shop.cart");
  EXPECT_TRUE(is_worker_environment());

  auto environment = take_environment();
  ASSERT_TRUE(environment.has_value());
  ASSERT_EQ(environment->links.size(), 1u);
  EXPECT_EQ(environment->links[0].get(), first);
  EXPECT_EQ(environment->control.get(), line);
  EXPECT_EQ(environment->service, "shop.cart");
  EXPECT_NE(fcntl(first, F_GETFD) & FD_CLOEXEC, 0);
  EXPECT_NE(fcntl(first, F_GETFL) & O_NONBLOCK, 0);
  EXPECT_FALSE(is_worker_environment());
  EXPECT_EQ(std::getenv("SHUNT_CONTROL"), nullptr);
  EXPECT_EQ(std::getenv("SHUNT_SERVICE"), nullptr);
}

TEST(Environment, without_links_the_error_says_how_to_start_the_service) {
  auto environment = take_environment();
  ASSERT_FALSE(environment.has_value());
  EXPECT_EQ(environment.error().id(), "S3060");
  EXPECT_NE(environment.error().message().find("shunt run"), std::string_view::npos);
}

TEST(Environment, a_link_that_is_named_twice_is_an_error) {
  Variables variables;
  auto links = *os::make_socket_pair(os::SocketKind::stream, os::Blocking::yes, os::Blocking::yes);
  int first = links.first.release();
  variables.set("SHUNT_LINKS", fmt::format("{},{}", first, first));
  auto environment = take_environment();
  ASSERT_FALSE(environment.has_value());
  EXPECT_NE(environment.error().message().find("twice"), std::string_view::npos);
}

TEST(Environment, what_is_no_list_of_sockets_is_an_error) {
  int file = open("/dev/null", O_RDONLY);
  for (const std::string& bad :
       {std::string("x"), std::string(""), std::string(",,"), std::string("-1"), std::string("1048575"),
        fmt::format("{}", file), std::string("3,99999999999999999999")}) {
    Variables variables;
    variables.set("SHUNT_LINKS", bad);
    auto environment = take_environment();
    ASSERT_FALSE(environment.has_value()) << bad;
    EXPECT_EQ(environment.error().id(), "S3060");
  }
  close(file);
}

}  // namespace
}  // namespace shunt::worker
