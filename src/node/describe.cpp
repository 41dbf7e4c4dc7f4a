#include "node/describe.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <optional>

#include "base/version.h"
#include "loop/event.h"
#include "manifest/hosting.h"
#include "manifest/ids.h"
#include "os/file.h"

namespace shunt::node {

namespace {

constexpr std::size_t answer_bytes_max = 4 << 20;
constexpr std::size_t output_bytes_max = 64 << 10;
constexpr std::size_t hashed_files_max = 4096;

// Reads a pipe to its end. What is beyond the limit is read and thrown away, so that the writer is not held up.
class PipeReader final : private loop::Watch {
 public:
  PipeReader(loop::EpollLoop& loop, os::Fd pipe, std::size_t limit)
      : pipe_(std::move(pipe)), limit_(limit), ended_(loop) {
    if (!loop.watch(*this, pipe_.get())) ended_.set();
  }
  loop::Task<bool> wait(Deadline deadline) {
    while (!done_) {
      if (!co_await ended_.wait(deadline)) co_return done_;
    }
    co_return true;
  }
  [[nodiscard]] const std::string& text() const { return text_; }
  [[nodiscard]] bool too_long() const { return too_long_; }

 private:
  void on_ready(bool, bool) override {
    char buffer[16384];
    for (;;) {
      ssize_t n = read(pipe_.get(), buffer, sizeof buffer);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0 && errno == EAGAIN) return;
      if (n <= 0) break;
      std::size_t room = limit_ - std::min(limit_, text_.size());
      too_long_ |= static_cast<std::size_t>(n) > room;
      text_.append(buffer, std::min(room, static_cast<std::size_t>(n)));
    }
    Watch::unwatch();
    done_ = true;
    ended_.set();
  }
  os::Fd pipe_;
  std::size_t limit_;
  loop::Event ended_;
  std::string text_;
  bool done_ = false;
  bool too_long_ = false;
};

// How a process ends, for whoever waits. Forgets its process when dropped.
class ProcessWait {
 public:
  ProcessWait(loop::Loop& loop, call::Spawner& spawner, pid_t pid) : spawner_(spawner), pid_(pid), ended_(loop) {
    spawner_.on_exit(pid, [this](const os::ProcessEnd& end) {
      end_ = end;
      ended_.set();
    });
  }
  ~ProcessWait() {
    if (end_) return;
    spawner_.forget_exit(pid_);
    spawner_.kill(pid_, SIGKILL);
  }
  ProcessWait(const ProcessWait&) = delete;
  ProcessWait& operator=(const ProcessWait&) = delete;
  loop::Task<std::optional<os::ProcessEnd>> wait(Deadline deadline) {
    while (!end_) {
      if (!co_await ended_.wait(deadline)) break;
    }
    co_return end_;
  }

 private:
  call::Spawner& spawner_;
  pid_t pid_;
  loop::Event ended_;
  std::optional<os::ProcessEnd> end_;
};

// Two 64-bit FNV-1a streams: names of cache files, not a defence against anybody.
class Hash {
 public:
  void add(std::string_view text) {
    for (char c : text) mix(static_cast<unsigned char>(c));
    mix(0x100);
  }
  [[nodiscard]] std::string hex() const { return fmt::format("{:016x}{:016x}", a_, b_); }

