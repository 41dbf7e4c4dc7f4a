#include "manifest/document.h"

#include <fmt/format.h>
#include <rapidjson/memorystream.h>
#include <rapidjson/reader.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <tuple>

#include "base/json_text.h"
#include "base/names.h"
#include "manifest/ids.h"

namespace shunt::manifest {
namespace {

Node node_of(Kind kind, Span span, std::string text = {}) {
  Node node;
  node.kind = kind;
  node.span = span;
  node.text = std::move(text);
  return node;
}

/// Hears the reader's events and builds the tree. Where a token begins is found by looking back from where it ends,
/// which is all that the reader tells.
class Builder {
 public:
  using Ch = char;

  Builder(std::string_view text, const rapidjson::MemoryStream& stream) : text_(text), stream_(stream) {}

  bool Null() { return word(Kind::null, false, 4); }
  bool Bool(bool value) { return word(Kind::boolean, value, value ? 4 : 5); }
  bool Int(int) { return RawNumber(nullptr, 0, false); }
  bool Uint(unsigned) { return RawNumber(nullptr, 0, false); }
  bool Int64(std::int64_t) { return RawNumber(nullptr, 0, false); }
  bool Uint64(std::uint64_t) { return RawNumber(nullptr, 0, false); }
  bool Double(double) { return RawNumber(nullptr, 0, false); }

  bool RawNumber(const char*, rapidjson::SizeType, bool) {
    const std::size_t end = at();
    std::size_t begin = end;
    while (begin > 0 && std::string_view("0123456789+-.eE").contains(text_[begin - 1])) --begin;
    return add(node_of(Kind::number, {begin, end}, std::string(text_.substr(begin, end - begin))));
  }

  bool String(const char* value, rapidjson::SizeType size, bool) {
    return add(node_of(Kind::string, string_span(), std::string(value, size)));
  }

  bool Key(const char* value, rapidjson::SizeType size, bool) {
    open_.back().members.push_back({std::string(value, size), string_span(), {}});
    return true;
  }

  bool StartObject() { return start(Kind::object); }
  bool StartArray() { return start(Kind::array); }
  bool EndObject(rapidjson::SizeType) { return end(); }
  bool EndArray(rapidjson::SizeType) { return end(); }

  [[nodiscard]] bool too_deep() const { return too_deep_; }
  /// Where the innermost object or array that is still open begins.
  [[nodiscard]] std::optional<std::size_t> innermost() const {
    return open_.empty() ? std::nullopt : std::optional(open_.back().span.begin);
  }
  Node take_root() { return std::move(root_); }

 private:
  [[nodiscard]] std::size_t at() const { return stream_.Tell(); }

  /// The string that ends here: quotes within it are escaped, so its first is the nearest that is not.
  [[nodiscard]] Span string_span() const {
    const std::size_t end = at();
    std::size_t begin = end - 1;
    while (begin > 0) {
      --begin;
      if (text_[begin] != '"') continue;
      std::size_t slashes = 0;
      while (slashes < begin && text_[begin - 1 - slashes] == '\\') ++slashes;
      if (slashes % 2 == 0) break;
    }
    return {begin, end};
  }

  bool word(Kind kind, bool value, std::size_t size) {
    Node node = node_of(kind, {at() - size, at()});
    node.boolean = value;
    return add(std::move(node));
  }

  bool start(Kind kind) {
    if (open_.size() == depth_max) {
      too_deep_ = true;
      return false;
    }
    open_.push_back(node_of(kind, {at() - 1, at()}));
    return true;
  }

  bool end() {
    Node node = std::move(open_.back());
    open_.pop_back();
    node.span.end = at();
    return add(std::move(node));
  }

  bool add(Node node) {
    if (open_.empty()) {
      root_ = std::move(node);
    } else if (Node& parent = open_.back(); parent.kind == Kind::object) {
      parent.members.back().value = std::move(node);
    } else {
      parent.elements.push_back(std::move(node));
    }
    return true;
  }

