// Goldens of models that see, and pictures of random pixels.
#pragma once
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "base/file.h"
#include "media/decode_image.h"
#include "tests/engine/asks.h"

namespace heed {

using Picture = std::shared_ptr<const ImagePatches>;

inline Picture read_picture(const ImagePrep& prep, const std::string& path) {
  const std::string bytes = read_file(path).value();
  const Image image = decode_image(bytes, {}).value();
  return std::make_shared<ImagePatches>(prepare_image(prep, image).value());
}

// Of the soft tokens across and down.
inline Picture random_picture(const ImagePrep& prep, int across, int down, unsigned seed) {
  std::mt19937 random(seed);
  auto picture = std::make_shared<ImagePatches>();
  picture->grid = {.columns = across * prep.pool, .rows = down * prep.pool, .soft_tokens = across * down};
  picture->bytes.resize(static_cast<size_t>(picture->grid.patches() * 3 * prep.patch * prep.patch));
  for (uint8_t& byte : picture->bytes) byte = static_cast<uint8_t>(random());
  return picture;
}

struct SeenGolden : Golden {
  std::vector<Span> media;
  std::vector<Picture> pictures;

  Sequence sequence() const {
    Sequence s{.tokens = input, .media = media};
    for (size_t i = 0; i < pictures.size(); ++i)
      s.images.push_back({.content = {.low = i}, .patches = pictures[i]});
    return s;
  }
};

inline SeenGolden read_seen_golden(const std::string& name) {
  SeenGolden golden;
  static_cast<Golden&>(golden) = read_golden(name);
  const std::string folder = golden_folder(name);
  const ImagePrep prep = open_checkpoint(folder).value().spec.vision.value().prep;
  const Safetensors file = Safetensors::open(folder + "/golden.safetensors").value();
  const std::vector<int> media = ints_of(file.tensor("media").value());
  for (size_t i = 0; i < media.size() / 2; ++i) {
    golden.media.push_back({media[2 * i], media[2 * i + 1]});
    golden.pictures.push_back(read_picture(prep, folder + "/picture" + std::to_string(i) + ".png"));
  }
  return golden;
}

// A prompt of text and pictures, in the marks that the model wants around these.
class PromptMaker {
 public:
  PromptMaker(const ModelSpec& spec, unsigned seed) : vision_(*spec.vision), random_(seed) {}

  PromptMaker& text(int count) {
    // Below all ids with a meaning of their own.
    for (int i = 0; i < count; ++i) ask_.prompt.push_back(3 + static_cast<int>(random_() % 380));
    return *this;
  }
  PromptMaker& picture(const Picture& picture) {
    ask_.prompt.push_back(vision_.tokens.begin);
    const auto first = static_cast<int>(ask_.prompt.size());
    ask_.prompt.insert(ask_.prompt.end(), picture->grid.soft_tokens, vision_.tokens.image);
    ask_.images.push_back({{first, first + picture->grid.soft_tokens}, picture});
    ask_.prompt.push_back(vision_.tokens.end);
    return *this;
  }
  PromptMaker& picture(int across, int down, unsigned seed) {
    return picture(random_picture(vision_.prep, across, down, seed));
  }
  Ask ask(int max_tokens = 12) const {
    Ask ask = ask_;
    ask.max_tokens = max_tokens;
    return ask;
  }

 private:
  const VisionSpec& vision_;
  std::mt19937 random_;
  Ask ask_;
};

}  // namespace heed
