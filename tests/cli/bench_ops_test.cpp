// `heed bench ops`: its lines say what an op has to do, how long it took and what share of the limit that is.
#include "tests/cli/running.h"

namespace heed {
namespace {

TEST(BenchOps, a_line_has_its_work_the_limit_of_the_run_and_the_share_of_it) {
  const Json lines =
      json_of(heed("bench ops --filter '^linear Q4_0 1 x 1024' --threads 2 --repeats 3 --json"));
  ASSERT_EQ(lines.size(), 1);
  const Json& line = lines[0];
  EXPECT_EQ(line["op"], "linear Q4_0 1 x 1024 x 4096");
  // Blocks of 32 in 18 bytes; a row of bfloat16; a row of float32.
  EXPECT_DOUBLE_EQ(line["gigabytes"], (1024 * 4096 / 32 * 18 + 2 * 1024 + 4 * 4096) / 1e9);
  EXPECT_DOUBLE_EQ(line["gigaflops"], 2 * 1024 * 4096 / 1e9);
  EXPECT_EQ(line["threads"], 2);
  const double seconds = line["milliseconds"].get<double>() / 1e3;
  const double reading = line["gigabytes"].get<double>() / line["read_gb_per_second"].get<double>();
  const double computing = line["gigaflops"].get<double>() / line["peak_gflop_per_second"].get<double>();
  EXPECT_GT(seconds, 0);
  EXPECT_EQ(line["bound"], reading > computing ? "memory" : "compute");
  EXPECT_NEAR(line["share_of_limit"].get<double>(), std::max(reading, computing) / seconds, 1e-9);
}

TEST(BenchOps, what_is_wrong_is_told_in_a_line) {
  for (const auto& [arguments, says] : {std::pair{"--filter 'linear('", "linear("},
                                        {"--filter nothing", "no op's name matches"},
                                        {"--backend cpu.sse9", "this program has cpu"}}) {
    const Ran ran = heed("bench ops " + std::string(arguments));
    EXPECT_EQ(ran.status, 1) << arguments;
    EXPECT_NE(ran.err.find(says), std::string::npos) << ran.err;
    EXPECT_EQ(std::count(ran.err.begin(), ran.err.end(), '\n'), 1) << ran.err;
  }
}

}  // namespace
}  // namespace heed
