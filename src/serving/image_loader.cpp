#include "serving/image_loader.h"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <future>
#include <list>
#include <mutex>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "base/ascii.h"
#include "base/siphash.h"

namespace heed {
namespace {

// Prepared pictures, the one used longest ago making room.
class PatchCache {
 public:
  struct Key {
    Hash128 file;
    int max_soft_tokens = 0;
    bool operator==(const Key&) const = default;
  };
  explicit PatchCache(int64_t max_bytes) : max_bytes_(max_bytes) {}

  Key key(std::string_view file, int max_soft_tokens) const {
    return {siphash(hash_key_, std::as_bytes(std::span(file))), max_soft_tokens};
  }

  std::shared_ptr<const ImagePatches> find(const Key& key) {
    const std::lock_guard lock(mutex_);
    ++queries_;
    const auto found = by_key_.find(key);
    if (found == by_key_.end()) return nullptr;
    ++hits_;
    entries_.splice(entries_.begin(), entries_, found->second);
    return found->second->patches;
  }

  void add(const Key& key, std::shared_ptr<const ImagePatches> patches) {
    std::vector<std::shared_ptr<const ImagePatches>> dropped;  // destroyed without the lock
    const int64_t bytes = bytes_of(*patches);
    const std::lock_guard lock(mutex_);
    if (bytes > max_bytes_ || by_key_.contains(key)) return;
    while (bytes_ + bytes > max_bytes_) {
      Entry& last = entries_.back();
      bytes_ -= bytes_of(*last.patches);
      dropped.push_back(std::move(last.patches));
      by_key_.erase(last.key);
      entries_.pop_back();
    }
    entries_.push_front({key, std::move(patches)});
    by_key_.emplace(key, entries_.begin());
    bytes_ += bytes;
  }

  void tell(ImageLoaderStats& stats) const {
    const std::lock_guard lock(mutex_);
    stats.queries = queries_;
    stats.hits = hits_;
    stats.cached_bytes = bytes_;
  }

 private:
  struct Entry {
    Key key;
    std::shared_ptr<const ImagePatches> patches;
  };
  struct HashOfKey {
    size_t operator()(const Key& key) const {
      return key.file.low ^ static_cast<size_t>(key.max_soft_tokens);
    }
  };
  static int64_t bytes_of(const ImagePatches& patches) {
    constexpr int64_t kEntryBytes = 256;
    return static_cast<int64_t>(patches.bytes.capacity()) + kEntryBytes;
  }

  const int64_t max_bytes_;
  const Hash128 hash_key_ = random_key();
  mutable std::mutex mutex_;
  std::list<Entry> entries_;  // guarded by mutex_, as all below
  std::unordered_map<Key, std::list<Entry>::iterator, HashOfKey> by_key_;
  int64_t bytes_ = 0;
  uint64_t queries_ = 0, hits_ = 0;
};

// At most so many at a time; others wait.
class Slots {
 public:
  explicit Slots(int count) : free_(count) {}
  class Held {
   public:
    explicit Held(Slots& slots) : slots_(slots) {
      std::unique_lock lock(slots_.mutex_);
      slots_.freed_.wait(lock, [&] { return slots_.free_ > 0; });
      --slots_.free_;
    }
    ~Held() {
      {
        const std::lock_guard lock(slots_.mutex_);
        ++slots_.free_;
      }
      slots_.freed_.notify_one();
    }
    Held(const Held&) = delete;
    Held& operator=(const Held&) = delete;

   private:
    Slots& slots_;
  };

