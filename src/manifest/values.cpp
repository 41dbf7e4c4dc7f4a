#include "manifest/values.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>

#include "base/json_text.h"
#include "base/names.h"
#include "manifest/ids.h"
#include "manifest/keys.h"

namespace shunt::manifest {
namespace {

constexpr Duration duration_min = std::chrono::milliseconds(1);
constexpr Duration duration_max = std::chrono::hours(24);

std::optional<double> to_double(const std::string& text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

/// Digits with an optional sign: what 1.5 and 1e3 are not.
bool is_whole(const std::string& text) { return text.find_first_of(".eE") == std::string::npos; }

/// A number too large for 64 bits saturates: every bound is smaller.
std::int64_t to_integer(const std::string& text) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc::result_out_of_range) return text.starts_with('-') ? INT64_MIN : INT64_MAX;
  return value;
}

}  // namespace

void Report::error(Span at, std::string_view id, std::string message, Help help) {
  ++errors_;
  if (errors_ > diagnostics_max + 1) return;
  Diagnostic diagnostic;
  diagnostic.file = source_.file();
  if (errors_ == diagnostics_max + 1) {
    diagnostic.id = ids::too_many_errors;
    diagnostic.message = fmt::format("more than {} errors; the rest is not shown", diagnostics_max);
    diagnostic.fix = "mend these first";
  } else {
    diagnostic.id = id;
    diagnostic.message = std::move(message);
    diagnostic.known = std::move(help.known);
    diagnostic.fix = std::move(help.fix);
    put_at(diagnostic, source_.place(at));
  }
  out_.push_back(std::move(diagnostic));
}

void Report::warning(Span at, std::string_view id, std::string message, Help help) {
  if (++warnings_ > diagnostics_max) return;
  Diagnostic diagnostic;
  diagnostic.severity = Severity::warning;
  diagnostic.file = source_.file();
  diagnostic.id = id;
  diagnostic.message = std::move(message);
  diagnostic.known = std::move(help.known);
  diagnostic.fix = std::move(help.fix);
  put_at(diagnostic, source_.place(at));
  out_.push_back(std::move(diagnostic));
}

std::optional<bool> Values::boolean(const Member& member) {
  if (member.value.kind == Kind::boolean) return member.value.boolean;
  wrong_type(member, "true or false");
  return std::nullopt;
}

std::optional<std::string> Values::string(const Member& member) {
  if (member.value.kind != Kind::string) {
    wrong_type(member, "a string");
    return std::nullopt;
  }
  if (!usable(member.key, member.value)) return std::nullopt;
  return member.value.text;
}

std::optional<std::string> Values::prose(const Member& member) {
  if (member.value.kind == Kind::string) return member.value.text;
  wrong_type(member, "a string");
  return std::nullopt;
}

std::optional<std::int64_t> Values::integer(const Member& member, Bounds bounds) {
  const Node& node = member.value;
  if (node.kind != Kind::number || !is_whole(node.text)) {
    wrong_type(member, "a whole number");
    return std::nullopt;
  }
  const std::int64_t value = to_integer(node.text);
  if (value < bounds.min) {
    report_.error(node.span, ids::not_positive,
                  fmt::format("{} must be at least {}, is {}", in_quotes(member.key), bounds.min, shown(node.text, 20)),
                  {.fix = fmt::format("write a number from {} to {}, or leave the key out", bounds.min, bounds.max)});
    return std::nullopt;
  }
  if (value > bounds.max) {
    report_.error(node.span, ids::out_of_range,
                  fmt::format("{} must be at most {}, is {}", in_quotes(member.key), bounds.max, shown(node.text, 20)),
                  {.fix = fmt::format("write a number from {} to {}", bounds.min, bounds.max)});
    return std::nullopt;
  }
  return value;
}

std::optional<Duration> Values::duration(const Member& member) {
  const Node& node = member.value;
  Duration value{0};
  if (node.kind == Kind::number) {
    const double seconds = to_double(node.text).value_or(node.text.starts_with('-') ? -1 : 1e9);
    value = Duration(static_cast<std::int64_t>(std::min(std::max(seconds, -1.0), 1e9) * 1e9));
    if (seconds < 0) value = Duration(-1);
  } else if (node.kind == Kind::string) {
    auto parsed = parse_duration(node.text);
    const bool negative = node.text.starts_with('-');
    if (!parsed && !negative) {
      report_.error(node.span, ids::bad_duration,
                    fmt::format("{} is not a duration: {}", in_quotes(member.key), in_quotes(node.text)),
                    {.fix = R"(write a number of seconds, or a number and its unit: "250ms", "2s", "1.5m", "1h")"});
      return std::nullopt;
    }
    value = negative ? Duration(-1) : *parsed;
  } else {
    wrong_type(member, "a duration", R"(write a number of seconds, or a string such as "250ms")");
    return std::nullopt;
  }
  if (value <= Duration(0)) {
    report_.error(node.span, ids::not_positive, fmt::format("{} must be longer than zero", in_quotes(member.key)),
                  {.fix = R"(write a duration such as "250ms", or leave the key out)"});
    return std::nullopt;
  }
  if (value < duration_min || value > duration_max) {
    report_.error(node.span, ids::out_of_range, fmt::format("{} must lie between 1ms and 24h", in_quotes(member.key)),
                  {.fix = R"(a bare number is seconds; write another unit as "250ms")"});
    return std::nullopt;
  }
  return value;
}

