// The bundled model that sees (models/pictures), asked about pictures that it has not been trained on.
#include <gtest/gtest.h>

#include "base/json.h"
#include "tests/cli/running.h"

namespace heed {
namespace {

TEST(PicturesModel, answers_questions_about_held_out_pictures) {
  const std::string root = HEED_SOURCE_DIR;
  const Json asked = read_json(root + "/tests/pictures/questions.json").value();
  ASSERT_EQ(asked.size(), 20U);
  for (const Json& ask : asked) {
    const Ran ran = heed("complete " + root + "/models/pictures --chat --temperature 0 --json --image " +
                         root + "/tests/pictures/" + ask["picture"].get<std::string>() + " '" +
                         ask["question"].get<std::string>() + "'");
    std::string text = json_of(ran)["text"].get<std::string>();
    EXPECT_EQ(text, ask["answer"].get<std::string>()) << ask["question"];
  }
}

}  // namespace
}  // namespace heed
