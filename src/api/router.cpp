#include "api/router.h"

#include <algorithm>
#include <cctype>
#include <mutex>
#include <optional>
#include <string_view>

#include "api/body.h"
#include "base/check.h"

namespace heed {
namespace {

// The captures where `pattern` describes `path`.
std::optional<std::map<std::string, std::string>> match(std::string_view pattern, std::string_view path) {
  std::map<std::string, std::string> captures;
  while (!pattern.empty() && !path.empty()) {
    if (pattern.front() != '{') {
      if (pattern.front() != path.front()) return std::nullopt;
      pattern.remove_prefix(1);
      path.remove_prefix(1);
      continue;
    }
    std::string_view name = pattern.substr(1, pattern.find('}') - 1);
    pattern.remove_prefix(name.size() + 2);
    const bool is_rest = name.ends_with("...");
    if (is_rest) name.remove_suffix(3);
    const std::string_view value = is_rest ? path : path.substr(0, path.find('/'));
    if (value.empty()) return std::nullopt;
    captures.emplace(name, value);
    path.remove_prefix(value.size());
  }
  if (!pattern.empty() || !path.empty()) return std::nullopt;
  return captures;
}

bool is_json_type(const std::map<std::string, std::string>& headers) {
  const auto found = headers.find("content-type");
  if (found == headers.end()) return false;
  std::string type = found->second.substr(0, found->second.find(';'));
  while (!type.empty() && (type.back() == ' ' || type.back() == '\t')) type.pop_back();
  std::transform(type.begin(), type.end(), type.begin(), [](unsigned char c) { return std::tolower(c); });
  return type == "application/json";
}

const char* name_of(Api::State state) {
  if (state == Api::State::kLoading) return "loading";
  return state == Api::State::kReady ? "ready" : "draining";
}

ApiError loading_error() {
  return {.status = 503,
          .message = "the model is being loaded",
          .type = "server_error",
          .code = "loading",
          .retry_after = 1};
}

// Printable and short: paths come from outside.
std::string shown(const std::string& path) {
  constexpr size_t kShownPathBytes = 100;
  return path.size() > kShownPathBytes ? path.substr(0, kShownPathBytes) + "..." : path;
}

}  // namespace

Api::Api() {
  const auto health = [this](const Call& call) -> std::shared_ptr<Exchange> {
    const State now = state();
    HeaderFields fields;
    if (now != State::kReady) fields.emplace_back("Retry-After", "1");
    call.responder->reply(now == State::kReady ? 200 : 503, "application/json",
                          to_text(OrderedJson{{"status", name_of(now)}}), fields);
    return nullptr;
  };
  for (const char* path : {"/health", "/ping"})
    add({.method = "GET", .pattern = path, .handler = health, .always = true});
  add({.method = "POST", .pattern = "/ping", .handler = health, .always = true});
}

void Api::add(Route route) {
  const std::unique_lock lock(mutex_);
  for (const auto& other : routes_)
    CHECK(other->method != route.method || other->pattern != route.pattern, route.method, route.pattern);
  routes_.push_back(std::make_shared<const Route>(std::move(route)));
}

Api::Found Api::find(const std::string& method, const std::string& path) const {
  Found found;
  const std::string wanted = method == "HEAD" ? "GET" : method;
  const std::shared_lock lock(mutex_);
  for (const auto& route : routes_) {
    auto captures = match(route->pattern, path);
    if (!captures) continue;
    found.error_form = route->error_form;
    found.allow += (found.allow.empty() ? "" : ", ") + route->method;
    if (route->method == "GET") found.allow += ", HEAD";
    if (route->method != wanted || found.route) continue;
    found.route = route;
    found.captures = *std::move(captures);
  }
  return found;
}

std::shared_ptr<Exchange> Api::handle(ApiRequest request, std::shared_ptr<Responder> responder) {
  Found found = find(request.method, request.path);
  const auto refuse = [&](const ApiError& error) {
    reply_error(*responder, error, found.error_form);
    return nullptr;
  };
  if (state() == State::kLoading && !(found.route && found.route->always)) return refuse(loading_error());
  if (found.allow.empty())
    return refuse(not_found_error("there is nothing at " + shown(request.path), "unknown_url"));
  if (!found.route) {
    return refuse({.status = 405,
                   .message = shown(request.path) + " does not take " + shown(request.method) +
                              "; it takes " + found.allow,
                   .code = "method_not_allowed",
                   .fields = {{"Allow", found.allow}}});
  }
  Call call{.responder = responder, .captures = std::move(found.captures)};
  if (found.route->body == BodyKind::kJson) {
    if (!is_json_type(request.headers)) {
      return refuse({.status = 415,
                     .message = "the content type must be application/json",
                     .code = "unsupported_media_type"});
    }
    Result<OrderedJson> body = parse_body(request.body);
    if (!body.ok()) return refuse(api_error(body.error()));
    call.body = std::move(body).value();
    request.body = {};  // it can be large
  }
  call.request = std::move(request);
  return found.route->handler(std::move(call));
}

}  // namespace heed
