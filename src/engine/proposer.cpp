#include "engine/proposer.h"

#include <algorithm>
#include <map>

#include "engine/draft_features.h"
#include "engine/suffix_proposer.h"

namespace heed {
namespace {

std::map<std::string, MakeProposer, std::less<>>& plugin_proposers() {
  static std::map<std::string, MakeProposer, std::less<>> all;
  return all;
}

constexpr int kMostLookup = 64;
constexpr size_t kMostTokens = 32768;  // that are looked through: it must cost little beside a step

// The suffix is compared with what lies before it, from the newest place backwards, by the failure function
// of the reversed sequence cut at `longest`: linear in the tokens, and it needs a few words of memory.
class NgramProposer : public Proposer {
 public:
  NgramProposer(int shortest, int longest) : shortest_(shortest), longest_(longest), failure_(longest + 1) {}
  std::string_view name() const override { return "ngram"; }

  void propose(const TextSoFar& text, int most, std::vector<int>& drafts) override {
    std::span<const int> tokens = text.tokens;
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

Result<int> count_of(const Json& object, const char* key, int fallback, int most, int least = 1) {
  const auto found = object.find(key);
  if (found == object.end()) return fallback;
  if (found->is_number_integer() && *found >= least && *found <= most) return found->get<int>();
  return invalid("--speculative-config: " + std::string(key) + " is " + to_text(*found) + "; " +
                 std::to_string(least) + " to " + std::to_string(most) + " is expected");
}

Result<float> share_of(const Json& object, const char* key, float fallback, float most) {
  const auto found = object.find(key);
  if (found == object.end()) return fallback;
  if (found->is_number() && *found >= 0 && *found <= most) return found->get<float>();
  return invalid("--speculative-config: " + std::string(key) + " is " + to_text(*found) + "; 0 to " +
                 std::to_string(static_cast<int>(most)) + " is expected");
}

Status check_keys(const Json& object) {
  static const std::vector<std::string> known = {"method",
                                                 "model",
                                                 "num_speculative_tokens",
                                                 "adaptive",
                                                 "prompt_lookup_max",
                                                 "prompt_lookup_min",
                                                 "suffix_decoding_max_tree_depth",
                                                 "suffix_decoding_max_cached_requests",
                                                 "suffix_decoding_max_spec_factor",
                                                 "suffix_decoding_min_token_prob"};
  for (const auto& [key, value] : object.items()) {
    if (std::find(known.begin(), known.end(), key) != known.end()) continue;
    std::string names;
    for (const std::string& name : known) names += (names.empty() ? "" : ", ") + name;
    return unsupported("--speculative-config: \"" + key + "\" is not known; known are " + names);
  }
  return {};
}

Result<const DraftMethod*> own_method(const std::string& name) {
  if (const DraftMethod* method = find_draft_method(name)) return method;
  std::string names;
  for (const DraftMethod& known : draft_methods()) names += std::string(known.name) + ", ";
  for (const auto& [known, make] : plugin_proposers()) names += known + ", ";
  names.resize(names.size() - 2);
  return unsupported("--speculative-config: method is \"" + name + "\"; one of " + names +
                     " is expected; --plugin adds others");
}

Status check_folder(const DraftMethod* method, const SpeculativeOptions& options) {
  using Folder = DraftMethod::Folder;
  if (method->folder == Folder::kNeeded && options.model.empty())
    return invalid("--speculative-config: model, the folder of the model that guesses, is missing");
  if (method->folder == Folder::kNone && !options.model.empty()) {
    return invalid("--speculative-config: model, the folder of the model that guesses, is not for method \"" +
                   options.method + "\"");
  }
  return {};
}

Result<SuffixOptions> suffix_options(const Json& object) {
  constexpr int kMostDepth = 128;
  constexpr int kMostRequests = 1'000'000;
  SuffixOptions options;
  options.depth = TRY(count_of(object, "suffix_decoding_max_tree_depth", options.depth, kMostDepth));
  options.requests =
      TRY(count_of(object, "suffix_decoding_max_cached_requests", options.requests, kMostRequests, 0));
  options.factor = TRY(share_of(object, "suffix_decoding_max_spec_factor", options.factor, kMostDepth));
  options.least_probability =
      TRY(share_of(object, "suffix_decoding_min_token_prob", options.least_probability, 1));
  return options;
}

Result<std::string> text_of(const Json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end()) return std::string();
  if (found->is_string() && !found->get<std::string>().empty()) return found->get<std::string>();
  return invalid("--speculative-config: " + std::string(key) + " is " + to_text(*found) +
                 "; a text is expected");
}

// What all methods have.
Status read_common(const Json& object, SpeculativeOptions& options) {
  if (const auto adaptive = object.find("adaptive"); adaptive != object.end()) {
    if (!adaptive->is_boolean())
      return invalid("--speculative-config: adaptive is " + to_text(*adaptive) +
                     "; true or false is expected");
    options.adaptive = *adaptive;
  }
  options.tokens = TRY(count_of(object, "num_speculative_tokens", options.tokens, kMostDrafts));
  return {};
}

// A plug-in's: all else is for its proposer to read.
Result<SpeculativeOptions> read_custom(Json object, SpeculativeOptions options) {
  TRY(read_common(object, options));
  for (const char* own : {"method", "num_speculative_tokens", "adaptive"}) object.erase(own);
  options.custom = std::move(object);
  return options;
}

}  // namespace

void register_proposer(std::string_view method, MakeProposer make) {
  plugin_proposers().insert_or_assign(std::string(method), std::move(make));
}

bool is_plugin_proposer(std::string_view method) { return plugin_proposers().contains(method); }

std::unique_ptr<Proposer> ngram_proposer(int shortest, int longest) {
  return std::make_unique<NgramProposer>(shortest, longest);
}

Result<SpeculativeOptions> read_speculative_config(const std::string& text) {
  Json object = TRY(parse_json(text, "--speculative-config"));
  if (!object.is_object()) return invalid("--speculative-config: a JSON object is expected");
  SpeculativeOptions options;
  options.method = TRY(text_of(object, "method"));
  if (is_plugin_proposer(options.method)) return read_custom(std::move(object), std::move(options));
  options.model = TRY(text_of(object, "model"));
  if (options.method.empty() && !options.model.empty()) options.method = "draft_model";
  const DraftMethod* method = TRY(own_method(options.method));
  TRY(check_keys(object));
  TRY(check_folder(method, options));
  TRY(read_common(object, options));
  options.lookup_max = TRY(count_of(object, "prompt_lookup_max", options.lookup_max, kMostLookup));
  options.lookup_min = TRY(
      count_of(object, "prompt_lookup_min", std::min(options.lookup_min, options.lookup_max), kMostLookup));
  if (options.lookup_min > options.lookup_max)
    return invalid("--speculative-config: prompt_lookup_min is above prompt_lookup_max");
  options.suffix = TRY(suffix_options(object));
  return options;
}

Result<std::unique_ptr<Proposer>> make_proposer(const SpeculativeOptions& options) {
  if (options.method == "ngram") return ngram_proposer(options.lookup_min, options.lookup_max);
  if (options.method == "suffix") return suffix_proposer(options.suffix);
  const auto found = plugin_proposers().find(options.method);
  if (found == plugin_proposers().end()) return std::unique_ptr<Proposer>();
  Result<std::unique_ptr<Proposer>> made = found->second(options.custom);
  if (!made.ok()) return std::move(made).error().within("--speculative-config: method " + options.method);
  if (*made == nullptr)
    return invalid("--speculative-config: method " + options.method + " made no proposer");
  return made;
}

}  // namespace heed
