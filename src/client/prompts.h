// Prompts for a load on a server: random token ids, or texts from files as vLLM's benchmarks read them.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"

namespace heed {

struct Prompt {
  std::vector<int> ids;  // or else:
  std::string text;
  int output_tokens = 0;  // to ask for
};

struct RandomPrompts {
  int input_tokens = 1024;
  int output_tokens = 128;
  double range_ratio = 0;  // lengths are uniform within (1 - ratio, 1 + ratio) times those
  int prefix_tokens = 0;   // shared by all, before the input
  int vocabulary = 4096;   // ids are below
  uint64_t seed = 0;
};
// The prompt of this number: the same whatever was made before.
Prompt random_prompt(const RandomPrompts& options, int64_t number);

// JSON lines: {"prompt": "..."}; "output_tokens" where a line has it, else as given.
Result<std::vector<Prompt>> read_custom_prompts(const std::string& path, int output_tokens);
// A JSON array, or lines, of {"conversations": [{"value": "..."}, ...]}: the first turn of each. Those with
// fewer than two turns are left out, as vLLM does.
Result<std::vector<Prompt>> read_sharegpt_prompts(const std::string& path, int output_tokens);

// Another order, by the seed.
void shuffle(std::vector<Prompt>& prompts, uint64_t seed);

}  // namespace heed
