#include "engine/image_encoder.h"

#include <algorithm>

#include "base/checked.h"

namespace heed {
namespace {

bool is_needed(const Sequence& sequence, size_t image) {
  return sequence.media[image].hi > sequence.computed && sequence.images[image].encoded == nullptr;
}

template <class F>
void for_each_needed(const std::vector<Sequence*>& sequences, const F& body) {
  for (Sequence* sequence : sequences) {
    for (size_t i = 0; i < sequence->images.size(); ++i) {
      if (is_needed(*sequence, i)) body(sequence->images[i]);
    }
  }
}

// The next picture of the first sequence that has any to come.
const SequenceImage* first_of(const std::vector<Sequence*>& sequences) {
  for (const Sequence* sequence : sequences) {
    for (size_t i = 0; i < sequence->images.size(); ++i) {
      if (sequence->media[i].hi > sequence->computed) return &sequence->images[i];
    }
  }
  return nullptr;
}

}  // namespace

std::shared_ptr<const EncodedImage> ImageCache::find(const Hash128& content) {
  const auto place = places_.find(content);
  if (place == places_.end()) return nullptr;
  entries_.splice(entries_.begin(), entries_, place->second);
  return place->second->image;
}

void ImageCache::add(const Hash128& content, std::shared_ptr<const EncodedImage> image) {
  const int64_t bytes = image->rows.bytes();
  if (bytes > most_bytes_ || places_.contains(content)) return;
  bytes_ += bytes;
  entries_.push_front({content, std::move(image)});
  places_[content] = entries_.begin();
  while (bytes_ > most_bytes_) {
    bytes_ -= entries_.back().image->rows.bytes();
    places_.erase(entries_.back().content);
    entries_.pop_back();
  }
}

ImageEncoder::ImageEncoder(Runner& runner, int64_t bytes) : runner_(runner), bytes_(bytes), cache_(bytes) {}

void ImageEncoder::provide(const std::vector<Sequence*>& sequences) {
  for_each_needed(sequences, [&](SequenceImage& image) {
    image.encoded = cache_.find(image.content);
    if (image.encoded != nullptr) ++found_;
  });
}

// The first pictures in order that fit a call of the tower, and whose results fit beside those not used yet.
// The very first may always be encoded: its sequence can then go on, and gives the result back.
void ImageEncoder::begin(const std::vector<Sequence*>& sequences) {
  const int64_t most = most_patches(*runner_.spec().vision);
  const int64_t row_bytes = int64_t{runner_.spec().hidden} * size_of(DType::kF32);
  int64_t held = 0;
  for (const Sequence* sequence : sequences) {
    for (const SequenceImage& image : sequence->images) {
      if (image.encoded != nullptr) held += image.encoded->rows.bytes();
    }
  }
  std::vector<std::shared_ptr<const ImagePatches>> pictures;
  int64_t patches = 0;
  bool full = false;
  contents_.clear();
  const SequenceImage* first = first_of(sequences);
  for_each_needed(sequences, [&](const SequenceImage& image) {
    if (full || std::find(contents_.begin(), contents_.end(), image.content) != contents_.end()) return;
    const PatchGrid& grid = image.patches->grid;
    patches += round_up(grid.patches(), runner_.plan().layout.kernel_block);
    held += grid.soft_tokens * row_bytes;
    full = &image != first && (held > bytes_ || (!pictures.empty() && patches > most));
    if (full) return;
    pictures.push_back(image.patches);
    contents_.push_back(image.content);
  });
  if (!pictures.empty()) encoding_.emplace(runner_.begin_encoding(std::move(pictures)));
}

void ImageEncoder::finish(const std::vector<Sequence*>& sequences) {
  const auto results = encoding_->take_results();
  encoding_.reset();
  encoded_ += results.size();
  for (size_t i = 0; i < results.size(); ++i) {
    for_each_needed(sequences, [&](SequenceImage& image) {
      if (image.content == contents_[i]) image.encoded = results[i];
    });
    cache_.add(contents_[i], results[i]);
  }
}

bool ImageEncoder::work(const std::vector<Sequence*>& sequences, int tokens) {
  provide(sequences);
  if (!encoding_) begin(sequences);
  if (!encoding_) return false;
  const int layers = std::max(tokens / runner_.layer_cost(*encoding_), 1);
  runner_.encode(*encoding_, layers);
  if (encoding_->done()) finish(sequences);
  return true;
}

}  // namespace heed
