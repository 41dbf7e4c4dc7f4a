#include "manifest/manifest.h"

#include <fmt/format.h>

#include <algorithm>
#include <tuple>

#include "manifest/checker.h"
#include "manifest/document.h"
#include "manifest/files.h"
#include "manifest/ids.h"

namespace shunt::manifest {
namespace {
namespace fs = std::filesystem;

Diagnostic about_file(std::string file, std::string_view id, std::string message, std::string known, std::string fix) {
  Diagnostic diagnostic;
  diagnostic.id = id;
  diagnostic.file = std::move(file);
  diagnostic.message = std::move(message);
  diagnostic.known = std::move(known);
  diagnostic.fix = std::move(fix);
  return diagnostic;
}

/// App folders one level below, which may be what was meant.
std::string apps_below(const fs::path& folder) {
  std::vector<std::string> found;
  std::error_code error;
  int looked_at = 0;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    if (++looked_at > 200) break;
    if (is_file(entry->path() / file_name)) found.push_back(shown(entry->path().lexically_normal().native(), 200));
  }
  std::ranges::sort(found);
  std::string out;
  for (std::size_t i = 0; i < found.size() && i < 8; ++i) out += (i > 0 ? ", " : "") + found[i];
  return out;
}

Diagnostic no_manifest(const fs::path& path, const std::string& file) {
  if (is_folder(path)) {
    return about_file(file, ids::no_manifest, fmt::format("there is no {} in this folder", file_name), apps_below(path),
                      "write one, or make an app that runs at once: shunt new python NAME");
  }
  const fs::path parent = path.parent_path().empty() ? fs::path(".") : path.parent_path();
  return about_file(file, ids::no_manifest, "no such folder, and no such manifest", apps_below(parent),
                    "correct the path, or make an app that runs at once: shunt new python NAME");
}

Diagnostic read_failed(const fs::path& path, const std::string& file, const ReadError& error) {
  switch (error.why) {
    case ReadError::Why::absent:
      return no_manifest(path, file);
    case ReadError::Why::too_large:
      return about_file(file, ids::too_large, fmt::format("the manifest is larger than {} bytes", file_bytes_max), "",
                        "make it several apps");
    default:
      return about_file(file, ids::unreadable, fmt::format("the manifest can't be read: {}", error.text), "",
                        "a manifest is a regular file that this user may read");
  }
}

LoadResult load(std::string file, std::string text, const fs::path& folder) {
  LoadResult result;
  if (text.size() > file_bytes_max) {
    result.diagnostics.push_back(read_failed({}, file, {ReadError::Why::too_large, ""}));
    return result;
  }
  auto source = std::make_shared<const Source>(std::move(file), std::move(text));
  if (auto root = parse(*source, result.diagnostics)) {
    result.app = check(*root, source, folder, result.diagnostics);
  }
  std::ranges::sort(result.diagnostics, {}, [](const Diagnostic& d) {
    // What is about the file as a whole comes last: it says that there is more.
    return std::tuple(d.line == 0, d.line, d.column, std::string_view(d.id), std::string_view(d.message));
  });
  return result;
}

Diagnostic diagnostic_from(const Source& source, Span at, std::string_view id, std::string message, std::string known,
                           std::string fix) {
  Diagnostic diagnostic = about_file(source.file(), id, std::move(message), std::move(known), std::move(fix));
  put_at(diagnostic, source.place(at));
  return diagnostic;
}

Span span_of(const std::map<std::string, Span, std::less<>>& keys, std::string_view key) {
  auto found = keys.find(key);
  if (found == keys.end()) found = keys.find("");
  return found == keys.end() ? Span{} : found->second;
}

}  // namespace

LoadResult load_app(const fs::path& path) {
  // "shop", "shop/" and "." are folders; their manifest is told as the user would type it.
  const bool folder = is_folder(path);
  const fs::path file = folder ? (path / file_name).lexically_normal() : path.lexically_normal();
  std::error_code error;
  const fs::path absolute = fs::absolute(file, error).lexically_normal();
  LoadResult result;
  std::string text;
  if (auto failed = read_file(absolute, file_bytes_max, text)) {
    result.diagnostics.push_back(read_failed(path, shown(file.native(), 1000), *failed));
    return result;
  }
  result = load(shown(file.native(), 1000), std::move(text), absolute.parent_path());
  if (result.app) result.app->path = absolute;
  return result;
}

LoadResult load_text(std::string file, std::string text, const fs::path& folder) {
  return load(std::move(file), std::move(text), folder);
}

Place ServiceManifest::place_of(std::string_view key) const {
  return source == nullptr ? Place{} : source->place(span_of(keys, key));
}

Diagnostic diagnostic_at(const ServiceManifest& service, std::string_view key, std::string_view id, std::string message,
                         std::string known, std::string fix) {
  // A service that no file describes (a module of Shunt's own, a test's) has no place.
  if (service.source == nullptr) {
    return about_file(service.definition.full_name, id, std::move(message), std::move(known), std::move(fix));
  }
  return diagnostic_from(*service.source, span_of(service.keys, key), id, std::move(message), std::move(known),
                         std::move(fix));
}

Diagnostic diagnostic_at(const AppManifest& app, std::string_view key, std::string_view id, std::string message,
                         std::string known, std::string fix) {
  if (app.source == nullptr) return about_file(app.name, id, std::move(message), std::move(known), std::move(fix));
  return diagnostic_from(*app.source, span_of(app.keys, key), id, std::move(message), std::move(known), std::move(fix));
}

Status to_status(const Diagnostic& diagnostic) {
  std::string text = diagnostic.file;
  if (diagnostic.line > 0) text += fmt::format(":{}:{}", diagnostic.line, diagnostic.column);
  text += ": " + diagnostic.message;
  if (!diagnostic.fix.empty()) text += "; " + diagnostic.fix;
  return Status(Code::failed_precondition, diagnostic.id, std::move(text));
}

}  // namespace shunt::manifest
