#include "client/prompts.h"

#include <algorithm>
#include <cmath>
#include <random>

#include "base/file.h"
#include "base/json.h"

namespace heed {
namespace {

constexpr int64_t kMaxFileBytes = int64_t{2} << 30;
constexpr int kMaxOutputTokens = 1 << 24;

// Uniform in [0, count), the same with every library.
int below(std::mt19937_64& random, int count) {
  return static_cast<int>(random() % static_cast<uint64_t>(count));
}

int length_near(std::mt19937_64& random, int length, double ratio) {
  const int lo = static_cast<int>(std::floor(length * (1 - ratio)));
  const int hi = static_cast<int>(std::ceil(length * (1 + ratio)));
  return std::max(1, lo + below(random, hi - lo + 1));
}

void add_ids(std::mt19937_64& random, int count, int vocabulary, std::vector<int>& ids) {
  for (int i = 0; i < count; ++i) ids.push_back(below(random, vocabulary));
}

// The file's entries: an array's elements, or one on each line.
Result<std::vector<Json>> read_entries(const std::string& path) {
  const std::string text = TRY(read_file(path, kMaxFileBytes));
  std::vector<Json> entries;
  if (text.find_first_not_of(" \t\r\n") == text.find('[')) {
    const Json array = TRY(parse_json(text, path));
    for (const Json& entry : array) entries.push_back(entry);
    return entries;
  }
  size_t begin = 0;
  for (int number = 1; begin < text.size(); ++number) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    const std::string_view line = std::string_view(text).substr(begin, end - begin);
    begin = end + 1;
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    const std::string place = path + ":" + std::to_string(number);
    entries.push_back(TRY(parse_json(line, place)));
  }
  return entries;
}

Result<std::vector<Prompt>> not_empty(std::vector<Prompt> prompts, const std::string& path) {
  if (prompts.empty()) return invalid(path + ": there are no prompts in it");
  return prompts;
}

}  // namespace

Prompt random_prompt(const RandomPrompts& options, int64_t number) {
  Prompt prompt;
  std::mt19937_64 shared(options.seed);
  add_ids(shared, options.prefix_tokens, options.vocabulary, prompt.ids);
  std::seed_seq seeds{options.seed & 0xffffffff, options.seed >> 32, static_cast<uint64_t>(number) + 1};
  std::mt19937_64 random(seeds);
  const int input = length_near(random, options.input_tokens, options.range_ratio);
  prompt.output_tokens = length_near(random, options.output_tokens, options.range_ratio);
  add_ids(random, input, options.vocabulary, prompt.ids);
  return prompt;
}

Result<std::vector<Prompt>> read_custom_prompts(const std::string& path, int output_tokens) {
  const std::vector<Json> entries = TRY(read_entries(path));
  std::vector<Prompt> prompts;
  for (const Json& entry : entries) {
    const auto text = entry.is_object() ? entry.find("prompt") : entry.end();
    if (text == entry.end() || !text->is_string()) {
      return invalid(path + ": entry " + std::to_string(prompts.size() + 1) +
                     ": an object with a string \"prompt\" is expected");
    }
    Prompt& prompt = prompts.emplace_back();
    prompt.text = text->get<std::string>();
    prompt.output_tokens = output_tokens;
    const auto tokens = entry.find("output_tokens");
    if (tokens == entry.end()) continue;
    if (!tokens->is_number_integer() || *tokens < 1 || *tokens > kMaxOutputTokens) {
      return invalid(path + ": entry " + std::to_string(prompts.size()) +
                     ": \"output_tokens\" is expected to be 1 or more");
    }
    prompt.output_tokens = tokens->get<int>();
  }
  return not_empty(std::move(prompts), path);
}

Result<std::vector<Prompt>> read_sharegpt_prompts(const std::string& path, int output_tokens) {
  const std::vector<Json> entries = TRY(read_entries(path));
  std::vector<Prompt> prompts;
  for (size_t i = 0; i < entries.size(); ++i) {
    const Json& entry = entries[i];
    const auto turns = entry.is_object() ? entry.find("conversations") : entry.end();
    if (turns == entry.end() || !turns->is_array()) {
      return invalid(path + ": entry " + std::to_string(i + 1) +
                     ": an object with an array \"conversations\" is expected");
    }
    if (turns->size() < 2) continue;
    const Json& first = turns->front();
    const auto text = first.is_object() ? first.find("value") : first.end();
    if (text == first.end() || !text->is_string()) {
      return invalid(path + ": entry " + std::to_string(i + 1) + ": a turn has no string \"value\"");
    }
    Prompt& prompt = prompts.emplace_back();
    prompt.text = text->get<std::string>();
    prompt.output_tokens = output_tokens;
  }
  return not_empty(std::move(prompts), path);
}

void shuffle(std::vector<Prompt>& prompts, uint64_t seed) {
  std::mt19937_64 random(seed);
  for (auto left = static_cast<int>(prompts.size()); left > 1; --left) {
    std::swap(prompts[left - 1], prompts[below(random, left)]);
  }
}

}  // namespace heed
