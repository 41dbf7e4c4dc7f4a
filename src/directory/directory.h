#pragma once
// Directory: who serves what, where: a record for each service of each node, in one revisioned whole that can be watched.
// Embedded (embedded/) it is what this node knows by itself and from its peers; one for a cluster has the same face.
//
// Whoever keeps a record alive holds a lease; when the lease ends, its records go. A record tells the epoch of its node's
// start: an older one never replaces a newer one, however late it comes. It knows no links and calls nobody.

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace shunt::directory {

enum class RecordState : std::uint8_t {
  starting,  ///< Known, and not to be called yet; or not at the moment.
  ready,
  draining,  ///< Takes no new calls.
};
std::string_view state_name(RecordState state);

/// One service on one node.
struct Record {
  std::string node;         ///< The node's id.
  std::string service;      ///< Full name.
  std::uint64_t epoch = 0;  ///< Of the node's start: greater with each.
  std::string hash;         ///< Of the definition.
  std::string definition;   ///< As definition_json.h writes it.
  RecordState state = RecordState::starting;
  std::uint32_t weight = 100;  ///< Share of calls among equals.
  std::uint32_t capacity = 0;  ///< Calls at once; 0: not said.
  std::uint64_t lease = 0;     ///< Whose end ends the record.
  std::uint64_t revision = 0;  ///< Of the directory, when it changed last. Given by put().
};

/// Immutable. Owners: the directory, and whoever took it.
struct Snapshot {
  std::uint64_t revision = 0;
  std::vector<std::shared_ptr<const Record>> records;  ///< By service, then node.

  [[nodiscard]] const Record* find(std::string_view node, std::string_view service) const;
};

/// A lease, with a number that only grows: what a later holder does counts more than what an earlier one still sends.
struct Lease {
  std::uint64_t id = 0;
  std::uint64_t fencing = 0;
};

/// What a put() or remove() expects to find.
inline constexpr std::uint64_t any_revision = UINT64_MAX;
inline constexpr std::uint64_t no_record = 0;

class DirectoryEvents {
 public:
  /// Something changed since the last one. Must not watch, unwatch or write inside.
  virtual void on_directory() = 0;

 protected:
  ~DirectoryEvents() = default;
};

/// Threads: one loop's.
class Directory {
 public:
  virtual ~Directory() = default;

  [[nodiscard]] virtual std::shared_ptr<const Snapshot> snapshot() const = 0;
  virtual void watch(DirectoryEvents& events) = 0;
  virtual void unwatch(DirectoryEvents& events) = 0;

  virtual Lease grant() = 0;
  /// Its records go. Nothing when it has ended.
  virtual void revoke(std::uint64_t lease) = 0;

  /// Puts a record in the place of the one of that node and service, if that is at revision `expected`. Returns the new
  /// revision; the old one when nothing differs.
  /// Errors: aborted S5067 when the record is at another revision, or is of a newer epoch; failed_precondition S5067 when
  /// the lease has ended; resource_exhausted S5067 beyond the limits.
  virtual Result<std::uint64_t> put(Record record, std::uint64_t expected) = 0;
  /// Errors: as put(). Removing what is not there is no error with any_revision.
  virtual Result<void> remove(std::string_view node, std::string_view service, std::uint64_t expected) = 0;
};

}  // namespace shunt::directory
