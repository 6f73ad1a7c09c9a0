// Pictures in prompts: placeholders and runs, and what does not fit.
#include "serving/images.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

namespace heed {
namespace {

constexpr int kBegin = 7, kImage = 8, kEnd = 9, kOther = 6;

// Each way in which models name their placeholder.
ImageTokens with_placeholder(int id) {
  return {.placeholder = id, .image = kImage, .begin = kBegin, .end = kEnd};
}

ImageList of_soft_tokens(const std::vector<int>& counts) {
  ImageList images;
  for (const int count : counts)
    images.push_back(std::make_shared<ImagePatches>(ImagePatches{.grid = {.soft_tokens = count}}));
  return images;
}

struct Placed {
  std::vector<int> prompt;
  std::vector<Span> spans;
};
Placed place(const ImageTokens& tokens, std::vector<int> prompt, const std::vector<int>& counts) {
  const ImageList images = of_soft_tokens(counts);
  const auto placed = place_images(tokens, prompt, images).value();
  Placed result{.prompt = std::move(prompt)};
  for (size_t i = 0; i < placed.size(); ++i) {
    EXPECT_EQ(placed[i].patches, images[i]);
    result.spans.push_back(placed[i].tokens);
  }
  return result;
}
std::string refusal(const ImageTokens& tokens, std::vector<int> prompt, const std::vector<int>& counts) {
  const std::vector<int> before = prompt;
  const auto placed = place_images(tokens, prompt, of_soft_tokens(counts));
  EXPECT_EQ(prompt, before) << "a prompt that is refused stays as it was";
  return placed.ok() ? "placed" : placed.error().message;
}

TEST(PlaceImages, a_placeholder_becomes_marks_and_soft_tokens) {
  for (const int placeholder : {kImage, kBegin, kOther}) {
    const Placed placed = place(with_placeholder(placeholder), {1, placeholder, 2, placeholder}, {3, 1});
    EXPECT_EQ(placed.prompt,
              (std::vector<int>{1, kBegin, kImage, kImage, kImage, kEnd, 2, kBegin, kImage, kEnd}));
    EXPECT_EQ(placed.spans, (std::vector<Span>{{2, 5}, {8, 9}}));
  }
}

TEST(PlaceImages, placeholders_may_touch) {
  const Placed placed = place(with_placeholder(kImage), {kImage, kImage, kImage}, {1, 2, 1});
  EXPECT_EQ(placed.prompt,
            (std::vector<int>{kBegin, kImage, kEnd, kBegin, kImage, kImage, kEnd, kBegin, kImage, kEnd}));
  EXPECT_EQ(placed.spans, (std::vector<Span>{{1, 2}, {4, 6}, {8, 9}}));
}

TEST(PlaceImages, a_run_with_its_marks_stays) {
  for (const int placeholder : {kImage, kBegin, kOther}) {
    const std::vector<int> prompt = {1, kBegin, kImage, kImage, kEnd, kBegin, kImage, kEnd, 2};
    const Placed placed = place(with_placeholder(placeholder), prompt, {2, 1});
    EXPECT_EQ(placed.prompt, prompt);
    EXPECT_EQ(placed.spans, (std::vector<Span>{{2, 4}, {6, 7}}));
  }
}

TEST(PlaceImages, a_run_without_marks_stays_too) {
  for (const int placeholder : {kImage, kBegin, kOther}) {
    const std::vector<int> prompt = {1, kImage, kImage, kImage, 2};
    const Placed placed = place(with_placeholder(placeholder), prompt, {3});
    EXPECT_EQ(placed.prompt, prompt);
    EXPECT_EQ(placed.spans, (std::vector<Span>{{1, 4}}));
  }
}

TEST(PlaceImages, runs_and_placeholders_mix) {
  const Placed placed =
      place(with_placeholder(kBegin), {kBegin, kBegin, kImage, kImage, kEnd, kBegin, 5}, {1, 2, 1});
  EXPECT_EQ(placed.prompt,
            (std::vector<int>{kBegin, kImage, kEnd, kBegin, kImage, kImage, kEnd, kBegin, kImage, kEnd, 5}));
}

TEST(PlaceImages, models_without_marks_have_none) {
  const ImageTokens tokens{.placeholder = kImage, .image = kImage};
  EXPECT_EQ(place(tokens, {1, kImage, 2}, {2}).prompt, (std::vector<int>{1, kImage, kImage, 2}));
}

TEST(PlaceImages, differing_counts_say_both_numbers) {
  const ImageTokens tokens = with_placeholder(kImage);
  EXPECT_EQ(refusal(tokens, {1, kImage, 2, kImage}, {4, 4, 4}),
            "the prompt has 2 places for pictures and 3 pictures were given");
  EXPECT_EQ(refusal(tokens, {1, 2}, {4}), "the prompt has no place for a picture and 1 picture was given");
  EXPECT_EQ(refusal(tokens, {1, kImage, 2}, {}),
            "the prompt has 1 place for a picture and no picture was given");
  EXPECT_EQ(refusal(tokens, {1, kImage, kImage, 3, kImage}, {4}),
            "the prompt has 3 places for pictures and 1 picture was given");
  std::vector<int> two_runs(200, kImage);
  two_runs[99] = 1;
  EXPECT_EQ(refusal(tokens, two_runs, {99}), "the prompt has 2 places for pictures and 1 picture was given");
  EXPECT_EQ(refusal(with_placeholder(kOther), {kOther, kOther}, {5}),
            "the prompt has 2 places for pictures and 1 picture was given");
}

TEST(PlaceImages, a_run_of_another_length_is_named) {
  std::vector<int> prompt = {kBegin, kImage, kImage, kEnd};
  prompt.insert(prompt.end(), 60, kImage);
  EXPECT_EQ(refusal(with_placeholder(kImage), prompt, {2, 63}),
            "picture 2 has 63 soft tokens and the prompt holds a run of 60");
  // What a user has written beside the template's placeholder.
  EXPECT_EQ(refusal(with_placeholder(kImage), {1, kImage, kImage, 2}, {63}),
            "picture 1 has 63 soft tokens and the prompt holds a run of 2");
  EXPECT_EQ(refusal(with_placeholder(kImage), {kBegin, kImage, kEnd}, {63}),
            "picture 1 has 63 soft tokens and the prompt holds a run of 1");
}

TEST(PlaceImages, text_alone_stays_as_it_is) {
  for (const int placeholder : {kImage, kBegin, kOther}) {
    EXPECT_TRUE(place(with_placeholder(placeholder), {1, 2, kEnd, 3}, {}).spans.empty());
    EXPECT_EQ(place(with_placeholder(placeholder), {1, 2, kEnd, 3}, {}).prompt,
              (std::vector<int>{1, 2, kEnd, 3}));
    EXPECT_TRUE(place(with_placeholder(placeholder), {}, {}).prompt.empty());
  }
}

// Whatever ids come in: where they are taken, every picture has exactly its soft tokens, in order and apart,
// and all other ids are those of the prompt.
TEST(PlaceImages, any_prompt_is_refused_or_right) {
  std::mt19937 random(11);
  int taken = 0;
  for (int round = 0; round < 20'000; ++round) {
    const ImageTokens tokens = with_placeholder(std::vector{kImage, kBegin, kOther}[random() % 3]);
    std::vector<int> prompt(random() % 9);
    for (int& id : prompt) id = 5 + static_cast<int>(random() % 5);
    std::vector<int> counts(random() % 4);
    for (int& count : counts) count = 1 + static_cast<int>(random() % 3);
    const std::vector<int> before = prompt;
    const ImageList images = of_soft_tokens(counts);
    const auto placed = place_images(tokens, prompt, images);
    if (!placed.ok()) {
      EXPECT_EQ(prompt, before);
      continue;
    }
    ++taken;
    ASSERT_EQ(placed->size(), counts.size());
    std::vector<bool> in_picture(prompt.size());
    int behind = 0;
    for (size_t i = 0; i < counts.size(); ++i) {
      const Span span = (*placed)[i].tokens;
      ASSERT_GE(span.lo, behind);
      ASSERT_EQ(span.hi - span.lo, counts[i]);
      ASSERT_LE(span.hi, std::ssize(prompt));
      for (int k = span.lo; k < span.hi; ++k) {
        ASSERT_EQ(prompt[k], kImage);
        in_picture[k] = true;
      }
      behind = span.hi;
    }
    for (size_t i = 0; i < prompt.size(); ++i) ASSERT_EQ(prompt[i] == kImage, in_picture[i]);
    const auto others = [](const std::vector<int>& ids) {
      std::vector<int> rest;
      for (const int id : ids)
        if (id < kOther) rest.push_back(id);
      return rest;
    };
    ASSERT_EQ(others(prompt), others(before));
  }
  EXPECT_GT(taken, 1000);
}

TEST(PlaceImages, a_long_prompt_takes_linear_time) {
  std::vector<int> prompt;
  std::vector<int> counts;
  for (int i = 0; i < 100'000; ++i) {
    prompt.insert(prompt.end(), {kBegin, 1, kImage});
    counts.push_back(3);
  }
  EXPECT_EQ(place(with_placeholder(kImage), prompt, counts).prompt.size(), 700'000U);
}

TEST(SurroundPlaceholders, only_placeholders_are) {
  const auto spaced = [](const std::string& text) {
    return surround_placeholders(text, "<s>", "<i>", "\n\n");
  };
  EXPECT_EQ(spaced("a<s>b<s><s>"), "a\n\n<s>\n\nb\n\n<s>\n\n\n\n<s>\n\n");
  EXPECT_EQ(spaced("a<s><i><i><e>b<s>"), "a<s><i><i><e>b\n\n<s>\n\n");
  EXPECT_EQ(spaced("nothing here"), "nothing here");
  EXPECT_EQ(surround_placeholders("a<s>b", "<s>", "<i>", ""), "a<s>b");
  EXPECT_EQ(surround_placeholders("<i><i>", "<i>", "<i>", " "), " <i>  <i> ");
}

}  // namespace
}  // namespace heed
