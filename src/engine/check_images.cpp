// What a request's pictures must be: anything else is the caller's mistake.
#include "engine/engine.h"

namespace heed {
namespace {

Status check_image(const RequestImage& image, const VisionSpec& vision, const std::string& which) {
  if (image.patches == nullptr) return invalid(which + " has no pixels");
  const PatchGrid& grid = image.patches->grid;
  const ImagePrep& prep = vision.prep;
  const int64_t patch_bytes = int64_t{3} * prep.patch * prep.patch;
  const bool fits = grid.columns > 0 && grid.rows > 0 && grid.columns % prep.pool == 0 &&
                    grid.rows % prep.pool == 0 &&
                    grid.soft_tokens == grid.patches() / prep.pool / prep.pool &&
                    std::ssize(image.patches->bytes) == grid.patches() * patch_bytes;
  if (!fits) return invalid(which + " was not prepared as this model wants it");
  if (grid.patches() > most_patches(vision) || grid.columns > vision.positions ||
      grid.rows > vision.positions) {
    return limit_reached(which + " has " + std::to_string(grid.soft_tokens) + " soft tokens; at most " +
                         std::to_string(prep.max_soft_tokens) + " are possible here");
  }
  if (vision.kind == VisionSpec::Kind::kSiglip && grid.patches() != vision.positions)
    return invalid(which + " was not prepared as this model wants it");
  const int tokens = image.tokens.hi - image.tokens.lo;
  if (tokens != grid.soft_tokens) {
    return invalid(which + " has " + std::to_string(grid.soft_tokens) + " soft tokens; the prompt holds " +
                   std::to_string(tokens) + " for it");
  }
  return {};
}

}  // namespace

Status Engine::check_images(const Request& request) const {
  if (!spec().vision) return unsupported("this model takes no pictures");
  int end = 0;
  for (size_t i = 0; i < request.images.size(); ++i) {
    const RequestImage& image = request.images[i];
    const std::string which = "picture " + std::to_string(i + 1);
    if (image.tokens.lo < end || image.tokens.hi > std::ssize(request.prompt) ||
        image.tokens.lo >= image.tokens.hi)
      return invalid(which + " has no place of its own in the prompt");
    end = image.tokens.hi;
    TRY(check_image(image, *spec().vision, which));
  }
  return {};
}

}  // namespace heed