 private:
  std::mutex mutex_;
  std::condition_variable freed_;
  int free_;
};

bool is_data_url(const std::string& reference) {
  constexpr std::string_view kScheme = "data:";
  return lower_case(reference.substr(0, kScheme.size())) == kScheme;
}

int64_t held_bytes(const ImageRequest& request) {
  int64_t bytes = 0;
  for (const ImageSource& source : request.sources)
    bytes += std::ssize(source.reference) + std::ssize(source.bytes);
  return bytes;
}

LoadedImages none(const char* why) { return {{}, ImageFailure{.error = stopped(why)}}; }

constexpr int kCancelled = -1;

}  // namespace

struct ImageLoader::Job : public Loading, public std::enable_shared_from_this<Job> {
  explicit Job(std::weak_ptr<Parts> loader) : parts(std::move(loader)) {}
  void cancel() override;
  // Once. What `done` holds may hold this in turn.
  void tell(LoadedImages images) { std::exchange(done, nullptr)(std::move(images)); }

  const std::weak_ptr<Parts> parts;
  ImageRequest request;  // a source belongs to the thread that works on it
  Done done;
  int64_t bytes = 0;
  LoadedImages loaded;  // guarded by Parts::mutex, as all below
  int next = 0;         // source to be worked on
  size_t missing = 0;
  bool is_over = false;
};

struct ImageLoader::Parts {
  struct Task {
    std::shared_ptr<Job> job;
    int image = 0;  // or kCancelled
  };
  struct Queue {
    std::deque<Task> tasks;
    std::condition_variable wake;
  };

  Parts(const ImagePrep& image_prep, ImageOptions image_options, ImageTools image_tools)
      : prep(image_prep),
        options(std::move(image_options)),
        tools(std::move(image_tools)),
        cache(options.cache_bytes),
        slots(options.decoders) {}

  void work(Queue& queue);
  void run(const Task& task);
  void load(const Task& task);
  Result<std::string> fetch(ImageSource& source) const;
  Result<std::shared_ptr<const ImagePatches>> show(const std::string& file, const ImagePrep& prep_of_image);
  ImagePrep prep_of(const ImageRequest& request, const ImageSource& source) const;
  // Under the lock.
  void push_next(const std::shared_ptr<Job>& job);
  void end(const std::shared_ptr<Job>& job);
  // Takes the lock.
  void settle(const Task& task, Result<std::shared_ptr<const ImagePatches>> result, bool fetching);

  const ImagePrep prep;
  const ImageOptions options;
  const ImageTools tools;
  PatchCache cache;
  Slots slots;  // to decode and prepare

