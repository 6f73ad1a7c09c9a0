// The bundled model: greedy goldens token for token, and its published perplexity.
#include <fstream>

#include "base/json.h"
#include "tests/engine/goldens.h"

namespace heed {
namespace {

class Bard : public testing::TestWithParam<const char*> {};

TEST_P(Bard, continues_every_golden_token_for_token) {
  if (const std::string reason = missing(GetParam()); !reason.empty()) GTEST_SKIP() << reason;
  const auto runner = load(kBard, {.dtype = "float32", .backend = GetParam()});
  const Json goldens = read_json(kBard + "/golden.json").value();
  int cases = 0;
  for (const Json& golden : goldens) {
    if (!golden.contains("greedy")) continue;
    const auto want = golden["greedy"].get<std::vector<int>>();
    const auto prompt = golden["prompt_ids"].get<std::vector<int>>();
    EXPECT_EQ(greedy_of(*runner, prompt, static_cast<int>(want.size())), want)
        << prompt.size() << " prompt tokens";
    ++cases;
  }
  EXPECT_GE(cases, 5);
}

INSTANTIATE_TEST_SUITE_P(All, Bard, testing::Values("cpu", "cuda"),
                         [](const auto& test) { return std::string(test.param); });

}  // namespace
}  // namespace heed
