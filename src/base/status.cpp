#include "base/status.h"

#include <array>

namespace shunt {

namespace {
constexpr std::array<std::string_view, code_count> code_names = {
    "ok",        "cancelled",      "unknown",           "invalid_argument",   "deadline_exceeded",
    "not_found", "already_exists", "permission_denied", "resource_exhausted", "failed_precondition",
    "aborted",   "out_of_range",   "unimplemented",     "internal",           "unavailable",
    "data_loss", "unauthenticated"};

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }
}  // namespace

std::string_view code_name(Code code) {
  auto index = static_cast<std::size_t>(code);
  return index < code_names.size() ? code_names[index] : std::string_view("unknown");
}

std::optional<Code> code_from_name(std::string_view name) {
  auto same = [&](std::string_view known) {
    if (name.size() != known.size()) return false;
    for (std::size_t i = 0; i < name.size(); i++) {
      if (lower(name[i]) != known[i]) return false;
    }
    return true;
  };
  for (std::size_t i = 0; i < code_names.size(); i++) {
    if (same(code_names[i])) return static_cast<Code>(i);
  }
  if (same("canceled")) return Code::cancelled;  // Connect's spelling; ours is gRPC's.
  return std::nullopt;
}

Status::Status(Code code, std::string message) : Status(code, {}, std::move(message)) {}

Status::Status(Code code, std::string_view id, std::string message) : code_(code) {
  if (!message.empty() || !id.empty()) {
    body_ = std::make_unique<Body>(Body{std::string(id), std::move(message), {}});
  }
}

Status::Status(const Status& other)
    : code_(other.code_), retry_(other.retry_), body_(other.body_ ? std::make_unique<Body>(*other.body_) : nullptr) {}

Status& Status::operator=(const Status& other) {
  if (this != &other) *this = Status(other);
  return *this;
}

Status::Body& Status::body() {
  if (!body_) body_ = std::make_unique<Body>();
  return *body_;
}

Status& Status::with_retry(Retry retry) & {
  retry_ = retry;
  return *this;
}
Status&& Status::with_retry(Retry retry) && {
  retry_ = retry;
  return std::move(*this);
}
Status& Status::with_details(std::string details) & {
  body().details = std::move(details);
  return *this;
}
Status&& Status::with_details(std::string details) && {
  body().details = std::move(details);
  return std::move(*this);
}
Status&& Status::with_context(std::string_view context) && {
  body().message.insert(0, std::string(context) + ": ");
  return std::move(*this);
}

std::string Status::to_string() const {
  std::string text;
  if (!id().empty()) text.append(id()).append(" ");
  text.append(code_name(code_));
  if (!message().empty()) text.append(": ").append(message());
  return text;
}

}  // namespace shunt