 private:
  void mix(unsigned value) {
    a_ = (a_ ^ value) * 0x100000001b3ull;
    b_ = (b_ ^ (value + 0x9e37)) * 0x100000001b3ull;
  }
  std::uint64_t a_ = 0xcbf29ce484222325ull;
  std::uint64_t b_ = 0x84222325cbf29ce4ull;
};

std::filesystem::path own_program() {
  std::error_code error;
  auto path = std::filesystem::read_symlink("/proc/self/exe", error);
  return error ? "/proc/self/exe" : path;
}

// The Python SDK stands beside the program in a build, and below lib/ where it is installed.
std::string python_folder() {
  auto folder = own_program().parent_path();
  for (const auto& candidate : {folder / "python", folder / "../lib/shunt/python"}) {
    if (os::is_folder((candidate / "shunt").string())) return candidate.lexically_normal().string();
  }
  return (folder / "python").string();
}

LanguageCommand python_command(const manifest::ServiceManifest& service) {
  LanguageCommand command;
  command.argv.push_back(service.python.empty() ? "python3" : service.python);
  command.argv.insert(command.argv.end(), service.args.begin(), service.args.end());
  for (const auto& [name, value] : service.env) command.env.push_back(fmt::format("{}={}", name, value));
  std::string path = python_folder();
  auto own = service.env.find("PYTHONPATH");
  const char* inherited = getenv("PYTHONPATH");
  if (own != service.env.end()) {
    path += ":" + own->second;
  } else if (inherited != nullptr && *inherited != '\0') {
    path += fmt::format(":{}", inherited);
  }
  command.env.push_back("PYTHONPATH=" + path);
  command.env.push_back("PYTHONUNBUFFERED=1");  // What it prints before it dies must reach its log.
  return command;
}

// Itself; by its environment it knows what it is wanted for.
LanguageCommand program_command(const manifest::ServiceManifest& service) {
  LanguageCommand command;
  command.argv = service.args;
  for (const auto& [name, value] : service.env) command.env.push_back(fmt::format("{}={}", name, value));
  return command;
}

LanguageCommand library_command(const manifest::ServiceManifest& service, std::string_view role) {
  LanguageCommand command;
  command.argv = {own_program().string(), std::string(role)};
  command.argv.insert(command.argv.end(), service.args.begin(), service.args.end());
  for (const auto& [name, value] : service.env) command.env.push_back(fmt::format("{}={}", name, value));
  return command;
}

std::string last_lines(std::string_view text, int count) {
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.remove_suffix(1);
  auto from = text.size();
  for (int i = 0; i < count && from != std::string_view::npos && from > 0; i++) from = text.rfind('\n', from - 1);
  return std::string(from == std::string_view::npos || from == 0 ? text : text.substr(from + 1));
}

// Our own helper says the id first: "S2060: there is no …".
std::optional<manifest::Diagnostic> told(const manifest::ServiceManifest& service, std::string_view output) {
  auto line = last_lines(output, 1);
  if (line.size() < 7 || line[0] != 'S' || line[5] != ':') return std::nullopt;
  return manifest::diagnostic_at(service, "args", std::string_view(line).substr(0, 5), line.substr(7));
}

// Of a Python traceback, the last place that is named: "cart.py:3".
std::string place_in_traceback(std::string_view output) {
  auto at = output.rfind("  File \"");
  if (at == std::string_view::npos) return {};
  auto rest = output.substr(at + 8);
  auto quote = rest.find("\", line ");
  if (quote == std::string_view::npos) return {};
  auto number = rest.substr(quote + 8);
  auto digits = number.find_first_not_of("0123456789");
  return fmt::format("{}:{}", rest.substr(0, quote), number.substr(0, digits));
}

loop::Task<std::expected<std::string, manifest::Diagnostic>> ask(loop::EpollLoop& loop, call::Spawner& spawner,
                                                                 const manifest::ServiceManifest& service) {
  using std::unexpected;
  auto command = describe_command(service);
  call::DescribeStart start;
  start.argv = std::move(command.argv);
  start.env = std::move(command.env);
  start.cwd = service.folder.string();
  auto spawned = co_await spawner.spawn_describe(std::move(start));
  if (!spawned) {
    const auto& why = spawned.error();
    co_return unexpected(manifest::diagnostic_at(service, service.says("python") ? "python" : "args", why.id(),
                                                 std::string(why.message())));
  }
  Deadline deadline = Deadline::after(loop.now(), service.engine.startup_timeout);
  ProcessWait process(loop, spawner, spawned->pid);
  PipeReader answer(loop, std::move(spawned->answer), answer_bytes_max);
  PipeReader output(loop, std::move(spawned->output), output_bytes_max);
  auto end = co_await process.wait(deadline);
  if (!end) co_return unexpected(manifest::describe_timed_out(service, service.engine.startup_timeout));
  // Whoever it left behind may still hold the pipes; what it said itself is in them already.
  Deadline soon = Deadline::after(loop.refresh_now(), std::chrono::milliseconds(200));
  co_await answer.wait(soon);
  co_await output.wait(soon);
  if (end->by_signal) {
    co_return unexpected(manifest::describe_crashed(service, end->to_string(), last_lines(output.text(), 3)));
  }
  if (!end->is_success()) {
    if (auto diagnostic = told(service, output.text())) co_return unexpected(std::move(*diagnostic));
    if (service.type == "python") {
      co_return unexpected(manifest::does_not_import(service, last_lines(output.text(), 1),
                                                     place_in_traceback(output.text()), python_folder()));
    }
    co_return unexpected(manifest::describe_crashed(service, end->to_string(), last_lines(output.text(), 3)));
  }
  if (answer.too_long()) {
    co_return unexpected(
        manifest::diagnostic_at(service, "args", manifest::ids::bad_description,
                                fmt::format("it described itself in more than {} bytes", answer_bytes_max)));
  }
  if (answer.text().empty() && service.type == "executable") {
    co_return unexpected(manifest::diagnostic_at(
        service, "args", manifest::ids::describe_crashed, "it ended without saying what it is", {},
        "a program that is a worker writes its definition to the descriptor that SHUNT_DESCRIBE_FD names; in C++ "
        "SHUNT_WORKER_MAIN() does (docs/reference/executable.md)"));
  }
  if (answer.text().empty()) {
    co_return unexpected(manifest::diagnostic_at(service, "args", manifest::ids::does_not_import,
                                                 "it ended without serving anything", {},
                                                 "end the file with: if __name__ == \"__main__\": service.run()"));
  }
  co_return answer.text();
}

}  // namespace

