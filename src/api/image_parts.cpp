#include "api/image_parts.h"

#include <mutex>
#include <utility>

namespace heed {
namespace {

// A request whose pictures are being loaded, and then that which answers it.
class ImageExchange : public Exchange {
 public:
  void cancel() override {
    std::shared_ptr<Exchange> answering;
    std::shared_ptr<ImageLoader::Loading> loading;
    {
      const std::lock_guard lock(mutex_);
      cancelled_ = true;
      answering = answering_;
      loading = loading_;
    }
    if (loading) loading->cancel();
    if (answering) answering->cancel();
  }

  void set_loading(const std::shared_ptr<ImageLoader::Loading>& loading) {
    {
      const std::lock_guard lock(mutex_);
      if (has_loaded_) return;
      loading_ = loading;
      if (!cancelled_) return;
    }
    loading->cancel();
  }

  void set_answering(const std::shared_ptr<Exchange>& answering) {
    {
      const std::lock_guard lock(mutex_);
      has_loaded_ = true;
      loading_.reset();
      answering_ = answering;
      if (!cancelled_) return;
    }
    if (answering) answering->cancel();
  }

 private:
  std::mutex mutex_;
  std::shared_ptr<ImageLoader::Loading> loading_;  // guarded by mutex_, as all below
  std::shared_ptr<Exchange> answering_;
  bool cancelled_ = false, has_loaded_ = false;
};

// The words of the fetcher for a host that does not answer in time.
bool is_about_time(const Error& error) {
  const auto says = [&](const char* words) { return error.message.find(words) != std::string::npos; };
  return says("timed out") || says("too long");
}

// Statuses: a picture that cannot be shown is the client's mistake, so is a reference that cannot be
// followed; a host that is too slow may do better the next time.
ApiError image_error(const ImageFailure& failure, const std::vector<std::string>& places) {
  ApiError error = api_error(failure.error);
  if (failure.image < 0) return error;
  error.param = places[static_cast<size_t>(failure.image)];
  error.message.insert(0, "'" + error.param + "': ");
  if (failure.error.code == ErrorCode::kStopped) return error;
  const bool is_late = failure.fetching && is_about_time(failure.error);
  const bool is_large = failure.error.code == ErrorCode::kLimit;
  error = {.status = 400, .message = std::move(error.message), .param = std::move(error.param)};
  if (is_late) {
    error.status = 504;
    error.type = "server_error";
    error.code = "failed_to_download_image";
  } else if (failure.fetching) {
    error.code = is_large ? "image_file_too_large" : "invalid_image_url";
  } else {
    error.code = is_large ? "image_too_large" : "invalid_image";
  }
  return error;
}

struct ImageUrl {
  const OrderedJson* url = nullptr;
  std::string detail;
};

struct ProcessorFields {
  std::optional<int64_t> max_soft_tokens;
};

}  // namespace

ImageRules image_rules(const Service& service) {
  const ImageLoader* loader = service.images();
  if (loader == nullptr) return {};
  return {.accepted = true, .max_images = loader->options().max_images};
}

OrderedJson ImageParts::add(std::string reference, bool low_detail, const Place& place) {
  if (!rules_.accepted) return place.fail(kReadsTextOnly, "unsupported_content"), nullptr;
  if (std::ssize(places_) >= rules_.max_images) {
    place.fail("'" + place.path() + "' is one picture too many: at most " +
                   std::to_string(rules_.max_images) + " are accepted in a request",
               "too_many_images");
    return nullptr;
  }
  places_.push_back(place.path());
  request_.sources.push_back({.reference = std::move(reference), .low_detail = low_detail});
  return {{"type", "image"}, {"image", std::ssize(places_) - 1}};
}

OrderedJson read_image_url(const OrderedJson& value, const std::string& detail, ImageParts& images,
                           const Place& place) {
  static const FieldTable<ImageUrl> table({
      field("url", text(kMaxTextBytes, 1), &ImageUrl::url),
      field("detail", image_detail(), &ImageUrl::detail),
  });
  ImageUrl image{.detail = detail};
  if (value.is_string()) {
    image.url = &value;
  } else if (value.is_object()) {
    read_fields(value, table, image, place);
    if (!place.failed() && image.url == nullptr) place.missing("url");
  } else {
    place.expected(value, "a URL, or an object with 'url'");
  }
  if (place.failed()) return nullptr;
  return images.add(image.url->get<std::string>(), image.detail == "low", place);
}

FieldShape image_detail() { return one_of({"auto", "low", "high", "original"}); }

void read_processor_fields(const OrderedJson& value, ImageParts& images, const Place& place) {
  static const FieldTable<ProcessorFields> table({
      field("max_soft_tokens", integer(1, kMaxInt), &ProcessorFields::max_soft_tokens),
  });
  ProcessorFields fields;
  read_fields(value, table, fields, place);
  if (place.failed() || !fields.max_soft_tokens) return;
  const Place here = place.at("max_soft_tokens");
  if (!is_soft_token_budget(*fields.max_soft_tokens))
    return here.expected(value["max_soft_tokens"], kSoftTokenBudgets);
  images.set_max_soft_tokens(static_cast<int>(*fields.max_soft_tokens));
}

std::shared_ptr<Exchange> with_images(Service& service, ImageParts parts, ThenWithImages then) {
  if (parts.empty()) return then({});
  const auto exchange = std::make_shared<ImageExchange>();
  const auto shared_then = std::make_shared<ThenWithImages>(std::move(then));
  const auto done = [exchange, shared_then, places = parts.places(),
                     arrived = std::chrono::steady_clock::now()](LoadedImages loaded) {
    // What is thrown must not take the server along: a responder that is dropped says that something failed.
    try {
      LoadedParts parts_loaded{.images = std::move(loaded.images), .arrived = arrived};
      if (loaded.failure) parts_loaded.error = image_error(*loaded.failure, places);
      exchange->set_answering((*shared_then)(std::move(parts_loaded)));
    } catch (const std::exception&) {
      exchange->set_answering(nullptr);
    }
    *shared_then = nullptr;
  };
  auto loading = service.load_images(parts.take_request(), done);
  if (!loading.ok()) return (*shared_then)({.error = api_error(loading.error())});
  exchange->set_loading(*loading);
  return exchange;
}

}  // namespace heed
