#pragma once
// What calls say in values, and what frames say in views of bytes: from one to the other. For the files of MuxLink.

#include "base/result.h"
#include "call/ends.h"
#include "wire/mux.h"

namespace shunt::link {

Status too_large(std::size_t size, std::uint64_t limit);
Status metadata_too_large(std::size_t cost, std::uint64_t limit);
/// Puts views of `metadata` into `views`. Errors: S1021 for too much of it, S1024 for what no peer would take.
Result<void> view(const call::Metadata& metadata, std::size_t limit, wire::MetadataView& views);
call::Metadata owned(const wire::MetadataView& views);
Status status_of(const wire::StatusFrame& frame);
call::Sent sent_of(wire::MuxSent sent);
call::Cancel cancel_of(std::uint8_t reason);

}  // namespace shunt::link
