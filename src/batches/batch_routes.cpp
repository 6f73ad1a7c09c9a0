#include "batches/batch_routes.h"

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "batches/multipart.h"

namespace heed {
namespace {

using Answer = BatchService::Answer;
using Work = Answer (*)(BatchService& service, const Call& call);

constexpr size_t kMaxQueryBytes = 4096;
constexpr int64_t kMaxJsonBytes = 64 << 10;  // generously what a batch's members come to

// What waits for the disk cannot be cancelled, and ends soon.
class Waiting : public Exchange {
 public:
  void cancel() override {}
};

void reply(Responder& responder, const Answer& answer) {
  if (const auto* error = std::get_if<ApiError>(&answer)) return reply_error(responder, *error);
  reply_json(responder, std::get<OrderedJson>(answer));
}

Answer with_query(const Call& call, const std::function<Answer(const BatchService::Parameters&)>& list) {
  const auto query = parse_query(call.request.query);
  if (!query.ok()) return api_error(query.error());
  return list(*query);
}

Answer upload(BatchService& service, const Call& call) {
  const auto type = call.request.headers.find("content-type");
  const auto form =
      parse_multipart(type == call.request.headers.end() ? "" : type->second, call.request.body);
  if (!form.ok()) return api_error(form.error());
  return service.upload(*form);
}

void send_content(BatchService& service, const Call& call) {
  auto content = service.content(call.captures.at("id"));
  if (const auto* error = std::get_if<ApiError>(&content)) return reply_error(*call.responder, *error);
  call.responder->reply(200, "application/octet-stream", std::get<std::string>(std::move(content)));
}

// Runs the work on the service's thread.
std::shared_ptr<Exchange> post(BatchService& service, Call call, void (*work)(BatchService&, const Call&)) {
  const std::shared_ptr<Responder> responder = call.responder;
  if (!call.body.is_null() && std::ssize(to_text(call.body)) > kMaxJsonBytes) {
    reply_error(
        *responder,
        {.status = 413, .message = "the body is longer than " + std::to_string(kMaxJsonBytes) + " bytes"});
    return nullptr;
  }
  const int64_t bytes = std::ssize(call.request.body) + kMaxJsonBytes;
  auto shared = std::make_shared<const Call>(std::move(call));
  if (service.post(bytes, [&service, shared, work] { work(service, *shared); })) {
    return std::make_shared<Waiting>();
  }
  reply_error(*responder, api_error(busy("too many requests for files and batches are waiting")));
  return nullptr;
}

template <Work work>
void answer(BatchService& service, const Call& call) {
  reply(*call.responder, work(service, call));
}

struct RouteRow {
  const char* method;
  const char* pattern;
  BodyKind body;
  void (*work)(BatchService&, const Call&);
};

const std::string& id_of(const Call& call) { return call.captures.at("id"); }

constexpr RouteRow kRoutes[] = {
    {"POST", "/v1/files", BodyKind::kRaw, answer<upload>},
    {"GET", "/v1/files", BodyKind::kNone, answer<[](BatchService& s, const Call& c) -> Answer {
       return with_query(c, [&](const auto& query) { return s.list_files(query); });
     }>},
    {"GET", "/v1/files/{id}", BodyKind::kNone,
     answer<[](BatchService& s, const Call& c) -> Answer { return s.file(id_of(c)); }>},
    {"DELETE", "/v1/files/{id}", BodyKind::kNone,
     answer<[](BatchService& s, const Call& c) -> Answer { return s.remove_file(id_of(c)); }>},
    {"GET", "/v1/files/{id}/content", BodyKind::kNone, send_content},
    {"POST", "/v1/batches", BodyKind::kJson,
     answer<[](BatchService& s, const Call& c) -> Answer { return s.create_batch(c.body); }>},
    {"GET", "/v1/batches", BodyKind::kNone, answer<[](BatchService& s, const Call& c) -> Answer {
       return with_query(c, [&](const auto& query) { return s.list_batches(query); });
     }>},
    {"GET", "/v1/batches/{id}", BodyKind::kNone,
     answer<[](BatchService& s, const Call& c) -> Answer { return s.batch(id_of(c)); }>},
    {"POST", "/v1/batches/{id}/cancel", BodyKind::kNone,
     answer<[](BatchService& s, const Call& c) -> Answer { return s.cancel_batch(id_of(c)); }>},
};

ApiError off() {
  return {.status = 501,
          .message = "this server keeps no files and batches: it was started without --data-dir",
          .code = "not_enabled"};
}

int digit_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

std::optional<std::string> percent_decoded(std::string_view text) {
  std::string decoded;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      decoded += text[i] == '+' ? ' ' : text[i];
      continue;
    }
    const int high = i + 2 < text.size() ? digit_value(text[i + 1]) : -1;
    const int low = i + 2 < text.size() ? digit_value(text[i + 2]) : -1;
    if (high < 0 || low < 0) return std::nullopt;
    decoded += static_cast<char>(high * 16 + low);
    i += 2;
  }
  return decoded;
}

}  // namespace

Result<BatchService::Parameters> parse_query(std::string_view query) {
  if (query.size() > kMaxQueryBytes) {
    return limit_reached("the query is longer than " + std::to_string(kMaxQueryBytes) + " bytes");
  }
  BatchService::Parameters parameters;
  while (!query.empty()) {
    const std::string_view part = query.substr(0, query.find('&'));
    query.remove_prefix(std::min(part.size() + 1, query.size()));
    if (part.empty()) continue;
    const size_t equals = std::min(part.find('='), part.size());
    const auto name = percent_decoded(part.substr(0, equals));
    const auto value = percent_decoded(part.substr(std::min(equals + 1, part.size())));
    if (!name || !value) return invalid("the query has a '%' without two hexadecimal digits");
    if (!parameters.emplace(*name, *value).second) return invalid("the query has a parameter twice");
  }
  return parameters;
}

void add_batch_routes(Api& api, BatchService* service) {
  for (const RouteRow& row : kRoutes) {
    Route route{.method = row.method, .pattern = row.pattern, .body = row.body};
    if (service == nullptr) {
      route.body = BodyKind::kRaw;
      route.handler = [](const Call& call) -> std::shared_ptr<Exchange> {
        reply_error(*call.responder, off());
        return nullptr;
      };
    } else {
      route.handler = [service, work = row.work](Call call) { return post(*service, std::move(call), work); };
    }
    api.add(std::move(route));
  }
}

}  // namespace heed
