// The pictures that a request's messages show: collected while these are read, loaded when all is read.
//
//   handler:   reads ─► with_images(...) returns at once ─────────────────► worker thread is free
//   loader's threads:          fetch, decode, prepare ─► then(): submits, or replies with the error
#pragma once
#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "api/errors.h"
#include "api/fields.h"
#include "serving/service.h"

namespace heed {

// What a request may show.
struct ImageRules {
  bool accepted = false;  // the model sees
  int max_images = 0;
};
ImageRules image_rules(const Service& service);

class ImageParts {
 public:
  explicit ImageParts(ImageRules rules = {}) : rules_(rules) {}

  // Takes a picture in; `place` is that of its URL or data, which errors name. Gives the part that stands for
  // it in a message of the chat form (ChatRequest::messages). Where the model does not see, or there are more
  // than it takes, the place has the error.
  OrderedJson add(std::string reference, bool low_detail, const Place& place);

  const ImageRules& rules() const { return rules_; }
  bool empty() const { return request_.sources.empty(); }
  void set_max_soft_tokens(int count) { request_.max_soft_tokens = count; }
  const std::vector<std::string>& places() const { return places_; }
  ImageRequest take_request() { return std::move(request_); }

 private:
  ImageRules rules_;
  ImageRequest request_;
  std::vector<std::string> places_;  // of each source
};

// OpenAI's "image_url": a string, or {"url", "detail"}; "detail" may stand beside it. Gives the part, as
// add().
OrderedJson read_image_url(const OrderedJson& value, const std::string& detail, ImageParts& images,
                           const Place& place);
// Its "detail": "low" is kLowDetailTokens, all others are what the server or the model says.
FieldShape image_detail();

// mm_processor_kwargs, as vLLM's: {"max_soft_tokens": 70, 140, 280, 560 or 1120}.
void read_processor_fields(const OrderedJson& value, ImageParts& images, const Place& place);
// The row of a table for it: refused where the model does not see.
template <class T>
Field<T> processor_field(const ImageRules& rules, const OrderedJson* T::*member) {
  if (!rules.accepted) return refused("mm_processor_kwargs", "this model reads text");
  return field("mm_processor_kwargs", object(), member);
}

// Pictures, or why there are none.
struct LoadedParts {
  ImageList images;
  std::optional<ApiError> error = {};
  std::optional<std::chrono::steady_clock::time_point> arrived = {};  // of the request, where it had to wait
  void give_to(GenerateRequest& request) {
    request.images = std::move(images);
    request.arrived = arrived;
  }
};

// Calls `then` once: before this returns where the request has no pictures, else on another thread, when they
// are there. `then` replies, or submits and gives the exchange that is answering. Cancelling what this gives
// reaches the request wherever it is by then.
using ThenWithImages = std::function<std::shared_ptr<Exchange>(LoadedParts)>;
std::shared_ptr<Exchange> with_images(Service& service, ImageParts parts, ThenWithImages then);

}  // namespace heed
