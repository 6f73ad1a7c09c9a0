#include "serving/images.h"

#include <climits>

namespace heed {
namespace {

// More placeholders in a row than anybody writes: such a run is told of as one place.
constexpr int kMostInARow = 16;

struct PromptPlace {
  int lo = 0, hi = 0;  // of its ids, without the marks around a run
  enum class Kind { kPlaceholder, kRun, kBare } kind = Kind::kPlaceholder;  // kBare: either, by their number
};
using PlaceKind = PromptPlace::Kind;

int end_of_run(const std::vector<int>& prompt, int lo, int id) {
  const auto size = static_cast<int>(prompt.size());
  while (lo < size && prompt[lo] == id) ++lo;
  return lo;
}

bool is_enclosed(const ImageTokens& tokens, const std::vector<int>& prompt, int lo, int hi) {
  return lo > 0 && tokens.begin >= 0 && prompt[lo - 1] == tokens.begin &&
         hi < static_cast<int>(prompt.size()) && prompt[hi] == tokens.end;
}

std::vector<PromptPlace> find_places(const ImageTokens& tokens, const std::vector<int>& prompt) {
  std::vector<PromptPlace> places;
  const auto size = static_cast<int>(prompt.size());
  for (int i = 0; i < size; ++i) {
    if (prompt[i] == tokens.image) {
      const int hi = end_of_run(prompt, i, tokens.image);
      const bool is_run = is_enclosed(tokens, prompt, i, hi) || tokens.placeholder != tokens.image;
      places.push_back({i, hi, is_run ? PlaceKind::kRun : PlaceKind::kBare});
      i = hi - 1;
    } else if (prompt[i] == tokens.placeholder) {
      // The mark may be the placeholder: in front of a run it is not.
      const int hi = tokens.placeholder == tokens.begin ? end_of_run(prompt, i + 1, tokens.image) : i + 1;
      if (hi == i + 1 || !is_enclosed(tokens, prompt, i + 1, hi)) places.push_back({i, i + 1});
    }
  }
  return places;
}

// How many there are, each bare run being one, or each of its ids.
int64_t count_places(const std::vector<PromptPlace>& places, bool runs_are_whole) {
  int64_t count = 0;
  for (const PromptPlace& place : places)
    count += place.kind == PlaceKind::kBare && !runs_are_whole ? place.hi - place.lo : 1;
  return count;
}

std::vector<PromptPlace> settle_bare_runs(const std::vector<PromptPlace>& places, bool runs_are_whole) {
  std::vector<PromptPlace> settled;
  for (const PromptPlace& place : places) {
    if (place.kind != PlaceKind::kBare) {
      settled.push_back(place);
    } else if (runs_are_whole && place.hi - place.lo > 1) {
      settled.push_back({place.lo, place.hi, PlaceKind::kRun});
    } else {
      for (int i = place.lo; i < place.hi; ++i) settled.push_back({i, i + 1});
    }
  }
  return settled;
}

Error differ(const std::vector<PromptPlace>& places, size_t images) {
  int64_t count = 0;
  for (const PromptPlace& place : places) {
    const int length = place.hi - place.lo;
    count += place.kind == PlaceKind::kBare && length <= kMostInARow ? length : 1;
  }
  std::string text = "the prompt has ";
  text += count == 0 ? "no place for a picture" : std::to_string(count);
  if (count > 0) text += count == 1 ? " place for a picture" : " places for pictures";
  text += " and ";
  text += images == 0 ? "no" : std::to_string(images);
  return invalid(text + (images > 1 ? " pictures were given" : " picture was given"));
}

Status check_runs(const std::vector<PromptPlace>& places, const ImageList& images) {
  for (size_t i = 0; i < places.size(); ++i) {
    const int length = places[i].hi - places[i].lo;
    const int wanted = images[i]->grid.soft_tokens;
    if (places[i].kind != PlaceKind::kRun || length == wanted) continue;
    return invalid("picture " + std::to_string(i + 1) + " has " + std::to_string(wanted) +
                   " soft tokens and the prompt holds a run of " + std::to_string(length));
  }
  return {};
}

}  // namespace

int count_soft_tokens(const ImageList& images) {
  int64_t count = 0;
  for (const auto& image : images) count += image->grid.soft_tokens;
  return static_cast<int>(std::min<int64_t>(count, INT_MAX));
}

Result<std::vector<RequestImage>> place_images(const ImageTokens& tokens, std::vector<int>& prompt,
                                               const ImageList& images) {
  const std::vector<PromptPlace> found = find_places(tokens, prompt);
  const auto wanted = static_cast<int64_t>(images.size());
  const bool runs_are_whole = count_places(found, false) != wanted;
  if (runs_are_whole && count_places(found, true) != wanted) return differ(found, images.size());
  const std::vector<PromptPlace> places = settle_bare_runs(found, runs_are_whole);
  TRY(check_runs(places, images));
  if (std::ssize(prompt) + int64_t{count_soft_tokens(images)} + 2 * wanted > INT_MAX)
    return limit_reached("the prompt is too long with its pictures");

  std::vector<int> all;
  std::vector<RequestImage> placed;
  auto rest = prompt.begin();
  for (size_t i = 0; i < places.size(); ++i) {
    const PromptPlace& place = places[i];
    const int count = images[i]->grid.soft_tokens;
    CHECK(count > 0, count);
    const bool with_marks = place.kind == PlaceKind::kPlaceholder;
    all.insert(all.end(), rest, prompt.begin() + place.lo);
    if (with_marks && tokens.begin >= 0) all.push_back(tokens.begin);
    const auto lo = static_cast<int>(all.size());
    all.insert(all.end(), count, tokens.image);
    placed.push_back({{lo, lo + count}, images[i]});
    if (with_marks && tokens.end >= 0) all.push_back(tokens.end);
    rest = prompt.begin() + place.hi;
  }
  all.insert(all.end(), rest, prompt.end());
  prompt = std::move(all);
  return placed;
}

std::string surround_placeholders(const std::string& text, std::string_view placeholder,
                                  std::string_view image, std::string_view around) {
  if (around.empty() || placeholder.empty()) return text;
  const std::string_view rest = text;
  std::string all;
  size_t from = 0;
  for (size_t at = 0; (at = rest.find(placeholder, from)) != std::string_view::npos;) {
    const size_t behind = at + placeholder.size();
    const bool opens_run = !image.empty() && image != placeholder && rest.substr(behind).starts_with(image);
    all += rest.substr(from, at - from);
    if (!opens_run) all += around;
    all += placeholder;
    if (!opens_run) all += around;
    from = behind;
  }
  all += rest.substr(from);
  return all;
}

}  // namespace heed
