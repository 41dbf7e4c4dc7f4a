#include "net/websocket/websocket.h"

#include <gtest/gtest.h>

#include <vector>

namespace shunt::net {
namespace {

using Event = WebSocket::Event;
using Role = WebSocket::Role;

constexpr DeflateTerms deflate{};

// A frame as a client writes it, whatever the rules say. The mask is zero: the payload stays readable.
std::string frame(int first, std::string_view payload, bool masked = true) {
  std::string out(1, static_cast<char>(first));
  const int mask = masked ? 0x80 : 0;
  if (payload.size() < 126) {
    out += static_cast<char>(mask | static_cast<int>(payload.size()));
  } else {
    out += static_cast<char>(mask | 126);
    out += static_cast<char>(payload.size() >> 8);
    out += static_cast<char>(payload.size());
  }
  if (masked) out += std::string(4, '\0');
  return out.append(payload);
}

// What a server makes of bytes that come in pieces of `size`.
std::string read(std::string_view bytes, std::size_t size = 1u << 20, const WebSocketLimits& limits = {},
                 std::optional<DeflateTerms> terms = std::nullopt, std::string* answers = nullptr) {
  WebSocket socket(Role::server, limits, terms);
  std::string out;
  std::string seen;
  for (;; bytes.remove_prefix(std::min(size, bytes.size()))) {
    for (bool more = true; more;) {
      switch (socket.next(out)) {
        case Event::need_more:
          more = false;
          break;
        case Event::text:
          seen += "[" + socket.take_message() + "]";
          break;
        case Event::binary:
          seen += "<" + socket.take_message() + ">";
          break;
        case Event::ping:
          seen += "ping ";
          break;
        case Event::pong:
          seen += "pong ";
          break;
        case Event::closed:
        case Event::failed:
          if (answers != nullptr) *answers = out;
          return seen + std::to_string(static_cast<int>(socket.close_code())) + " " +
                 std::string(socket.close_reason());
      }
    }
    if (bytes.empty()) break;
    socket.feed(bytes.substr(0, size));
  }
  if (answers != nullptr) *answers = out;
  return seen;
}

// Both sides of a conversation, in memory.
struct Pair {
  explicit Pair(std::optional<DeflateTerms> terms = std::nullopt, const WebSocketLimits& limits = {})
      : client(Role::client, limits, terms, &masks), server(Role::server, limits, terms) {}
  // What `to` hears of what is on its wire.
  static std::vector<std::string> hear(WebSocket& to, std::string& wire, std::string& back) {
    std::vector<std::string> heard;
    to.feed(wire);
    wire.clear();
    for (;;) {
      const Event event = to.next(back);
      if (event == Event::text || event == Event::binary) {
        heard.push_back(to.take_message());
      } else if (event == Event::closed || event == Event::failed) {
        heard.push_back(std::to_string(static_cast<int>(to.close_code())) + " " + std::string(to.close_reason()));
        return heard;
      } else if (event == Event::need_more) {
        return heard;
      }
    }
  }
  SeededRandom masks{7};
  WebSocket client;
  WebSocket server;
  std::string up;
  std::string down;
};

TEST(WebSocketHandshake, the_key_is_answered_as_the_standard_says) {
  EXPECT_EQ(websocket_accept("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
  EXPECT_TRUE(is_websocket_key("dGhlIHNhbXBsZSBub25jZQ=="));
  for (const char* key : {"", "dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZSBub25jZQ=!", "dGhlIHNhbXBs ZSBub25jZQ=="}) {
    EXPECT_FALSE(is_websocket_key(key)) << key;
  }
}

TEST(WebSocketHandshake, the_first_offer_that_can_be_taken_is) {
  const auto answer = [](std::string_view offers, const DeflateWishes& wishes = {.server_window_bits_max = 15}) {
    const auto terms = choose_deflate(offers, wishes);
    return terms ? deflate_answer(*terms) : "";
  };
  EXPECT_EQ(answer("permessage-deflate"), "permessage-deflate");
  EXPECT_EQ(answer("permessage-deflate; client_max_window_bits"), "permessage-deflate");
  EXPECT_EQ(answer("x-webkit-deflate-frame, permessage-deflate; client_max_window_bits=10"),
            "permessage-deflate; client_max_window_bits=10");
  EXPECT_EQ(answer("permessage-deflate; server_max_window_bits=8, permessage-deflate"), "permessage-deflate");
  EXPECT_EQ(answer("permessage-deflate; server_max_window_bits=\"10\""),
            "permessage-deflate; server_max_window_bits=10");
  EXPECT_EQ(answer("permessage-deflate; server_no_context_takeover; client_no_context_takeover"),
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover");
  EXPECT_EQ(answer("permessage-deflate", {}), "permessage-deflate; server_max_window_bits=12");
  for (const char* offer :
       {"", "permessage-bzip2", "permessage-deflate; what=1", "permessage-deflate; server_max_window_bits",
        "permessage-deflate; server_max_window_bits=16", "permessage-deflate; server_max_window_bits=08",
        "permessage-deflate; client_max_window_bits=7", "permessage-deflate; server_no_context_takeover=1",
        "permessage-deflate; client_max_window_bits=9; client_max_window_bits=10"}) {
    EXPECT_EQ(answer(offer), "") << offer;
  }
}

TEST(WebSocketHandshake, a_client_takes_only_what_it_offered) {
  bool is_wrong = false;
  const auto terms =
      read_deflate_answer("permessage-deflate; server_max_window_bits=12; client_max_window_bits=11", is_wrong);
  ASSERT_TRUE(terms);
  EXPECT_EQ(terms->server_window_bits, 12);
  EXPECT_EQ(terms->client_window_bits, 11);
  EXPECT_FALSE(read_deflate_answer("", is_wrong));
  EXPECT_FALSE(is_wrong);
  for (const char* answer : {"other", "permessage-deflate, permessage-deflate",
                             "permessage-deflate; client_max_window_bits", "permessage-deflate; x"}) {
    EXPECT_FALSE(read_deflate_answer(answer, is_wrong));
    EXPECT_TRUE(is_wrong) << answer;
  }
}

TEST(WebSocket, messages_cross_both_ways_whatever_their_size) {
  for (const auto& terms :
       {std::optional<DeflateTerms>(), std::optional(deflate), std::optional(DeflateTerms{9, 9, false, false}),
        std::optional(DeflateTerms{12, 15, true, false})}) {
    Pair pair(terms);
    for (const std::size_t size : {0, 1, 125, 126, 127, 255, 65535, 65536, 300'000}) {
      std::string text(size, 'a');
      for (std::size_t i = 0; i < size; i += 3) text[i] = static_cast<char>('a' + i * i % 23);
      pair.client.send_text(text, pair.up);
      EXPECT_EQ(Pair::hear(pair.server, pair.up, pair.down), std::vector{text}) << size;
      pair.server.send_binary(text, pair.down);
      EXPECT_EQ(Pair::hear(pair.client, pair.down, pair.up), std::vector{text}) << size;
    }
  }
}

TEST(WebSocket, what_was_sent_before_makes_the_next_message_smaller) {
  const std::string text =
      "{\"name\":\"a text that is long enough to be compressed at all\",\"and\":\"a second member\"}";
  for (const bool keeps : {true, false}) {
    Pair pair(DeflateTerms{15, 15, keeps, keeps}, {.compress_bytes_min = 1});
    std::size_t sizes[2] = {};
    for (std::size_t& size : sizes) {
      pair.server.send_text(text, pair.down);
      size = pair.down.size();
      EXPECT_EQ(Pair::hear(pair.client, pair.down, pair.up), std::vector{text});
    }
    EXPECT_EQ(sizes[1] < 15, keeps);
  }
}

TEST(WebSocket, frames_make_messages_with_control_frames_between_them) {
  const std::string bytes = frame(0x01, "one ") + frame(0x89, "p") + frame(0x00, "two ") + frame(0x8a, "") +
                            frame(0x80, "three") + frame(0x82, "b") +
                            frame(0x88,
                                  "\x03\xe8"
                                  "bye");
  for (const std::size_t size : {1, 2, 3, 7, 1000}) {
    std::string answers;
    EXPECT_EQ(read(bytes, size, {}, std::nullopt, &answers), "ping pong [one two three]<b>1000 bye") << size;
    EXPECT_EQ(answers, std::string("\x8a\x01p\x88\x02\x03\xe8", 7)) << size;
  }
}

TEST(WebSocket, a_text_is_utf8_even_when_it_is_cut) {
  EXPECT_EQ(read(frame(0x01, "\xe2\x82") + frame(0x80, "\xac")), "[\xe2\x82\xac]");
  EXPECT_EQ(read(frame(0x81, "\xf0\x9f\x98\x80 and \xed\x9f\xbf\xee\x80\x80\xf4\x8f\xbf\xbf")),
            "[\xf0\x9f\x98\x80 and \xed\x9f\xbf\xee\x80\x80\xf4\x8f\xbf\xbf]");
  for (const char* text : {"\xff", "\xc0\xaf", "\xe0\x80\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe2\x82", "\xc3(",
                           "\x80", "eight ascii characters and \xf5"}) {
    EXPECT_TRUE(read(frame(0x81, text)).starts_with("1007")) << text;
    EXPECT_TRUE(read(frame(0x82, text)).starts_with("<")) << text;
  }
  EXPECT_TRUE(read(frame(0x01, "\xff")).starts_with("1007")) << "at once, not at the end of the message";
}

TEST(WebSocket, a_broken_rule_ends_it) {
  const auto fails = [](std::string_view bytes, std::string_view code) {
    std::string answers;
    const std::string seen = read(bytes, 1, {}, std::nullopt, &answers);
    EXPECT_TRUE(seen.starts_with(code)) << seen;
    EXPECT_EQ(answers.substr(0, 1), "\x88");
  };
  fails(frame(0x81, "a", false), "1002");
  fails(frame(0x91, "a"), "1002");
  fails(frame(0xc1, "a"), "1002");
  fails(frame(0x83, "a"), "1002");
  fails(frame(0x8b, ""), "1002");
  fails(frame(0x80, "a"), "1002");
  fails(frame(0x01, "a") + frame(0x81, "b"), "1002");
  fails(frame(0x09, ""), "1002");
  fails(frame(0x89, std::string(126, 'a')), "1002");
  fails(std::string("\x81\xfe\x00\x7d\0\0\0\0", 8), "1002");
  fails(std::string("\x82\xff\x00\x00\x00\x00\x00\x00\xff\xff\0\0\0\0", 14), "1002");
  fails(std::string("\x82\xff\xff\x00\x00\x00\x00\x00\xff\xff\0\0\0\0", 14), "1002");
  fails(std::string("\x82\xff\x00\x00\x00\x00\xff\xff\xff\xff\0\0\0\0", 14), "1009");
  fails(frame(0x88, "\x03"), "1002");
  for (const int code : {0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000}) {
    fails(frame(0x88, std::string{static_cast<char>(code >> 8), static_cast<char>(code)}), "1002");
  }
  fails(frame(0x88, "\x03\xe8\xff"), "1007");
}

TEST(WebSocket, a_close_that_says_nothing_is_answered_alike) {
  std::string answers;
  EXPECT_EQ(read(frame(0x88, ""), 1, {}, std::nullopt, &answers), "1005 ");
  EXPECT_EQ(answers, std::string("\x88\x00", 2));
}

TEST(WebSocket, a_message_that_is_too_large_ends_it_before_it_is_held) {
  const WebSocketLimits limits{.message_bytes_max = 100, .fragments_max = 5};
  EXPECT_TRUE(read(frame(0x82, std::string(101, 'a')).substr(0, 8), 100, limits).starts_with("1009"));
  EXPECT_TRUE(
      read(frame(0x02, std::string(60, 'a')) + frame(0x00, std::string(60, 'a')), 100, limits).starts_with("1009"));
  std::string many = frame(0x02, "");
  for (int i = 0; i < 5; ++i) many += frame(0x00, "");
  EXPECT_TRUE(read(many, 100, limits).starts_with("1008"));
  EXPECT_EQ(read(frame(0x82, std::string(100, 'a')), 100, limits).size(), 102u);
}

TEST(WebSocket, a_bomb_ends_it_and_so_does_broken_deflate) {
  Pair sender(deflate, {.message_bytes_max = 100u << 20});
  std::string bomb;
  sender.client.send_text(std::string(10u << 20, 'a'), bomb);
  ASSERT_LT(bomb.size(), 20'000u);
  const WebSocketLimits limits{.message_bytes_max = 1u << 20};
  EXPECT_TRUE(read(bomb, 1000, limits, deflate).starts_with("1009"));
  EXPECT_TRUE(read(frame(0xc1, "\xff\xff\xff\xff"), 1000, limits, deflate).starts_with("1007"));
  EXPECT_TRUE(read(frame(0x41, "") + frame(0xc0, ""), 1000, limits, deflate).starts_with("1002"));
  EXPECT_TRUE(read(frame(0xc9, ""), 1000, limits, deflate).starts_with("1002"));
}

TEST(WebSocket, the_examples_of_the_standard_are_read) {
  const std::string hello("\xf2\x48\xcd\xc9\xc9\x07\x00", 7);
  const std::string again("\xf2\x00\x11\x00\x00", 5);  // with the window of the first
  const std::string stored("\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00", 11);
  const std::string final_block("\xf3\x48\xcd\xc9\xc9\x07\x00\x00", 8);
  const std::string two_blocks("\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00", 13);
  EXPECT_EQ(read(frame(0xc1, hello) + frame(0xc1, again), 3, {}, deflate), "[Hello][Hello]");
  EXPECT_EQ(read(frame(0xc1, stored) + frame(0xc1, two_blocks), 3, {}, deflate), "[Hello][Hello]");
  EXPECT_EQ(read(frame(0xc1, final_block) + frame(0xc1, hello), 3, {}, deflate), "[Hello][Hello]");
  EXPECT_EQ(read(frame(0x41, hello.substr(0, 3)) + frame(0x80, hello.substr(3)), 3, {}, deflate), "[Hello]");
}

TEST(WebSocket, both_sides_may_close_and_the_reason_is_cut_between_characters) {
  Pair pair;
  std::string reason;
  for (int i = 0; i < 60; ++i) reason += "\xe2\x82\xac";
  pair.server.close(CloseCode::restart, reason, pair.down);
  pair.server.send_text("never sent", pair.down);
  const auto heard = Pair::hear(pair.client, pair.down, pair.up);
  EXPECT_EQ(heard, std::vector{"1012 " + reason.substr(0, 123)});
  EXPECT_EQ(Pair::hear(pair.server, pair.up, pair.down), std::vector<std::string>{"1012 "});
  EXPECT_TRUE(pair.down.empty()) << "a close is answered once";
}

}  // namespace
}  // namespace shunt::net
