// The API as a table of routes: finds the route of a request, checks what all of them require, and calls its
// handler. Requests that no route takes get an error object.
//
// State: while loading and while draining, /health and /ping say 503. While loading, routes that are not
// marked `always` do too; while draining, the service refuses what is new (Service::refuse_new).
#pragma once
#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <shared_mutex>
#include <string>
#include <vector>

#include "api/errors.h"
#include "api/exchange.h"
#include "base/json.h"

namespace heed {

// A request on its way through a route.
struct Call {
  ApiRequest request;
  std::shared_ptr<Responder> responder;
  std::map<std::string, std::string> captures = {};  // what the pattern's {names} stand for
  OrderedJson body = nullptr;                        // of routes with BodyKind::kJson: an object
};

enum class BodyKind { kNone, kJson, kRaw };  // kNone: not looked at; kRaw: the handler's own business

struct Route {
  std::string method;  // GET answers HEAD as well; the transport then leaves the body out
  std::string
      pattern;  // "/v1/files/{id}/content"; {id} is one segment, {id...} as the last one the whole rest
  BodyKind body = BodyKind::kNone;
  std::function<std::shared_ptr<Exchange>(Call)> handler;
  bool always = false;                       // also while loading
  ErrorForm error_form = openai_error_form;  // of what the router refuses
};

class Api : public ApiHandler {
 public:
  enum class State { kLoading, kReady, kDraining };

  Api();  // has /health and /ping
  // From any thread, at any time. A method and pattern occur once. (CHECKed.)
  void add(Route route);
  void set_state(State state) { state_ = state; }
  State state() const { return state_; }

  std::shared_ptr<Exchange> handle(ApiRequest request, std::shared_ptr<Responder> responder) override;

 private:
  struct Found {
    std::shared_ptr<const Route> route;
    std::map<std::string, std::string> captures;
    std::string allow;                         // the methods that the path has
    ErrorForm error_form = openai_error_form;  // of the path
  };
  Found find(const std::string& method, const std::string& path) const;

  std::atomic<State> state_ = State::kLoading;
  mutable std::shared_mutex mutex_;
  std::vector<std::shared_ptr<const Route>> routes_;  // guarded by mutex_
};

}  // namespace heed
