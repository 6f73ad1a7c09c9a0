// Who guesses, what each needs, and what it goes together with. Asked where something is refused, and by
// docs/speculation.md, whose tables are draft_tables().
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace heed {

struct DraftMethod {
  std::string_view name;     // in --speculative-config
  std::string_view guesses;  // how
  std::string_view needs;
  // Whether "model" names a folder. kOptional: it may be the served model's own.
  enum class Folder : uint8_t { kNone, kOptional, kNeeded } folder = Folder::kNone;
};
std::span<const DraftMethod> draft_methods();
const DraftMethod* find_draft_method(std::string_view name);  // null: none of that name

enum class DraftFeature : uint8_t {
  kPrefixCaching,
  kChunkedPrefill,
  kPreemption,
  kRecurrentLayers,
  kRoundedStates,
  kPictures,
  kSampling,
  kGrammars,
  kLogprobs,
  kQuantised,
  kAccelerator,
};
inline constexpr int kDraftFeatures = 11;
std::string_view name_of(DraftFeature feature);

// Why this method cannot be used with the feature, or "".
std::string why_not(const DraftMethod& method, DraftFeature feature);

// All answers as Markdown.
std::string draft_tables();

}  // namespace heed