  std::mutex mutex;
  Queue downloads, others;  // guarded by mutex, as all below
  std::unordered_set<std::shared_ptr<Job>> jobs;
  int64_t bytes = 0;  // of them
  bool stopping = false;
};

void ImageLoader::Parts::work(Queue& queue) {
  std::unique_lock lock(mutex);
  for (;;) {
    queue.wake.wait(lock, [&] { return stopping || !queue.tasks.empty(); });
    if (stopping) return;
    const Task task = std::move(queue.tasks.front());
    queue.tasks.pop_front();
    lock.unlock();
    run(task);
    lock.lock();
  }
}

void ImageLoader::Parts::run(const Task& task) {
  if (task.image == kCancelled) return task.job->tell(none("the pictures are no longer wanted"));
  {
    const std::lock_guard lock(mutex);
    if (task.job->is_over) return;
  }
  try {
    load(task);
  } catch (const std::bad_alloc&) {
    settle(task, limit_reached("there is not enough memory for it now"), false);
  }
}

void ImageLoader::Parts::load(const Task& task) {
  ImageSource& source = task.job->request.sources[task.image];
  const Result<std::string> file = fetch(source);
  if (!file.ok()) return settle(task, file.error(), true);
  settle(task, show(*file, prep_of(task.job->request, source)), false);
}

Result<std::string> ImageLoader::Parts::fetch(ImageSource& source) const {
  if (source.reference.empty()) return std::exchange(source.bytes, {});
  const std::string reference = std::exchange(source.reference, {});
  return tools.fetch(reference);
}

Result<std::shared_ptr<const ImagePatches>> ImageLoader::Parts::show(const std::string& file,
                                                                     const ImagePrep& prep_of_image) {
  const PatchCache::Key key = cache.key(file, prep_of_image.max_soft_tokens);
  if (std::shared_ptr<const ImagePatches> patches = cache.find(key)) return patches;
  const Slots::Held slot(slots);  // what is decoded is large
  const Image image = TRY(tools.decode(file));
  auto patches = std::make_shared<const ImagePatches>(TRY(tools.prepare(prep_of_image, image)));
  cache.add(key, patches);
  return std::shared_ptr<const ImagePatches>(std::move(patches));
}

ImagePrep ImageLoader::Parts::prep_of(const ImageRequest& request, const ImageSource& source) const {
  ImagePrep own = prep;
  if (own.fit != ImagePrep::Fit::kBudget) return own;
  if (source.low_detail) own.max_soft_tokens = std::min(own.max_soft_tokens, kLowDetailTokens);
  if (request.max_soft_tokens > 0) own.max_soft_tokens = request.max_soft_tokens;
  return own;
}

void ImageLoader::Parts::push_next(const std::shared_ptr<Job>& job) {
  const std::vector<ImageSource>& sources = job->request.sources;
  if (job->next >= std::ssize(sources)) return;
  const std::string& reference = sources[job->next].reference;
  Queue& queue = reference.empty() || is_data_url(reference) ? others : downloads;
  queue.tasks.push_back({job, job->next++});
  queue.wake.notify_one();
}

void ImageLoader::Parts::end(const std::shared_ptr<Job>& job) {
  job->is_over = true;
  bytes -= job->bytes;
  jobs.erase(job);
}

void ImageLoader::Parts::settle(const Task& task, Result<std::shared_ptr<const ImagePatches>> result,
                                bool fetching) {
  const std::shared_ptr<Job>& job = task.job;
  {
    const std::lock_guard lock(mutex);
    if (job->is_over) return;
    if (result.ok()) {
      job->loaded.images[task.image] = *std::move(result);
      --job->missing;
      push_next(job);
    } else {
      job->loaded = {{}, ImageFailure{task.image, fetching, std::move(result).error()}};
    }
    if (job->missing > 0 && !job->loaded.failure) return;
    end(job);
  }
  job->tell(std::move(job->loaded));
}

// Does not call `done` itself: whoever cancels may hold a lock that it takes.
void ImageLoader::Job::cancel() {
  const std::shared_ptr<Parts> loader = parts.lock();
  if (!loader) return;
  const std::lock_guard lock(loader->mutex);
  if (is_over || loader->stopping) return;
  const std::shared_ptr<Job> self = shared_from_this();
  loader->end(self);
  loader->others.tasks.push_front({self, kCancelled});
  loader->others.wake.notify_one();
}

ImageLoader::ImageLoader(const ImagePrep& prep, ImageOptions options, ImageTools tools)
    : parts_(std::make_shared<Parts>(prep, std::move(options), std::move(tools))) {
  CHECK(parts_->options.downloads > 0 && parts_->options.decoders > 0 && parts_->options.parallel > 0);
  for (int i = 0; i < parts_->options.downloads; ++i)
    threads_.emplace_back([parts = parts_] { parts->work(parts->downloads); });
  for (int i = 0; i < parts_->options.decoders; ++i)
    threads_.emplace_back([parts = parts_] { parts->work(parts->others); });
}

ImageLoader::~ImageLoader() {
  {
    const std::lock_guard lock(parts_->mutex);
    parts_->stopping = true;
    parts_->downloads.wake.notify_all();
    parts_->others.wake.notify_all();
  }
  for (std::thread& thread : threads_) thread.join();
  std::unordered_set<std::shared_ptr<Job>> left;
  {
    const std::lock_guard lock(parts_->mutex);
    left.swap(parts_->jobs);
    for (const Parts::Task& task : parts_->others.tasks)
      if (task.image == kCancelled) left.insert(task.job);
    parts_->others.tasks.clear();
    parts_->downloads.tasks.clear();
    for (const auto& job : left) job->is_over = true;
  }
  for (const auto& job : left) job->tell(none("the server is shutting down"));
}

Status ImageLoader::check(const ImageRequest& request) const {
  const auto count = std::ssize(request.sources);
  if (count > parts_->options.max_images) {
    return limit_reached("there are " + std::to_string(count) + " pictures; at most " +
                         std::to_string(parts_->options.max_images) + " are accepted");
  }
  if (request.max_soft_tokens == 0) return {};
  if (parts_->prep.fit != ImagePrep::Fit::kBudget)
    return unsupported("max_soft_tokens: every picture has the same number of soft tokens in this model");
  if (!is_soft_token_budget(request.max_soft_tokens)) {
    return invalid("max_soft_tokens is " + std::to_string(request.max_soft_tokens) + "; " +
                   kSoftTokenBudgets + " is expected");
  }
  if (request.max_soft_tokens <= parts_->prep.max_soft_tokens) return {};
  return limit_reached("max_soft_tokens is " + std::to_string(request.max_soft_tokens) + "; at most " +
                       std::to_string(parts_->prep.max_soft_tokens) +
                       " are possible here (--max-soft-tokens)");
}

Result<std::shared_ptr<ImageLoader::Loading>> ImageLoader::load(ImageRequest request, Done done) {
  CHECK(!request.sources.empty());
  TRY(check(request));
  auto job = std::make_shared<Job>(parts_);
  job->bytes = held_bytes(request);
  job->missing = request.sources.size();
  job->loaded.images.resize(request.sources.size());
  job->request = std::move(request);
  job->done = std::move(done);
  const std::lock_guard lock(parts_->mutex);
  if (parts_->stopping) return stopped("the server is shutting down");
  const bool is_full = std::ssize(parts_->jobs) >= parts_->options.max_requests ||
                       (!parts_->jobs.empty() && parts_->bytes + job->bytes > parts_->options.max_bytes);
  if (is_full) return busy("too many requests are waiting for their pictures");
  parts_->jobs.insert(job);
  parts_->bytes += job->bytes;
  for (int i = 0; i < parts_->options.parallel; ++i) parts_->push_next(job);
  return std::shared_ptr<Loading>(job);
}

LoadedImages ImageLoader::load_now(ImageRequest request) {
  if (request.sources.empty()) return {};
  std::promise<LoadedImages> promise;
  std::future<LoadedImages> loaded = promise.get_future();
  const auto loading =
      load(std::move(request), [&promise](LoadedImages images) { promise.set_value(std::move(images)); });
  if (!loading.ok()) return {{}, ImageFailure{.error = loading.error()}};
  return loaded.get();
}

const ImageOptions& ImageLoader::options() const { return parts_->options; }

ImageLoaderStats ImageLoader::stats() const {
  ImageLoaderStats stats;
  parts_->cache.tell(stats);
  const std::lock_guard lock(parts_->mutex);
  stats.waiting = static_cast<int>(parts_->jobs.size());
  return stats;
}

Status set_max_soft_tokens(ModelSpec& spec, int count) {
  if (!spec.vision) return unsupported(std::string("--max-soft-tokens: ") + kReadsTextOnly);
  if (spec.vision->prep.fit != ImagePrep::Fit::kBudget)
    return unsupported("--max-soft-tokens: every picture has the same number of them in this model");
  if (!is_soft_token_budget(count))
    return invalid(std::string("--max-soft-tokens: ") + kSoftTokenBudgets + " is expected");
  spec.vision->prep.max_soft_tokens = count;
  return {};
}

bool is_soft_token_budget(int64_t count) {
  return count == 70 || count == 140 || count == 280 || count == 560 || count == 1120;
}

}  // namespace heed
