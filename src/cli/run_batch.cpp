#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <ctime>
#include <stop_token>
#include <thread>

#include "api/openai.h"
#include "api/router.h"
#include "batches/batch_runner.h"
#include "cli/commands.h"
#include "cli/images.h"
#include "serving/image_tools.h"

namespace heed {
namespace {

struct RunBatchOptions {
  ModelOptions model;
  ServiceOptions service;
  BatchJob job;
};

// SIGINT and SIGTERM stop the job; a second one ends the process, from whose files the next run goes on.
class Interrupts {
 public:
  Interrupts() {
    sigemptyset(&set_);
    sigaddset(&set_, SIGTERM);
    sigaddset(&set_, SIGINT);
    pthread_sigmask(SIG_BLOCK, &set_, nullptr);
    waiter_ = std::jthread([this](const std::stop_token& over) { wait(over); });
  }
  std::stop_token token() const { return stop_.get_token(); }

 private:
  void wait(const std::stop_token& over) {
    constexpr timespec kPoll{.tv_sec = 0, .tv_nsec = 50'000'000};
    while (!over.stop_requested()) {
      if (sigtimedwait(&set_, nullptr, &kPoll) <= 0) continue;
      if (!stop_.request_stop()) ::_exit(1);
      std::fputs("heed: stopping\n", stderr);
    }
  }

  sigset_t set_{};
  std::stop_source stop_;
  std::jthread waiter_;
};

// A line that is redrawn in place, on a terminal only.
void show_counts(const BatchCounts& counts) {
  static const bool terminal = isatty(STDERR_FILENO) != 0;
  static auto next = std::chrono::steady_clock::now();
  const auto now = std::chrono::steady_clock::now();
  if (!terminal || now < next) return;
  next = now + std::chrono::milliseconds(200);
  std::fprintf(stderr, "\r\033[K%lld completed, %lld failed", static_cast<long long>(counts.completed),
               static_cast<long long>(counts.failed));
}

Status run_batch_command(RunBatchOptions o) {
  const Interrupts interrupts;
  o.service.engine.runner = o.model.runner;
  o.service.image_tools = TRY(image_tools(o.service.images));
  Checkpoint checkpoint = TRY(open_checkpoint(o.model.model));
  const auto service = TRY(Service::open(std::move(checkpoint), o.service, progress_bar()));
  Api api;
  add_openai_routes(api, *service);
  api.set_state(Api::State::kReady);
  o.job.on_progress = show_counts;
  const auto begin = std::chrono::steady_clock::now();
  const auto outcome = run_batch(o.job, api, interrupts.token());
  if (isatty(STDERR_FILENO) != 0) std::fputs("\r\033[K", stderr);
  const std::string resume =
      "; results so far are in " + o.job.output + ", the same command goes on from them";
  if (!outcome.ok()) {
    Error error = outcome.error();
    const bool resumable = error.code == ErrorCode::kLimit || error.code == ErrorCode::kBusy;
    if (resumable) error.message += resume;
    return error;
  }
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  const BatchCounts& counts = outcome->counts;
  if (outcome->end != BatchEnd::kDone) {
    return stopped("stopped after " + std::to_string(counts.completed + counts.failed) + " requests" +
                   resume);
  }
  std::printf("%lld requests: %lld completed, %lld failed, %lld of them in earlier runs; %.1f s\n",
              static_cast<long long>(counts.total), static_cast<long long>(counts.completed),
              static_cast<long long>(counts.failed), static_cast<long long>(outcome->read_back),
              took.count());
  return {};
}

}  // namespace

Command add_run_batch(CLI::App& app) {
  CLI::App* command =
      app.add_subcommand("run-batch", "Run a file of requests; a run that was interrupted is taken up");
  auto o = std::make_shared<RunBatchOptions>();
  add_model_options(*command, o->model);
  BatchJob& job = o->job;
  job.concurrency = o->service.engine.max_sequences;
  command
      ->add_option("-i,--input-file", job.input,
                   "Requests, a line of JSON each, as OpenAI's batches have them")
      ->required();
  command->add_option("-o,--output-file", job.output, "Results, a line of JSON each; those in it are kept")
      ->required();
  command->add_option("--error-file", job.errors, "Results that are errors (default: the output file)");
  command->add_option("--concurrency", job.concurrency, "Requests that run at a time")
      ->check(CLI::Range(1, 1 << 16))
      ->capture_default_str();
  command->add_option("--served-model-name", o->service.model_name,
                      "Name of the model in requests (default: MODEL)");
  add_image_options(*command, o->service);
  command
      ->add_option("--kv-cache-memory", o->service.engine.cache_bytes,
                   "Bytes of the cache, such as 4G (default: what fits)")
      ->transform(CLI::AsSizeValue(false));
  return {command, [o] { return run_batch_command(*o); }};
}

}  // namespace heed
