#include "client/load_summary.h"

#include <gtest/gtest.h>

namespace heed {
namespace {

// The values on the right are numpy.percentile's.
TEST(LoadSummary, percentiles_are_those_of_numpy) {
  const std::vector<double> values = {0.013, 0.5, 0.021, 0.007, 0.33, 0.0411, 0.09};
  const std::pair<double, double> expected[] = {{0, 0.007},   {1, 0.00736},    {25, 0.017},
                                                {50, 0.0411}, {75, 0.21},      {90, 0.398},
                                                {99, 0.4898}, {99.9, 0.49898}, {100, 0.5}};
  for (const auto& [p, value] : expected) EXPECT_NEAR(percentile(values, p), value, 1e-12) << p;
  EXPECT_DOUBLE_EQ(percentile({4, 1, 3, 2}, 50), 2.5);
  EXPECT_DOUBLE_EQ(percentile({5}, 99), 5);
  EXPECT_DOUBLE_EQ(percentile({}, 50), 0);
}

// Starts, with the first text after `ttft`, then a piece each `gap`.
Outcome completed(double start, double ttft, double gap, int pieces, int tokens, int prompt) {
  Outcome o{.kind = OutcomeKind::kCompleted, .start = start, .ttft = ttft};
  o.itls.assign(static_cast<size_t>(pieces) - 1, gap);
  o.latency = ttft + gap * (pieces - 1);
  o.prompt_tokens = prompt;
  o.output_tokens = tokens;
  return o;
}

std::vector<Outcome> example() {
  return {completed(0, 0.25, 0.5, 5, 5, 10),
          completed(1, 0.75, 0.25, 2, 4, 20),
          completed(1.5, 0.5, 0, 1, 1, 30),
          Outcome{.kind = OutcomeKind::kFailed, .ttft = 9, .prompt_tokens = 100, .error = "e"},
          Outcome{.kind = OutcomeKind::kDisconnected, .prompt_tokens = 100},
          Outcome{.kind = OutcomeKind::kRefused, .prompt_tokens = 100}};
}

TEST(LoadSummary, only_completed_requests_make_up_the_figures) {
  const LoadSummary s = summarise(example(), 4, {50, 99}, {});
  EXPECT_EQ(s.completed, 3);
  EXPECT_EQ(s.failed, 1);
  EXPECT_EQ(s.disconnected, 1);
  EXPECT_EQ(s.refused, 1);
  EXPECT_EQ(s.input_tokens, 60);
  EXPECT_EQ(s.output_tokens, 10);
  EXPECT_DOUBLE_EQ(s.request_throughput, 0.75);
  EXPECT_DOUBLE_EQ(s.output_throughput, 2.5);
  EXPECT_DOUBLE_EQ(s.total_throughput, 17.5);
  EXPECT_FALSE(s.goodput);
  EXPECT_DOUBLE_EQ(s.spreads.at("ttft").mean, 500);
  EXPECT_DOUBLE_EQ(s.spreads.at("ttft").median, 500);
  EXPECT_NEAR(s.spreads.at("ttft").standard_deviation, 204.124145231931, 1e-9);
  EXPECT_NEAR(s.spreads.at("ttft").percentiles[1].second, 745, 1e-9);
}

TEST(LoadSummary, time_per_token_counts_tokens_and_inter_token_latency_counts_pieces) {
  const LoadSummary s = summarise(example(), 4, {}, {});
  // 2 s over 4 tokens; 0.25 s over 3, although they came in one more piece; one token has no time per token.
  EXPECT_NEAR(s.spreads.at("tpot").mean, (500 + 250.0 / 3) / 2, 1e-9);
  EXPECT_NEAR(s.spreads.at("itl").mean, (4 * 500 + 250) / 5.0, 1e-9);
  EXPECT_NEAR(s.spreads.at("e2el").mean, (2250 + 1000 + 500) / 3.0, 1e-9);
}

TEST(LoadSummary, peaks_are_of_the_best_second) {
  const LoadSummary s = summarise(example(), 4, {}, {});
  // In the second from 1 on: tokens at 1.25 and 1.75 of the first, two at 1.75 of the second (in two pieces
  // of two). In the one from 2 on: 2.25; two at 2.0; 2.0.
  EXPECT_DOUBLE_EQ(s.peak_output_throughput, 4);
  EXPECT_EQ(s.peak_concurrent, 3);
}

TEST(LoadSummary, goodput_counts_requests_within_all_limits) {
  EXPECT_DOUBLE_EQ(*summarise(example(), 1, {}, {{"ttft", 500}}).goodput, 2);
  EXPECT_DOUBLE_EQ(*summarise(example(), 1, {}, {{"ttft", 500}, {"tpot", 400}}).goodput, 1);
  EXPECT_DOUBLE_EQ(*summarise(example(), 1, {}, {{"e2el", 1000}}).goodput, 2);
}

TEST(LoadSummary, nothing_at_all_gives_zeros) {
  const LoadSummary s = summarise({}, 0, {99}, {{"ttft", 1}});
  EXPECT_EQ(s.peak_output_throughput, 0);
  EXPECT_EQ(s.spreads.at("itl").percentiles[0].second, 0);
  EXPECT_NE(report_text(s, {}).find("Successful requests:                     0         \n"),
            std::string::npos);
}

TEST(LoadSummary, the_report_has_the_lines_of_vllms_benchmark) {
  const LoadSummary s = summarise(example(), 4, {50, 99.9}, {});
  const std::string text =
      report_text(s, {.metrics = {"ttft", "itl"}, .max_concurrency = 8, .request_rate = 2.5, .abuse = true});
  EXPECT_EQ(text,
            "============ Serving Benchmark Result ============\n"
            "Successful requests:                     3         \n"
            "Failed requests:                         1         \n"
            "Maximum request concurrency:             8         \n"
            "Request rate configured (RPS):           2.50      \n"
            "Benchmark duration (s):                  4.00      \n"
            "Total input tokens:                      60        \n"
            "Total generated tokens:                  10        \n"
            "Request throughput (req/s):              0.75      \n"
            "Output token throughput (tok/s):         2.50      \n"
            "Peak output token throughput (tok/s):    4.00      \n"
            "Peak concurrent requests:                3.00      \n"
            "Total token throughput (tok/s):          17.50     \n"
            "---------------Time to First Token----------------\n"
            "Mean TTFT (ms):                          500.00    \n"
            "Median TTFT (ms):                        500.00    \n"
            "P50 TTFT (ms):                           500.00    \n"
            "P99.9 TTFT (ms):                         749.50    \n"
            "---------------Inter-token Latency----------------\n"
            "Mean ITL (ms):                           450.00    \n"
            "Median ITL (ms):                         500.00    \n"
            "P50 ITL (ms):                            500.00    \n"
            "P99.9 ITL (ms):                          500.00    \n"
            "----------------------Abuse-----------------------\n"
            "Disconnected on purpose:                 1         \n"
            "Malformed on purpose, refused:           1         \n"
            "==================================================\n");
  const std::string all = report_text(s, {.metrics = {"tpot", "e2el"}});
  EXPECT_NE(all.find("\n-----Time per Output Token (excl. 1st token)------\nMean TPOT (ms): "),
            std::string::npos);
  EXPECT_NE(all.find("\n----------------End-to-end Latency----------------\nMean E2EL (ms): "),
            std::string::npos);
}

TEST(LoadSummary, the_json_has_vllms_names_and_details_only_if_asked_for) {
  const LoadSummary s = summarise(example(), 4, {99}, {});
  const OrderedJson brief = report_json(s, {}, example(), false);
  EXPECT_EQ(brief["completed"], 3);
  EXPECT_EQ(brief["total_output_tokens"], 10);
  EXPECT_TRUE(brief["request_goodput"].is_null());
  for (const char* key :
       {"mean_ttft_ms", "median_tpot_ms", "std_itl_ms", "p99_itl_ms", "max_output_tokens_per_s"}) {
    EXPECT_TRUE(brief.contains(key)) << key;
  }
  for (const char* key : {"mean_e2el_ms", "ttfts", "refused"}) EXPECT_FALSE(brief.contains(key)) << key;
  const OrderedJson detailed = report_json(s, {}, example(), true);
  EXPECT_EQ(to_text(detailed["input_lens"]), "[10,20,30,100,100,100]");
  EXPECT_EQ(detailed["errors"][3], "e");
  EXPECT_EQ(detailed["itls"][0].size(), 4);
}

}  // namespace
}  // namespace heed
