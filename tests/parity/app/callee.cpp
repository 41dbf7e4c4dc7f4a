// The callee of the parity tests in C++. callee.py does the same, word for word: whoever calls can't tell them apart.
#include <shunt/service.h>

#include <charconv>
#include <cstdint>
#include <map>
#include <mutex>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

using shunt::Bytes;
using shunt::Call;
using shunt::Result;
using shunt::Task;

namespace {

// How the calls of wait() were cancelled, by their key. Calls of one service may run on several loops.
std::mutex mutex;
std::map<std::string, std::string> waited;  // GUARDED_BY(mutex)

// What a sender says in words: "3 100".
std::uint64_t number(std::string_view& text) {
  while (text.starts_with(' ')) text.remove_prefix(1);
  std::uint64_t value = 0;
  const auto end = std::from_chars(text.data(), text.data() + text.size(), value).ptr;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return value;
}

std::string pattern(std::uint64_t size, std::uint64_t seed) {
  std::string bytes(size, '\0');
  for (std::uint64_t i = 0; i < size; i++) bytes[i] = static_cast<char>((i * 31 + seed * 7) & 0xff);
  return bytes;
}

std::uint64_t checksum(std::string_view bytes, std::uint64_t sum = 1) {
  for (const char c : bytes) sum = (sum * 31 + static_cast<unsigned char>(c)) % 4294967291;
  return sum;
}

std::string reversed(const Bytes& message) { return {message.data.rbegin(), message.data.rend()}; }

shunt::Error as_asked(std::uint64_t code) {
  return shunt::Error(static_cast<shunt::Code>(code), "as asked").with_details(R"([{"why":"asked"}])");
}

// --- one message, one answer ---

Result<Bytes> echo(Call& call, Bytes message) {
  call.send_metadata({{"x-reply", call.metadata("x-asked").value_or("nothing")},
                      {"x-reply-bin", call.metadata("x-asked-bin").value_or("")}});
  call.add_trailer("x-end", "told");
  return Bytes(reversed(message));
}

// Who calls, as the house says it, and whether there is a deadline.
Result<Bytes> who(Call& call, Bytes) {
  const shunt::Principal principal = call.principal();
  constexpr std::string_view kinds[] = {"none", "service", "gateway", "operator", "node"};
  std::string text(kinds[static_cast<std::size_t>(principal.kind)]);
  text += "|" + principal.service + "|" + principal.user + "|" + (call.deadline() ? "deadline" : "none");
  return Bytes(text);
}

Result<Bytes> fail(Call& call, Bytes message) {
  call.add_trailer("x-end", "failed");
  std::string_view text = message.data;
  return as_asked(number(text));
}

Result<Bytes> raise(Call&, Bytes) { throw std::runtime_error("not for the caller to see"); }

Result<Bytes> make(Call&, Bytes message) {
  std::string_view text = message.data;
  const std::uint64_t size = number(text);
  return Bytes(pattern(size, number(text)));
}

Result<Bytes> weigh(Call&, Bytes message) {
  return Bytes(std::to_string(message.size()) + " " + std::to_string(checksum(message.data)));
}

Task<void> until_cancelled(Call& call, std::string key) {
  while (co_await call.sleep(std::chrono::hours(1))) {
  }
  const std::lock_guard lock(mutex);
  waited[key] = "cancelled";
}

Task<Result<Bytes>> wait(Call& call, Bytes key) {
  co_await until_cancelled(call, key.data);
  co_return Bytes("never seen");
}

// Says that it has begun, and waits.
Task<Result<void>> linger(Call& call, Bytes key, shunt::Writer<Bytes> out) {
  if (co_await out.send(Bytes("here"))) co_await until_cancelled(call, key.data);
  co_return {};
}

Result<Bytes> how(Call&, Bytes key) {
  const std::lock_guard lock(mutex);
  return Bytes(waited[key.data]);
}

// --- streams ---

// "COUNT SIZE CODE": so many messages, and the end.
Task<Result<void>> count(Call& call, Bytes request, shunt::Writer<Bytes> out) {
  std::string_view text = request.data;
  const std::uint64_t messages = number(text);
  const std::uint64_t size = number(text);
  const std::uint64_t code = number(text);
  for (std::uint64_t i = 0; i < messages; i++) {
    if (!co_await out.send(Bytes(pattern(size, i)))) break;
  }
  call.add_trailer("x-end", "counted");
  if (code != 0) co_return as_asked(code);
  co_return {};
}

Task<Result<Bytes>> sum(Call& call, shunt::Reader<Bytes> in) {
  std::uint64_t messages = 0;
  std::uint64_t bytes = 0;
  std::uint64_t check = 1;
  while (auto message = co_await in.next()) {
    messages++;
    bytes += message->size();
    check = checksum(message->data, check);
  }
  call.add_trailer("x-end", "summed");
  co_return Bytes(std::to_string(messages) + " " + std::to_string(bytes) + " " + std::to_string(check));
}

Task<Result<void>> chat(Call&, shunt::Reader<Bytes> in, shunt::Writer<Bytes> out) {
  while (auto message = co_await in.next()) {
    if (message->data == "enough") co_return as_asked(9);
    if (!co_await out.send(Bytes(reversed(*message)))) break;
  }
  co_return {};
}

}  // namespace

SHUNT_SERVICE(service) {
  service.command("echo", echo);
  service.command("who", who);
  service.command("fail", fail);
  service.command("raise", raise);
  service.command("make", make);
  service.command("weigh", weigh);
  service.command("wait", wait);
  service.command("linger", linger);
  service.command("how", how);
  service.command("count", count);
  service.command("sum", sum);
  service.command("chat", chat);
}
