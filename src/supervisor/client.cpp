#include "supervisor/client.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <charconv>
#include <cstdlib>
#include <deque>
#include <unordered_map>

#include "os/socket.h"
#include "supervisor/message.h"

namespace shunt::supervisor {

namespace {

/// Ends of processes that nobody has asked about yet: the oldest is forgotten beyond this.
constexpr std::size_t unclaimed_ends_max = 1024;

struct Answer {
  Message message;
  std::vector<os::Fd> descriptors;
};

/// A request on its way. Lives in the frame of the task that waits for it.
struct Pending {
  explicit Pending(loop::Loop& loop) : answered(loop) {}
  loop::Event answered;
  std::optional<Result<Answer>> answer;
  std::vector<Answer> items;
};

Result<os::Fd> take_descriptor(const char* variable) {
  const char* text = std::getenv(variable);
  if (text == nullptr) {
    return fail(Code::failed_precondition,
                fmt::format("{} is not set: this process was not started by `shunt run`", variable));
  }
  int number = -1;
  std::string_view view(text);
  auto [end, error] = std::from_chars(view.data(), view.data() + view.size(), number);
  if (error != std::errc() || end != view.data() + view.size() || number < 3 || ::fcntl(number, F_GETFD) < 0) {
    return fail(Code::failed_precondition, fmt::format("{}={} does not name an open descriptor", variable, view));
  }
  ::fcntl(number, F_SETFD, FD_CLOEXEC);
  ::unsetenv(variable);
  return os::Fd(number);
}

Status supervisor_lost() { return Status(Code::unavailable, "the supervisor is gone").with_retry(Retry::reconnect); }

}  // namespace

struct SupervisorClient::State final : loop::Watch, loop::Runnable {
  State(loop::EpollLoop& its_loop, ClientEvents& its_events, os::Fd its_socket)
      : loop(its_loop), events(its_events), socket(std::move(its_socket)) {}

  void on_ready(bool readable, bool writable) override;
  /// Tells the ends that had come before anybody asked.
  void run() override;
  void kill(pid_t pid, int signal);
  bool receive_one();
  void take(Answer answer);
  void take_end(const os::ProcessEnd& end);
  void lose();
  Result<void> send(const Message& message);
  void send_queued();
  loop::Task<Result<Answer>> ask(Message request, std::vector<Answer>* items = nullptr);

