#pragma once
// What one node tells another of what it serves: first all of it, then what changes. Messages of the stream
// `directory.watch`, in JSON: spec/wire.md, "Between nodes".

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "directory/directory.h"

namespace shunt::directory {

struct News {
  bool whole = false;  ///< What is not in `put` of this message, or of those that continue it, is not served any more.
  bool more = false;   ///< The next message continues this one.
  std::string node;    ///< Whose: the node's id.
  std::uint64_t epoch = 0;
  /// Records that are new or have changed. Without a definition where only the rest has.
  std::vector<Record> put;
  std::vector<std::string> gone;  ///< Services.
};

/// What is news of `node`'s records at `now` to who knows `before` (nullptr: nothing yet), as messages of at most about 1 MiB;
/// none when there is no news.
std::vector<std::string> write_news(std::string_view node, std::uint64_t epoch, const Snapshot* before,
                                    const Snapshot& now);
/// Errors: invalid_argument S5068.
Result<News> read_news(std::string_view json);

}  // namespace shunt::directory
