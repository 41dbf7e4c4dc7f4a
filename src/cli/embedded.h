#pragma once
// Files of the source tree that the binary carries with it: spec/errors.json and the templates of `shunt new`. The .cpp is
// written by embed.cmake at build time.

#include <span>
#include <string_view>

namespace shunt::cli {

struct EmbeddedFile {
  std::string_view path;  ///< "errors.json", "templates/python/shunt.json"
  std::string_view content;
};

std::span<const EmbeddedFile> embedded_files();

}  // namespace shunt::cli
