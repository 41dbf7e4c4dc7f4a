#include "gateway/page.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "base/json_text.h"
#include "gateway/text.h"
#include "manifest/document.h"

namespace shunt::gateway {

namespace {

constexpr std::string_view head = R"(<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Services</title>
<style>
:root { color-scheme: light dark; --soft: #8881; --line: #8884; --dim: #777; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 52rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.15rem; margin: 2rem 0 .2rem; }
h3 { font: 600 1rem ui-monospace, monospace; margin: 0; }
p { margin: .3rem 0; white-space: pre-line; } .dim { color: var(--dim); font-weight: 400; font-size: .9rem; }
article { border: 1px solid var(--line); border-radius: .5rem; padding: .7rem 1rem; margin: .7rem 0; }
.tag { font: .75rem ui-monospace, monospace; background: var(--soft); border-radius: .3rem; padding: .1rem .4rem; }
pre, details { font-size: .85rem; margin: .4rem 0 0; overflow-x: auto; }
pre { background: var(--soft); border-radius: .3rem; padding: .4rem .6rem; }
</style>
)";

std::string_view effect_name(call::Effect effect) {
  switch (effect) {
    case call::Effect::any:
      return "any";
    case call::Effect::idempotent:
      return "idempotent";
    case call::Effect::none:
      return "none";
  }
  return "any";
}

std::string_view shape_name(call::StreamShape shape) {
  switch (shape) {
    case call::StreamShape::unary:
      return "unary";
    case call::StreamShape::client:
      return "client";
    case call::StreamShape::server:
      return "server";
    case call::StreamShape::both:
      return "both";
  }
  return "unary";
}

std::vector<const call::Route*> shown_routes(const call::Routing& routing, Shows shows) {
  std::vector<const call::Route*> routes;
  for (const auto& [name, route] : routing.routes) {
    if (shows == Shows::everything || route->definition->exposed) routes.push_back(route.get());
  }
  // The node's own service stands last: who looks here looks for theirs.
  std::ranges::sort(routes, {}, [](const call::Route* route) {
    const std::string& name = route->definition->full_name;
    return std::pair(name == "manager", std::string_view(name));
  });
  return routes;
}

// A schema is somebody else's text: only what reads as JSON is passed on as JSON.
std::string schema_json(const std::string& schema) {
  std::vector<manifest::Diagnostic> diagnostics;
  const auto node = manifest::parse(manifest::Source("", schema), diagnostics);
  return node ? manifest::write_json(*node) : quote_json(schema);
}

void write_schema(std::string& out, std::string_view title, const std::string& schema) {
  if (schema.empty() || schema == "{}") return;
  fmt::format_to(std::back_inserter(out), "<details><summary>{}</summary><pre>{}</pre></details>\n", title,
                 escape_html(schema));
}

void write_command(std::string& out, const call::ServiceDefinition& service, const call::CommandDefinition& command) {
  fmt::format_to(std::back_inserter(out), "<article><h3>{}</h3>\n", escape_html(command.name));
  if (command.effect != call::Effect::any) {
    fmt::format_to(std::back_inserter(out), "<span class=tag>effect: {}</span>\n", effect_name(command.effect));
  }
  if (command.stream != call::StreamShape::unary) {
    fmt::format_to(std::back_inserter(out), "<span class=tag>streams: {}</span>\n", shape_name(command.stream));
  }
  if (!command.description.empty()) {
    fmt::format_to(std::back_inserter(out), "<p>{}</p>\n", escape_html(command.description));
  }
  fmt::format_to(std::back_inserter(out), "<pre>{} /{}/{}</pre>\n",
                 command.effect == call::Effect::none ? "GET or POST" : "POST", escape_html(service.full_name),
                 escape_html(command.name));
  write_schema(out, "request", command.request_schema);
  write_schema(out, "response", command.response_schema);
  out += "</article>\n";
}

}  // namespace

std::string services_page(const call::Routing& routing, Shows shows) {
  std::string out(head);
  const auto routes = shown_routes(routing, shows);
  out += "<h1>Services</h1>\n";
  if (routes.empty()) {
    out += shows == Shows::everything
               ? "<p>There are none.</p>\n"
               : "<p>None is exposed here. A service is when its manifest says <code>\"expose\": true</code>.</p>\n";
  }
  for (const call::Route* route : routes) {
    const call::ServiceDefinition& service = *route->definition;
    fmt::format_to(std::back_inserter(out), "<h2 id=\"{0}\">{0} <span class=dim>{1}</span></h2>\n",
                   escape_html(service.full_name), escape_html(service.version));
    if (!service.description.empty()) {
      fmt::format_to(std::back_inserter(out), "<p>{}</p>\n", escape_html(service.description));
    }
    if (route->instances.empty() && !route->why_absent.empty()) {
      fmt::format_to(std::back_inserter(out), "<p class=dim>It can't be called now: {}</p>\n",
                     escape_html(route->why_absent));
    }
    for (const auto& [name, command] : service.commands) write_command(out, service, command);
  }
  return out;
}

std::string services_json(const call::Routing& routing, Shows shows) {
  std::string out = "{\"services\":[";
  bool first_service = true;
  for (const call::Route* route : shown_routes(routing, shows)) {
    const call::ServiceDefinition& service = *route->definition;
    fmt::format_to(std::back_inserter(out), "{}{{\"name\":{},\"version\":{},\"description\":{},\"commands\":[",
                   first_service ? "" : ",", quote_json(service.full_name), quote_json(service.version),
                   quote_json(service.description));
    first_service = false;
    bool first_command = true;
    for (const auto& [name, command] : service.commands) {
      fmt::format_to(std::back_inserter(out), "{}{{\"name\":{},\"description\":{},\"effect\":\"{}\",\"stream\":\"{}\"",
                     first_command ? "" : ",", quote_json(name), quote_json(command.description),
                     effect_name(command.effect), shape_name(command.stream));
      first_command = false;
      if (!command.request_schema.empty()) out += ",\"request\":" + schema_json(command.request_schema);
      if (!command.response_schema.empty()) out += ",\"response\":" + schema_json(command.response_schema);
      out += '}';
    }
    out += "]}";
  }
  return out + "]}";
}

}  // namespace shunt::gateway
