// The bundled model: greedy goldens token for token, and its published perplexity.
#include <fstream>

#include "base/json.h"
#include "tests/engine/goldens.h"

namespace heed {
namespace {

TEST(Bard, continues_every_golden_token_for_token) {
  const auto runner = load(kBard, {.dtype = "float32", .backend = "cpu"});
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

}  // namespace
}  // namespace heed
