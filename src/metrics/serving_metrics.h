// The metrics of one model being served: vLLM's names with `heed:` for `vllm:`, its meanings and its bucket
// bounds (finer ones added at the fast end), so that dashboards and gateways need one rename. Label
// model_name on each, and engine="0".
//
// Plain numbers in; all functions are safe from any thread. Source: vLLM, vllm/v1/metrics/loggers.py.
#pragma once
#include <array>
#include <cstdint>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "metrics/metrics.h"

namespace heed {

// As vLLM counts it: one choice of a request ("n" of them) is a request here, but in request_params_n.
enum class FinishedReason : int { kStop, kLength, kAbort };

struct FinishedRequest {
  FinishedReason reason = FinishedReason::kStop;
  int prompt_tokens = 0;
  int generation_tokens = 0;
  std::optional<int> max_tokens;  // as asked for
  // Moments on one clock, in seconds. Absent: it never came to that.
  double queued = 0;                  // handed to the engine
  std::optional<double> scheduled;    // first part of a step
  std::optional<double> first_token;  // sampled
  double last_token = 0;              // meaningless without first_token
  double finished = 0;
};

// The engine's state, and its totals since it started.
struct EngineReading {
  int running = 0, waiting = 0;
  int64_t held_pages = 0, pages = 0;
  uint64_t preemptions = 0;
  uint64_t prompt_tokens = 0, generation_tokens = 0;  // computed; sampled
  uint64_t prefix_queries = 0, prefix_hits = 0;       // tokens looked up; found
  uint64_t image_queries = 0, image_hits = 0;         // pictures looked up among those prepared; found
  uint64_t drafts = 0, draft_tokens = 0, accepted_tokens = 0;
  std::span<const uint64_t> accepted_at;  // by place within a draft
};

struct ServingMetrics {
  struct Model {
    std::string name;
    int max_len = 0;  // bounds the buckets of token counts
    int block_size = 0;
    int64_t num_blocks = 0;
    int draft_tokens = 0;  // most in a draft; 0: there is no speculation, nor are its metrics
  };

  // The registry must have no common labels of these names.
  ServingMetrics(Registry& registry, const Model& model);

  // Sets the gauges and brings the counters up to the totals. A reading older than one given before does not
  // take a counter back.
  void update(const EngineReading& reading);
  void observe_iteration(int64_t tokens);  // a step: prompt tokens computed and tokens sampled, together
  void observe_request(int n);             // once for a request, however many choices
  void observe_first_token(double seconds_since_arrival);
  void observe_next_token(double seconds_since_last, uint64_t tokens = 1);
  void observe_finished(const FinishedRequest& request);

  Gauge& num_requests_running;
  Gauge& num_requests_waiting;
  Gauge& kv_cache_usage_perc;  // 0 .. 1
  Gauge& cache_config_info;    // 1; labels block_size and num_gpu_blocks, which gateways read

  Counter& prefix_cache_queries;  // tokens
  Counter& prefix_cache_hits;     // tokens
  Counter& mm_cache_queries;      // pictures
  Counter& mm_cache_hits;         // pictures
  Counter& num_preemptions;
  Counter& prompt_tokens;
  Counter& generation_tokens;
  std::array<Counter*, 3> request_success;  // by FinishedReason
  struct Speculation {
    Counter *drafts, *draft_tokens, *accepted_tokens;
    std::vector<Counter*> accepted_at;
  };
  std::optional<Speculation> speculation;

  Histogram& request_prompt_tokens;
  Histogram& request_generation_tokens;
  Histogram& iteration_tokens;
  Histogram& request_params_n;
  Histogram& request_params_max_tokens;

  Histogram& time_to_first_token_seconds;
  Histogram& inter_token_latency_seconds;
  Histogram& request_time_per_output_token_seconds;  // mean of a request, without its first token
  Histogram& e2e_request_latency_seconds;
  Histogram& request_queue_time_seconds;      // queued .. scheduled
  Histogram& request_inference_time_seconds;  // scheduled .. last token
  Histogram& request_prefill_time_seconds;    // scheduled .. first token
  Histogram& request_decode_time_seconds;     // first .. last token

 private:
  ServingMetrics(Registry& registry, const Model& model, const Labels& labels);
  std::mutex update_mutex_;
};

}  // namespace heed
