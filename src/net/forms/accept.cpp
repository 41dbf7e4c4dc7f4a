#include "net/forms/accept.h"

#include <algorithm>

#include "net/forms/quality.h"
#include "net/header.h"

namespace shunt::net {

namespace {

struct Fit {
  int specificity = -1;  // 0: */*, 1: type/*, 2: the type itself
  int quality = 0;
};

Fit fit_of(std::string_view accept, std::string_view type) {
  const std::string_view family = type.substr(0, type.find('/'));
  Fit fit;
  for_each_choice(accept, [&](std::string_view range, int quality) {
    int specificity = -1;
    if (range == "*/*" || range == "*") {
      specificity = 0;
    } else if (range.ends_with("/*")) {
      if (iequals(range.substr(0, range.size() - 2), family)) specificity = 1;
    } else if (iequals(range, type)) {
      specificity = 2;
    }
    if (specificity < 0 || specificity < fit.specificity) return;
    fit.quality = specificity == fit.specificity ? std::max(fit.quality, quality) : quality;
    fit.specificity = specificity;
  });
  return fit;
}

}  // namespace

std::optional<std::size_t> choose_media_type(std::string_view accept, std::span<const std::string_view> offers) {
  if (trim_blanks(accept).empty()) return offers.empty() ? std::nullopt : std::optional<std::size_t>(0);
  std::optional<std::size_t> best;
  Fit best_fit;
  for (std::size_t i = 0; i < offers.size(); ++i) {
    const Fit fit = fit_of(accept, offers[i]);
    if (fit.quality == 0) continue;
    // Among equals the one that was named: "*/*" after a name means "or anything".
    if (best && (fit.quality < best_fit.quality ||
                 (fit.quality == best_fit.quality && fit.specificity <= best_fit.specificity))) {
      continue;
    }
    best = i;
    best_fit = fit;
  }
  return best;
}

}  // namespace shunt::net