  std::string_view text_;
  const rapidjson::MemoryStream& stream_;
  std::vector<Node> open_;
  Node root_;
  bool too_deep_ = false;
};

struct Explanation {
  std::string_view message;
  std::string_view fix;
};

Explanation explain(rapidjson::ParseErrorCode code) {
  switch (code) {
    case rapidjson::kParseErrorDocumentEmpty:
      return {"the file is empty", "write a JSON object: { … }"};
    case rapidjson::kParseErrorDocumentRootNotSingular:
      return {"more text after the end of the JSON object", "remove it, or the closing bracket too many before it"};
    case rapidjson::kParseErrorValueInvalid:
      return {"a value is expected here",
              "write a string in double quotes, a number, true, false, null, [ … ] or { … }"};
    case rapidjson::kParseErrorObjectMissName:
      return {"a key is expected here", "write the key in double quotes"};
    case rapidjson::kParseErrorObjectMissColon:
      return {"a ':' is expected after a key", "write \"key\": value"};
    case rapidjson::kParseErrorObjectMissCommaOrCurlyBracket:
      return {"a ',' or '}' is expected here", "put a comma after the value before this"};
    case rapidjson::kParseErrorArrayMissCommaOrSquareBracket:
      return {"a ',' or ']' is expected here", "put a comma after the value before this"};
    case rapidjson::kParseErrorStringUnicodeEscapeInvalidHex:
      return {"'\\u' needs four hexadecimal digits", "write the character itself, or \\u and four digits"};
    case rapidjson::kParseErrorStringUnicodeSurrogateInvalid:
      return {"half of a surrogate pair", "write the character itself"};
    case rapidjson::kParseErrorStringEscapeInvalid:
      return {"this escape does not exist in JSON",
              "a backslash itself is written \\\\; others are \\\" \\/ \\b \\f \\n \\r \\t \\uXXXX"};
    case rapidjson::kParseErrorStringMissQuotationMark:
      return {"this string has no closing '\"' on its line", "close it; a line break in a string is written \\n"};
    case rapidjson::kParseErrorNumberTooBig:
      return {"this number is too large", "write a smaller one"};
    case rapidjson::kParseErrorNumberMissFraction:
      return {"a digit is expected after the '.'", "write it, or no '.'"};
    case rapidjson::kParseErrorNumberMissExponent:
      return {"a digit is expected after the 'e'", "write it, or no 'e'"};
    default:
      return {"this is not JSON", "comments are // to the end of the line, or /* … */"};
  }
}

std::size_t skip_back(std::string_view text, std::size_t at) {
  while (at > 0 && std::string_view(" \t\r\n").contains(text[at - 1])) --at;
  return at;
}

/// The commonest slips get words of their own.
Diagnostic syntax_error(const Source& source, rapidjson::ParseErrorCode code, std::size_t at,
                        std::optional<std::size_t> innermost) {
  const std::string_view text = source.text();
  at = std::min(at, text.size());
  Explanation why = explain(code);
  Span span{at, at + 1};
  std::string message;
  const char here = at < text.size() ? text[at] : '\0';
  const std::size_t before = skip_back(text, at);
  const bool expected_item = code == rapidjson::kParseErrorObjectMissName || code == rapidjson::kParseErrorValueInvalid;

  const bool in_string =
      code == rapidjson::kParseErrorStringMissQuotationMark || code == rapidjson::kParseErrorStringEscapeInvalid;
  if (in_string && (here == '\n' || here == '\r' || at == text.size())) {
    // The reader tells where the line ended; the string is what must be looked at.
    why = explain(rapidjson::kParseErrorStringMissQuotationMark);
    while (span.begin > 0 && text[span.begin - 1] != '"') --span.begin;
    if (span.begin > 0) --span.begin;
    span.end = at;
  } else if (in_string && here != '\\') {
    message = fmt::format("the control character 0x{:02X} in a string",
                          static_cast<unsigned>(static_cast<unsigned char>(here)));
    why.fix = "write it as \\uXXXX, or a tab as \\t";
  } else if (expected_item && (here == '}' || here == ']') && before > 0 && text[before - 1] == ',') {
    span = {before - 1, before};
    why = {"a comma before the closing bracket", "remove the comma"};
  } else if (expected_item && here == '\'') {
    why = {"JSON has no single quotes", "write double quotes"};
  } else if (at >= text.size() && innermost) {
    const Place open = source.place({*innermost, *innermost + 1});
    message = fmt::format("the file ends inside the '{}' that opens in line {}", text[*innermost], open.line);
    why.fix = text[*innermost] == '{' ? "close it with '}'" : "close it with ']'";
    span = {*innermost, *innermost + 1};
  } else if (code == rapidjson::kParseErrorValueInvalid) {
    auto part_of_word = [&](std::size_t i) {
      return i < text.size() && std::isalnum(static_cast<unsigned char>(text[i]));
    };
    while (span.begin > 0 && part_of_word(span.begin - 1)) --span.begin;
    while (part_of_word(span.end)) ++span.end;
    const std::string_view word = text.substr(span.begin, span.end - span.begin);
    if (word == "True" || word == "False" || word == "None") {
      why = {"this is Python's spelling, not JSON's", "write true, false or null"};
    }
  }
  Diagnostic diagnostic{.id = std::string(ids::syntax),
                        .file = source.file(),
                        .message = message.empty() ? std::string(why.message) : message,
                        .fix = std::string(why.fix)};
  put_at(diagnostic, source.place(span));
  return diagnostic;
}

std::size_t first_bad_byte(std::string_view text) {
  std::size_t i = 0;
  while (i < text.size()) {
    const std::size_t length = character_length(text.substr(i));
    if (length == 1 && static_cast<unsigned char>(text[i]) >= 0x80) break;
    i += length;
  }
  return i;
}

Diagnostic not_utf8(const Source& source) {
  const std::size_t at = first_bad_byte(source.text());
  Diagnostic diagnostic{.id = std::string(ids::not_utf8),
                        .file = source.file(),
                        .message = fmt::format("the byte 0x{:02X} is not UTF-8",
                                               static_cast<unsigned>(static_cast<unsigned char>(source.text()[at]))),
                        .fix = "save the file as UTF-8"};
  put_at(diagnostic, source.place({at, at + 1}));
  return diagnostic;
}

std::string canonical_number(const std::string& text) {
  if (text.find_first_of(".eE") == std::string::npos) return text == "-0" ? "0" : text;
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return text;
  if (std::abs(value) < 9e15 && value == std::trunc(value)) return fmt::format("{}", static_cast<std::int64_t>(value));
  return fmt::format("{}", value);
}

enum class Order : bool { as_written, sorted };

void write(const Node& node, Order order, std::string& out) {
  switch (node.kind) {
    case Kind::null:
      out += "null";
      return;
    case Kind::boolean:
      out += node.boolean ? "true" : "false";
      return;
    case Kind::number:
      out += order == Order::sorted ? canonical_number(node.text) : node.text;
      return;
    case Kind::string:
      out += quote_json(node.text);
      return;
    case Kind::array: {
      out += '[';
      for (std::size_t i = 0; i < node.elements.size(); ++i) {
        if (i > 0) out += ',';
        write(node.elements[i], order, out);
      }
      out += ']';
      return;
    }
    case Kind::object: {
      std::vector<const Member*> members;
      for (const Member& member : node.members) members.push_back(&member);
      if (order == Order::sorted)
        std::ranges::sort(members, {},
                          [](const Member* m) { return std::tuple(std::string_view(m->key), m->span.begin); });
      out += '{';
      for (std::size_t i = 0; i < members.size(); ++i) {
        if (i > 0) out += ',';
        out += quote_json(members[i]->key) + ":";
        write(members[i]->value, order, out);
      }
      out += '}';
      return;
    }
  }
}

}  // namespace

std::string_view kind_name(Kind kind) {
  switch (kind) {
    case Kind::null:
      return "null";
    case Kind::boolean:
      return "a boolean";
    case Kind::number:
      return "a number";
    case Kind::string:
      return "a string";
    case Kind::array:
      return "an array";
    case Kind::object:
      return "an object";
  }
  return "a value";
}

const Member* Node::find(std::string_view key) const {
  const auto found = std::ranges::find(members, key, &Member::key);
  return found == members.end() ? nullptr : &*found;
}

std::optional<Node> parse(const Source& source, std::vector<Diagnostic>& diagnostics) {
  if (!is_utf8(source.text())) {
    diagnostics.push_back(not_utf8(source));
    return std::nullopt;
  }
  // The reader takes a NUL for the end and would never see what comes after.
  if (const std::size_t nul = source.text().find('\0'); nul != std::string_view::npos) {
    diagnostics.push_back(syntax_error(source, rapidjson::kParseErrorUnspecificSyntaxError, nul, std::nullopt));
    return std::nullopt;
  }

  constexpr unsigned flags = rapidjson::kParseCommentsFlag | rapidjson::kParseNumbersAsStringsFlag;
  rapidjson::MemoryStream stream(source.text().data(), source.text().size());
  if (source.text().starts_with("\xEF\xBB\xBF")) stream.src_ += 3;  // A byte order mark says nothing in UTF-8.
  Builder builder(source.text(), stream);
  rapidjson::Reader reader;
  const rapidjson::ParseResult result = reader.Parse<flags>(stream, builder);
  if (!result.IsError()) return builder.take_root();

  if (builder.too_deep()) {
    Diagnostic diagnostic{.id = std::string(ids::too_deep),
                          .file = source.file(),
                          .message = fmt::format("nested deeper than {} levels", depth_max),
                          .fix = "flatten it"};
    put_at(diagnostic, source.place({result.Offset() - 1, result.Offset()}));
    diagnostics.push_back(std::move(diagnostic));
  } else {
    diagnostics.push_back(syntax_error(source, result.Code(), result.Offset(), builder.innermost()));
  }
  return std::nullopt;
}

std::string write_json(const Node& node) {
  std::string out;
  write(node, Order::as_written, out);
  return out;
}

std::string write_canonical(const Node& node) {
  std::string out;
  write(node, Order::sorted, out);
  return out;
}

}  // namespace shunt::manifest
