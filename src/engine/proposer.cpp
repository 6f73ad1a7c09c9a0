#include "engine/proposer.h"

#include <algorithm>
#include <set>

namespace heed {
namespace {

constexpr int kMostLookup = 64;
constexpr size_t kMostTokens = 32768;  // that are looked through: it must cost little beside a step

// The suffix is compared with what lies before it, from the newest place backwards, by the failure function
// of the reversed sequence cut at `longest`: linear in the tokens, and it needs a few words of memory.
class NgramProposer : public Proposer {
 public:
  NgramProposer(int shortest, int longest) : shortest_(shortest), longest_(longest), failure_(longest + 1) {}
  std::string_view name() const override { return "ngram"; }

  void propose(std::span<const int> tokens, int most, std::vector<int>& drafts) override {
    if (tokens.size() > kMostTokens) tokens = tokens.last(kMostTokens);
    const auto end = static_cast<int>(tokens.size());
    const auto back = [&](int i) { return tokens[end - 1 - i]; };  // the i-th token from the end
    if (end < shortest_ + 1) return;
    // failure_[i]: longest proper prefix of the first i + 1 reversed tokens that is their suffix too.
    const int pattern = std::min(longest_, end);
    failure_[0] = 0;
    for (int i = 1, matched = 0; i < pattern; ++i) {
      while (matched > 0 && back(i) != back(matched)) matched = failure_[matched - 1];
      if (back(i) == back(matched)) ++matched;
      failure_[i] = matched;
    }
    int best = 0;
    int at = 0;  // how far from the end the best occurrence ends
    for (int i = 1, matched = 0; i < end && best < pattern; ++i) {
      while (matched > 0 && (matched == pattern || back(i) != back(matched))) matched = failure_[matched - 1];
      if (back(i) == back(matched)) ++matched;
      if (matched > best) {
        best = matched;
        at = i - matched + 1;
      }
    }
    if (best < shortest_) return;
    // Beyond the end it goes on with the guesses themselves: what repeats may well repeat again.
    for (int i = 0; i < most; ++i) drafts.push_back(i < at ? tokens[end - at + i] : drafts[i - at]);
  }

 private:
  int shortest_, longest_;
  std::vector<int> failure_;
};

Result<int> count_of(const Json& object, const char* key, int fallback, int most) {
  const auto found = object.find(key);
  if (found == object.end()) return fallback;
  if (found->is_number_integer() && *found >= 1 && *found <= most) return found->get<int>();
  return invalid("--speculative-config: " + std::string(key) + " is " + to_text(*found) + "; 1 to " +
                 std::to_string(most) + " is expected");
}

Status check_keys(const Json& object) {
  static const std::set<std::string> known = {
      "method", "model", "num_speculative_tokens", "prompt_lookup_max", "prompt_lookup_min", "adaptive"};
  for (const auto& [key, value] : object.items()) {
    if (known.contains(key)) continue;
    return unsupported("--speculative-config: \"" + key +
                       "\" is not known; method, model, num_speculative_tokens, prompt_lookup_max, "
                       "prompt_lookup_min and adaptive are");
  }
  return {};
}

Result<std::string> text_of(const Json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end()) return std::string();
  if (found->is_string() && !found->get<std::string>().empty()) return found->get<std::string>();
  return invalid("--speculative-config: " + std::string(key) + " is " + to_text(*found) +
                 "; a text is expected");
}

}  // namespace

std::unique_ptr<Proposer> ngram_proposer(int shortest, int longest) {
  return std::make_unique<NgramProposer>(shortest, longest);
}

Result<SpeculativeOptions> read_speculative_config(const std::string& text) {
  const Json object = TRY(parse_json(text, "--speculative-config"));
  if (!object.is_object()) return invalid("--speculative-config: a JSON object is expected");
  TRY(check_keys(object));
  SpeculativeOptions options;
  options.method = TRY(text_of(object, "method"));
  options.model = TRY(text_of(object, "model"));
  if (options.method.empty() && !options.model.empty()) options.method = "draft_model";
  const bool has_model = options.method == "draft_model" || options.method == "dflash";
  if (options.method != "ngram" && !has_model) {
    return unsupported("--speculative-config: method is \"" + options.method +
                       "\"; ngram, draft_model or dflash is expected");
  }
  if (has_model != !options.model.empty()) {
    return invalid("--speculative-config: model, the folder of the model that guesses, is " +
                   std::string(has_model ? "missing" : "not for method \"ngram\""));
  }
  if (const auto adaptive = object.find("adaptive"); adaptive != object.end()) {
    if (!adaptive->is_boolean())
      return invalid("--speculative-config: adaptive is " + to_text(*adaptive) +
                     "; true or false is expected");
    options.adaptive = *adaptive;
  }
  options.tokens = TRY(count_of(object, "num_speculative_tokens", options.tokens, kMostDrafts));
  options.lookup_max = TRY(count_of(object, "prompt_lookup_max", options.lookup_max, kMostLookup));
  options.lookup_min = TRY(
      count_of(object, "prompt_lookup_min", std::min(options.lookup_min, options.lookup_max), kMostLookup));
  if (options.lookup_min > options.lookup_max)
    return invalid("--speculative-config: prompt_lookup_min is above prompt_lookup_max");
  return options;
}

std::unique_ptr<Proposer> make_proposer(const SpeculativeOptions& options) {
  if (options.method == "ngram") return ngram_proposer(options.lookup_min, options.lookup_max);
  return nullptr;
}

}  // namespace heed
