// Routes that tell about the server: /v1/models, /version, /load, /metrics.
#include "api/openai.h"
#include "base/version.h"

namespace heed {
namespace {

OrderedJson model_object(const Service& service) {
  OrderedJson modalities = OrderedJson::array({"text"});
  if (service.images() != nullptr) modalities.push_back("image");
  return {{"id", service.model_name()},
          {"object", "model"},
          {"created", service.created()},
          {"owned_by", "heed"},
          {"root", service.model_name()},
          {"parent", nullptr},
          {"max_model_len", service.max_model_len()},
          {"input_modalities", std::move(modalities)},
          {"permission", OrderedJson::array()}};
}

std::shared_ptr<Exchange> list_models(const Service& service, const Call& call) {
  reply_json(*call.responder, {{"object", "list"}, {"data", OrderedJson::array({model_object(service)})}});
  return nullptr;
}

std::shared_ptr<Exchange> show_model(const Service& service, const Call& call) {
  // Names are often folders: "/v1/models//srv/bard" has one slash by the time it arrives here.
  const std::string& id = call.captures.at("id");
  const std::string& name = service.model_name();
  if (id == name || (name.starts_with('/') && id == name.substr(1))) {
    reply_json(*call.responder, model_object(service));
  } else {
    ApiError error =
        not_found_error("there is no model of that name; \"" + name + "\" is served", "model_not_found");
    error.param = "model";
    reply_error(*call.responder, error);
  }
  return nullptr;
}

}  // namespace

void add_model_routes(Api& api, Service& service) {
  const auto get = [&](const char* pattern, std::function<std::shared_ptr<Exchange>(Call)> handler) {
    api.add({.method = "GET", .pattern = pattern, .handler = std::move(handler)});
  };
  get("/v1/models", [&service](const Call& call) { return list_models(service, call); });
  get("/v1/models/{id...}", [&service](const Call& call) { return show_model(service, call); });
  get("/version", [](const Call& call) {
    reply_json(*call.responder, {{"version", kVersion}});
    return nullptr;
  });
  get("/load", [&service](const Call& call) {
    reply_json(*call.responder, {{"server_load", service.in_flight()}});
    return nullptr;
  });
  get("/metrics", [&service](const Call& call) {
    call.responder->reply(200, "text/plain; version=0.0.4; charset=utf-8", service.expose_metrics());
    return nullptr;
  });
}

}  // namespace heed
