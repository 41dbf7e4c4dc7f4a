#pragma once
// The files of bearer tokens that "auth": "token" names. One token to a line, "NAME TOKEN"; NAME becomes the principal's
// user. Empty lines and lines that begin with # say nothing.

#include <string>
#include <vector>

#include "base/result.h"
#include "gateway/gateway.h"

namespace shunt::node {

/// Errors: S5014 naming the file and line: no such file, a line that is not a pair, a token shorter than 16 characters
/// (it could be guessed), a file that others may read.
Result<std::vector<gateway::TokenTable::Token>> load_tokens(const std::string& path);

}  // namespace shunt::node
