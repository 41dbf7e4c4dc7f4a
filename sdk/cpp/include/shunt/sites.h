#pragma once
// Sites: where a module's calls go, remembered, so that a call of the same command finds its way by comparing two short
// names. Part of <shunt/service.h>; nothing here is for users.

#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "shunt/message.h"
#include "shunt/shunt.h"

namespace shunt {
inline namespace sdk {
namespace detail {

/// Names are short and mostly equal: compared in place, eight bytes at a step.
inline bool same_text(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  const char* left = a.data();
  const char* right = b.data();
  std::size_t size = a.size();
  for (; size >= 8; size -= 8, left += 8, right += 8) {
    std::uint64_t one;
    std::uint64_t other;
    std::memcpy(&one, left, 8);
    std::memcpy(&other, right, 8);
    if (one != other) return false;
  }
  for (; size > 0; --size) {
    if (*left++ != *right++) return false;
  }
  return true;
}

/// A service that this module calls, by the name that it writes.
class Callee {
 public:
  explicit Callee(std::string_view name) : name_(name) {}
  [[nodiscard]] std::string_view name() const { return name_; }

  /// The site of a command with messages of these types; nullptr where nothing is called directly.
  shunt_site* site(const shunt_api& api, shunt_context* context, std::string_view command, const shunt_type* request,
                   const shunt_type* response) {
    for (Entry& entry : entries_) {
      if (entry.request == request && entry.response == response && same_text(entry.command, command)) {
        return entry.site;
      }
    }
    return find(api, context, command, request, response);
  }

 private:
  struct Entry {
    std::string command;
    const shunt_type* request;
    const shunt_type* response;
    shunt_site* site;
  };
  static constexpr std::size_t entries_max = 64;  // Beyond them calls go the long way.

  shunt_site* find(const shunt_api& api, shunt_context* context, std::string_view command, const shunt_type* request,
                   const shunt_type* response) {
    if (entries_.size() >= entries_max) return nullptr;
    std::string target = name_ + "." + std::string(command);
    shunt_site* site = api.site(context, slice(target), request, response);
    entries_.push_back({std::string(command), request, response, site});
    return site;
  }

  const std::string name_;
  std::vector<Entry> entries_;
};

/// The services that a module calls from one loop.
class Sites {
 public:
  /// The house knows of sites.
  void enable(const shunt_api& api) {
    constexpr std::size_t least = offsetof(shunt_api, who) + sizeof(api.who);
    enabled_ = api.size >= least && api.site != nullptr && api.unary != nullptr && api.who != nullptr;
  }
  /// nullptr: nothing is called directly, or there are too many names.
  Callee* callee(std::string_view name) {
    for (const auto& each : callees_) {
      if (same_text(each->name(), name)) return each.get();
    }
    if (!enabled_ || callees_.size() >= callees_max) return nullptr;
    callees_.push_back(std::make_unique<Callee>(name));
    return callees_.back().get();
  }

 private:
  static constexpr std::size_t callees_max = 64;
  std::vector<std::unique_ptr<Callee>> callees_;
  bool enabled_ = false;
};

}  // namespace detail
}  // namespace sdk
}  // namespace shunt
