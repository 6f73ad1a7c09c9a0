// From where a picture is (a URL, a file's bytes) to what a vision tower reads.
//
//   fetch ─► cache, by a hash of the bytes ─► decode, in a child process ─► prepare
//
// On threads of its own: callers do not wait. Downloads, which wait for others, have threads apart from those
// for pictures that came along, so that slow hosts hold up nobody else. Bounded: pictures of a request,
// requests and bytes that wait, downloads and decoders at a time, bytes of the cache.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/result.h"
#include "fetch/media_fetcher.h"
#include "media/image.h"
#include "model/spec.h"
#include "serving/images.h"

namespace heed {

struct ImageSource {
  std::string reference;    // a URL, as MediaFetcher takes it; empty: ...
  std::string bytes;        // ... the file itself
  bool low_detail = false;  // kLowDetailTokens are enough
};
inline constexpr int kLowDetailTokens = 70;

struct ImageRequest {
  std::vector<ImageSource> sources;
  int max_soft_tokens = 0;  // of each picture, whatever its detail; 0: as ImagePrep says, which is the most
};

// What loading is made of. Called from several threads at once; fetch and decode may take seconds.
struct ImageTools {
  std::function<Result<std::string>(std::string_view reference)> fetch;
  std::function<Result<Image>(std::string_view file)> decode;
  std::function<Result<ImagePatches>(const ImagePrep&, const Image&)> prepare;
};

struct ImageOptions {
  MediaPolicy media;
  int max_images = 16;                     // --limit-images-per-prompt
  int64_t cache_bytes = 0;                 // of prepared pictures
  int downloads = 8, decoders = 4;         // at a time
  int parallel = 4;                        // of one request at a time
  int max_requests = 256;                  // that wait for their pictures; more are refused, and so is ...
  int64_t max_bytes = int64_t{256} << 20;  // ... what brings more references and files along, beside others
};

// Why a request has no pictures.
struct ImageFailure {
  int image = -1;         // which one; -1: none in particular
  bool fetching = false;  // its bytes did not come, or else they are no picture that can be shown
  Error error;
};
struct LoadedImages {
  ImageList images;  // one for each source
  std::optional<ImageFailure> failure = {};
};

struct ImageLoaderStats {
  uint64_t queries = 0, hits = 0;  // of the cache, in pictures
  int64_t cached_bytes = 0;
  int waiting = 0;  // requests
};

class ImageLoader {
 public:
  using Done = std::function<void(LoadedImages)>;  // must not throw

  // A request under way. Any thread, any number of times, also after the end.
  class Loading {
   public:
    virtual ~Loading() = default;
    virtual void cancel() = 0;  // ends it with kStopped, unless it has ended
  };

  ImageLoader(const ImagePrep& prep, ImageOptions options, ImageTools tools);
  ~ImageLoader();  // ends what is left with kStopped, once what is being fetched and decoded has ended
  ImageLoader(const ImageLoader&) = delete;
  ImageLoader& operator=(const ImageLoader&) = delete;

  // Whether it may be asked for: the number of pictures, the soft tokens. Nothing is fetched.
  Status check(const ImageRequest& request) const;
  // At least one picture. From any thread. `done` is called once, on a thread of the loader's, unless there
  // is an error here: a request that may not be asked for, or kBusy where too many wait.
  Result<std::shared_ptr<Loading>> load(ImageRequest request, Done done);
  // Waits; not from `done`.
  LoadedImages load_now(ImageRequest request);

  const ImageOptions& options() const;
  ImageLoaderStats stats() const;

 private:
  struct Parts;
  struct Job;
  const std::shared_ptr<Parts> parts_;
  std::vector<std::thread> threads_;
};

// The most that a picture may have, and has unless a request asks for less: --max-soft-tokens. An error where
// the model's pictures all have the same number, or it reads text only.
Status set_max_soft_tokens(ModelSpec& spec, int count);
// That and max_soft_tokens of a request are one of these.
bool is_soft_token_budget(int64_t count);
inline constexpr const char* kSoftTokenBudgets = "70, 140, 280, 560 or 1120";

}  // namespace heed
