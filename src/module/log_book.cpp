#include "module/log_book.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>

namespace shunt::module {

void LogBook::add(LogLine line) {
  if (line.text.size() > options_.line_bytes_max) {
    std::size_t cut = line.text.size() - options_.line_bytes_max;
    line.text.resize(options_.line_bytes_max);
    line.text += fmt::format(" … ({} bytes more)", cut);
  }
  line.unix_ms =
      std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch())
          .count();
  if (options_.echo) {
    std::string_view who = line.instance.empty() ? line.service : line.instance;
    std::string level = line.level == "output" ? std::string() : line.level + ": ";
    std::string text = fmt::format("{} | {}{}\n", who, level, line.text);
    std::fwrite(text.data(), 1, text.size(), stderr);
  }
  std::lock_guard lock(mutex_);
  line.number = ++number_;
  auto& lines = lines_[line.service];
  lines.push_back(std::move(line));
  if (lines.size() > options_.lines_max) lines.pop_front();
  tell_followers();
}

// With the lock held; the wakes themselves run later, on their loops.
void LogBook::tell_followers() {
  for (auto& [number, follower] : followers_) {
    if (std::exchange(follower->told, true)) continue;
    follower->loop->post([this, kept = std::weak_ptr(follower)] {
      auto alive = kept.lock();
      if (alive == nullptr) return;
      {
        std::lock_guard lock(mutex_);
        alive->told = false;
      }
      alive->wake();
    });
  }
}

std::vector<LogLine> LogBook::after(std::uint64_t number, std::string_view service, std::size_t limit) const {
  std::vector<LogLine> found;
  {
    std::lock_guard lock(mutex_);
    for (const auto& [name, lines] : lines_) {
      if (!service.empty() && name != service) continue;
      for (const auto& line : lines) {
        if (line.number > number) found.push_back(line);
      }
    }
  }
  std::ranges::sort(found, {}, &LogLine::number);
  if (found.size() > limit) found.erase(found.begin(), found.end() - static_cast<std::ptrdiff_t>(limit));
  return found;
}

std::uint64_t LogBook::follow(loop::Loop& loop, std::function<void()> wake) {
  std::lock_guard lock(mutex_);
  auto number = next_follower_++;
  followers_[number] = std::make_shared<Follower>(Follower{&loop, std::move(wake)});
  return number;
}

void LogBook::forget(std::uint64_t follower) {
  std::lock_guard lock(mutex_);
  followers_.erase(follower);
}

}  // namespace shunt::module
