// What a transport (HTTP, a file of requests) and the API say to each other.
//
//   transport                                      API
//   handle(request, responder)   ──────────────►   checks, renders, tokenizes, submits; returns at once
//                                ◄──────────────   responder: reply() whole, or start(), write()..., end()
//   exchange->cancel()           ──────────────►   the client is gone: frees what it held within a step
#pragma once
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace heed {

struct ApiRequest {
  std::string method;                          // "GET", "POST", ...
  std::string path;                            // percent-decoded and normalised, without the query
  std::string query;                           // as sent, without the '?'
  std::map<std::string, std::string> headers;  // names in lower case
  std::string body;                            // within the transport's limit
};

using HeaderFields = std::vector<std::pair<std::string, std::string>>;

// Where the answer goes. Safe from any thread, one call at a time; no call blocks, nor calls back.
class Responder {
 public:
  virtual ~Responder() = default;

  // The whole answer: exactly one call of this, or ...
  virtual void reply(int status, std::string content_type, std::string body, HeaderFields fields = {}) = 0;

  // ... start, any number of writes, end. Each write is sent as soon as it can be. False: the reader is gone
  // or too slow, and nothing more is taken; end() is due all the same.
  virtual void start(int status, std::string content_type, HeaderFields fields = {}) = 0;
  virtual bool write(std::string bytes) = 0;
  virtual void end() = 0;
};

// A request being answered.
class Exchange {
 public:
  virtual ~Exchange() = default;
  // From any thread, any number of times, also after the end. The responder still gets its end().
  virtual void cancel() = 0;
};

class ApiHandler {
 public:
  virtual ~ApiHandler() = default;
  // On a worker thread of the transport's: may take milliseconds of processor time, but does not wait for
  // tokens. Any number of threads at once. Null where the answer is complete on return.
  virtual std::shared_ptr<Exchange> handle(ApiRequest request, std::shared_ptr<Responder> responder) = 0;
};

}  // namespace heed
