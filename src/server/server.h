// The HTTP/1.1 server: takes requests off the network, checks and limits them, and hands them to an
// ApiHandler.
//
//   accept ─► [TLS] ─► header ─► path, key, framing ─► body ─► ApiHandler::handle on a worker thread
//                                                                 │ Responder, from any thread
//   client ◄──────────────── one IO thread ◄──────────────────────┘
//
// One IO thread runs every connection, so connections share no locks; a client costs only its own connection,
// whatever it does. What the handler may rely on: the path is normalised (request_target.h), the key has been
// checked, header names are in lower case (equal ones joined by ", "), "x-request-id" is always present, and
// HEAD arrives as GET (its body is dropped here). A refusal is an OpenAI error object that names the limit.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "api/exchange.h"
#include "base/result.h"

namespace heed {

struct ServerLimits {
  int64_t url_bytes = int64_t{8} << 10;       // of the request target; else 414
  int64_t header_bytes = int64_t{64} << 10;   // of all header fields; else 431
  int64_t body_bytes = int64_t{64} << 20;     // of one body; else 413
  int64_t all_body_bytes = int64_t{1} << 30;  // of all bodies being read or waiting for a worker; else 503
  int64_t unsent_bytes = int64_t{4} << 20;    // a stream that is further behind loses its connection
  int max_connections = 16384;                // else 503 with Retry-After
  double idle_seconds = 75;                   // between requests; then closed without a word
  double handshake_seconds = 10;              // of TLS
  double header_seconds = 10;                 // from a request's first byte to its last header byte; else 408
  double body_seconds = 30;                   // grace for the body, and ...
  int64_t body_bytes_per_second = 4096;       // ... the rate that buys more time; else 408
  double send_seconds = 60;                   // without the client taking a byte; then closed
  double linger_seconds = 2;  // how long a refused client may go on sending before it is cut off
};

struct ServerOptions {
  std::string host = "127.0.0.1";     // an address or a name; the first of its addresses that can be bound
  int port = 8000;                    // 0: any free one
  std::vector<std::string> api_keys;  // none: everyone may use every route
  std::string ssl_certfile;           // PEM, the chain in order; with ssl_keyfile
  std::string ssl_keyfile;            // PEM, not encrypted
  ServerLimits limits;
  int worker_threads = 4;
  // One line per request and per trouble, control characters escaped. From any thread; must not block.
  std::function<void(const std::string& line)> log;
};

class Server {
 public:
  // Listens when it returns. The handler must outlive the server, and outlive or ignore late responders.
  static Result<std::unique_ptr<Server>> start(ServerOptions options, ApiHandler& handler);
  ~Server();  // aborts

  int port() const;
  int connections() const;  // open, or closed with an exchange that has not ended yet

  // The calls below are for one thread at a time.
  void stop_accepting();  // on return, connecting is refused
  // Stops accepting, closes idle connections, lets the others finish their request and then closes them.
  // True: every connection and exchange has ended within so many seconds.
  bool drain(double seconds);
  void abort();  // closes every connection and cancels every exchange

 private:
  struct Parts;
  explicit Server(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

}  // namespace heed
