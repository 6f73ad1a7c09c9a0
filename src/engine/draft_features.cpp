#include "engine/draft_features.h"

#include <algorithm>
#include <array>
#include <vector>

namespace heed {
namespace {

constexpr std::array<DraftMethod, 6> kMethods = {{
    {"ngram",
     "how the longest suffix of `prompt_lookup_min` (2) to `prompt_lookup_max` (4) tokens went on when it "
     "last "
     "occurred, within the last 32,768 tokens",
     "nothing"},
    {"suffix",
     "how the last tokens went on most often where they occurred before, in the same text or in earlier "
     "answers "
     "(suffix decoding, arXiv 2411.04975)",
     "nothing"},
    {"draft_model", "token by token with a small model",
     "`model`, a folder; the target's vocabulary; softmax attention only", DraftMethod::Folder::kNeeded},
    {"dflash", "a block of tokens in one pass of a drafter (DFlash, arXiv 2602.06036)",
     "`model`, a folder of a `DFlashDraftModel` (z-lab) or `DFlashSpeculator` (speculators) for this target",
     DraftMethod::Folder::kNeeded},
    {"eagle3",
     "token by token, from hidden states of a few of the target's layers (EAGLE-3, arXiv 2503.01840)",
     "`model`, a folder of a `LlamaForCausalLMEagle3` (the authors) or `Eagle3Speculator` (speculators) for "
     "this "
     "target",
     DraftMethod::Folder::kNeeded},
    {"mtp", "token by token, with the model's own heads for multi-token prediction (arXiv 2412.19437)",
     "Qwen3-Next or Qwen3.5 with one layer of `mtp.*` tensors, in its own folder or in another, `model`",
     DraftMethod::Folder::kOptional},
}};

constexpr std::array<std::string_view, kDraftFeatures> kNames = {"prefix caching",
                                                                 "chunked prefill",
                                                                 "preemption",
                                                                 "recurrent layers of the target",
                                                                 "recurrent states of less than float32",
                                                                 "pictures",
                                                                 "sampling",
                                                                 "structured output",
                                                                 "log-probabilities",
                                                                 "quantised weights",
                                                                 "CUDA"};

std::string join_cells(const std::vector<std::string>& cells) {
  std::string line = "|";
  for (const std::string& cell : cells) line += " " + cell + " |";
  return line + "\n";
}

std::string rule(size_t columns) {
  std::string line = "|";
  for (size_t i = 0; i < columns; ++i) line += "---|";
  return line + "\n";
}

std::string code(std::string_view text) { return "`" + std::string(text) + "`"; }

}  // namespace

std::span<const DraftMethod> draft_methods() { return kMethods; }

const DraftMethod* find_draft_method(std::string_view name) {
  const auto found = std::find_if(kMethods.begin(), kMethods.end(),
                                  [&](const DraftMethod& method) { return method.name == name; });
  return found == kMethods.end() ? nullptr : &*found;
}

std::string_view name_of(DraftFeature feature) { return kNames[static_cast<size_t>(feature)]; }

std::string why_not(const DraftMethod& method, DraftFeature feature) {
  if (feature == DraftFeature::kRoundedStates)
    return "rounded recurrent states depend on how many tokens a step has";
  if (feature == DraftFeature::kPictures && method.folder == DraftMethod::Folder::kOptional)
    return "the models with heads that are known here read text only";
  return "";
}

std::string draft_tables() {
  std::string text = join_cells({"`method`", "guesses", "needs"}) + rule(3);
  for (const DraftMethod& method : kMethods)
    text += join_cells({code(method.name), std::string(method.guesses), std::string(method.needs)});
  std::vector<std::string> head = {"with"};
  for (const DraftMethod& method : kMethods) head.push_back(code(method.name));
  text += "\n" + join_cells(head) + rule(head.size());
  std::vector<std::string> reasons;
  for (int i = 0; i < kDraftFeatures; ++i) {
    const auto feature = static_cast<DraftFeature>(i);
    std::vector<std::string> row = {std::string(name_of(feature))};
    for (const DraftMethod& method : kMethods) {
      const std::string reason = why_not(method, feature);
      if (reason.empty()) {
        row.emplace_back("yes");
        continue;
      }
      auto found = std::find(reasons.begin(), reasons.end(), reason);
      if (found == reasons.end()) found = reasons.insert(found, reason);
      row.push_back("no (" + std::to_string(found - reasons.begin() + 1) + ")");
    }
    text += join_cells(row);
  }
  text += "\n";
  for (size_t i = 0; i < reasons.size(); ++i)
    text += "(" + std::to_string(i + 1) + ") " + reasons[i] + (i + 1 < reasons.size() ? ";\n" : ".\n");
  return text;
}

}  // namespace heed
