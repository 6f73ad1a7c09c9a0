#include <csignal>
#include <cstdio>
#include <ctime>

#include "api/messages_routes.h"
#include "api/openai.h"
#include "api/responses_routes.h"
#include "api/router.h"
#include "api/web_routes.h"
#include "batches/batch_routes.h"
#include "cli/commands.h"
#include "cli/images.h"
#include "cli/report.h"
#include "server/server.h"
#include "serving/image_tools.h"

namespace heed {
namespace {

struct ServeOptions {
  ModelOptions model;
  ServiceOptions service;
  ServerOptions server;
  bool no_prefix_caching = false;
  bool quiet = false;  // no access log
  double shutdown_timeout = 30;
  std::string data_dir;  // of files and batches; empty: none
  BatchLimits batches;
};

// Of batches' requests that say none: after everything interactive, whose priority is 0 unless said.
constexpr int kBatchPriority = 1000;

// SIGTERM and SIGINT, taken by wait() alone: every thread started later leaves them to it.
class ShutdownSignals {
 public:
  ShutdownSignals() {
    sigemptyset(&set_);
    sigaddset(&set_, SIGTERM);
    sigaddset(&set_, SIGINT);
    pthread_sigmask(SIG_BLOCK, &set_, nullptr);
  }
  // True if one came within so many seconds.
  bool wait(double seconds) const {
    timespec limit{
        .tv_sec = static_cast<time_t>(seconds),
        .tv_nsec = static_cast<long>((seconds - static_cast<double>(static_cast<time_t>(seconds))) * 1e9)};
    return sigtimedwait(&set_, nullptr, &limit) > 0;
  }
  void wait() const {
    int signal = 0;
    sigwait(&set_, &signal);
  }

 private:
  sigset_t set_{};
};

// What is under way may end within the time-out; a second signal ends it at once. Until then connections are
// taken, so that probes hear 503 of /health, and so does new work.
void shut_down(Api& api, Service& service, Server& server, const ShutdownSignals& signals, double timeout) {
  std::fprintf(stderr, "heed: shutting down: %d requests under way, at most %.0f s\n", service.in_flight(),
               timeout);
  api.set_state(Api::State::kDraining);
  service.refuse_new();
  constexpr double kPoll = 0.05;
  for (double waited = 0; waited < timeout; waited += kPoll) {
    if (service.wait_idle(0) && server.drain(0)) {
      std::fprintf(stderr, "heed: done\n");
      return;
    }
    if (signals.wait(kPoll)) break;
  }
  std::fprintf(stderr, "heed: aborting %d requests\n", service.in_flight());
}

std::string url_of(const ServerOptions& options, int port) {
  const bool ipv6 = options.host.find(':') != std::string::npos;
  return (options.ssl_certfile.empty() ? "http://" : "https://") +
         (ipv6 ? "[" + options.host + "]" : options.host) + ":" + std::to_string(port);
}

Status serve(ServeOptions o) {
  const ShutdownSignals signals;
  StartUpReport report;
  Api api;
  add_web_routes(api);
  const auto print_line = [](const std::string& line) { std::fprintf(stderr, "%s\n", line.c_str()); };
  if (!o.quiet) o.server.log = print_line;
  auto server = TRY(Server::start(o.server, api));
  report.phase("listen");
  Checkpoint checkpoint = TRY(open_checkpoint(o.model.model));
  report.phase("open checkpoint");
  o.service.engine.runner = o.model.runner;
  o.service.engine.prefix_caching = !o.no_prefix_caching;
  o.service.engine.touch_memory = true;
  o.service.image_tools = TRY(image_tools(o.service.images));
  const auto service = TRY(Service::open(std::move(checkpoint), o.service, progress_bar()));
  report.phase("load model");
  add_openai_routes(api, *service);
  add_responses_routes(api, *service);
  add_messages_routes(api, *service);
  std::unique_ptr<BatchService> batches;
  if (!o.data_dir.empty()) batches = TRY(BatchService::open(o.data_dir, api, o.batches, print_line));
  add_batch_routes(api, batches.get());
  api.set_state(Api::State::kReady);
  report.phase("routes");
  report.print(*service, url_of(o.server, server->port()));
  signals.wait();
  if (batches) batches->stop();  // they go on after the next start
  shut_down(api, *service, *server, signals, o.shutdown_timeout);
  server.reset();  // its workers use the service
  return {};
}

void add_server_options(CLI::App& app, ServerOptions& s) {
  app.add_option("--host", s.host, "Address to listen on")->capture_default_str();
  app.add_option("--port", s.port, "Port; 0: any that is free")
      ->check(CLI::Range(0, 65535))
      ->capture_default_str();
  app.add_option("--api-key", s.api_keys, "Key that every route but /health asks for; may be repeated");
  app.add_option("--ssl-certfile", s.ssl_certfile, "Certificate chain (PEM): serve HTTPS");
  app.add_option("--ssl-keyfile", s.ssl_keyfile, "Its private key (PEM)");
}

}  // namespace

Command add_serve(CLI::App& app) {
  CLI::App* command =
      app.add_subcommand("serve", "Serve a model over HTTP, as OpenAI's and Anthropic's APIs do");
  auto o = std::make_shared<ServeOptions>();
  add_model_options(*command, o->model);
  add_server_options(*command, o->server);
  ServiceOptions& s = o->service;
  command->add_option("--served-model-name", s.model_name, "Name of the model in requests (default: MODEL)");
  add_engine_options(*command, s.engine);
  command
      ->add_option("--max-queued-requests", s.engine.max_queue, "Most that wait; more are refused with 429")
      ->check(CLI::Range(1, 1 << 24))
      ->capture_default_str();
  command->add_flag("--no-enable-prefix-caching", o->no_prefix_caching, "Compute every prompt in full");
  command->add_option("--tool-call-parser", s.tool_parser, "How the model writes tool calls")
      ->capture_default_str();
  command->add_option("--reasoning-parser", s.reasoning_parser, "How the model writes its reasoning")
      ->capture_default_str();
  add_image_options(*command, s);
  command
      ->add_option("--shutdown-timeout", o->shutdown_timeout,
                   "Seconds that requests under way get at SIGTERM")
      ->check(CLI::Range(0.0, 86400.0))
      ->capture_default_str();
  command->add_option("--data-dir", o->data_dir,
                      "Folder of /v1/files and /v1/batches (default: they are off)");
  command->add_option("--batch-concurrency", o->batches.concurrency, "Requests of batches that run at a time")
      ->check(CLI::Range(1, 1 << 16))
      ->capture_default_str();
  o->batches.priority = kBatchPriority;
  command->add_flag("--disable-access-log", o->quiet, "No line for each request");
  return {command, [o] { return serve(*o); }};
}

}  // namespace heed
