// Pictures on the command line: decoded, prepared, seen, and answered as transformers does.
#include <gmock/gmock.h>

#include <algorithm>

#include "tests/cli/running.h"
#include "tests/engine/goldens.h"

namespace heed {
namespace {

using testing::HasSubstr;

const std::string kVision = golden_folder("gemma4_vision");
const std::string kPicture = kVision + "/picture0.png";
constexpr int kImage = 460, kSoftTokens = 63;

std::string in_quotes(const std::string& text) { return "'" + text + "'"; }

// The golden's prompt with placeholders in place of the runs and their marks.
std::vector<int> with_placeholders(const std::vector<int>& ids, const ImageTokens& tokens) {
  std::vector<int> all;
  for (size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] != tokens.begin) {
      all.push_back(ids[i]);
      continue;
    }
    all.push_back(tokens.placeholder);
    while (ids[i] != tokens.end) ++i;
  }
  return all;
}

void expect_greedy(const std::vector<int>& made, const Golden& golden) {
  constexpr float kTie = 2e-3F;
  ASSERT_EQ(made.size(), golden.greedy.size());
  for (size_t i = 0; i < made.size(); ++i) {
    if (made[i] == golden.greedy[i]) continue;
    EXPECT_LE(golden.margin[i], kTie) << "step " << i;
    return;
  }
}

class GoldenImages : public testing::TestWithParam<const char*> {};

TEST_P(GoldenImages, complete_gives_the_answer_of_transformers) {
  const std::string folder = golden_folder(GetParam());
  const Golden golden = read_golden(GetParam());
  std::string images;
  for (int i = 0; file_exists(folder + "/picture" + std::to_string(i) + ".png"); ++i)
    images += " --image " + folder + "/picture" + std::to_string(i) + ".png";
  const ImageTokens tokens = open_checkpoint(folder).value().spec.vision->tokens;
  for (const std::vector<int>& ids : {golden.input, with_placeholders(golden.input, tokens)}) {
    const std::string file = file_with("ids", ids);
    const Json result = json_of(heed("complete " + folder + " --token-ids " + file + images +
                                     " --max-tokens 24 --temperature 0 --ignore-eos --dtype float32 --json"));
    EXPECT_EQ(result["prompt_token_ids"].get<std::vector<int>>(), golden.input);
    expect_greedy(result["token_ids"].get<std::vector<int>>(), golden);
    std::filesystem::remove(file);
  }
}

INSTANTIATE_TEST_SUITE_P(All, GoldenImages,
                         testing::Values("gemma4_vision", "gemma4_vision_large", "gemma3_vision"),
                         [](const auto& test) { return std::string(test.param); });

TEST(CommandLineImages, score_sees_the_picture) {
  const Golden golden = read_golden("gemma4_vision");
  const std::string ids = file_with("ids", golden.input), logits = temporary("logits");
  json_of(heed("score " + kVision + " --token-ids " + ids + " --image " + kPicture +
               " --dtype float32 --last 96 --logits " + logits));
  const Safetensors file = Safetensors::open(logits).value();
  EXPECT_LE(largest_difference(rows_of(file.tensor("logits").value()), golden.logits), 2e-3);
  std::filesystem::remove(ids);
  std::filesystem::remove(logits);
}

TEST(CommandLineImages, a_chat_shows_the_picture_before_the_text) {
  const std::string common =
      "complete " + kVision + " 'What is this?' --max-tokens 2 --temperature 0 --json ";
  const Json one = json_of(heed(common + "--chat --image " + kPicture));
  const auto ids = one["prompt_token_ids"].get<std::vector<int>>();
  EXPECT_EQ(std::count(ids.begin(), ids.end(), kImage), kSoftTokens);
  const Json two = json_of(heed(common + "--chat --image " + kPicture + " --image " + kPicture));
  EXPECT_EQ(two["usage"]["prompt_tokens"], one["usage"]["prompt_tokens"].get<int>() + kSoftTokens + 2);
  const Json plain = json_of(
      heed("complete " + kVision + " 'See <|image|> there' --max-tokens 2 --json --image " + kPicture));
  EXPECT_EQ(plain["usage"]["prompt_tokens"], std::string("See  there").size() + kSoftTokens + 2);
}

TEST(CommandLineImages, a_conversation_shows_pictures_between_its_lines) {
  const std::string options = " --temperature 0 --max-tokens 6 --dtype float32";
  const Ran shown =
      heed("chat " + kVision + options, "/image " + kPicture + "\nWhat is this?\nAnd now?\n/exit\n");
  EXPECT_EQ(shown.status, 0) << shown.err;
  EXPECT_EQ(shown.err, "");
  const Ran given = heed("chat " + kVision + options + " --image " + kPicture, "What is this?\nAnd now?\n");
  EXPECT_EQ(given.out, shown.out);
  const Ran missing = heed("chat " + kVision + options, "/image nowhere.png\nWhat is this?\n");
  EXPECT_EQ(missing.status, 0);
  EXPECT_THAT(missing.err, HasSubstr("nowhere.png"));
  EXPECT_NE(missing.out, given.out);
}

TEST(CommandLineImages, what_is_wrong_is_one_line) {
  const std::string text = file_with("text", "not a picture");
  const auto error = [](const std::string& arguments) {
    const Ran ran = heed(arguments);
    EXPECT_EQ(ran.status, 1) << arguments;
    EXPECT_EQ(std::count(ran.err.begin(), ran.err.end(), '\n'), 1) << ran.err;
    return ran.err;
  };
  const std::string complete = "complete " + kVision + " --max-tokens 1 ";
  EXPECT_THAT(error(complete + "--chat x --image " + text), HasSubstr(text));
  EXPECT_THAT(error(complete + "x --image " + kPicture), HasSubstr("no place for a picture and 1 picture"));
  EXPECT_THAT(error(complete + in_quotes("<|image|><|image|>") + " --image " + kPicture),
              HasSubstr("a run of 2"));
  EXPECT_THAT(error("complete " + kBard + " --chat x --image " + kPicture), HasSubstr("reads text only"));
  EXPECT_THAT(error("complete " + kBard + " x --max-soft-tokens 70"), HasSubstr("reads text only"));
  std::filesystem::remove(text);
}

TEST(CommandLineImages, inspect_shows_the_tower) {
  const Ran ran = heed("inspect " + kVision + " --max-model-len 500");
  for (const char* part : {"vision: Gemma 4's tower, 2 layers, hidden 64, 2 heads of 32", "up to 70 tokens",
                           "placeholder 460, begin 461, image 460, end 462"})
    EXPECT_THAT(ran.out, HasSubstr(part));
  EXPECT_THAT(heed("inspect " + kVision + " --max-soft-tokens 280").out, HasSubstr("up to 280 tokens"));
}

}  // namespace
}  // namespace heed
