#include "schema/json_reader.h"

#include <fmt/format.h>

#include <algorithm>

namespace shunt::schema {

namespace {

constexpr std::size_t shown_max = 40;

bool is_digit(char c) { return c >= '0' && c <= '9'; }

void append_utf8(std::string& out, std::uint32_t c) {
  if (c < 0x80) {
    out.push_back(static_cast<char>(c));
    return;
  }
  if (c < 0x800) {
    out.push_back(static_cast<char>(0xc0 | (c >> 6)));
  } else {
    if (c < 0x10000) {
      out.push_back(static_cast<char>(0xe0 | (c >> 12)));
    } else {
      out.push_back(static_cast<char>(0xf0 | (c >> 18)));
      out.push_back(static_cast<char>(0x80 | ((c >> 12) & 0x3f)));
    }
    out.push_back(static_cast<char>(0x80 | ((c >> 6) & 0x3f)));
  }
  out.push_back(static_cast<char>(0x80 | (c & 0x3f)));
}

}  // namespace

bool JsonReader::fail(std::string error) {
  if (error_.empty()) error_ = std::move(error);
  return false;
}

JsonKind JsonReader::peek() {
  while (at_ < text_.size()) {
    switch (text_[at_]) {
      case ' ':
      case '\t':
      case '\n':
      case '\r':
        ++at_;
        continue;
      case '{':
        return JsonKind::object;
      case '[':
        return JsonKind::array;
      case '"':
        return JsonKind::string;
      case 't':
      case 'f':
        return JsonKind::boolean;
      case 'n':
        return JsonKind::null;
      case '-':
        return JsonKind::number;
      default:
        return is_digit(text_[at_]) ? JsonKind::number : JsonKind::bad;
    }
  }
  return JsonKind::end;
}

bool JsonReader::string(std::string_view& out) {
  const std::size_t begin = ++at_;
  bool escaped = false;
  std::size_t run = begin;
  for (; at_ < text_.size(); ++at_) {
    const char c = text_[at_];
    if (c == '"') {
      if (!escaped) {
        out = text_.substr(begin, at_ - begin);
      } else {
        scratch_.append(text_, run, at_ - run);
        out = scratch_;
      }
      ++at_;
      return true;
    }
    if (c == '\\') {
      if (!escaped) scratch_.clear();
      escaped = true;
      scratch_.append(text_, run, at_ - run);
      if (!escape(scratch_)) return false;
      run = at_ + 1;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      return fail("a control character in a string must be escaped");
    }
  }
  at_ = begin - 1;
  return fail("this string has no end");
}

// At the backslash; ends at the last character of the escape.
bool JsonReader::escape(std::string& out) {
  if (at_ + 1 >= text_.size()) return fail("this string has no end");
  const char c = text_[at_ + 1];
  static constexpr std::string_view from = "\"\\/bfnrt";
  static constexpr std::string_view to = "\"\\/\b\f\n\r\t";
  if (const auto plain = from.find(c); plain != std::string_view::npos) {
    out.push_back(to[plain]);
    ++at_;
    return true;
  }
  if (c != 'u') return fail("a string has no such escape");
  std::uint32_t code;
  if (!hex4(code)) return false;
  if (code >= 0xdc00 && code < 0xe000) return fail("half of a surrogate pair is no character");
  if (code >= 0xd800 && code < 0xdc00) {
    std::uint32_t low;
    if (!text_.substr(at_ + 1).starts_with("\\u") || !hex4(low) || low < 0xdc00 || low >= 0xe000) {
      return fail("half of a surrogate pair is no character");
    }
    code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
  }
  append_utf8(out, code);
  return true;
}

// One character before "\u"'s backslash or at it: reads the four digits after the next 'u', ends at the last of them.
bool JsonReader::hex4(std::uint32_t& out) {
  std::size_t at = text_[at_] == '\\' ? at_ + 2 : at_ + 3;
  out = 0;
  for (std::size_t end = at + 4; at < end; ++at) {
    const char c = at < text_.size() ? text_[at] : ' ';
    const char lower = static_cast<char>(c | 0x20);
    if (!is_digit(c) && (lower < 'a' || lower > 'f')) return fail("\\u needs four hexadecimal digits");
    out = out * 16 + static_cast<std::uint32_t>(is_digit(c) ? c - '0' : lower - 'a' + 10);
  }
  at_ = at - 1;
  return true;
}

bool JsonReader::number(std::string_view& out) {
  std::size_t at = at_;
  auto digits = [&] {
    const std::size_t begin = at;
    while (at < text_.size() && is_digit(text_[at])) ++at;
    return at > begin;
  };
  if (text_[at] == '-') ++at;
  if (at < text_.size() && text_[at] == '0') {
    ++at;
    if (at < text_.size() && is_digit(text_[at])) return fail("a number can't begin with a zero");
  } else if (!digits()) {
    return fail("a number needs digits here");
  }
  if (at < text_.size() && text_[at] == '.') {
    ++at;
    if (!digits()) return fail("a number needs a digit after its point");
  }
  if (at < text_.size() && (text_[at] == 'e' || text_[at] == 'E')) {
    ++at;
    if (at < text_.size() && (text_[at] == '+' || text_[at] == '-')) ++at;
    if (!digits()) return fail("a number needs a digit in its exponent");
  }
  out = text_.substr(at_, at - at_);
  at_ = at;
  return true;
}

bool JsonReader::word(std::string_view word) {
  if (!text_.substr(at_).starts_with(word)) return fail("this is no JSON value");
  at_ += word.size();
  return true;
}

bool JsonReader::boolean(bool& out) {
  out = text_[at_] == 't';
  return word(out ? "true" : "false");
}

bool JsonReader::null() { return word("null"); }

JsonReader::Next JsonReader::member(bool& first, std::string_view& key, std::size_t& key_at) {
  JsonKind kind = peek();
  if (at_ < text_.size() && text_[at_] == '}') {
    ++at_;
    return Next::end;
  }
  if (!first) {
    if (at_ >= text_.size() || text_[at_] != ',') {
      fail("an object goes on with , or ends with }");
      return Next::bad;
    }
    ++at_;
    kind = peek();
  }
  first = false;
  if (kind != JsonKind::string) {
    fail("an object needs a key in double quotes here");
    return Next::bad;
  }
  key_at = at_;
  if (!string(key)) return Next::bad;
  peek();
  if (at_ >= text_.size() || text_[at_] != ':') {
    fail("a colon must follow the key");
    return Next::bad;
  }
  ++at_;
  return Next::more;
}

JsonReader::Next JsonReader::element(bool& first) {
  peek();
  if (at_ < text_.size() && text_[at_] == ']' && first) {
    ++at_;
    return Next::end;
  }
  if (!first) {
    if (at_ < text_.size() && text_[at_] == ']') {
      ++at_;
      return Next::end;
    }
    if (at_ >= text_.size() || text_[at_] != ',') {
      fail("an array goes on with , or ends with ]");
      return Next::bad;
    }
    ++at_;
  }
  first = false;
  return Next::more;
}

bool JsonReader::skip(int depth_left) {
  std::string_view ignored;
  bool flag;
  bool first = true;
  switch (peek()) {
    case JsonKind::string:
      return string(ignored);
    case JsonKind::number:
      return number(ignored);
    case JsonKind::boolean:
      return boolean(flag);
    case JsonKind::null:
      return null();
    case JsonKind::object: {
      if (depth_left <= 0) return fail("it is nested too deep");
      enter();
      std::size_t where;
      for (;;) {
        const Next next = member(first, ignored, where);
        if (next != Next::more) return next == Next::end;
        if (!skip(depth_left - 1)) return false;
      }
    }
    case JsonKind::array:
      if (depth_left <= 0) return fail("it is nested too deep");
      enter();
      for (;;) {
        const Next next = element(first);
        if (next != Next::more) return next == Next::end;
        if (!skip(depth_left - 1)) return false;
      }
    case JsonKind::end:
      return fail("the text ends where a value should stand");
    case JsonKind::bad:
      return fail("this is no JSON value");
  }
  return false;
}

bool JsonReader::finish() {
  if (peek() == JsonKind::end) return true;
  return fail("something follows the value");
}

JsonReader::Place JsonReader::place(std::size_t at) const {
  at = std::min(at, text_.size());
  const std::string_view before = text_.substr(0, at);
  const auto lines = static_cast<std::size_t>(std::ranges::count(before, '\n'));
  const std::size_t begin = lines == 0 ? 0 : before.rfind('\n') + 1;
  const auto characters = std::ranges::count_if(before.substr(begin),
                                                [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; });
  return {lines + 1, static_cast<std::size_t>(characters) + 1};
}

std::string JsonReader::found(std::size_t at) const {
  JsonReader there(text_);
  there.rewind(at);
  std::string_view text;
  switch (there.peek()) {
    case JsonKind::object:
      return "an object";
    case JsonKind::array:
      return "an array";
    case JsonKind::string: {
      if (!there.string(text)) return "a string without an end";
      std::string shown;
      for (char c : text.substr(0, shown_max)) shown.push_back(static_cast<unsigned char>(c) < 0x20 ? ' ' : c);
      // A character is not cut in two.
      while (text.size() > shown_max && !shown.empty() &&
             (static_cast<unsigned char>(text[shown.size()]) & 0xc0) == 0x80) {
        shown.pop_back();
      }
      return fmt::format("the string \"{}{}\"", shown, text.size() > shown_max ? "…" : "");
    }
    case JsonKind::number:
      if (!there.number(text)) return "no number";
      return fmt::format("the number {}{}", text.substr(0, shown_max), text.size() > shown_max ? "…" : "");
    case JsonKind::boolean:
      return text_[there.at()] == 't' ? "true" : "false";
    case JsonKind::null:
      return "null";
    case JsonKind::end:
      return "the end of the text";
    case JsonKind::bad:
      break;
  }
  return "no JSON value";
}

}  // namespace shunt::schema
