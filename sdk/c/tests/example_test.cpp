// The example in C, as its readers run it: a process of its own against the shared library.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "os/process.h"
#include "test_node.h"

namespace shunt::sdk {
namespace {

TEST(EchoExample, serves_calls_until_it_is_drained) {
  TestNode node;
  os::Fd first = node.add_link();
  os::Fd second = node.add_link();
  auto control = *os::make_socket_pair(os::SocketKind::seqpacket, os::Blocking::no, os::Blocking::no);
  os::SpawnOptions options;
  options.argv = {ECHO_C_PATH};
  options.env =
      os::merge_environment(os::environment(), {"SHUNT_LINKS=3,4", "SHUNT_CONTROL=5", "SHUNT_SERVICE=shop.cart"});
  options.descriptors = {{first.get(), 3}, {second.get(), 4}, {control.first.get(), 5}};
  auto process = os::spawn(options);
  ASSERT_TRUE(process.has_value()) << process.error().to_string();
  first.close();
  second.close();
  control.first.close();

  for (int i = 0; i < 100; i++) {
    auto caller = node.call(i % 2, "echo", call::Opening::unary(call::Message(Bytes::adopt(std::to_string(i)))));
    while (!caller->status) node.turn();
    EXPECT_TRUE(caller->status->is_ok()) << caller->status->to_string();
    EXPECT_EQ(caller->messages, std::vector<std::string>{std::to_string(i)});
  }
  auto empty = node.call(0, "echo", call::Opening::empty());
  empty->end->half_close();
  while (!empty->status) node.turn();
  EXPECT_EQ(empty->status->code(), Code::invalid_argument);

  node.link(0).goaway("stopping");
  node.turn();
  auto end = os::wait_for(process->pidfd.get());
  ASSERT_TRUE(end.has_value());
  EXPECT_TRUE(end->is_success()) << end->to_string();
}

TEST(EchoExample, says_why_it_does_not_run_without_a_node) {
  os::SpawnOptions options;
  options.argv = {ECHO_C_PATH};
  options.env = os::merge_environment(os::environment(), {"SHUNT_LINKS"});
  auto process = os::spawn(options);
  ASSERT_TRUE(process.has_value());
  auto end = os::wait_for(process->pidfd.get());
  EXPECT_EQ(end->value, 1);
}

}  // namespace
}  // namespace shunt::sdk
