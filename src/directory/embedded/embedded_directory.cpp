#include "directory/embedded/embedded_directory.h"

#include <fmt/format.h>

namespace shunt::directory {

namespace {

std::unexpected<Status> refused(Code code, std::string why) { return fail(code, "S5067", std::move(why)); }

bool same(const Record& a, const Record& b) {
  return a.epoch == b.epoch && a.hash == b.hash && a.definition == b.definition && a.state == b.state &&
         a.weight == b.weight && a.capacity == b.capacity && a.lease == b.lease;
}

std::unexpected<Status> moved_on(std::string_view node, std::string_view service, std::uint64_t is,
                                 std::uint64_t expected) {
  return refused(Code::aborted,
                 fmt::format("the record of {} on node {} is at revision {}, not {}", service, node, is, expected));
}

}  // namespace

std::shared_ptr<const Snapshot> EmbeddedDirectory::snapshot() const {
  if (snapshot_ == nullptr) {
    auto made = std::make_shared<Snapshot>();
    made->revision = revision_;
    for (const auto& [key, record] : records_) made->records.push_back(record);
    snapshot_ = std::move(made);
  }
  return snapshot_;
}

void EmbeddedDirectory::changed() {
  snapshot_ = nullptr;
  for (DirectoryEvents* events : watchers_) events->on_directory();
}

Lease EmbeddedDirectory::grant() {
  leases_.insert(++last_lease_);
  return {.id = last_lease_, .fencing = last_lease_};
}

void EmbeddedDirectory::revoke(std::uint64_t lease) {
  if (leases_.erase(lease) == 0) return;
  if (std::erase_if(records_, [&](const auto& entry) { return entry.second->lease == lease; }) == 0) return;
  ++revision_;
  changed();
}

Result<std::uint64_t> EmbeddedDirectory::put(Record record, std::uint64_t expected) {
  if (!leases_.contains(record.lease)) {
    return refused(Code::failed_precondition, fmt::format("lease {} has ended", record.lease));
  }
  if (record.definition.size() > limits_.definition_bytes_max) {
    return refused(Code::resource_exhausted, fmt::format("the definition of {} is longer than {} bytes", record.service,
                                                         limits_.definition_bytes_max));
  }
  auto key = std::pair(record.service, record.node);
  const auto found = records_.find(key);
  const std::uint64_t is = found == records_.end() ? no_record : found->second->revision;
  if (expected != any_revision && expected != is) return moved_on(record.node, record.service, is, expected);
  if (found != records_.end()) {
    const Record& old = *found->second;
    if (record.epoch < old.epoch || (record.epoch == old.epoch && record.lease < old.lease)) {
      return refused(Code::aborted, fmt::format("the record of {} on node {} is of a later start of that node",
                                                record.service, record.node));
    }
    if (same(record, old)) return old.revision;
  } else if (records_.size() >= limits_.records_max) {
    return refused(Code::resource_exhausted, fmt::format("the directory has {} records, its limit", records_.size()));
  }
  record.revision = ++revision_;
  records_.insert_or_assign(std::move(key), std::make_shared<const Record>(std::move(record)));
  changed();
  return revision_;
}

Result<void> EmbeddedDirectory::remove(std::string_view node, std::string_view service, std::uint64_t expected) {
  const auto found = records_.find(std::pair(std::string(service), std::string(node)));
  const std::uint64_t is = found == records_.end() ? no_record : found->second->revision;
  if (expected != any_revision && expected != is) return moved_on(node, service, is, expected);
  if (found == records_.end()) return {};
  records_.erase(found);
  ++revision_;
  changed();
  return {};
}

}  // namespace shunt::directory