std::optional<std::uint64_t> Values::size(const Member& member, Bounds bounds) {
  const Node& node = member.value;
  if (node.kind == Kind::number) {
    auto value = integer(member, bounds);
    return value ? std::optional(static_cast<std::uint64_t>(*value)) : std::nullopt;
  }
  if (node.kind != Kind::string) {
    wrong_type(member, "a size", R"(write a number of bytes, or a string such as "64KiB")");
    return std::nullopt;
  }
  auto parsed = parse_size(node.text);
  if (!parsed) {
    report_.error(node.span, ids::bad_size,
                  fmt::format("{} is not a size: {}", in_quotes(member.key), in_quotes(node.text)),
                  {.fix = R"(write a number of bytes, or a number and its unit: "512", "64KiB", "16MiB", "1GB")"});
    return std::nullopt;
  }
  const bool below = *parsed < static_cast<std::uint64_t>(bounds.min);
  if (below || *parsed > static_cast<std::uint64_t>(bounds.max)) {
    report_.error(node.span, below ? ids::not_positive : ids::out_of_range,
                  fmt::format("{} must be {} {} bytes, is {}", in_quotes(member.key), below ? "at least" : "at most",
                              below ? bounds.min : bounds.max, *parsed),
                  {.fix = fmt::format("write a size from {} to {} bytes", bounds.min, bounds.max)});
    return std::nullopt;
  }
  return *parsed;
}

std::optional<std::size_t> Values::one_of(const Member& member, std::string_view what, std::string_view id,
                                          std::initializer_list<std::string_view> known) {
  auto text = string(member);
  if (!text) return std::nullopt;
  for (std::size_t i = 0; i < known.size(); ++i) {
    if (known.begin()[i] == *text) return i;
  }
  const std::span<const std::string_view> list(known.begin(), known.size());
  std::string fix = write_nearest(*text, list);
  report_.error(member.value.span, id, fmt::format("{} {} does not exist", what, in_quotes(*text)),
                {.known = list_of(list), .fix = fix.empty() ? "write one of these" : std::move(fix)});
  return std::nullopt;
}

std::vector<const Node*> Values::strings(const Member& member, Single single, std::size_t max) {
  const Node& node = member.value;
  if (single == Single::yes && node.kind == Kind::string) {
    return usable(member.key, node) ? std::vector<const Node*>{&node} : std::vector<const Node*>{};
  }
  if (node.kind != Kind::array) {
    wrong_type(member, single == Single::yes ? "a string or an array of strings" : "an array of strings",
               node.kind == Kind::string ? fmt::format("write [{}]", quote_json(shown(node.text))) : "");
    return {};
  }
  if (node.elements.size() > max) {
    report_.error(
        member.span, ids::too_many,
        fmt::format("{} has {} entries, at most {} are read", in_quotes(member.key), node.elements.size(), max),
        {.fix = "make it fewer"});
    return {};
  }
  std::vector<const Node*> out;
  for (const Node& element : node.elements) {
    if (element.kind != Kind::string) {
      report_.error(
          element.span, ids::wrong_type,
          fmt::format("an entry of {} must be a string, is {}", in_quotes(member.key), kind_name(element.kind)),
          {.fix = element.kind == Kind::number ? fmt::format("write \"{}\"", shown(element.text, 20)) : ""});
    } else if (usable(member.key, element)) {
      out.push_back(&element);
    }
  }
  return out;
}

bool Values::object(const Member& member) {
  if (member.value.kind == Kind::object) return true;
  wrong_type(member, "an object", "write { … }");
  return false;
}

void Values::wrong_type(const Member& member, std::string_view expected, std::string fix) {
  const Node& node = member.value;
  std::string is(kind_name(node.kind));
  if (node.kind == Kind::number && expected == "a whole number") is = shown(node.text, 20);
  if (fix.empty() && node.kind == Kind::string && expected == "a whole number" && to_double(node.text)) {
    fix = fmt::format("write {} without quotes", shown(node.text, 20));
  } else if (fix.empty() && node.kind == Kind::string && expected == "true or false" &&
             (node.text == "true" || node.text == "false")) {
    fix = fmt::format("write {} without quotes", node.text);
  } else if (fix.empty() && node.kind == Kind::number && expected == "a string") {
    fix = fmt::format("write \"{}\"", shown(node.text, 20));
  }
  if (fix.empty()) fix = fmt::format("write {}", expected);
  report_.error(node.span, ids::wrong_type, fmt::format("{} must be {}, is {}", in_quotes(member.key), expected, is),
                {.fix = std::move(fix)});
}

bool Values::usable(std::string_view key, const Node& node) {
  std::string_view why;
  if (node.text.empty()) {
    why = "is empty";
  } else if (node.text.find('\0') != std::string::npos) {
    why = "contains a NUL character";
  } else if (node.text.size() > string_bytes_max) {
    why = "is longer than 4096 bytes";
  } else {
    return true;
  }
  report_.error(node.span, ids::bad_string, fmt::format("a string of {} {}", in_quotes(key), why),
                {.fix = node.text.empty() ? "write something, or leave the key out"
                                          : "write a shorter one, without such characters"});
  return false;
}

std::string in_quotes(std::string_view text) { return "'" + shown(text) + "'"; }

std::string write_nearest(std::string_view wrong, std::span<const std::string_view> known) {
  if (wrong.size() > 64) return {};  // No name is that long, and the distance takes time by length.
  const auto near = nearest(wrong, known);
  return near ? fmt::format("write \"{}\"", *near) : std::string();
}

}  // namespace shunt::manifest
