#include "node/explain.h"

#include <memory>

namespace shunt::node {

namespace {

/// "shop.cart" of "shop.cart#1 (pid 7)".
std::string_view service_of(std::string_view instance) { return instance.substr(0, instance.find_first_of("# ")); }

}  // namespace

loop::Task<Result<call::Explanation>> explain(Loops& loops, call::ExplainQuestion question,
                                              std::vector<module::DirectReport> direct) {
  // Owners: this frame, and the closure, which runs to its end even when nobody waits for it any more.
  auto answer = std::make_shared<Result<call::Explanation>>(fail(Code::internal, "nobody answered"));
  auto& routing = loops.at(0);
  co_await loops.run_on(routing.index, [answer, question, &routing] {
    *answer = call::explain(*routing.router.routing(), question, routing.index);
  });
  if (*answer) {
    for (const auto& link : direct) {
      if (service_of(link.caller) != (*answer)->caller || service_of(link.callee) != (*answer)->callee) continue;
      (*answer)->directs.push_back({.caller_instance = link.caller,
                                    .callee_instance = link.callee,
                                    .distance = call::distance_named(link.link).value_or(call::Distance::unix_),
                                    .why = "the two workers have a link of their own, which the node made for them"});
    }
  }
  co_return std::move(*answer);
}

}  // namespace shunt::node