  loop::EpollLoop& loop;
  ClientEvents& events;
  os::Fd socket;
  std::optional<ActivityPage> page;
  std::deque<std::string> queued;
  std::uint32_t next_number = 1;
  std::unordered_map<std::uint32_t, Pending*> pending;
  std::map<std::string, int> asked_addresses;
  std::unordered_map<pid_t, Ended> listeners;
  std::deque<os::ProcessEnd> unclaimed;
};

SupervisorClient::SupervisorClient(Own<State> state) : state_(std::move(state)) {}
SupervisorClient::~SupervisorClient() = default;
ActivityPage* SupervisorClient::activity() { return state_->page ? &*state_->page : nullptr; }

bool is_node_environment() { return std::getenv(control_variable) != nullptr; }

Result<Own<SupervisorClient>> SupervisorClient::create(loop::EpollLoop& loop, ClientEvents& events) {
  SHUNT_TRY(os::Fd socket, take_descriptor(control_variable));
  SHUNT_TRY(os::Fd memory, take_descriptor(activity_variable));
  SHUNT_TRY(auto client, create(loop, events, std::move(socket)));
  SHUNT_TRY(client->state_->page, ActivityPage::open(std::move(memory)));
  return client;
}

Result<Own<SupervisorClient>> SupervisorClient::create(loop::EpollLoop& loop, ClientEvents& events, os::Fd socket) {
  SHUNT_CHECK(os::set_blocking(socket.get(), os::Blocking::no));
  auto state = make_own<State>(loop, events, std::move(socket));
  SHUNT_CHECK(loop.watch(*state, state->socket.get()));
  return Own<SupervisorClient>(new SupervisorClient(std::move(state)));
}

void SupervisorClient::State::on_ready(bool, bool writable) {
  if (writable) send_queued();
  while (socket.is_open() && receive_one()) {
  }
}

bool SupervisorClient::State::receive_one() {
  auto received = os::receive_message(socket.get(), message_bytes_max);
  if (received && !*received) return false;
  if (!received || (*received)->bytes.empty()) {
    // A message that was cut off (no descriptors left) may be any request's answer: none can be trusted to come.
    if (!received && received.error().code() == Code::resource_exhausted) {
      for (auto& [number, each] : pending) {
        each->answer = std::unexpected(received.error());
        each->answered.set();
      }
      pending.clear();
      return true;
    }
    lose();
    return false;
  }
  auto message = Message::decode((*received)->bytes);
  if (message) take({std::move(*message), std::move((*received)->descriptors)});
  return true;
}

void SupervisorClient::State::take(Answer answer) {
  switch (answer.message.verb) {
    case Verb::exited:
      return take_end(answer.message.end());
    case Verb::shutdown:
      return events.on_shutdown(answer.message.value(Key::fast) != 0);
    case Verb::reload:
      return events.on_reload();
    case Verb::worker:
    case Verb::reply:
      break;
    default:
      return;  // A newer supervisor's; nothing that we asked for.
  }
  auto found = pending.find(answer.message.number);
  if (found == pending.end()) {
    // Whoever asked was dropped. Its descriptors end here; a process that was started for it must too.
    pid_t pid = static_cast<pid_t>(answer.message.value(Key::pid));
    if (answer.message.verb == Verb::reply && pid != 0) kill(pid, SIGKILL);
    return;
  }
  if (answer.message.verb == Verb::worker) {
    found->second->items.push_back(std::move(answer));
    return;
  }
  Pending* waiting = found->second;
  pending.erase(found);
  if (Status error = answer.message.error(); error.is_ok()) {
    // An end that was told before belongs to an older process of that number.
    if (pid_t pid = static_cast<pid_t>(answer.message.value(Key::pid)); pid != 0) {
      std::erase_if(unclaimed, [&](const os::ProcessEnd& each) { return each.pid == pid; });
    }
    waiting->answer = std::move(answer);
  } else {
    waiting->answer = std::unexpected(std::move(error));
  }
  waiting->answered.set();
}

void SupervisorClient::State::take_end(const os::ProcessEnd& end) {
  if (auto found = listeners.find(end.pid); found != listeners.end()) {
    Ended told = std::move(found->second);
    listeners.erase(found);
    return told(end);
  }
  unclaimed.push_back(end);
  if (unclaimed.size() > unclaimed_ends_max) unclaimed.pop_front();
}

void SupervisorClient::State::run() {
  std::deque<os::ProcessEnd> ends;
  ends.swap(unclaimed);
  for (const os::ProcessEnd& each : ends) take_end(each);
}

void SupervisorClient::State::kill(pid_t pid, int signal) {
  Message request(Verb::kill);
  request.add(Key::pid, static_cast<std::uint64_t>(pid)).add(Key::signal, static_cast<std::uint64_t>(signal));
  [[maybe_unused]] auto ignored = send(request);
}

void SupervisorClient::State::lose() {
  unwatch();
  socket.close();
  for (auto& [number, each] : pending) {
    each->answer = std::unexpected(supervisor_lost());
    each->answered.set();
  }
  pending.clear();
  events.on_supervisor_lost();
}

Result<void> SupervisorClient::State::send(const Message& message) {
  if (!socket) return std::unexpected(supervisor_lost());
  SHUNT_TRY(std::string bytes, message.encode());
  if (queued.size() >= pending_messages_max) {
    return fail(Code::resource_exhausted, "S3002",
                fmt::format("the supervisor has {} requests before this one", queued.size()));
  }
  queued.push_back(std::move(bytes));
  send_queued();
  return {};
}

void SupervisorClient::State::send_queued() {
  while (!queued.empty() && socket) {
    auto sent = os::send_message(socket.get(), queued.front());
    if (sent && !*sent) return;
    if (!sent) return;  // The end of the socket is read soon.
    queued.pop_front();
  }
}

loop::Task<Result<Answer>> SupervisorClient::State::ask(Message request, std::vector<Answer>* items) {
  Pending waiting(loop);
  request.number = next_number++;
  // A task may be dropped while it waits: then nobody may find its frame any more.
  struct Forget {
    State& state;
    std::uint32_t number;
    ~Forget() { state.pending.erase(number); }
  } forget{*this, request.number};
  SHUNT_CO_CHECK(send(request));
  pending[request.number] = &waiting;
  co_await waiting.answered.wait();
  if (items != nullptr) *items = std::move(waiting.items);
  co_return std::move(*waiting.answer);
}

loop::Task<Result<Listeners>> SupervisorClient::listen(std::string address, std::size_t sockets) {
  Message request(Verb::listen);
  int nth = state_->asked_addresses[address]++;
  request.add(Key::key, fmt::format("{}#{}", address, nth)).add(Key::address, address);
  request.add(Key::sockets, std::uint64_t{sockets});
  SHUNT_CO_TRY(Answer answer, co_await state_->ask(std::move(request)));
  co_return Listeners{std::move(answer.descriptors), answer.message.text(Key::address)};
}

loop::Task<Result<SupervisorInfo>> SupervisorClient::info() {
  SHUNT_CO_TRY(Answer answer, co_await state_->ask(Message(Verb::info)));
  co_return SupervisorInfo{answer.message.value(Key::restarts), answer.message.text(Key::last_end),
                           answer.message.text(Key::last_words)};
}

loop::Task<Result<call::SpawnedWorker>> SupervisorClient::spawn_worker(call::WorkerStart start) {
  Message request(Verb::spawn_worker);
  request.add(Key::key, start.key).add(Key::service, start.service).add(Key::folder, start.cwd);
  request.add(Key::argument, start.argv).add(Key::variable, start.env).add(Key::links, std::uint64_t{start.links});
  request.add(Key::broker, std::uint64_t{start.broker});
  SHUNT_CO_TRY(Answer answer, co_await state_->ask(std::move(request)));
  if (answer.descriptors.size() != start.links + 3 + (start.broker ? 1 : 0)) {
    co_return fail(
        Code::resource_exhausted, "S3002",
        fmt::format("worker of {}: descriptors were lost on the way: this process has too many open", start.service));
  }
  call::SpawnedWorker worker;
  worker.key = std::move(start.key);
  worker.pid = static_cast<pid_t>(answer.message.value(Key::pid));
  worker.pidfd = std::move(answer.descriptors[0]);
  worker.out = std::move(answer.descriptors[1]);
  worker.err = std::move(answer.descriptors[2]);
  for (std::size_t i = 0; i < start.links; ++i) worker.links.push_back(std::move(answer.descriptors[i + 3]));
  if (start.broker) worker.broker = std::move(answer.descriptors.back());
  co_return worker;
}

loop::Task<Result<call::SpawnedDescribe>> SupervisorClient::spawn_describe(call::DescribeStart start) {
  Message request(Verb::spawn_describe);
  request.add(Key::folder, start.cwd).add(Key::argument, start.argv).add(Key::variable, start.env);
  SHUNT_CO_TRY(Answer answer, co_await state_->ask(std::move(request)));
  if (answer.descriptors.size() != 3) {
    co_return fail(Code::resource_exhausted, "S3002",
                   "describe: descriptors were lost on the way: this process has too many open");
  }
  co_return call::SpawnedDescribe{static_cast<pid_t>(answer.message.value(Key::pid)), std::move(answer.descriptors[0]),
                                  std::move(answer.descriptors[1]), std::move(answer.descriptors[2])};
}

loop::Task<Result<std::vector<os::Fd>>> SupervisorClient::relink(pid_t pid, std::size_t links) {
  Message request(Verb::relink);
  request.add(Key::pid, static_cast<std::uint64_t>(pid)).add(Key::links, std::uint64_t{links});
  SHUNT_CO_TRY(Answer answer, co_await state_->ask(std::move(request)));
  co_return std::move(answer.descriptors);
}

loop::Task<Result<os::Fd>> SupervisorClient::renew_broker(pid_t pid) {
  Message request(Verb::renew_broker);
  request.add(Key::pid, static_cast<std::uint64_t>(pid));
  SHUNT_CO_TRY(Answer answer, co_await state_->ask(std::move(request)));
  if (answer.descriptors.size() != 1) {
    co_return fail(Code::resource_exhausted, "S3002", "a broker socket was lost on the way: too many descriptors");
  }
  co_return std::move(answer.descriptors[0]);
}

loop::Task<Result<std::vector<call::SpawnedWorker>>> SupervisorClient::workers() {
  std::vector<Answer> items;
  SHUNT_CO_TRY([[maybe_unused]] Answer answer, co_await state_->ask(Message(Verb::workers), &items));
  std::vector<call::SpawnedWorker> result;
  for (Answer& each : items) {
    if (each.descriptors.size() != 3) continue;
    call::SpawnedWorker worker;
    worker.key = each.message.text(Key::key);
    worker.pid = static_cast<pid_t>(each.message.value(Key::pid));
    worker.pidfd = std::move(each.descriptors[0]);
    worker.out = std::move(each.descriptors[1]);
    worker.err = std::move(each.descriptors[2]);
    result.push_back(std::move(worker));
  }
  co_return result;
}

void SupervisorClient::kill(pid_t pid, int signal) { state_->kill(pid, signal); }

void SupervisorClient::on_exit(pid_t pid, Ended ended) {
  state_->listeners[pid] = std::move(ended);
  // It may have ended already; told later, never from inside.
  if (!state_->unclaimed.empty()) state_->loop.ready(*state_);
}

void SupervisorClient::forget_exit(pid_t pid) { state_->listeners.erase(pid); }

}  // namespace shunt::supervisor
