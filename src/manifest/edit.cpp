#include "manifest/edit.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "base/json_text.h"

namespace shunt::manifest {

namespace {

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

/// What the text is, or why it can't be edited.
Result<Node> tree_of(std::string_view text) {
  const Source source("the manifest", std::string(text));
  std::vector<Diagnostic> diagnostics;
  auto root = parse(source, diagnostics);
  if (root && root->kind == Kind::object) return std::move(*root);
  return fail(Code::failed_precondition, "S5083",
              diagnostics.empty() ? "the manifest is no JSON object"
                                  : fmt::format("the manifest is no JSON as it stands (line {}: {}); mend it first",
                                                diagnostics[0].line, diagnostics[0].message));
}

/// The blanks with which the line of that offset begins, if nothing else stands before it.
std::optional<std::string_view> indent_of(std::string_view text, std::size_t at) {
  std::size_t begin = at;
  while (begin > 0 && (text[begin - 1] == ' ' || text[begin - 1] == '\t')) --begin;
  if (begin > 0 && text[begin - 1] != '\n') return std::nullopt;
  return text.substr(begin, at - begin);
}

/// The same of the line that the offset is in, whatever stands there.
std::string_view line_indent(std::string_view text, std::size_t at) {
  std::size_t begin = at;
  while (begin > 0 && text[begin - 1] != '\n') --begin;
  std::size_t end = begin;
  while (end < text.size() && (text[end] == ' ' || text[end] == '\t')) ++end;
  return text.substr(begin, end - begin);
}

/// Where the comma is that comes after `from`, over blanks and comments.
std::optional<std::size_t> comma_after(std::string_view text, std::size_t from) {
  for (std::size_t at = from; at < text.size();) {
    if (is_space(text[at])) {
      ++at;
    } else if (text.substr(at).starts_with("//")) {
      at = std::min(text.find('\n', at), text.size());
    } else if (text.substr(at).starts_with("/*")) {
      const auto end = text.find("*/", at + 2);
      if (end == std::string_view::npos) return std::nullopt;
      at = end + 2;
    } else {
      return text[at] == ',' ? std::optional(at) : std::nullopt;
    }
  }
  return std::nullopt;
}

/// `"a": {"b": VALUE}` for the path a, b.
std::string member_text(std::span<const std::string> path, std::string_view json) {
  std::string out = quote_json(path[0]) + ": ";
  for (std::size_t i = 1; i < path.size(); ++i) out += "{" + quote_json(path[i]) + ": ";
  out += json;
  out.append(path.size() - 1, '}');
  return out;
}

std::string insert_member(std::string_view text, const Node& object, const std::string& member) {
  const std::size_t close = object.span.end - 1;
  std::string out(text);
  const std::size_t after = object.members.empty() ? object.span.begin + 1 : object.members.back().value.span.end;
  const bool lines = text.substr(after, close - after).contains('\n');
  if (object.members.empty() && !lines) {
    // An empty object in one line becomes one of several.
    const std::string outer(line_indent(text, object.span.begin));
    out.replace(after, close - after, fmt::format("\n{}  {}\n{}", outer, member, outer));
    return out;
  }
  if (!lines) {
    out.insert(after, ", " + member);
    return out;
  }
  std::string indent = std::string(line_indent(text, close)) + "  ";
  if (!object.members.empty()) {
    if (auto first = indent_of(text, object.members.front().span.begin)) indent = *first;
  }
  // Before the line of the closing brace: comments after the last member stay with it.
  std::size_t at = close;
  while (at > after && text[at - 1] != '\n') --at;
  std::string closing(text.substr(at, close - at));
  if (std::ranges::all_of(closing, is_space)) {
    out.insert(at, indent + member + "\n");
  } else {
    out.insert(close, "\n" + indent + member + "\n");
  }
  if (!object.members.empty()) out.insert(after, ",");
  return out;
}

}  // namespace

Result<std::vector<std::string>> split_key(std::string_view dotted) {
  std::vector<std::string> parts;
  for (std::string_view rest = dotted;;) {
    const auto dot = rest.find('.');
    const auto part = rest.substr(0, dot);
    if (part.empty() || parts.size() == depth_max) {
      return fail(Code::invalid_argument, "S5082",
                  fmt::format("'{}' is no key; write its parts with dots between, such as "
                              "services.prices.engine.backend",
                              shown(dotted)));
    }
    parts.emplace_back(part);
    if (dot == std::string_view::npos) return parts;
    rest.remove_prefix(dot + 1);
  }
}

const Node* find_value(const Node& root, std::span<const std::string> path) {
  const Node* at = &root;
  for (const auto& part : path) {
    const Member* member = at->kind == Kind::object ? at->find(part) : nullptr;
    if (member == nullptr) return nullptr;
    at = &member->value;
  }
  return at;
}

Result<std::string> set_value(std::string_view text, std::span<const std::string> path, std::string_view json) {
  SHUNT_TRY(const Node root, tree_of(text));
  const Node* at = &root;
  for (std::size_t i = 0; i < path.size(); ++i) {
    if (at->kind != Kind::object) {
      return fail(Code::failed_precondition, "S5083",
                  fmt::format("'{}' is {} in the manifest, so it has no '{}'", shown(path[i - 1]), kind_name(at->kind),
                              shown(path[i])));
    }
    const Member* member = at->find(path[i]);
    if (member == nullptr) return insert_member(text, *at, member_text(path.subspan(i), json));
    at = &member->value;
  }
  std::string out(text);
  out.replace(at->span.begin, at->span.end - at->span.begin, json);
  return out;
}

Result<std::string> remove_value(std::string_view text, std::span<const std::string> path) {
  SHUNT_TRY(const Node root, tree_of(text));
  const Node* parent = path.empty() ? nullptr : find_value(root, path.first(path.size() - 1));
  const Member* member = parent != nullptr && parent->kind == Kind::object ? parent->find(path.back()) : nullptr;
  if (member == nullptr) {
    return fail(Code::not_found, "S5082",
                fmt::format("there is no '{}' in the manifest", path.empty() ? "" : shown(path.back())));
  }
  const auto index = static_cast<std::size_t>(member - parent->members.data());
  std::size_t begin = member->span.begin;
  std::size_t end = member->value.span.end;
  std::optional<std::size_t> comma_before;
  if (index + 1 < parent->members.size()) {
    if (auto comma = comma_after(text, end)) end = *comma + 1;
  } else if (index > 0) {
    comma_before = comma_after(text, parent->members[index - 1].value.span.end);
  }
  // Where it has its lines for itself, they go; comments beside it stay.
  const auto indent = indent_of(text, begin);
  std::size_t line_end = end;
  while (line_end < text.size() && (text[line_end] == ' ' || text[line_end] == '\t')) ++line_end;
  if (indent && (line_end == text.size() || text[line_end] == '\n')) {
    begin -= indent->size();
    end = std::min(line_end + 1, text.size());
  } else if (!indent && index + 1 == parent->members.size()) {
    while (begin > 0 && (text[begin - 1] == ' ' || text[begin - 1] == '\t')) --begin;
  } else {
    end = line_end;
  }
  std::string out(text);
  out.erase(begin, end - begin);
  if (comma_before) out.erase(*comma_before, 1);
  return out;
}

std::string value_as_json(std::string_view written) {
  const Source source("the value", std::string(written));
  std::vector<Diagnostic> diagnostics;
  if (parse(source, diagnostics)) return std::string(written);
  return quote_json(written);
}

}  // namespace shunt::manifest
