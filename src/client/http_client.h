// An HTTP/1.1 client: any number of requests to one server at once, on one thread, bodies as they arrive.
//
//   HttpClient client = TRY(HttpClient::open(url, {}));
//   client.send({.method = "POST", .path = "/v1/completions", .body = text}, std::make_unique<MyListener>());
//   client.run();   // listeners and timers are called from here
//
// Everything is called from the thread that runs run(), or before it. Bounded: headers, bodies and times have
// limits; a server that breaks them costs its request only.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "client/url.h"

namespace heed {

using HttpFields = std::vector<std::pair<std::string, std::string>>;

struct HttpClientOptions {
  bool keep_alive = false;  // connections are used again; else each request has its own
  double connect_seconds = 10;
  double idle_seconds = 600;  // longest silence of the server
  int64_t max_header_bytes = 64 << 10;
  int64_t max_body_bytes = int64_t{64} << 20;
  double total_seconds = 0;  // longest life of a request, from connecting to the answer's last byte; 0: any
  bool verify = true;        // the server's certificate, with the system's authorities or:
  std::string ca_file;       // PEM
  // Not empty: one of these is connected to, as "192.0.2.1" or "2001:db8::1", and nothing is looked up. The
  // URL's host is still what is told to the server and what its certificate is held to.
  std::vector<std::string> addresses;
};

struct HttpRequest {
  std::string method = "GET";
  std::string path = "/";  // and query; behind the URL's prefix
  HttpFields fields;
  std::string body;  // with a Content-Length unless empty
  std::string raw;   // not empty: these bytes are sent in place of all of the above
};

// Hears one answer.
class HttpListener {
 public:
  virtual ~HttpListener() = default;
  // Each returns whether to go on; false hangs up.
  virtual bool on_response(int status, const HttpFields& fields) = 0;  // names in lower case
  virtual bool on_body(std::string_view bytes) = 0;
  // The last call: the answer was whole, or what went wrong (kStopped: we hung up). Destroyed next.
  virtual void on_end(Status status) = 0;
};

class HttpClient {
 public:
  // Finds the server's address and reads certificates; does not connect.
  static Result<std::unique_ptr<HttpClient>> open(const Url& url, const HttpClientOptions& options);
  ~HttpClient();
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  // Returns the request's number.
  uint64_t send(HttpRequest request, std::unique_ptr<HttpListener> listener);
  // Hangs up. Its listener hears the end soon; nothing happens where it already has.
  void hang_up(uint64_t request);
  void after(double seconds, std::function<void()> then);

  // Until no request is under way and no timer is pending.
  void run();
  int num_under_way() const;

 private:
  struct Parts;
  explicit HttpClient(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

struct HttpResponse {
  int status = 0;
  HttpFields fields;
  std::string body;
};
// One request and its whole answer; runs the client.
Result<HttpResponse> fetch(HttpClient& client, HttpRequest request);

}  // namespace heed
