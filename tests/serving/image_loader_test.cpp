// Loading of pictures: what runs beside what, what is kept, and how it ends.
#include "serving/image_loader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>

#include "tests/serving/fake_images.h"

namespace heed {
namespace {

using testing::HasSubstr;

ImageRequest urls(const std::vector<std::string>& references, int max_soft_tokens = 0) {
  ImageRequest request{.max_soft_tokens = max_soft_tokens};
  for (const std::string& reference : references) request.sources.push_back({.reference = reference});
  return request;
}

std::vector<int> sizes(const LoadedImages& loaded) {
  EXPECT_FALSE(loaded.failure) << loaded.failure->error.message;
  std::vector<int> counts;
  for (const auto& image : loaded.images) counts.push_back(image->grid.soft_tokens);
  return counts;
}

// What a request comes to, once it has.
struct Waiting {
  std::promise<LoadedImages> promise;
  std::future<LoadedImages> loaded = promise.get_future();
  std::shared_ptr<ImageLoader::Loading> loading;
  Waiting(ImageLoader& loader, ImageRequest request)
      : loading(
            loader.load(std::move(request), [this](LoadedImages all) { promise.set_value(std::move(all)); })
                .value()) {}
};

constexpr ImagePrep kPrep{.max_soft_tokens = 280};

TEST(ImageLoader, gives_pictures_in_the_order_of_their_references) {
  FakeImages fake;
  ImageLoader loader(kPrep, {}, fake.tools());
  ImageRequest request = urls({"data:2x3", "https://host/4x4", "data:5x1", "https://host/1x1", "DATA:1x2"});
  request.sources.back() = {.bytes = "3x3"};
  EXPECT_EQ(sizes(loader.load_now(std::move(request))), (std::vector<int>{6, 16, 5, 1, 9}));
  EXPECT_TRUE(loader.load_now({}).images.empty());
}

TEST(ImageLoader, too_many_are_refused_before_any_is_fetched) {
  FakeImages fake;
  ImageLoader loader(kPrep, {.max_images = 2}, fake.tools());
  const LoadedImages loaded = loader.load_now(urls({"data:1x1", "data:1x1", "data:1x1"}));
  ASSERT_TRUE(loaded.failure);
  EXPECT_EQ(loaded.failure->error.message, "there are 3 pictures; at most 2 are accepted");
  EXPECT_EQ(fake.fetched, 0);
}

TEST(ImageLoader, a_failure_names_its_picture_and_what_was_being_done) {
  FakeImages fake;
  ImageLoader loader(kPrep, {}, fake.tools());
  const ImageFailure missing = *loader.load_now(urls({"data:1x1", "https://none/1x1"})).failure;
  EXPECT_EQ(missing.image, 1);
  EXPECT_TRUE(missing.fetching);
  const ImageFailure text = *loader.load_now(urls({"data:hello", "data:1x1"})).failure;
  EXPECT_EQ(text.image, 0);
  EXPECT_FALSE(text.fetching);
  EXPECT_EQ(text.error.code, ErrorCode::kInvalid);
  const LoadedImages large = loader.load_now(urls({"data:1x1", "data:1x1", "data:1000x1000"}));
  EXPECT_EQ(large.failure->image, 2);
  EXPECT_EQ(large.failure->error.code, ErrorCode::kLimit);
  EXPECT_TRUE(large.images.empty());
}

TEST(ImageLoader, pictures_of_a_request_are_downloaded_together_up_to_a_limit) {
  FakeImages fake;
  ImageLoader loader(kPrep, {.downloads = 8, .parallel = 3}, fake.tools());
  Waiting waiting(loader, urls(std::vector<std::string>(7, "https://slow/1x1")));
  fake.slow.wait_for(3);
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_EQ(fake.slow.waiting(), 3);
  fake.slow.open();
  EXPECT_EQ(sizes(waiting.loaded.get()).size(), 7U);
}

TEST(ImageLoader, slow_hosts_hold_up_no_picture_that_came_along) {
  FakeImages fake;
  ImageLoader loader(kPrep, {.downloads = 2, .decoders = 1}, fake.tools());
  Waiting slow(loader, urls({"https://slow/1x1", "https://slow/1x1", "https://slow/1x1"}));
  fake.slow.wait_for(2);
  EXPECT_EQ(sizes(loader.load_now(urls({"data:2x2"}))), std::vector<int>{4});
  EXPECT_EQ(loader.stats().waiting, 1);
  fake.slow.open();
  EXPECT_EQ(sizes(slow.loaded.get()).size(), 3U);
}

TEST(ImageLoader, a_cancelled_request_ends_at_once) {
  FakeImages fake;
  ImageLoader loader(kPrep, {.downloads = 1}, fake.tools());
  Waiting first(loader, urls({"https://slow/1x1", "https://slow/2x2"}));
  Waiting second(loader, urls({"https://slow/3x3"}));
  fake.slow.wait_for(1);
  second.loading->cancel();
  first.loading->cancel();
  first.loading->cancel();
  EXPECT_EQ(first.loaded.get().failure->error.code, ErrorCode::kStopped);
  EXPECT_EQ(second.loaded.get().failure->error.code, ErrorCode::kStopped);
  fake.slow.open();
  EXPECT_EQ(sizes(loader.load_now(urls({"https://host/1x1"}))), std::vector<int>{1});
  EXPECT_EQ(fake.fetched, 2) << "what nobody wants any more is not fetched";
}

TEST(ImageLoader, what_waits_is_bounded) {
  FakeImages fake;
  ImageLoader loader(kPrep, {.max_requests = 2, .max_bytes = 64}, fake.tools());
  const auto refusal = [&](ImageRequest request) {
    return loader.load(std::move(request), [](const LoadedImages&) { FAIL(); }).error();
  };
  Waiting first(loader, urls({"https://slow/1x1"}));
  EXPECT_EQ(refusal(urls({"data:" + std::string(60, 'x')})).code, ErrorCode::kBusy);
  Waiting second(loader, urls({"https://slow/1x1"}));
  EXPECT_EQ(refusal(urls({"data:1x1"})).code, ErrorCode::kBusy);
  fake.slow.open();
  first.loaded.get();
  second.loaded.get();
  // One by itself may be larger.
  EXPECT_EQ(sizes(loader.load_now(urls({"data:" + std::string(100, ' ') + "1x2"}))), std::vector<int>{2});
}

TEST(ImageLoader, its_end_ends_what_is_left) {
  FakeImages fake;
  std::optional<Waiting> waiting;
  {
    ImageLoader loader(kPrep, {.downloads = 1}, fake.tools());
    waiting.emplace(loader, urls({"https://slow/1x1", "https://slow/1x1"}));
    fake.slow.wait_for(1);
    fake.slow.open();
  }
  LoadedImages loaded = waiting->loaded.get();
  if (loaded.failure) {
    EXPECT_EQ(loaded.failure->error.code, ErrorCode::kStopped);
  }
  waiting->loading->cancel();  // nobody is there any more
}

TEST(ImageLoader, a_picture_seen_before_is_not_decoded_again) {
  FakeImages fake;
  ImageLoader loader(kPrep, {.cache_bytes = 1 << 20}, fake.tools());
  const LoadedImages first = loader.load_now(urls({"data:2x3"}));
  const LoadedImages again = loader.load_now(urls({"https://host/2x3"}));
  EXPECT_EQ(first.images, again.images) << "the same, not only an equal one";
  EXPECT_EQ(fake.decoded, 1);
  loader.load_now(urls({"data:2x3"}, 70));
  EXPECT_EQ(fake.decoded, 2) << "another budget is another picture";
  EXPECT_EQ(loader.stats().queries, 3U);
  EXPECT_EQ(loader.stats().hits, 1U);
}

TEST(ImageLoader, the_cache_keeps_to_its_bytes_and_what_was_used_last) {
  FakeImages fake;
  constexpr int64_t kPictureBytes = 10 * 9 * 768;
  ImageLoader loader(kPrep, {.cache_bytes = 2 * kPictureBytes + 1024}, fake.tools());
  const auto load = [&](const std::string& file) { loader.load_now(urls({"data:" + file})); };
  load("10x1");
  load("1x10");
  load("10x1");
  EXPECT_EQ(fake.decoded, 2);
  load("2x5");  // in place of 1x10
  load("10x1");
  EXPECT_EQ(fake.decoded, 3);
  load("1x10");
  EXPECT_EQ(fake.decoded, 4);
  EXPECT_LE(loader.stats().cached_bytes, 2 * kPictureBytes + 1024);
  load("50x1");  // larger than the cache: not kept, and nothing makes room for it
  load("1x10");
  EXPECT_EQ(fake.decoded, 5);

  ImageLoader without(kPrep, {.cache_bytes = 0}, fake.tools());
  without.load_now(urls({"data:1x1", "data:1x1"}));
  EXPECT_EQ(fake.decoded, 7);
}

TEST(ImageLoader, soft_tokens_are_as_the_request_says_or_else_its_detail_or_else_the_model) {
  FakeImages fake;
  const auto budget = [&](int most, int request, bool low) {
    ImageLoader loader({.max_soft_tokens = most}, {}, fake.tools());
    ImageRequest asked = urls({"data:50x50"}, request);
    asked.sources[0].low_detail = low;
    const LoadedImages loaded = loader.load_now(std::move(asked));
    EXPECT_EQ(sizes(loaded)[0], fake.budgets.back());
    return fake.budgets.back();
  };
  EXPECT_EQ(budget(280, 0, false), 280);
  EXPECT_EQ(budget(1120, 560, false), 560);
  EXPECT_EQ(budget(280, 0, true), 70);
  EXPECT_EQ(budget(280, 140, true), 140);
  EXPECT_EQ(budget(40, 0, true), 40);

  ImageLoader loader(kPrep, {}, fake.tools());
  EXPECT_THAT(loader.check(urls({"data:1x1"}, 100)).error().message, HasSubstr("70, 140, 280, 560 or 1120"));
  EXPECT_THAT(loader.check(urls({"data:1x1"}, 560)).error().message, HasSubstr("560; at most 280"));
  ImageLoader square({.fit = ImagePrep::Fit::kSquare, .size = 96}, {}, fake.tools());
  EXPECT_EQ(square.check(urls({"data:1x1"}, 70)).error().code, ErrorCode::kUnsupported);
}

TEST(ImageLoader, the_most_soft_tokens_are_set_where_a_model_has_a_choice) {
  ModelSpec spec;
  EXPECT_EQ(set_max_soft_tokens(spec, 560).error().code, ErrorCode::kUnsupported);
  spec.vision.emplace();
  EXPECT_EQ(set_max_soft_tokens(spec, 500).error().code, ErrorCode::kInvalid);
  EXPECT_TRUE(set_max_soft_tokens(spec, 560).ok());
  EXPECT_EQ(spec.vision->prep.max_soft_tokens, 560);
  spec.vision->prep.fit = ImagePrep::Fit::kSquare;
  EXPECT_EQ(set_max_soft_tokens(spec, 560).error().code, ErrorCode::kUnsupported);
}

TEST(ImageLoader, many_requests_at_once_each_get_their_own) {
  FakeImages fake;
  ImageLoader loader(kPrep, {.cache_bytes = 1 << 20}, fake.tools());
  std::vector<std::thread> threads;
  for (int t = 1; t <= 4; ++t) {
    threads.emplace_back([&loader, t] {
      for (int i = 1; i <= 40; ++i) {
        const std::string file = std::to_string(t) + "x" + std::to_string(i);
        const LoadedImages loaded =
            loader.load_now(urls({"data:" + file, "https://host/1x" + std::to_string(t)}));
        EXPECT_EQ(sizes(loaded), (std::vector<int>{t * i, t}));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace heed
