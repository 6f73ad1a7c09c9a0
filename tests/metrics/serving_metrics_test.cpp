#include "metrics/serving_metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <ctime>
#include <memory>
#include <numeric>
#include <string>

#include "metrics/process_metrics.h"

namespace heed {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

const ServingMetrics::Model kBard{.name = "bard", .max_len = 512, .block_size = 16, .num_blocks = 100};

uint64_t count(const Histogram& histogram) {
  const std::vector<uint64_t> counts = histogram.counts();
  return std::accumulate(counts.begin(), counts.end(), uint64_t{0});
}

TEST(ServingMetrics, say_the_model_and_how_its_cache_is_laid_out) {
  Registry registry;
  const ServingMetrics metrics(registry, kBard);
  const std::string text = registry.expose();
  EXPECT_THAT(text, HasSubstr("heed:cache_config_info{model_name=\"bard\",engine=\"0\",block_size=\"16\","
                              "num_gpu_blocks=\"100\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("heed:request_success_total{model_name=\"bard\",engine=\"0\","
                              "finished_reason=\"abort\"} 0\n"));
  EXPECT_THAT(metrics.request_prompt_tokens.bounds(), ElementsAre(1, 2, 5, 10, 20, 50, 100, 200, 500));
}

TEST(ServingMetrics, counters_follow_the_engines_totals) {
  Registry registry;
  ServingMetrics metrics(registry, kBard);
  EngineReading reading{.running = 3,
                        .waiting = 2,
                        .held_pages = 25,
                        .pages = 100,
                        .preemptions = 1,
                        .prompt_tokens = 70,
                        .generation_tokens = 9,
                        .prefix_queries = 64,
                        .prefix_hits = 32,
                        .image_queries = 5,
                        .image_hits = 4};
  metrics.update(reading);
  metrics.update(reading);
  EXPECT_EQ(metrics.kv_cache_usage_perc.value(), 0.25);
  EXPECT_EQ(metrics.num_requests_running.value(), 3);
  EXPECT_EQ(metrics.num_requests_waiting.value(), 2);
  EXPECT_EQ(metrics.num_preemptions.value(), 1);
  EXPECT_EQ(metrics.prompt_tokens.value(), 70);
  EXPECT_EQ(metrics.prefix_cache_queries.value(), 64);
  EXPECT_EQ(metrics.prefix_cache_hits.value(), 32);
  EXPECT_EQ(metrics.mm_cache_queries.value(), 5);
  EXPECT_EQ(metrics.mm_cache_hits.value(), 4);
  reading.generation_tokens = 12;
  reading.prompt_tokens = 60;  // read before the one above
  metrics.update(reading);
  EXPECT_EQ(metrics.generation_tokens.value(), 12);
  EXPECT_EQ(metrics.prompt_tokens.value(), 70);
  EXPECT_FALSE(metrics.speculation);
  EXPECT_EQ(registry.expose().find("spec_decode"), std::string::npos);
}

TEST(ServingMetrics, speculation_is_counted_where_there_is_any) {
  Registry registry;
  ServingMetrics::Model model = kBard;
  model.draft_tokens = 2;
  ServingMetrics metrics(registry, model);
  const uint64_t accepted_at[] = {5, 3, 9};
  metrics.update({.drafts = 6, .draft_tokens = 12, .accepted_tokens = 8, .accepted_at = accepted_at});
  const std::string text = registry.expose();
  for (const char* line :
       {"heed:spec_decode_num_drafts_total{model_name=\"bard\",engine=\"0\"} 6",
        "heed:spec_decode_num_draft_tokens_total{model_name=\"bard\",engine=\"0\"} 12",
        "heed:spec_decode_num_accepted_tokens_total{model_name=\"bard\",engine=\"0\"} 8"}) {
    EXPECT_NE(text.find(line), std::string::npos) << text;
  }
  EXPECT_EQ(metrics.speculation->accepted_at.size(), 2U);
  EXPECT_EQ(metrics.speculation->accepted_at[1]->value(), 3);
}

TEST(ServingMetrics, a_finished_request_is_divided_into_its_times) {
  Registry registry;
  ServingMetrics metrics(registry, kBard);
  metrics.observe_finished({.reason = FinishedReason::kLength,
                            .prompt_tokens = 7,
                            .generation_tokens = 5,
                            .max_tokens = 5,
                            .queued = 100,
                            .scheduled = 101,
                            .first_token = 103,
                            .last_token = 111,
                            .finished = 112});
  EXPECT_EQ(metrics.request_success[1]->value(), 1);
  EXPECT_EQ(metrics.request_success[0]->value(), 0);
  EXPECT_EQ(metrics.request_prompt_tokens.sum(), 7);
  EXPECT_EQ(metrics.request_generation_tokens.sum(), 5);
  EXPECT_EQ(metrics.request_params_max_tokens.sum(), 5);
  EXPECT_EQ(metrics.e2e_request_latency_seconds.sum(), 12);
  EXPECT_EQ(metrics.request_queue_time_seconds.sum(), 1);
  EXPECT_EQ(metrics.request_prefill_time_seconds.sum(), 2);
  EXPECT_EQ(metrics.request_inference_time_seconds.sum(), 10);
  EXPECT_EQ(metrics.request_decode_time_seconds.sum(), 8);
  EXPECT_EQ(metrics.request_time_per_output_token_seconds.sum(), 2);
}

TEST(ServingMetrics, a_request_cancelled_while_waiting_has_no_running_times) {
  Registry registry;
  ServingMetrics metrics(registry, kBard);
  metrics.observe_finished(
      {.reason = FinishedReason::kAbort, .prompt_tokens = 7, .queued = 1, .finished = 4});
  EXPECT_EQ(metrics.request_success[2]->value(), 1);
  EXPECT_EQ(metrics.request_queue_time_seconds.sum(), 3);
  EXPECT_EQ(count(metrics.e2e_request_latency_seconds), 1U);
  EXPECT_EQ(count(metrics.request_params_max_tokens), 0U);
  EXPECT_EQ(count(metrics.request_inference_time_seconds), 0U);
  EXPECT_EQ(count(metrics.request_decode_time_seconds), 0U);
}

TEST(ServingMetrics, steps_and_tokens_are_observed) {
  Registry registry;
  ServingMetrics metrics(registry, kBard);
  metrics.observe_iteration(512);
  metrics.observe_request(2);
  metrics.observe_first_token(0.03);
  metrics.observe_next_token(0.004, 3);
  EXPECT_EQ(metrics.iteration_tokens.counts()[7], 1U);  // <= 512
  EXPECT_EQ(metrics.request_params_n.sum(), 2);
  EXPECT_EQ(metrics.time_to_first_token_seconds.sum(), 0.03);
  EXPECT_EQ(count(metrics.inter_token_latency_seconds), 3U);
}

double exposed(const Registry& registry, const std::string& name) {
  const std::string text = registry.expose();
  const size_t line = text.find('\n' + name + ' ');
  EXPECT_NE(line, std::string::npos) << name;
  return line == std::string::npos ? 0 : std::stod(text.substr(line + name.size() + 2));
}

TEST(ProcessMetrics, tell_of_this_process_without_labels) {
  Registry registry;
  ProcessMetrics metrics(registry);
  EXPECT_GT(exposed(registry, "process_resident_memory_bytes"), 1 << 20);
  EXPECT_GT(exposed(registry, "process_virtual_memory_bytes"), 1 << 20);
  const double start = exposed(registry, "process_start_time_seconds");
  EXPECT_GT(start, 1.6e9);
  EXPECT_LE(start, static_cast<double>(std::time(nullptr)) + 1);
  EXPECT_GE(exposed(registry, "process_open_fds"), 3);
  EXPECT_GE(exposed(registry, "process_max_fds"), exposed(registry, "process_open_fds"));
}

TEST(ProcessMetrics, open_files_and_time_are_read_anew) {
  Registry registry;
  ProcessMetrics metrics(registry);
  const double files = exposed(registry, "process_open_fds");
  const double seconds = exposed(registry, "process_cpu_seconds_total");
  const int file = dup(STDIN_FILENO);
  const auto close_it = [](const int* f) { close(*f); };
  const std::unique_ptr<const int, decltype(close_it)> closer(&file, close_it);
  metrics.update();
  EXPECT_EQ(exposed(registry, "process_open_fds"), files + 1);
  EXPECT_GE(exposed(registry, "process_cpu_seconds_total"), seconds);
}

}  // namespace
}  // namespace heed