LanguageCommand describe_command(const manifest::ServiceManifest& service) {
  if (service.type == "executable") return program_command(service);
  return service.type == "python" ? python_command(service) : library_command(service, "describe-module");
}

LanguageCommand worker_command(const manifest::ServiceManifest& service) {
  if (service.type == "executable") return program_command(service);
  return service.type == "python" ? python_command(service) : library_command(service, "worker");
}

std::string content_hash(const manifest::ServiceManifest& service) {
  Hash hash;
  hash.add(version);
  hash.add(service.type);
  hash.add(service.python);
  hash.add(own_program().string());
  for (const auto& arg : service.args) hash.add(arg);
  for (const auto& [name, value] : service.env) {
    hash.add(name);
    hash.add(value);
  }
  std::vector<std::filesystem::path> files = {service.args.front()};
  if (service.type == "python") {
    // What it imports from its own folder is its code too.
    std::error_code error;
    auto options = std::filesystem::directory_options::skip_permission_denied;
    for (std::filesystem::recursive_directory_iterator it(service.folder, options, error), end;
         !error && it != end && files.size() < hashed_files_max; it.increment(error)) {
      auto name = it->path().filename().string();
      if (it->is_directory(error) && (name.starts_with(".") || name == "node_modules" || name == "__pycache__")) {
        it.disable_recursion_pending();
      } else if (name.ends_with(".py")) {
        files.push_back(it->path());
      }
    }
    std::ranges::sort(files);
  }
  for (const auto& file : files) {
    hash.add(file.string());
    hash.add(os::read_file(file.string(), 256u << 20).value_or(std::string()));
  }
  return hash.hex();
}

loop::Task<std::expected<std::string, manifest::Diagnostic>> describe(loop::EpollLoop& loop, call::Spawner& spawner,
                                                                      const manifest::ServiceManifest& service,
                                                                      std::string cache) {
  std::string file = cache.empty() ? std::string() : fmt::format("{}/{}.json", cache, content_hash(service));
  if (!file.empty()) {
    auto kept = os::read_file(file, answer_bytes_max);
    if (kept && !kept->empty()) co_return std::move(*kept);
  }
  auto answer = co_await ask(loop, spawner, service);
  if (answer && !file.empty()) {
    // Without a cache the next start asks again, that is all.
    (void)os::make_folders(cache, 0700);
    (void)os::write_file(file, *answer, 0600);
  }
  co_return answer;
}

}  // namespace shunt::node
