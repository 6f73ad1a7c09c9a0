#include "metrics/serving_metrics.h"

#include <algorithm>
#include <vector>

namespace heed {
namespace {

// 1, 2, 5, 10, 20, 50, ... up to the greatest that is not above `max`.
std::vector<double> bounds_1_2_5(int max) {
  std::vector<double> bounds;
  for (double power = 1;; power *= 10) {
    for (const double mantissa : {1.0, 2.0, 5.0}) {
      if (mantissa * power > max) return bounds;
      bounds.push_back(mantissa * power);
    }
  }
}

// vLLM's bounds begin where a small model on a fast machine has long answered; those below are Heed's.
std::vector<double> first_token_bounds() {
  return {0.001, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75,
          1,     2.5,    5,     7.5,  10,   20,   40,   80,   160, 640,  2560};
}

std::vector<double> token_latency_bounds() {
  return {0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3,
          0.4,    0.5,   0.75,   1,     2.5,  5,     7.5,  10,    20,  40,   80};
}

std::vector<double> request_latency_bounds() {
  return {0.001, 0.005, 0.01, 0.05, 0.1, 0.3, 0.5, 0.8, 1,   1.5, 2,   2.5,  5,
          10,    15,    20,   30,   40,  50,  60,  120, 240, 480, 960, 1920, 7680};
}

Labels with(Labels labels, const Labels& more) {
  labels.insert(labels.end(), more.begin(), more.end());
  return labels;
}

Labels cache_config(const ServingMetrics::Model& model) {
  return {{"block_size", std::to_string(model.block_size)},
          {"num_gpu_blocks", std::to_string(model.num_blocks)}};
}

Counter& success_counter(Registry& registry, const Labels& labels, const std::string& reason) {
  return registry.counter("heed:request_success_total", "Requests that have ended, by how they did.",
                          with(labels, {{"finished_reason", reason}}));
}

ServingMetrics::Speculation speculation_counters(Registry& registry, const Labels& labels, int most) {
  ServingMetrics::Speculation all = {
      &registry.counter("heed:spec_decode_num_drafts_total", "Times that tokens were guessed.", labels),
      &registry.counter("heed:spec_decode_num_draft_tokens_total", "Tokens guessed.", labels),
      &registry.counter("heed:spec_decode_num_accepted_tokens_total", "Tokens guessed rightly.", labels),
      {}};
  for (int i = 0; i < most; ++i) {
    all.accepted_at.push_back(&registry.counter("heed:spec_decode_num_accepted_tokens_per_pos_total",
                                                "Tokens guessed rightly, by their place in the draft.",
                                                with(labels, {{"position", std::to_string(i)}})));
  }
  return all;
}

void bring_up_to(Counter& counter, uint64_t total) {
  counter.add(std::max(0.0, static_cast<double>(total) - counter.value()));
}

}  // namespace

ServingMetrics::ServingMetrics(Registry& registry, const Model& model)
    : ServingMetrics(registry, model, {{"model_name", model.name}, {"engine", "0"}}) {}

ServingMetrics::ServingMetrics(Registry& registry, const Model& model, const Labels& labels)
    : num_requests_running(registry.gauge("heed:num_requests_running",
                                          "Number of requests in model execution batches.", labels)),
      num_requests_waiting(
          registry.gauge("heed:num_requests_waiting", "Number of requests waiting to be processed.", labels)),
      kv_cache_usage_perc(registry.gauge("heed:kv_cache_usage_perc",
                                         "Share of the KV cache in use, 1 being all of it.", labels)),
      cache_config_info(registry.gauge("heed:cache_config_info", "How the KV cache is laid out; always 1.",
                                       with(labels, cache_config(model)))),
      prefix_cache_queries(registry.counter("heed:prefix_cache_queries_total",
                                            "Prompt tokens looked up in the prefix cache.", labels)),
      prefix_cache_hits(registry.counter("heed:prefix_cache_hits_total",
                                         "Prompt tokens found in the prefix cache.", labels)),
      mm_cache_queries(registry.counter("heed:mm_cache_queries_total",
                                        "Pictures looked up among those prepared before.", labels)),
      mm_cache_hits(registry.counter("heed:mm_cache_hits_total",
                                     "Pictures found among those prepared before.", labels)),
      num_preemptions(registry.counter("heed:num_preemptions_total",
                                       "Requests that lost their pages and began anew.", labels)),
      prompt_tokens(registry.counter("heed:prompt_tokens_total", "Prompt tokens processed.", labels)),
      generation_tokens(registry.counter("heed:generation_tokens_total", "Tokens generated.", labels)),
      request_success{&success_counter(registry, labels, "stop"),
                      &success_counter(registry, labels, "length"),
                      &success_counter(registry, labels, "abort")},
      request_prompt_tokens(registry.histogram("heed:request_prompt_tokens", "Prompt tokens of a request.",
                                               bounds_1_2_5(model.max_len), labels)),
      request_generation_tokens(registry.histogram("heed:request_generation_tokens",
                                                   "Tokens generated for a request.",
                                                   bounds_1_2_5(model.max_len), labels)),
      iteration_tokens(registry.histogram("heed:iteration_tokens_total", "Tokens of an engine step.",
                                          {1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384},
                                          labels)),
      request_params_n(registry.histogram("heed:request_params_n", "The parameter n of a request.",
                                          {1, 2, 5, 10, 20}, labels)),
      request_params_max_tokens(registry.histogram("heed:request_params_max_tokens",
                                                   "The parameter max_tokens of a request.",
                                                   bounds_1_2_5(model.max_len), labels)),
      time_to_first_token_seconds(registry.histogram("heed:time_to_first_token_seconds",
                                                     "From a request's arrival to its first token.",
                                                     first_token_bounds(), labels)),
      inter_token_latency_seconds(registry.histogram("heed:inter_token_latency_seconds",
                                                     "From one token of a request to its next.",
                                                     token_latency_bounds(), labels)),
      request_time_per_output_token_seconds(registry.histogram("heed:request_time_per_output_token_seconds",
                                                               "Mean time between the tokens of a request.",
                                                               token_latency_bounds(), labels)),
      e2e_request_latency_seconds(registry.histogram("heed:e2e_request_latency_seconds",
                                                     "From a request's arrival to its end.",
                                                     request_latency_bounds(), labels)),
      request_queue_time_seconds(registry.histogram("heed:request_queue_time_seconds",
                                                    "Time a request was waiting.", request_latency_bounds(),
                                                    labels)),
      request_inference_time_seconds(registry.histogram("heed:request_inference_time_seconds",
                                                        "Time a request was running.",
                                                        request_latency_bounds(), labels)),
      request_prefill_time_seconds(registry.histogram("heed:request_prefill_time_seconds",
                                                      "Time from a request's first step to its first token.",
                                                      request_latency_bounds(), labels)),
      request_decode_time_seconds(registry.histogram("heed:request_decode_time_seconds",
                                                     "Time from a request's first token to its last.",
                                                     request_latency_bounds(), labels)) {
  cache_config_info.set(1);
  if (model.draft_tokens > 0) speculation = speculation_counters(registry, labels, model.draft_tokens);
}

void ServingMetrics::update(const EngineReading& reading) {
  const std::scoped_lock lock(update_mutex_);  // or two readers would both add the same difference
  num_requests_running.set(reading.running);
  num_requests_waiting.set(reading.waiting);
  const auto pages = static_cast<double>(std::max<int64_t>(1, reading.pages));
  kv_cache_usage_perc.set(static_cast<double>(reading.held_pages) / pages);
  bring_up_to(num_preemptions, reading.preemptions);
  bring_up_to(prompt_tokens, reading.prompt_tokens);
  bring_up_to(generation_tokens, reading.generation_tokens);
  bring_up_to(prefix_cache_queries, reading.prefix_queries);
  bring_up_to(prefix_cache_hits, reading.prefix_hits);
  bring_up_to(mm_cache_queries, reading.image_queries);
  bring_up_to(mm_cache_hits, reading.image_hits);
  if (!speculation) return;
  bring_up_to(*speculation->drafts, reading.drafts);
  bring_up_to(*speculation->draft_tokens, reading.draft_tokens);
  bring_up_to(*speculation->accepted_tokens, reading.accepted_tokens);
  for (size_t i = 0; i < std::min(speculation->accepted_at.size(), reading.accepted_at.size()); ++i)
    bring_up_to(*speculation->accepted_at[i], reading.accepted_at[i]);
}

void ServingMetrics::observe_iteration(int64_t tokens) {
  iteration_tokens.observe(static_cast<double>(tokens));
}

void ServingMetrics::observe_request(int n) { request_params_n.observe(n); }

void ServingMetrics::observe_first_token(double seconds_since_arrival) {
  time_to_first_token_seconds.observe(seconds_since_arrival);
}

void ServingMetrics::observe_next_token(double seconds_since_last, uint64_t tokens) {
  inter_token_latency_seconds.observe(seconds_since_last, tokens);
}

void ServingMetrics::observe_finished(const FinishedRequest& request) {
  request_success.at(static_cast<size_t>(request.reason))->add();
  request_prompt_tokens.observe(request.prompt_tokens);
  request_generation_tokens.observe(request.generation_tokens);
  if (request.max_tokens) request_params_max_tokens.observe(*request.max_tokens);
  e2e_request_latency_seconds.observe(request.finished - request.queued);
  request_queue_time_seconds.observe(request.scheduled.value_or(request.finished) - request.queued);
  if (!request.scheduled || !request.first_token) return;
  request_prefill_time_seconds.observe(*request.first_token - *request.scheduled);
  request_inference_time_seconds.observe(request.last_token - *request.scheduled);
  request_decode_time_seconds.observe(request.last_token - *request.first_token);
  if (request.generation_tokens > 1) {
    request_time_per_output_token_seconds.observe((request.last_token - *request.first_token) /
                                                  (request.generation_tokens - 1));
  }
}

}  // namespace heed
