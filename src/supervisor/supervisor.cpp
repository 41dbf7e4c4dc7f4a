#include "supervisor/supervisor.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <deque>
#include <map>

#include "loop/epoll_loop.h"
#include "os/error.h"
#include "os/file.h"
#include "os/process.h"
#include "os/signal.h"
#include "os/socket.h"
#include "supervisor/activity_page.h"
#include "supervisor/message.h"

namespace shunt::supervisor {

namespace {

constexpr int node_control_number = 3;
constexpr int node_activity_number = 4;

/// A worker, or a process that describes a service.
struct Child {
  std::string key;
  pid_t pid = 0;
  os::Fd pidfd;
  os::Fd out;
  os::Fd err;
  os::Fd control;
  bool is_worker = true;  ///< Else it ends with the node that asked for it.
};

struct Listener {
  std::vector<os::Fd> sockets;
  std::string bound;
};

struct Outgoing {
  std::string bytes;
  std::vector<os::Fd> descriptors;
};

/// A descriptor that is watched for one member function.
template <typename Owner>
class Told final : public loop::Watch {
 public:
  Told(Owner& owner, void (Owner::*told)(bool, bool)) : owner_(owner), told_(told) {}
  void on_ready(bool readable, bool writable) override { (owner_.*told_)(readable, writable); }

 private:
  Owner& owner_;
  void (Owner::*told_)(bool, bool);
};

template <typename Owner>
class Due final : public loop::Timer {
 public:
  Due(Owner& owner, void (Owner::*fired)()) : owner_(owner), fired_(fired) {}
  void fire() override { (owner_.*fired_)(); }

 private:
  Owner& owner_;
  void (Owner::*fired_)();
};

void log_to_stderr(std::string_view line) { fmt::print(stderr, "shunt: {}\n", line); }

std::vector<int> numbers(const std::vector<os::Fd>& descriptors) {
  std::vector<int> result;
  for (const os::Fd& each : descriptors) result.push_back(each.get());
  return result;
}

}  // namespace

struct Supervisor::State {
  State(SupervisorOptions given, Own<loop::EpollLoop> its_loop, os::SignalFd its_signals, ActivityPage its_page)
      : options(std::move(given)),
        loop(std::move(its_loop)),
        signals(std::move(its_signals)),
        page(std::move(its_page)),
        signals_ready(*this, &State::on_signals),
        control_ready(*this, &State::on_control),
        restart(*this, &State::start_node),
        limit(*this, &State::on_limit),
        backoff(options.backoff_first) {}
  ~State();

  int run();

  // --- The node ---
  void start_node();
  void on_node_end(const os::ProcessEnd& end);
  void on_control(bool readable, bool writable);
  bool receive_one();
  void lose_control();
  void send(const Message& message, std::vector<os::Fd> descriptors = {});
  void send_queued();

  // --- What it asks ---
  void answer(const Message& request);
  Result<Outgoing> listen(const Message& request, Message& reply);
  Result<Outgoing> spawn_worker(const Message& request, Message& reply);
  Result<Outgoing> spawn_describe(const Message& request, Message& reply);
  Result<Outgoing> relink(const Message& request, Message& reply);
  Result<Outgoing> renew_broker(const Message& request);
  void kill(const Message& request);
  void tell_workers(const Message& request);
  std::vector<std::string> child_environment(const Message& request) const;

  // --- Ends ---
  void on_signals(bool readable, bool writable);
  void reap_all();
  void shut_down();
  void reload();
  void on_limit();
  void kill_node();
  /// The node will not come back: ends what is left, then the loop.
  void finish(int exit_status);
  void end_children(bool workers_too, int signal);
  void end_if_empty();

  void log(const std::string& line) { (options.log ? options.log : log_to_stderr)(line); }

  SupervisorOptions options;
  Own<loop::EpollLoop> loop;
  os::SignalFd signals;
  ActivityPage page;
  os::Fd lock;

  os::Process node;  ///< pid 0: none runs.
  os::Fd control;
  std::deque<Outgoing> queued;
  Instant node_started;
  std::uint64_t restarts = 0;
  std::string last_end;
  std::string last_words;

  std::map<pid_t, Child> children;
  std::map<std::string, Listener> listeners;

