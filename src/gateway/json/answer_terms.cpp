#include "gateway/json/answer_terms.h"

#include <vector>

#include "gateway/media.h"
#include "net/forms/accept.h"
#include "net/forms/conditions.h"

namespace shunt::gateway {

namespace {

// Smaller ones fit into the packet that they need anyway.
constexpr std::size_t compressed_bytes_min = 1024;
constexpr net::Coding codings[] = {net::Coding::zstd, net::Coding::gzip};

bool names(std::string_view list, std::string_view etag, net::Match match) {
  if (net::names_etag(list, etag, match)) return true;
  for (const net::Coding coding : codings) {
    if (net::names_etag(list, coded_etag(etag, coding), match)) return true;
  }
  return false;
}

}  // namespace

Own<AnswerTerms> AnswerTerms::read(const Request& request) {
  Own<AnswerTerms> terms;
  const auto keep = [&](std::string AnswerTerms::* member, std::string_view value) {
    if (!terms) terms = make_own<AnswerTerms>();
    std::string& text = (*terms).*member;
    if (!text.empty()) text += ", ";  // A list may come as several headers.
    text += value;
  };
  struct Known {
    std::string_view name;
    std::string AnswerTerms::* member;
  };
  static constexpr Known known[] = {
      {"accept", &AnswerTerms::accept},     {"accept-encoding", &AnswerTerms::accept_encoding},
      {"if-match", &AnswerTerms::if_match}, {"if-none-match", &AnswerTerms::if_none_match},
      {"if-range", &AnswerTerms::if_range}, {"range", &AnswerTerms::range},
  };
  for (const net::Header& header : request.headers) {
    if (header.name.empty() || std::string_view("aAiIrR").find(header.name.front()) == std::string_view::npos) continue;
    for (const Known& one : known) {
      if (header.name.size() != one.name.size() || !net::iequals(header.name, one.name)) continue;
      if (!header.value.empty() && header.value != "*/*") keep(one.member, header.value);
    }
  }
  return terms;
}

bool takes_type(const AnswerTerms* terms, std::string_view type) {
  return choose_type(terms, {without_parameters(type)}).has_value();
}

std::optional<std::string_view> choose_type(const AnswerTerms* terms, std::initializer_list<std::string_view> types) {
  if (terms == nullptr || terms->accept.empty()) return *types.begin();
  const auto chosen = net::choose_media_type(terms->accept, {types.begin(), types.size()});
  if (!chosen) return std::nullopt;
  return types.begin()[*chosen];
}

bool is_compressible(std::string_view type) {
  type = without_parameters(type);
  const auto begins = [&](std::string_view start) {
    return type.size() > start.size() && net::iequals(type.substr(0, start.size()), start);
  };
  const auto ends = [&](std::string_view end) {
    return type.size() > end.size() && net::iequals(type.substr(type.size() - end.size()), end);
  };
  if (net::iequals(type, "text/event-stream")) return false;  // A proxy that unpacks it would hold events back.
  return begins("text/") || ends("+json") || ends("+xml") || net::iequals(type, "application/json") ||
         is_lines_type(type) || net::iequals(type, "application/xml") || net::iequals(type, "application/javascript") ||
         net::iequals(type, "application/wasm");
}

bool may_be_coded(std::string_view type, std::size_t size) {
  return size >= compressed_bytes_min && is_compressible(type);
}

net::Coding choose_answer_coding(const AnswerTerms* terms, std::string_view type, std::size_t size) {
  if (terms == nullptr || terms->accept_encoding.empty() || !may_be_coded(type, size)) {
    return net::Coding::identity;
  }
  // Who refuses everything gets it as it is: better than nothing (RFC 9110, section 12.5.3).
  return net::choose_coding(terms->accept_encoding, codings).value_or(net::Coding::identity);
}

ReadPlan plan_read(const AnswerTerms* terms, std::string_view etag, std::uint64_t size, bool has_ranges) {
  ReadPlan plan{ReadPlan::Kind::whole, 0, size};
  if (terms == nullptr) return plan;
  if (!terms->if_match.empty() && !names(terms->if_match, etag, net::Match::strong)) {
    plan.kind = ReadPlan::Kind::failed;
    return plan;
  }
  if (!terms->if_none_match.empty() && names(terms->if_none_match, etag, net::Match::weak)) {
    plan.kind = ReadPlan::Kind::not_modified;
    return plan;
  }
  const bool is_other = !terms->if_range.empty() && !net::names_etag(terms->if_range, etag, net::Match::strong);
  if (!has_ranges || terms->range.empty() || is_other) return plan;
  const net::ByteRange range = net::parse_range(terms->range, size);
  if (range.kind == net::ByteRange::Kind::unsatisfiable) plan.kind = ReadPlan::Kind::unsatisfiable;
  if (range.kind == net::ByteRange::Kind::part) plan = {ReadPlan::Kind::part, range.first, range.size};
  return plan;
}

std::string coded_etag(std::string_view etag, net::Coding coding) {
  if (coding == net::Coding::identity || !etag.ends_with('"')) return std::string(etag);
  std::string out(etag.substr(0, etag.size() - 1));
  return out.append("-").append(net::coding_name(coding)).append("\"");
}

}  // namespace shunt::gateway
