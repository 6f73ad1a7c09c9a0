#include "fetch/media_fetcher.h"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <memory>
#include <optional>

#include "client/http_client.h"
#include "fetch/address.h"
#include "fetch/allowed_hosts.h"
#include "fetch/data_url.h"
#include "fetch/look_up.h"
#include "fetch/media_file.h"

namespace heed {
namespace {

constexpr int kOk = 200, kMissing = 404, kGone = 410;

// Collects one body, and stops at anything that is not one.
class BodyListener : public HttpListener {
 public:
  BodyListener(std::string place, int64_t max_bytes, Result<std::string>& body)
      : place_(std::move(place)), max_bytes_(max_bytes), body_(body) {}

  bool on_response(int status, const HttpFields& fields) override {
    refusal_ = refusal_of(status, fields);
    return !refusal_;
  }
  bool on_body(std::string_view bytes) override {
    collected_ += bytes;
    if (static_cast<int64_t>(collected_.size()) > max_bytes_) {
      refusal_ = limit_reached("the answer has more than " + std::to_string(max_bytes_) + " bytes");
    }
    return !refusal_;
  }
  void on_end(Status status) override {
    if (refusal_) {
      body_ = std::move(*refusal_).within(place_);
    } else if (!status.ok()) {
      body_ = std::move(status).error();  // names the place
    } else {
      body_ = std::move(collected_);
    }
  }

 private:
  std::optional<Error> refusal_of(int status, const HttpFields& fields) const {
    const std::string code = std::to_string(status);
    if (status / 100 == 3)
      return unsupported("it answered with a redirect (" + code + "); these are not followed");
    if (status == kMissing || status == kGone) return not_found("it answered " + code);
    if (status != kOk) return invalid("it answered " + code + "; 200 is expected");
    for (const auto& [name, value] : fields) {
      if (name == "content-encoding" && value != "identity") {
        return unsupported("it answered with a Content-Encoding, which was not asked for");
      }
    }
    return std::nullopt;
  }

  std::string place_;
  int64_t max_bytes_;
  Result<std::string>& body_;
  std::string collected_;
  std::optional<Error> refusal_;
};

bool is_allowed(const MediaPolicy& policy, const Url& url) {
  return std::any_of(policy.domains.begin(), policy.domains.end(), [&](const std::string& entry) {
    const auto allowed = parse_allowed_host(entry);
    return allowed.ok() && allows(*allowed, url);
  });
}

// All addresses of the host, of which each will do.
Result<std::vector<std::string>> checked_addresses(const MediaPolicy& policy, const Url& url) {
  std::vector<std::string> addresses = {url.host};
  if (!is_address(url.host)) {
    addresses = TRY(policy.look_up ? policy.look_up(url.host) : look_up(url.host, policy.seconds));
  }
  const bool fit = policy.allow_private || std::all_of(addresses.begin(), addresses.end(), is_public_address);
  if (!fit) return unsupported(authority(url) + ": it has an address that is not public");
  return addresses;
}

}  // namespace

Status check_media_policy(const MediaPolicy& policy) {
  for (const std::string& entry : policy.domains) TRY(parse_allowed_host(entry));
  std::error_code ignored;
  if (!policy.folder.empty() && !std::filesystem::is_directory(policy.folder, ignored)) {
    return invalid(policy.folder + ": a folder is expected");
  }
  return {};
}

Result<std::string> MediaFetcher::download(std::string_view reference) const {
  const auto begin = std::chrono::steady_clock::now();
  const ResourceUrl url = TRY(parse_resource_url(reference));
  const std::string place = authority(url.server);
  if (!is_allowed(policy_, url.server)) {
    return unsupported("nothing is fetched from " + place +
                       ": --allowed-media-domains names the hosts that are allowed");
  }
  HttpClientOptions options;
  options.addresses = TRY(checked_addresses(policy_, url.server));
  const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begin;
  options.total_seconds = policy_.seconds - taken.count();
  if (options.total_seconds <= 0) return limit_reached(place + ": looking up its address took too long");
  options.connect_seconds = options.idle_seconds = options.total_seconds;
  options.max_body_bytes = policy_.bytes;
  options.ca_file = policy_.ca_file;
  const auto client = TRY(HttpClient::open(url.server, options));
  Result<std::string> body = invalid("");
  HttpRequest request;
  request.path = url.target;
  request.fields = {{"Accept", "image/jpeg, image/png, image/webp, image/gif"}};
  client->send(std::move(request), std::make_unique<BodyListener>(place, policy_.bytes, body));
  client->run();
  return body;
}

Result<std::string> MediaFetcher::fetch(std::string_view reference) const {
  if (has_scheme(reference, "data")) return read_data_url(reference, policy_.bytes);
  if (has_scheme(reference, "file")) return read_media_file(reference, policy_.folder, policy_.bytes);
  if (has_scheme(reference, "http") || has_scheme(reference, "https")) return download(reference);
  return invalid("a data:, http:, https: or file: URL is expected");
}

}  // namespace heed
