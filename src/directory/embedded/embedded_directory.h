#pragma once
// EmbeddedDirectory: the directory in this node's memory: what it serves itself, and what its peers told it.

#include <map>
#include <set>
#include <utility>

#include "directory/directory.h"

namespace shunt::directory {

struct EmbeddedLimits {
  std::size_t records_max = 100'000;
  std::size_t definition_bytes_max = 8u << 20;
};

class EmbeddedDirectory final : public Directory {
 public:
  explicit EmbeddedDirectory(EmbeddedLimits limits = {}) : limits_(limits) {}

  [[nodiscard]] std::shared_ptr<const Snapshot> snapshot() const override;
  void watch(DirectoryEvents& events) override { watchers_.push_back(&events); }
  void unwatch(DirectoryEvents& events) override { std::erase(watchers_, &events); }
  Lease grant() override;
  void revoke(std::uint64_t lease) override;
  Result<std::uint64_t> put(Record record, std::uint64_t expected) override;
  Result<void> remove(std::string_view node, std::string_view service, std::uint64_t expected) override;

 private:
  void changed();

  const EmbeddedLimits limits_;
  std::uint64_t revision_ = 0;
  std::uint64_t last_lease_ = 0;
  std::set<std::uint64_t> leases_;
  /// By service and node.
  std::map<std::pair<std::string, std::string>, std::shared_ptr<const Record>, std::less<>> records_;
  std::vector<DirectoryEvents*> watchers_;
  mutable std::shared_ptr<const Snapshot> snapshot_;  ///< Made when it is asked for.
};

}  // namespace shunt::directory
