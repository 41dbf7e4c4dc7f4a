#pragma once
// Edits of a manifest's text at the place of a key: everything else of the text, comments and layout too, stays as its
// writer left it. Knows JSON with comments, not manifests: what comes out is to be checked like any other manifest.

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "manifest/document.h"

namespace shunt::manifest {

/// "services.prices.engine.backend" by its parts. Errors: invalid_argument S5082 for an empty part.
Result<std::vector<std::string>> split_key(std::string_view dotted);

/// The value at `path`, or nullptr.
const Node* find_value(const Node& root, std::span<const std::string> path);

/// The text with that value at that place. Objects that are missing on the way are written. `json` is one JSON value.
/// Errors: failed_precondition S5083 where the text is no JSON object, or something on the way is no object.
Result<std::string> set_value(std::string_view text, std::span<const std::string> path, std::string_view json);

/// The text without the member at that place. Errors: S5083; not_found S5082 when there is none.
Result<std::string> remove_value(std::string_view text, std::span<const std::string> path);

/// What a person wrote for a value: JSON where it is some, else a string.
std::string value_as_json(std::string_view written);

}  // namespace shunt::manifest
