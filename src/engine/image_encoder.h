// Pictures of running sequences on their way through the vision tower, a few layers between two steps, so
// that answers under way do not wait for a whole picture; and the results of the last ones, found again by
// content.
//
// On the engine's thread.
#pragma once
#include <list>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "engine/runner.h"

namespace heed {

// Results by what was encoded; the least recently used go first.
class ImageCache {
 public:
  explicit ImageCache(int64_t bytes) : most_bytes_(bytes) {}
  std::shared_ptr<const EncodedImage> find(const Hash128& content);
  void add(const Hash128& content, std::shared_ptr<const EncodedImage> image);
  int64_t bytes() const { return bytes_; }

 private:
  struct Entry {
    Hash128 content;
    std::shared_ptr<const EncodedImage> image;
  };
  int64_t most_bytes_, bytes_ = 0;
  std::list<Entry> entries_;  // the newest first
  struct KeyHash {
    size_t operator()(const Hash128& key) const { return key.low; }
  };
  std::unordered_map<Hash128, std::list<Entry>::iterator, KeyHash> places_;
};

class ImageEncoder {
 public:
  // `bytes`: of results, those in the cache and those held by sequences each.
  ImageEncoder(Runner& runner, int64_t bytes);

  // Gives sequences, in this order, what pictures they need and are there, and goes on with the next ones:
  // for about as long as `tokens` of the text model would take, a layer at least. False if there is nothing
  // to do.
  bool work(const std::vector<Sequence*>& sequences, int tokens);

  uint64_t encoded() const { return encoded_; }  // pictures
  uint64_t found() const { return found_; }      // in the cache

 private:
  void provide(const std::vector<Sequence*>& sequences);
  void begin(const std::vector<Sequence*>& sequences);
  void finish(const std::vector<Sequence*>& sequences);

  Runner& runner_;
  int64_t bytes_;
  ImageCache cache_;
  std::optional<ImageEncoding> encoding_;
  std::vector<Hash128> contents_;  // of its pictures
  uint64_t encoded_ = 0, found_ = 0;
};

}  // namespace heed