  Told<State> signals_ready;
  Told<State> control_ready;
  Due<State> restart;
  Due<State> limit;
  Duration backoff;
  const bool had_terminal = os::has_terminal();  ///< Whose end is a SIGHUP too.
  int shutdown_requests = 0;
  bool limit_passed = false;
  bool finishing = false;
  bool sweeping = false;  ///< The groups were killed: now what has left them.
  int status = 0;
};

Supervisor::Supervisor(Own<State> state) : state_(std::move(state)) {}
Supervisor::~Supervisor() = default;
int Supervisor::run() { return state_->run(); }

Result<Own<Supervisor>> Supervisor::create(SupervisorOptions options) {
  os::Fd lock;
  if (!options.data_folder.empty()) {
    SHUNT_CHECK(os::make_folders(options.data_folder, 0700));
    SHUNT_TRY(lock, os::lock_file(options.data_folder + "/lock"));
  }
  // It starts processes in its turns, and each waits for its exec: long turns are its work.
  SHUNT_TRY(auto loop, loop::EpollLoop::create({.name = "supervisor", .slow_turn = Duration(0)}));
  SHUNT_TRY(auto signals, os::SignalFd::create({SIGCHLD, SIGTERM, SIGINT, SIGHUP}));
  SHUNT_TRY(auto page, ActivityPage::create());
  SHUNT_CHECK(os::become_subreaper());
  os::ignore_broken_pipes();
  auto state = make_own<State>(std::move(options), std::move(loop), std::move(signals), std::move(page));
  state->lock = std::move(lock);
  SHUNT_CHECK(state->loop->watch(state->signals_ready, state->signals.fd()));
  return Own<Supervisor>(new Supervisor(std::move(state)));
}

Supervisor::State::~State() {
  if (node.pid != 0) os::signal_group(node.pid, SIGKILL);
  end_children(true, SIGKILL);
}

int Supervisor::State::run() {
  start_node();
  loop->run();
  return status;
}

// --- The node -------------------------------------------------------------------------------------------------------

void Supervisor::State::start_node() {
  if (finishing || shutdown_requests > 0) return;
  page.reset();
  auto pair = os::make_socket_pair(os::SocketKind::seqpacket, os::Blocking::no, os::Blocking::no);
  if (!pair) {
    log(fmt::format("can't start the node: {}", pair.error().to_string()));
    return finish(71);
  }
  os::SpawnOptions spawn;
  spawn.program = options.program;
  spawn.argv = options.node_argv;
  spawn.env = os::merge_environment(os::environment(), options.node_env);
  spawn.env =
      os::merge_environment(std::move(spawn.env), {fmt::format("{}={}", control_variable, node_control_number),
                                                   fmt::format("{}={}", activity_variable, node_activity_number)});
  spawn.descriptors = {{pair->second.get(), node_control_number}, {page.fd(), node_activity_number}};
  auto process = os::spawn(spawn);
  if (!process) {
    log(fmt::format("can't start the node: {}", process.error().to_string()));
    return finish(71);
  }
  node = std::move(*process);
  node_started = loop->refresh_now();
  control = std::move(pair->first);
  if (auto watched = loop->watch(control_ready, control.get()); !watched) {
    log(watched.error().to_string());
    kill_node();
  }
}

void Supervisor::State::on_node_end(const os::ProcessEnd& end) {
  // What the node had forked by itself: nothing of it may live on beside its successor.
  lose_control();
  node = {};
  limit.disarm();
  end_children(false, SIGKILL);

  bool is_final =
      end.is_success() || (!end.by_signal && end.value >= final_status_first && end.value <= final_status_last);
  if (is_final || shutdown_requests > 0) {
    if (!is_final) log(fmt::format("the node {} while it was shutting down", end.to_string()));
    return finish(is_final && !limit_passed ? end.value : 1);
  }

  last_end = end.to_string();
  last_words = page.last_words();
  restarts++;
  if (loop->refresh_now() - node_started >= options.backoff_reset) backoff = options.backoff_first;
  log(fmt::format("the node (pid {}) {}{}{}; restart {} in {}", end.pid, last_end, last_words.empty() ? "" : " in ",
                  last_words, restarts, format_duration(backoff)));
  loop->arm(restart, loop->now() + backoff);
  backoff = std::min(backoff * 2, options.backoff_max);
}

void Supervisor::State::lose_control() {
  control_ready.unwatch();
  control.close();
  queued.clear();
}

void Supervisor::State::on_control(bool, bool writable) {
  if (writable) send_queued();
  while (control.is_open() && receive_one()) {
  }
}

/// False when there is nothing more to receive.
bool Supervisor::State::receive_one() {
  auto received = os::receive_message(control.get(), message_bytes_max);
  if (!received) {
    // Lost, but the socket is whole: the node hears nothing and its request times out there.
    log(fmt::format("a message of the node was lost: {}", received.error().to_string()));
    return received.error().code() == Code::resource_exhausted;
  }
  if (!*received) return false;
  if ((*received)->bytes.empty()) {
    lose_control();  // It is ending; its exit comes by SIGCHLD.
    return false;
  }
  auto message = Message::decode((*received)->bytes);
  if (message) {
    answer(*message);
  } else {
    log(message.error().to_string());
  }
  return true;
}

void Supervisor::State::send(const Message& message, std::vector<os::Fd> descriptors) {
  if (!control) return;
  auto bytes = message.encode();
  if (!bytes) return log(bytes.error().to_string());
  if (queued.size() >= pending_messages_max) {
    log("the node does not read its supervisor's messages: killing it");
    return kill_node();
  }
  queued.push_back({std::move(*bytes), std::move(descriptors)});
  send_queued();
}

void Supervisor::State::send_queued() {
  while (!queued.empty() && control) {
    Outgoing& first = queued.front();
    auto sent = os::send_message(control.get(), first.bytes, numbers(first.descriptors));
    if (sent && !*sent) return;  // on_control() comes when there is room.
    if (!sent) {
      log(fmt::format("a message to the node is lost: {}", sent.error().to_string()));
      if (sent.error().code() == Code::unavailable) return lose_control();
    }
    queued.pop_front();
  }
}

// --- What the node asks ---------------------------------------------------------------------------------------------

void Supervisor::State::answer(const Message& request) {
  Message reply(Verb::reply, request.number);
  Result<Outgoing> result = Outgoing{};
  switch (request.verb) {
    case Verb::listen:
      result = listen(request, reply);
      break;
    case Verb::spawn_worker:
      result = spawn_worker(request, reply);
      break;
    case Verb::spawn_describe:
      result = spawn_describe(request, reply);
      break;
    case Verb::relink:
      result = relink(request, reply);
      break;
    case Verb::renew_broker:
      result = renew_broker(request);
      break;
    case Verb::kill:
      return kill(request);
    case Verb::workers:
      tell_workers(request);
      break;
    case Verb::info:
      reply.add(Key::restarts, restarts).add(Key::last_end, last_end).add(Key::last_words, last_words);
      break;
    default:
      result = fail(Code::unimplemented, "this supervisor is older than its node: restart `shunt run`");
  }
  if (!result) {
    Message failure(Verb::reply, request.number);
    failure.add_error(result.error());
    return send(failure);
  }
  send(reply, std::move(result->descriptors));
}

namespace {

Result<Listener> bind_listener(const std::string& address, std::size_t sockets) {
  Listener listener;
  if (address.starts_with("unix:")) {
    SHUNT_TRY(os::Fd fd, os::listen_unix(address.substr(5)));
    listener.sockets.push_back(std::move(fd));
    listener.bound = address;
    return listener;
  }
  SHUNT_TRY(os::TcpAddress where, os::parse_tcp_address(address));
  SHUNT_TRY(listener.sockets, os::listen_tcp(where, sockets));
  SHUNT_TRY(os::TcpAddress bound, os::local_address(listener.sockets[0].get()));
  listener.bound = bound.to_string();
  return listener;
}

}  // namespace

Result<Outgoing> Supervisor::State::listen(const Message& request, Message& reply) {
  std::string key = request.text(Key::key);
  auto found = listeners.find(key);
  if (found == listeners.end()) {
    std::size_t sockets = std::clamp<std::size_t>(request.value(Key::sockets), 1, 128);
    SHUNT_TRY(Listener made, bind_listener(request.text(Key::address), sockets));
    found = listeners.emplace(key, std::move(made)).first;
  }
  Outgoing result;
  for (const os::Fd& each : found->second.sockets) {
    SHUNT_TRY(os::Fd copy, each.duplicate());
    result.descriptors.push_back(std::move(copy));
  }
  reply.add(Key::address, found->second.bound);
  return result;
}

std::vector<std::string> Supervisor::State::child_environment(const Message& request) const {
  auto env = os::merge_environment(os::environment(), options.node_env);
  env = os::merge_environment(std::move(env), request.texts(Key::variable));
  // A worker is no node.
  return os::merge_environment(std::move(env), {control_variable, activity_variable});
}

namespace {

struct LinkPairs {
  std::vector<os::Fd> ours;
  std::vector<os::Fd> theirs;
};

Result<LinkPairs> make_links(std::uint64_t count) {
  if (count < 1 || count > links_per_worker_max) {
    return fail(Code::invalid_argument, fmt::format("a worker has 1 to {} links, not {}", links_per_worker_max, count));
  }
  LinkPairs links;
  for (std::uint64_t i = 0; i < count; ++i) {
    SHUNT_TRY(auto pair, os::make_socket_pair(os::SocketKind::stream, os::Blocking::no, os::Blocking::yes));
    links.ours.push_back(std::move(pair.first));
    links.theirs.push_back(std::move(pair.second));
  }
  return links;
}

Result<os::Fd> open_null() {
  os::Fd null(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  if (!null) return os::system_failure("open /dev/null", errno);
  return null;
}

Result<os::Pipe> output_pipe() {
  // Blocking for the writer, as a program expects of its stdout.
  return os::make_pipe(os::Blocking::no, os::Blocking::yes);
}

}  // namespace

Result<Outgoing> Supervisor::State::spawn_worker(const Message& request, Message& reply) {
  if (finishing) return fail(Code::unavailable, "S1015", "the supervisor is shutting down");
  SHUNT_TRY(LinkPairs links, make_links(request.value(Key::links)));
  SHUNT_TRY(auto control_pair, os::make_socket_pair(os::SocketKind::seqpacket, os::Blocking::no, os::Blocking::yes));
  std::pair<os::Fd, os::Fd> broker;
  if (request.value(Key::broker) != 0) {
    SHUNT_TRY(broker, os::make_socket_pair(os::SocketKind::seqpacket, os::Blocking::no, os::Blocking::yes));
  }
  SHUNT_TRY(os::Fd null, open_null());
  SHUNT_TRY(os::Pipe out, output_pipe());
  SHUNT_TRY(os::Pipe err, output_pipe());

  os::SpawnOptions spawn;
  spawn.argv = request.texts(Key::argument);
  spawn.cwd = request.text(Key::folder);
  spawn.descriptors = {{null.get(), 0}, {out.write.get(), 1}, {err.write.get(), 2}};
  int number = 3;
  std::string link_numbers;
  for (const os::Fd& each : links.theirs) {
    link_numbers += fmt::format("{}{}", number == 3 ? "" : ",", number);
    spawn.descriptors.emplace_back(each.get(), number++);
  }
  spawn.descriptors.emplace_back(control_pair.second.get(), number);
  std::vector<std::string> variables = {"SHUNT_LINKS=" + link_numbers, fmt::format("SHUNT_CONTROL={}", number),
                                        "SHUNT_SERVICE=" + request.text(Key::service), "SHUNT_BROKER"};
  if (broker.second) {
    spawn.descriptors.emplace_back(broker.second.get(), ++number);
    variables.back() += fmt::format("={}", number);
  }
  spawn.env = os::merge_environment(child_environment(request), std::move(variables));
  // Copies for the node first: from the fork on nothing may fail, or nobody would know the child.
  Outgoing result;
  SHUNT_TRY(os::Fd out_copy, out.read.duplicate());
  SHUNT_TRY(os::Fd err_copy, err.read.duplicate());
  SHUNT_TRY(os::Process process, os::spawn(spawn));
  auto pidfd_copy = process.pidfd.duplicate();
  if (!pidfd_copy) {
    os::signal_group(process.pid, SIGKILL);
    return std::unexpected(std::move(pidfd_copy).error());
  }
  reply.add(Key::pid, static_cast<std::uint64_t>(process.pid));
  result.descriptors.push_back(std::move(*pidfd_copy));
  result.descriptors.push_back(std::move(out_copy));
  result.descriptors.push_back(std::move(err_copy));
  for (os::Fd& each : links.ours) result.descriptors.push_back(std::move(each));
  if (broker.first) result.descriptors.push_back(std::move(broker.first));
  children[process.pid] = Child{
      request.text(Key::key),        process.pid, std::move(process.pidfd), std::move(out.read), std::move(err.read),
      std::move(control_pair.first), true};
  return result;
}

Result<Outgoing> Supervisor::State::spawn_describe(const Message& request, Message& reply) {
  if (finishing) return fail(Code::unavailable, "S1015", "the supervisor is shutting down");
  SHUNT_TRY(os::Fd null, open_null());
  SHUNT_TRY(os::Pipe answer_pipe, output_pipe());
  SHUNT_TRY(os::Pipe output, output_pipe());
  os::SpawnOptions spawn;
  spawn.argv = request.texts(Key::argument);
  spawn.cwd = request.text(Key::folder);
  spawn.descriptors = {{null.get(), 0}, {output.write.get(), 1}, {output.write.get(), 2}, {answer_pipe.write.get(), 3}};
  spawn.env = os::merge_environment(child_environment(request), {"SHUNT_DESCRIBE_FD=3"});
  SHUNT_TRY(os::Process process, os::spawn(spawn));
  auto pidfd_copy = process.pidfd.duplicate();
  if (!pidfd_copy) {
    os::signal_group(process.pid, SIGKILL);
    return std::unexpected(std::move(pidfd_copy).error());
  }
  reply.add(Key::pid, static_cast<std::uint64_t>(process.pid));
  Outgoing result;
  result.descriptors.push_back(std::move(*pidfd_copy));
  result.descriptors.push_back(std::move(answer_pipe.read));
  result.descriptors.push_back(std::move(output.read));
  children[process.pid] = Child{{}, process.pid, std::move(process.pidfd), {}, {}, {}, false};
  return result;
}

Result<Outgoing> Supervisor::State::relink(const Message& request, Message&) {
  auto found = children.find(static_cast<pid_t>(request.value(Key::pid)));
  if (found == children.end() || !found->second.is_worker) {
    return fail(Code::not_found, fmt::format("there is no worker with pid {}", request.value(Key::pid)));
  }
  SHUNT_TRY(LinkPairs links, make_links(request.value(Key::links)));
  SHUNT_TRY(bool sent, os::send_message(found->second.control.get(), "L", numbers(links.theirs)));
  if (!sent) return fail(Code::unavailable, fmt::format("worker {} does not take new links", found->second.pid));
  Outgoing result;
  result.descriptors = std::move(links.ours);
  return result;
}

Result<Outgoing> Supervisor::State::renew_broker(const Message& request) {
  auto found = children.find(static_cast<pid_t>(request.value(Key::pid)));
  if (found == children.end() || !found->second.is_worker) {
    return fail(Code::not_found, fmt::format("there is no worker with pid {}", request.value(Key::pid)));
  }
  SHUNT_TRY(auto pair, os::make_socket_pair(os::SocketKind::seqpacket, os::Blocking::no, os::Blocking::yes));
  const int theirs = pair.second.get();
  SHUNT_TRY(bool sent, os::send_message(found->second.control.get(), "B", {&theirs, 1}));
  if (!sent) return fail(Code::unavailable, fmt::format("worker {} takes no new broker socket", found->second.pid));
  Outgoing result;
  result.descriptors.push_back(std::move(pair.first));
  return result;
}

void Supervisor::State::kill(const Message& request) {
  auto found = children.find(static_cast<pid_t>(request.value(Key::pid)));
  if (found == children.end()) return;  // It has ended already.
  int signal = static_cast<int>(request.value(Key::signal));
  if (signal == SIGKILL) os::signal_group(found->first, SIGKILL);
  [[maybe_unused]] auto ignored = os::send_signal(found->second.pidfd.get(), signal);
}

void Supervisor::State::tell_workers(const Message& request) {
  for (const auto& [pid, child] : children) {
    if (!child.is_worker) continue;
    auto pidfd = child.pidfd.duplicate();
    auto out = child.out.duplicate();
    auto err = child.err.duplicate();
    if (!pidfd || !out || !err) {
      log(fmt::format("worker {} can't be handed to the new node: no descriptors left", pid));
      continue;
    }
    std::vector<os::Fd> descriptors;
    descriptors.push_back(std::move(*pidfd));
    descriptors.push_back(std::move(*out));
    descriptors.push_back(std::move(*err));
    Message item(Verb::worker, request.number);
    item.add(Key::key, child.key).add(Key::pid, static_cast<std::uint64_t>(pid));
    send(item, std::move(descriptors));
  }
}

// --- Ends -----------------------------------------------------------------------------------------------------------

void Supervisor::State::on_signals(bool, bool) {
  bool ended = false;
  while (auto signal = signals.read()) {
    if (*signal == SIGCHLD) {
      ended = true;
    } else if (*signal == SIGHUP && (!had_terminal || os::has_terminal())) {
      reload();
    } else {
      shut_down();
    }
  }
  if (ended) reap_all();
}

void Supervisor::State::reap_all() {
  while (pid_t pid = os::next_ended_child()) {
    auto found = children.find(pid);
    // Before it is reaped, while the number can't belong to anybody else.
    if (found != children.end() || pid == node.pid) os::signal_group(pid, SIGKILL);
    auto end = os::reap(pid);
    if (!end) continue;
    if (pid == node.pid) {
      on_node_end(*end);
    } else if (found != children.end()) {
      Message told(Verb::exited);
      told.add_end(*end).add(Key::key, found->second.key);
      children.erase(found);
      send(told);
    }
  }
  if (finishing) end_if_empty();
}

// A node that is not up yet, or goes down, reads everything new anyway, or not at all.
void Supervisor::State::reload() {
  if (control && !finishing && shutdown_requests == 0) send(Message(Verb::reload));
}

void Supervisor::State::shut_down() {
  shutdown_requests++;
  if (finishing) {
    end_children(true, SIGKILL);
    return;
  }
  if (node.pid == 0) return finish(0);
  if (shutdown_requests > 2) return kill_node();
  // From here on the node alone holds them: when it closes them, whoever dials is refused at once and does not wait in
  // the queue of a socket that nobody accepts from.
  listeners.clear();
  bool fast = shutdown_requests == 2;
  Instant until = loop->refresh_now() + (fast ? options.fast_limit : options.shutdown_limit);
  if (!fast || !limit.is_armed() || loop->next_timer() > Deadline(until)) loop->arm(limit, until);
  Message told(Verb::shutdown);
  told.add(Key::fast, std::uint64_t{fast});
  // A node that has not taken its socket yet, or has closed it, hears the signal itself.
  if (control) {
    send(told);
  } else {
    [[maybe_unused]] auto ignored = os::send_signal(node.pidfd.get(), SIGTERM);
  }
}

void Supervisor::State::on_limit() {
  limit_passed = true;
  if (!finishing) {
    log(fmt::format("the node did not end within its limit of {}: killing it",
                    format_duration(shutdown_requests > 1 ? options.fast_limit : options.shutdown_limit)));
    return kill_node();
  }
  if (!children.empty()) {
    log(fmt::format("{} workers did not end within {}: killing them", children.size(),
                    format_duration(options.worker_limit)));
    end_children(true, SIGKILL);
    loop->arm(limit, loop->now() + options.worker_limit);
    return;
  }
  // Something below us can't even be killed (it hangs in the kernel): leave it to init.
  loop->stop();
}

void Supervisor::State::kill_node() {
  if (node.pid != 0) os::signal_group(node.pid, SIGKILL);
}

void Supervisor::State::finish(int exit_status) {
  finishing = true;
  status = exit_status;
  restart.disarm();
  end_children(true, SIGTERM);
  loop->arm(limit, loop->refresh_now() + options.worker_limit);
  end_if_empty();
}

void Supervisor::State::end_children(bool workers_too, int signal) {
  for (const auto& [pid, child] : children) {
    if (child.is_worker && !workers_too) continue;
    if (signal == SIGKILL) os::signal_group(pid, SIGKILL);
    [[maybe_unused]] auto ignored = os::send_signal(child.pidfd.get(), signal);
  }
}

void Supervisor::State::end_if_empty() {
  if (!children.empty()) return;
  // What has left its group (a daemon of a worker's) became our child when its parent ended.
  std::vector<pid_t> orphans = os::children();
  if (orphans.empty()) {
    loop->stop();
    return;
  }
  for (pid_t each : orphans) ::kill(each, SIGKILL);
  // One of them may have ended between the last look and now: its SIGCHLD is on its way, or we look again.
  if (!std::exchange(sweeping, true)) loop->arm(limit, loop->refresh_now() + options.worker_limit);
}

}  // namespace shunt::supervisor
